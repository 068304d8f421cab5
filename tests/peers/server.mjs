// Node's own server. Prints its port.
import http from 'node:http';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

const folder = process.env.PEERS_FOLDER;
const etag = '"v1"';
const modified = 'Thu, 01 Jan 2026 00:00:00 GMT';
const bytes = Buffer.from(Array.from({ length: 1000 }, (_, index) => index % 251));

// What is said then; something else if nobody let it go.
const wait = async (id, said) => {
  for (let turn = 0; turn < 1500; turn++) {
    if (fs.existsSync(path.join(folder, id))) return said;
    await new Promise((go) => setTimeout(go, 10));
  }
  return 'too late\n';
};

// How many downloads and uploads without an end are open.
let open = 0;

const json = (response, value) => {
  const body = JSON.stringify(value);
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) });
  response.end(body);
};

const server = http.createServer(async (request, response) => {
  const [raw, query = ''] = request.url.split('?');
  const what = raw.slice(1).split('/').slice(1).join('/');
  const id = query.replace('id=', '');
  if (what === 'events') {
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    response.write('data: first\n\n');
    return response.end(await wait(id, 'data: second\n\n'));
  }
  if (what === 'long') {
    // A download without an end: 64 KiB, and more as long as somebody reads.
    response.writeHead(200, { 'Content-Type': 'application/octet-stream' });
    open += 1;
    const timer = setInterval(() => response.write(Buffer.alloc(65536, 'l')), 20);
    return response.on('close', () => {
      clearInterval(timer);
      open -= 1;
    });
  }
  if (what === 'endless') {
    // A download of a known length that nobody gets to the end of, as fast as somebody reads.
    const part = Buffer.alloc(65536, 'g');
    let left = 64 * 2 ** 30;
    response.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Content-Length': left });
    open += 1;
    response.on('close', () => {
      open -= 1;
    });
    const more = () => {
      while (left > 0 && !response.destroyed) {
        left -= part.length;
        if (!response.write(part)) return response.once('drain', more);
      }
      return response.end();
    };
    return more();
  }
  if (what === 'open') return json(response, open);
  if (what === 'sink') {
    open += 1;
    request.resume();
    return response.on('close', () => {
      open -= 1;
    });
  }
  if (what === 'poll') {
    return response.end(await wait(id, 'done\n'));
  }
  if (what === 'release') {
    fs.writeFileSync(path.join(folder, id), '');
    response.writeHead(204);
    return response.end();
  }
  const hash = crypto.createHash('sha256');
  let length = 0;
  for await (const part of request) {
    hash.update(part);
    length += part.length;
  }
  if (what === 'hello') {
    const head = { ETag: etag, 'Last-Modified': modified };
    if (request.headers['if-none-match'] === etag || request.headers['if-modified-since'] === modified) {
      response.writeHead(304, head);
      return response.end();
    }
    response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': 6, ...head });
    return response.end('hello\n');
  }
  if (what === 'echo') {
    const type = (request.headers['content-type'] ?? '').split(';')[0];
    return json(response, { method: request.method, path: raw, length, sha256: hash.digest('hex'), type });
  }
  if (what.startsWith('status/')) {
    response.writeHead(Number(what.slice(7)), { 'X-Status': 'yes' });
    return response.end();
  }
  if (what === 'redirect') {
    response.writeHead(302, {
      Location: raw.replace('redirect', 'hello'),
      'Set-Cookie': ['a=1; Path=/; HttpOnly', 'b=2; Path=/'],
      'Content-Length': 0,
    });
    return response.end();
  }
  if (what === 'range') {
    const kind = { 'Content-Type': 'application/octet-stream' };
    const asked = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    if (!asked) {
      response.writeHead(200, { ...kind, 'Content-Length': 1000, 'Accept-Ranges': 'bytes' });
      return response.end(bytes);
    }
    const first = Number(asked[1]);
    if (first >= 1000) {
      response.writeHead(416, { 'Content-Range': 'bytes */1000', 'Content-Length': 0 });
      return response.end();
    }
    const part = bytes.subarray(first, Number(asked[2] || 999) + 1);
    const range = `bytes ${first}-${first + part.length - 1}/1000`;
    response.writeHead(206, { ...kind, 'Content-Range': range, 'Content-Length': part.length });
    return response.end(part);
  }
  if (what === 'chunked') {
    response.writeHead(200, { 'Content-Type': 'text/plain' });
    response.write('one\n');
    response.write('two\n');
    return response.end('three\n');
  }
  if (what === 'download') {
    response.writeHead(200, {
      'Content-Type': 'application/octet-stream',
      'Content-Disposition': "attachment; filename=\"report.txt\"; filename*=UTF-8''%ED%95%9C%EA%B8%80.txt",
      'Content-Length': 300000,
    });
    return response.end(Buffer.alloc(300000, 'd'));
  }
  if (what === 'early') {
    response.writeEarlyHints({ link: '</style.css>; rel=preload; as=style' });
    response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': 6 });
    return response.end('early\n');
  }
  if (what === 'trailers') {
    // Those of the request are told, and the answer has one of its own.
    response.writeHead(200, { 'Content-Type': 'text/plain', Trailer: 'X-Sum' });
    response.write(`${length} ${JSON.stringify(request.trailers)}\n`);
    response.addTrailers({ 'X-Sum': '1' });
    return response.end();
  }
  if (what === 'page') {
    response.writeHead(200, { 'Content-Type': 'text/html', 'Content-Length': 38 });
    return response.end('<!doctype html><title>a page</title>\n\n');
  }
  if (what.startsWith('names/')) {
    const body = Buffer.from(raw, 'latin1');
    response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': body.length });
    return response.end(body);
  }
  if (what === 'seen') return json(response, request.headers);
  response.writeHead(404, { 'Content-Length': 0 });
  return response.end();
});

// A WebSocket that sends every message back (RFC 6455 section 5.2); messages of up to 64 KiB.
server.on('upgrade', (request, socket) => {
  const accept = crypto
    .createHash('sha1')
    .update(request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11')
    .digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  let unread = Buffer.alloc(0);
  socket.on('error', () => {});
  socket.on('data', (data) => {
    unread = Buffer.concat([unread, data]);
    for (;;) {
      if (unread.length < 6) return;
      let [length, at] = [unread[1] & 0x7f, 2];
      if (length === 126) [length, at] = [unread.readUInt16BE(2), 4];
      if (unread.length < at + 4 + length) return;
      const mask = unread.subarray(at, at + 4);
      const message = Buffer.from(unread.subarray(at + 4, at + 4 + length)).map((byte, i) => byte ^ mask[i % 4]);
      const head = length < 126 ? Buffer.from([unread[0], length]) : Buffer.from([unread[0], 126, length >> 8, length & 255]);
      const closes = (unread[0] & 0x0f) === 8;
      unread = unread.subarray(at + 4 + length);
      socket.write(Buffer.concat([head, message]));
      if (closes) return socket.end();
    }
  });
});

server.keepAliveTimeout = 60000;
server.listen(Number(process.argv[2]), '127.0.0.1');
