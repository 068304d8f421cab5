"""requests, and httpx over HTTP/1.1 and HTTP/2: `python.py CLIENT` reads jobs from standard input, as JSON, and prints what
was answered to each. One session for all of them, as programs have it."""

import hashlib
import json
import sys
import warnings

import httpx
import requests

warnings.simplefilter("ignore")
client = sys.argv[1]


def parts(size):
    while size > 0:
        part = min(size, 65536)
        yield b"u" * part
        size -= part


def content(job):
    if job["size"] is None:
        return None
    return parts(job["size"]) if job["chunked"] else b"u" * job["size"]


def with_requests(session, job):
    answer = session.request(
        job["method"],
        job["url"],
        headers=dict(job["headers"]),
        data=content(job),
        verify=False,
        allow_redirects=False,
        timeout=20,
    )
    session.cookies.clear()
    return answer.status_code, list(answer.raw.headers.items()), answer.content


def with_httpx(session, job):
    answer = session.request(
        job["method"], job["url"], headers=dict(job["headers"]), content=content(job)
    )
    session.cookies.clear()
    if client == "httpx-2" and job["url"].startswith("https:"):
        assert answer.http_version == "HTTP/2", answer.http_version
    return answer.status_code, answer.headers.multi_items(), answer.content


def perform(session, job):
    # What a client cannot finish is a result too.
    try:
        status, fields, body = (with_requests if client == "requests" else with_httpx)(session, job)
    except Exception as error:
        return {"id": job["id"], "error": f"{type(error).__name__}: {error}"}
    text = body.decode("latin-1") if len(body) < 2048 else hashlib.sha256(body).hexdigest()
    return {"id": job["id"], "status": status, "headers": fields, "body": text}


if client == "requests":
    session = requests.Session()
else:
    session = httpx.Client(http2=client == "httpx-2", verify=False, timeout=20)
json.dump([perform(session, job) for job in json.load(sys.stdin)], sys.stdout)
