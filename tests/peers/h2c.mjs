// Node's server for HTTP/2 with prior knowledge: `h2c.mjs PORT`. Answers what it was sent; `/trailers` with trailers, two of which
// a gateway must not pass on.
import http2 from 'node:http2';

const server = http2.createServer();
server.on('stream', (stream, headers) => {
  const parts = [];
  stream.on('error', () => {});
  stream.on('data', (part) => parts.push(part));
  stream.on('end', () => {
    const body = Buffer.concat(parts);
    const answer = JSON.stringify({ version: '2', headers, body: body.toString('latin1'), length: body.length });
    const head = { ':status': 200, 'content-type': 'application/json', 'x-user-id': 'planted' };
    if (headers[':path'].endsWith('/length')) head['content-length'] = Buffer.byteLength(answer);
    const waits = headers[':path'].endsWith('/trailers');
    stream.respond(head, { waitForTrailers: waits });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-checksum': 'abc', 'x-user-id': 'planted' }));
    stream.end(answer);
  });
});
server.listen(Number(process.argv[2]), '127.0.0.1');
