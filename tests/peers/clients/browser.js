// What a page does: the jobs that it was given, one after the other, through fetch.
const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, '0')).join('');
const latin1 = (body) => Array.from(body, (byte) => String.fromCharCode(byte)).join('');
const parts = (size) =>
  new ReadableStream({
    pull(controller) {
      if (size <= 0) return controller.close();
      controller.enqueue(new Uint8Array(Math.min(size, 65536)).fill(117));
      size -= 65536;
    },
  });
const results = [];
for (const job of jobs) {
  try {
    // With cookies, a stream that is answered with 401 is a network error (Fetch standard, HTTP-network-or-cache fetch).
    const options = { method: job.method, headers: job.headers, cache: 'no-store', credentials: 'omit' };
    if (job.size !== null) {
      // A browser streams over HTTP/2 only.
      const streams = job.chunked && location.protocol === 'https:';
      options.body = streams ? parts(job.size) : new Uint8Array(job.size).fill(117);
      if (streams) options.duplex = 'half';
    }
    const answer = await fetch(job.url, options);
    const body = new Uint8Array(await answer.arrayBuffer());
    results.push({
      id: job.id,
      status: answer.status,
      headers: [...answer.headers],
      body: body.length < 2048 ? latin1(body) : hex(await crypto.subtle.digest('SHA-256', body)),
    });
  } catch (error) {
    results.push({ id: job.id, error: String(error) });
  }
}
return results;
