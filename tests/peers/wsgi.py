"""The WSGI application for gunicorn."""

import http
import time

import common


def app(environ, start):
    path, _, query = environ["RAW_URI"].partition("?")
    fields = {
        name[5:].replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    if environ.get("CONTENT_TYPE"):
        fields["content-type"] = environ["CONTENT_TYPE"]
    what = path.rpartition("/")[2]
    if what == "release":
        common.release(common.identifier(query))
        start("204 No Content", [])
        return []
    if what == "events":
        start("200 OK", [("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache")])
        return events(common.identifier(query))
    if what == "poll":
        done = wait(common.identifier(query), b"done\n")
        start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(done)))])
        return [done]
    body = environ["wsgi.input"].read()
    status, head, parts = common.answer(environ["REQUEST_METHOD"], path, query, fields, body)
    start(f"{status} {http.HTTPStatus(status).phrase}", head)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else parts


def wait(identifier, said):
    for _ in range(1500):
        if common.released(identifier):
            return said
        time.sleep(0.01)
    return common.TOO_LATE


def events(identifier):
    yield b"data: first\n\n"
    yield wait(identifier, b"data: second\n\n")
