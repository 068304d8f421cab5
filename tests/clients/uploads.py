"""Uploads of requests and httpx; prints one line of JSON: what each client was answered."""

import json
import sys
import warnings

import httpx
import requests

warnings.simplefilter("ignore")
secure, plain = sys.argv[1:]
MEGABYTE = b"u" * (1024 * 1024)


def parts(n):
    for _ in range(n):
        yield b"u" * 65536


def status(send):
    try:
        return send().status_code
    except Exception as error:  # Whatever a client makes of a lost answer is the result.
        return f"{type(error).__name__}: {error}"


result = {"streamed": [], "early": {}}
with httpx.Client(http2=True, verify=False) as client:
    for _ in range(10):
        result["streamed"].append(status(lambda: client.post(secure + "/public/up", content=parts(2))))
with requests.Session() as session:
    for _ in range(10):
        result["streamed"].append(
            status(lambda: session.post(plain + "/public/up", data=parts(2), timeout=20))
        )
for name, base in (("https", secure), ("http", plain)):
    for kind, body in (("length", lambda: MEGABYTE), ("chunked", lambda: parts(16))):
        result["early"][f"requests {kind} {name}"] = status(
            lambda: requests.post(base + "/app/up", data=body(), verify=False, timeout=20)
        )
        result["early"][f"httpx {kind} {name}"] = status(
            lambda: httpx.post(base + "/app/up", content=body(), verify=False, timeout=20)
        )
with httpx.Client(http2=True, verify=False) as client:
    result["early"]["httpx http2"] = status(lambda: client.post(secure + "/app/up", content=parts(16)))
print(json.dumps(result))
