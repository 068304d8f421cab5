<?php
// A small application as many are: PHP's own sessions, a login form with a hidden token, pages behind it.
// Run by `php -S 127.0.0.1:PORT app.php`; it knows nothing of a gateway.

declare(strict_types=1);

const USERS = [
    'kim' => ['id' => 7, 'password' => 'correct horse'],
    'lee' => ['id' => 8, 'password' => 'staple 한글 암호'],
];

ini_set('session.use_strict_mode', '1');
session_save_path(getenv('PHP_SESSIONS') ?: sys_get_temp_dir());
session_start();

function token(): string
{
    return $_SESSION['token'] ??= base64_encode(random_bytes(24));
}

function page(string $body, int $status = 200): never
{
    http_response_code($status);
    header('Content-Type: text/html; charset=utf-8');
    echo "<!DOCTYPE html><title>Shop</title>$body";
    exit;
}

function redirect(string $to): never
{
    header("Location: $to", true, 302);
    exit;
}

function login_form(string $error = ''): never
{
    $token = htmlspecialchars(token(), ENT_QUOTES);
    page("<p>$error</p><form method=post><input value='$token' name='_token' type='hidden'>"
        . '<input name="user"><input name="pass" type="password"><button>Sign in</button></form>');
}

function posted_token_is_right(): bool
{
    return hash_equals(token(), $_POST['_token'] ?? '');
}

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$is_post = $_SERVER['REQUEST_METHOD'] === 'POST';

if ($path === '/login.php') {
    if (!$is_post) {
        login_form();
    }
    if (!posted_token_is_right()) {
        page('The form has expired.', 419);
    }
    $name = strtolower(trim($_POST['user'] ?? ''));
    if (!isset(USERS[$name]) || USERS[$name]['password'] !== ($_POST['pass'] ?? '')) {
        login_form('Wrong name or password.');
    }
    session_regenerate_id(true);
    $_SESSION['user'] = $name;
    $_SESSION['from'] = $_SERVER['HTTP_X_FORWARDED_FOR'] ?? '';
    setcookie('theme', 'dark', ['expires' => time() + 3600, 'path' => '/']);
    redirect('home.php');
}

if (!isset($_SESSION['user'])) {
    redirect('login.php?next=' . urlencode($path));
}

switch ($path) {
    case '/home.php':
        $token = htmlspecialchars(token(), ENT_QUOTES);
        $_SESSION['views'] = ($_SESSION['views'] ?? 0) + 1;
        page("<h1>Hello {$_SESSION['user']}</h1><p>views={$_SESSION['views']} from={$_SESSION['from']}</p>"
            . "<p>gateway=" . ($_SERVER['HTTP_X_USER_NAME'] ?? '') . '</p>'
            . '<p>cookies=' . htmlspecialchars(json_encode(array_keys($_COOKIE))) . '</p>'
            . "<form method=post action=order.php><input type=hidden name=_token value='$token'></form>");
    case '/order.php':
        if (!$is_post || !posted_token_is_right()) {
            page('The form has expired.', 419);
        }
        page("ordered by {$_SESSION['user']}: " . htmlspecialchars($_POST['item'] ?? ''));
    case '/renew.php':
        session_regenerate_id(true);
        setcookie('other', 'passes');
        page('renewed');
    case '/logout.php':
        $_SESSION = [];
        session_destroy();
        setcookie(session_name(), '', ['expires' => 1, 'path' => '/']);
        redirect('login.php');
    default:
        page('Not found.', 404);
}
