<?php
// The same paths in PHP: for its own server and for FPM behind nginx and Apache.
[$path, $query] = array_pad(explode('?', $_SERVER['REQUEST_URI'], 2), 2, '');
$what = explode('/', substr($path, 1), 2)[1] ?? '';
$id = preg_replace('/[^a-z0-9]/', '', str_replace('id=', '', $query));
$folder = getenv('PEERS_FOLDER') ?: $_SERVER['PEERS_FOLDER'];
header_remove('X-Powered-By');

// What is said then; something else if nobody let it go.
function await_release(string $file, string $said): string
{
    for ($turn = 0; $turn < 1500; $turn++) {
        if (file_exists($file)) {
            return $said;
        }
        usleep(10000);
        clearstatcache();
    }
    return "too late\n";
}

function answer(string $type, string $body): void
{
    header("Content-Type: $type");
    header('Content-Length: ' . strlen($body));
    echo $body;
}

$method = $_SERVER['REQUEST_METHOD'];
if ($what === 'hello') {
    header('ETag: "v1"');
    header('Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT');
    if (($_SERVER['HTTP_IF_NONE_MATCH'] ?? '') === '"v1"'
        || ($_SERVER['HTTP_IF_MODIFIED_SINCE'] ?? '') === 'Thu, 01 Jan 2026 00:00:00 GMT') {
        http_response_code(304);
    } else {
        answer('text/plain', "hello\n");
    }
} elseif ($what === 'echo') {
    // PHP has read a form's parts away from its input.
    $body = file_get_contents('php://input');
    answer('application/json', json_encode([
        'method' => $method,
        'path' => $path,
        'length' => strlen($body),
        'sha256' => hash('sha256', $body),
        'type' => explode(';', $_SERVER['CONTENT_TYPE'] ?? '')[0],
        'files' => array_map(fn ($file) => [$file['name'], $file['size']], $_FILES),
    ]));
} elseif (str_starts_with($what, 'status/')) {
    http_response_code((int) substr($what, 7));
    header('X-Status: yes');
} elseif ($what === 'redirect') {
    http_response_code(302);
    header('Location: ' . str_replace('redirect', 'hello', $path));
    header('Set-Cookie: a=1; Path=/; HttpOnly', false);
    header('Set-Cookie: b=2; Path=/', false);
    header('Content-Length: 0');
} elseif ($what === 'range') {
    $bytes = implode('', array_map(fn ($index) => chr($index % 251), range(0, 999)));
    if (!preg_match('/^bytes=(\d+)-(\d*)$/', $_SERVER['HTTP_RANGE'] ?? '', $asked)) {
        header('Accept-Ranges: bytes');
        answer('application/octet-stream', $bytes);
    } elseif ((int) $asked[1] >= 1000) {
        http_response_code(416);
        header('Content-Range: bytes */1000');
        header('Content-Length: 0');
    } else {
        $first = (int) $asked[1];
        $part = substr($bytes, $first, ($asked[2] === '' ? 999 : (int) $asked[2]) - $first + 1);
        http_response_code(206);
        header(sprintf('Content-Range: bytes %d-%d/1000', $first, $first + strlen($part) - 1));
        answer('application/octet-stream', $part);
    }
} elseif ($what === 'chunked') {
    header('Content-Type: text/plain');
    foreach (["one\n", "two\n", "three\n"] as $part) {
        echo $part;
        flush();
    }
} elseif ($what === 'download') {
    header("Content-Disposition: attachment; filename=\"report.txt\"; filename*=UTF-8''%ED%95%9C%EA%B8%80.txt");
    answer('application/octet-stream', str_repeat('d', 300000));
} elseif ($what === 'events') {
    header('Content-Type: text/event-stream');
    header('Cache-Control: no-cache');
    while (ob_get_level() > 0) {
        ob_end_flush();
    }
    echo "data: first\n\n";
    flush();
    echo await_release("$folder/$id", "data: second\n\n");
} elseif ($what === 'poll') {
    answer('text/plain', await_release("$folder/$id", "done\n"));
} elseif ($what === 'release') {
    touch("$folder/$id");
    http_response_code(204);
} elseif ($what === 'seen') {
    $fields = [];
    foreach ($_SERVER as $name => $value) {
        if (str_starts_with($name, 'HTTP_')) {
            $fields[strtolower(str_replace('_', '-', substr($name, 5)))] = $value;
        }
    }
    answer('application/json', json_encode($fields));
} elseif (str_starts_with($what, 'names/')) {
    answer('text/plain', $path);
} else {
    http_response_code(404);
    header('Content-Length: 0');
}
