"""The ASGI application for uvicorn."""

import asyncio

import common


async def app(scope, receive, send):
    if scope["type"] == "websocket":
        return await echo(receive, send)
    if scope["type"] != "http":
        return None
    # What came as the path, not what it decodes to.
    path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
    what = path.rpartition("/")[2]
    if what == "release":
        common.release(common.identifier(query))
        return await whole(send, 204, [], [])
    if what == "events":
        await begin(send, 200, [("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache")])
        await part(send, b"data: first\n\n")
        await part(send, await wait(common.identifier(query), b"data: second\n\n"))
        return await part(send, b"", more=False)
    if what == "poll":
        done = await wait(common.identifier(query), b"done\n")
        head = [("Content-Type", "text/plain"), ("Content-Length", str(len(done)))]
        return await whole(send, 200, head, [done])
    fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    status, head, parts = common.answer(scope["method"], path, query, fields, bytes(body))
    return await whole(send, status, head, parts)


async def begin(send, status, head):
    fields = [(name.lower().encode(), value.encode()) for name, value in head]
    await send({"type": "http.response.start", "status": status, "headers": fields})


async def part(send, body, more=True):
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def whole(send, status, head, parts):
    await begin(send, status, head)
    for one in parts:
        await part(send, one)
    await part(send, b"", more=False)


async def wait(identifier, said):
    for _ in range(1500):
        if common.released(identifier):
            return said
        await asyncio.sleep(0.01)
    return common.TOO_LATE


async def echo(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        answer = {key: message[key] for key in ("text", "bytes") if message.get(key) is not None}
        await send({"type": "websocket.send", **answer})
