// Uploads of Node's HTTP/2 client and of its fetch; prints one line of JSON: what each client was answered.
import http2 from "node:http2";

process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
process.removeAllListeners("warning");
const [secure, plain] = process.argv.slice(2);

// A stream whose end comes by itself: Node sends an empty DATA frame for it.
function streamed(path, parts) {
  return new Promise((resolve) => {
    const session = http2.connect(secure, { rejectUnauthorized: false });
    session.on("error", (error) => resolve(String(error.code ?? error)));
    const stream = session.request({ ":method": "POST", ":path": path });
    let status = "no answer";
    stream.on("response", (head) => (status = head[":status"]));
    stream.on("error", () => {});
    stream.on("close", () => {
      session.close();
      resolve(status);
    });
    stream.resume();
    for (const part of parts) stream.write(part);
    setTimeout(() => stream.end(), 5);
  });
}

async function fetched(base, path, body) {
  try {
    const answer = await fetch(base + path, { method: "POST", body, duplex: "half" });
    await answer.text();
    return answer.status;
  } catch (error) {
    return String(error.cause?.code ?? error);
  }
}

const chunks = (n) =>
  new ReadableStream({
    start(controller) {
      for (let i = 0; i < n; i++) controller.enqueue(new Uint8Array(64 * 1024));
      controller.close();
    },
  });

const result = { streamed: [], fetch: [], early: {} };
for (let i = 0; i < 10; i++) {
  result.streamed.push(await streamed("/public/up", ["hello"]));
  result.fetch.push(await fetched(secure, "/public/up", chunks(2)));
}
result.early["http2"] = await streamed("/app/up", [Buffer.alloc(1024 * 1024)]);
for (const [name, base] of [["https", secure], ["http", plain]]) {
  result.early[`fetch ${name}`] = await fetched(base, "/app/up", Buffer.alloc(1024 * 1024));
  result.early[`fetch stream ${name}`] = await fetched(base, "/app/up", chunks(16));
}
console.log(JSON.stringify(result));
process.exit(0);
