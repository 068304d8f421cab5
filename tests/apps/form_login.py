"""An application with a login form that does what tests ask of it, with nothing but Python's standard library.

Prints its address, then serves. Where the applications of the world differ, a test chooses: `POST /control` with a JSON
object sets `status` (of the answer to a sign-in; 0: as usual), `delay`, `json`, `huge`. `GET /seen` is what it was sent.
"""

import html
import json
import secrets
import sys
import threading
import time
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

USERS = {
    "kim": ("7", "correct horse", []),
    "lee": ("8", "battery staple", []),
    "ada": ("9", "analytical", ["staff", "editors"]),
}

sessions = {}
control = {"status": 0, "delay": 0, "huge": False}
seen = []
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body="", headers=(), kind="text/html; charset=utf-8"):
        body = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def as_json(self, status, value, headers=()):
        self.answer(status, json.dumps(value), headers, "application/json")

    def read(self):
        self.raw = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        cookies = SimpleCookie(self.headers.get("Cookie", ""))
        self.sid = cookies["sid"].value if "sid" in cookies else None
        self.csrf = cookies["csrf"].value if "csrf" in cookies else None
        self.user = sessions.get(self.sid)
        path = urlsplit(self.path).path
        with lock:
            if not path.startswith(("/seen", "/control")):
                headers = {name.lower(): value for name, value in self.headers.items()}
                seen.append({"method": self.command, "path": self.path, "headers": headers, "body": self.raw})
        return path

    def begin(self, user):
        sid = secrets.token_urlsafe(16)
        with lock:
            sessions[sid] = user
        return ("Set-Cookie", f"sid={sid}; Path=/; HttpOnly; SameSite=Strict; Secure")

    def do_GET(self):
        path = self.read()
        if path == "/seen":
            with lock:
                return self.as_json(200, {"seen": seen, "sessions": sessions})
        if path == "/login":
            token = secrets.token_urlsafe(8) + "+&"
            page = f'<form><input type=hidden name="tok" value="{html.escape(token)}"><input type=password name=p></form>'
            return self.answer(200, page, [("Set-Cookie", f"csrf={token.replace('&', '%26')}; Path=/")])
        if self.user is None:
            return self.answer(302, headers=[("Location", "/login?next=x")])
        if path == "/whoami":
            return self.as_json(200, {"user": self.user, "cookie": self.headers.get("Cookie", "")})
        if path == "/rotate":
            old = self.sid
            new = self.begin(self.user)
            with lock:
                sessions.pop(old, None)
            return self.as_json(200, {"user": self.user}, [new, ("Set-Cookie", "flash=hello; Path=/")])
        self.answer(404)

    def do_POST(self):
        path = self.read()
        if path == "/control":
            control.update(json.loads(self.raw))
            return self.answer(204)
        if path == "/logout":
            with lock:
                sessions.pop(self.sid, None)
            return self.answer(302, headers=[("Location", "/login")])
        if path == "/bye":
            with lock:
                sessions.pop(self.sid, None)
            gone = ("Set-Cookie", "sid=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
            return self.answer(302, headers=[("Location", "/"), gone])
        if path not in ("/login", "/api/login"):
            return self.answer(404)
        time.sleep(control["delay"])
        if control["status"]:
            return self.answer(control["status"], "trouble", [("Location", "/home")])
        if path == "/login":
            form = {name: values[-1] for name, values in parse_qs(self.raw, keep_blank_values=True).items()}
            if form.get("tok") is None or form["tok"].replace("&", "%26") != self.csrf:
                return self.answer(403, "csrf")
        else:
            form = json.loads(self.raw)
        user_id, password, groups = USERS.get(form.get("user"), (None, None, None))
        if user_id is None or password != form.get("pass"):
            if path == "/api/login":
                return self.as_json(401, {"error": "no"})
            return self.answer(200, "<form>Wrong name or password.</form>" + " " * (2 << 20 if control["huge"] else 0))
        session = self.begin(form["user"])
        if path == "/api/login":
            user = {"id": int(user_id), "login": form["user"], "roles": groups, "mail": form["user"] + "@app.example"}
            return self.as_json(200, {"user": user}, [session])
        self.answer(302, headers=[("Location", "/home"), session])


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(f"127.0.0.1:{server.server_address[1]}", flush=True)
server.serve_forever()
