// Node's fetch, http and http2: `node.mjs CLIENT` reads jobs from standard input, as JSON, and prints what was answered.
import crypto from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import http2 from 'node:http2';
import { text } from 'node:stream/consumers';

process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
process.removeAllListeners('warning');
const client = process.argv[2];

const shown = (body) =>
  body.length < 2048 ? body.toString('latin1') : crypto.createHash('sha256').update(body).digest('hex');

function* parts(size) {
  for (; size > 0; size -= 65536) yield Buffer.alloc(Math.min(size, 65536), 'u');
}

// Debian's Node has no `ReadableStream.from`.
const streamed = (all) =>
  new ReadableStream({
    pull(controller) {
      const { done, value } = all.next();
      return done ? controller.close() : controller.enqueue(value);
    },
  });

async function withFetch(job) {
  const options = { method: job.method, headers: job.headers, redirect: 'manual' };
  if (job.size !== null) {
    options.body = job.chunked ? streamed(parts(job.size)) : Buffer.alloc(job.size, 'u');
    options.duplex = 'half';
  }
  const answer = await fetch(job.url, options);
  const body = Buffer.from(await answer.arrayBuffer());
  return { status: answer.status, headers: [...answer.headers], body: shown(body) };
}

function pairs(raw) {
  const list = [];
  for (let index = 0; index < raw.length; index += 2) list.push([raw[index].toLowerCase(), raw[index + 1]]);
  return list;
}

const agents = {
  'http:': new http.Agent({ keepAlive: true, maxSockets: 1 }),
  'https:': new https.Agent({ keepAlive: true, maxSockets: 1 }),
};

function withHttp(job) {
  const url = new URL(job.url);
  const headers = Object.fromEntries(job.headers);
  if (job.size !== null && !job.chunked) headers['Content-Length'] = job.size;
  if (job.size !== null && job.chunked) headers['Transfer-Encoding'] = 'chunked';
  const interim = [];
  return new Promise((resolve, reject) => {
    const request = (url.protocol === 'https:' ? https : http).request({
      host: url.hostname,
      port: url.port,
      // As it is written, without the parser's own encoding.
      path: job.url.slice(url.origin.length),
      method: job.method,
      headers,
      agent: agents[url.protocol],
    });
    request.on('information', ({ statusCode }) => interim.push(statusCode));
    request.on('error', reject);
    request.on('response', async (answer) => {
      const chunks = [];
      try {
        for await (const chunk of answer) chunks.push(chunk);
      } catch (error) {
        return reject(error);
      }
      resolve({
        status: answer.statusCode,
        headers: pairs(answer.rawHeaders),
        body: shown(Buffer.concat(chunks)),
        interim,
        trailers: answer.trailers,
      });
    });
    const send = () => {
      for (const part of parts(job.size ?? 0)) request.write(part);
      if (job.trailers) request.addTrailers(job.trailers);
      request.end();
    };
    if (headers.Expect) {
      // A server need not answer it (RFC 9110 section 10.1.1).
      const enough = setTimeout(send, 1000);
      request.on('continue', () => {
        clearTimeout(enough);
        send();
      });
      request.flushHeaders();
    } else {
      send();
    }
  });
}

const connections = {};

function withHttp2(job) {
  const url = new URL(job.url);
  connections[url.origin] ??= http2.connect(url.origin, { rejectUnauthorized: false });
  const interim = [];
  return new Promise((resolve, reject) => {
    const fields = { ':method': job.method, ':path': job.url.slice(url.origin.length) };
    for (const [name, value] of job.headers) fields[name.toLowerCase()] = value;
    if (job.size !== null && !job.chunked) fields['content-length'] = job.size;
    const stream = connections[url.origin].request(fields, {
      endStream: job.size === null,
      waitForTrailers: Boolean(job.trailers),
    });
    stream.on('headers', (head) => interim.push(head[':status']));
    stream.on('wantTrailers', () => stream.sendTrailers(job.trailers));
    let head;
    stream.on('response', (fields, _, raw) => {
      head = fields;
    });
    const chunks = [];
    stream.on('data', (chunk) => chunks.push(chunk));
    stream.on('error', (error) => (head ? undefined : reject(error)));
    stream.on('close', () => {
      if (!head) return reject(new Error('no answer'));
      const headers = Object.entries(head)
        .filter(([name]) => !name.startsWith(':'))
        .flatMap(([name, value]) => (Array.isArray(value) ? value.map((one) => [name, one]) : [[name, value]]));
      resolve({ status: head[':status'], headers, body: shown(Buffer.concat(chunks)), interim });
    });
    if (job.size !== null) {
      for (const part of parts(job.size)) stream.write(part);
      stream.end();
    }
  });
}

const perform = { fetch: withFetch, http: withHttp, http2: withHttp2 };
const results = [];
for (const job of JSON.parse(await text(process.stdin))) {
  // Servers without TLS speak HTTP/1.1.
  const how = client === 'http2' && job.url.startsWith('http:') ? 'http' : client;
  try {
    const late = new Promise((_, reject) => setTimeout(() => reject(new Error('no answer in 10 s')), 10000).unref());
    results.push({ id: job.id, ...(await Promise.race([perform[how](job), late])) });
  } catch (error) {
    results.push({ id: job.id, error: `${error.message} ${error.cause ?? ''}` });
  }
}
process.stdout.write(JSON.stringify(results), () => process.exit());
