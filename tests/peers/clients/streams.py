"""What must arrive before its answer is whole, and WebSockets: `streams.py` reads jobs from standard input, as JSON, and prints
what became of each. A job's server holds the second half of its answer back until the first has been received and
`/release` is asked for: something on the way that waits for the whole answer waits for ever."""

import json
import ssl
import sys

import httpx
from websockets.sync.client import connect

anyone = ssl.create_default_context()
anyone.check_hostname = False
anyone.verify_mode = ssl.CERT_NONE


def events(job, session):
    seen = []
    with session.stream("GET", f"{job['url']}/events?id={job['mark']}") as answer:
        lines = (line for line in answer.iter_lines() if line)
        seen.append(next(lines))
        session.get(f"{job['url']}/release?id={job['mark']}")
        seen.extend(lines)
    return [answer.status_code, answer.headers["content-type"].split(";")[0], *seen]


def poll(job, session):
    # The head of the answer does not come before the release.
    import threading

    done = []
    with httpx.Client(http2=job["http2"], verify=False, timeout=20) as other:
        waiting = threading.Thread(
            target=lambda: done.append(other.get(f"{job['url']}/poll?id={job['mark']}"))
        )
        waiting.start()
        waiting.join(job["silence"])
        early = bool(done)
        session.get(f"{job['url']}/release?id={job['mark']}")
        waiting.join()
    return [early, done[0].status_code, done[0].text]


def websocket(job, session):
    url = job["url"].replace("http", "ws", 1) + "/ws"
    context = anyone if url.startswith("wss") else None
    echoed = []
    with connect(url, ssl=context, compression=None) as socket:
        for message in ("hello", "한글", b"\x00\x01", "x" * 60_000):
            socket.send(message)
            echoed.append(socket.recv(timeout=20) == message)
    return [*echoed, socket.close_code]


def run(job):
    with httpx.Client(http2=job["http2"], verify=False, timeout=20) as session:
        try:
            return {"events": events, "poll": poll, "websocket": websocket}[job["kind"]](job, session)
        except Exception as error:  # What a client cannot finish is a result too.
            return [f"{type(error).__name__}: {error}"]


json.dump([run(job) for job in json.load(sys.stdin)], sys.stdout)
