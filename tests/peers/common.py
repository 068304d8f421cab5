"""What the Python servers answer; the paths are in README.md. Both speak of a request as (method, raw path, query, fields, body)."""

import hashlib
import json
import os

TEXT = b"hello\n"
ETAG = '"v1"'
MODIFIED = "Thu, 01 Jan 2026 00:00:00 GMT"
BYTES = bytes(index % 251 for index in range(1000))
TOO_LATE = b"too late\n"
FILE_NAME = "filename=\"report.txt\"; filename*=UTF-8''%ED%95%9C%EA%B8%80.txt"


def answer(method, path, query, fields, body):
    """Status, fields, parts of the body."""
    _, _, rest = path[1:].partition("/")
    if rest == "hello":
        head = [("Content-Type", "text/plain"), ("ETag", ETAG), ("Last-Modified", MODIFIED)]
        if fields.get("if-none-match") == ETAG or fields.get("if-modified-since") == MODIFIED:
            return 304, head[1:], []
        return 200, head + [("Content-Length", str(len(TEXT)))], [TEXT]
    if rest == "echo":
        return as_json(
            {
                "method": method,
                "path": path,
                "length": len(body),
                "sha256": hashlib.sha256(body).hexdigest(),
                "type": fields.get("content-type", "").split(";")[0],
            }
        )
    if rest.startswith("status/"):
        return int(rest[7:]), [("X-Status", "yes")], []
    if rest == "redirect":
        head = [
            ("Location", path.replace("redirect", "hello")),
            ("Set-Cookie", "a=1; Path=/; HttpOnly"),
            ("Set-Cookie", "b=2; Path=/"),
            ("Content-Length", "0"),
        ]
        return 302, head, []
    if rest == "range":
        kind = ("Content-Type", "application/octet-stream")
        asked = fields.get("range", "")
        if not asked.startswith("bytes="):
            return 200, [kind, ("Content-Length", "1000"), ("Accept-Ranges", "bytes")], [BYTES]
        first, _, last = asked[6:].partition("-")
        if int(first) >= 1000:
            return 416, [("Content-Range", "bytes */1000"), ("Content-Length", "0")], []
        part = BYTES[int(first) : int(last or 999) + 1]
        what = f"bytes {first}-{int(first) + len(part) - 1}/1000"
        return 206, [kind, ("Content-Range", what), ("Content-Length", str(len(part)))], [part]
    if rest == "chunked":
        return 200, [("Content-Type", "text/plain")], [b"one\n", b"two\n", b"three\n"]
    if rest == "download":
        head = [
            ("Content-Type", "application/octet-stream"),
            ("Content-Disposition", "attachment; " + FILE_NAME),
            ("Content-Length", "300000"),
        ]
        return 200, head, [b"d" * 100_000] * 3
    if rest.startswith("names/"):
        raw = path.encode("latin-1")
        return 200, [("Content-Type", "text/plain"), ("Content-Length", str(len(raw)))], [raw]
    if rest == "seen":
        return as_json(fields)
    return 404, [("Content-Length", "0")], []


def as_json(value):
    body = json.dumps(value).encode()
    return 200, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))], [body]


def released(identifier):
    """Has it been let go?"""
    return os.path.exists(os.path.join(os.environ["PEERS_FOLDER"], identifier))


def release(identifier):
    with open(os.path.join(os.environ["PEERS_FOLDER"], identifier), "w"):
        pass


def identifier(query):
    _, _, name = query.partition("id=")
    assert name.isalnum(), query
    return name
