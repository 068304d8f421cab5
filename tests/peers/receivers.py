"""What the gateway tells people and other systems, as real programs receive it.

receivers.py smtp PORT FILE [--tls starttls|implicit --cert CERT --key KEY] [--user NAME --password PASSWORD]
receivers.py http PORT FILE [--secret WHSEC]

Each message is one JSON line in FILE. SMTP is aiosmtpd; a webhook is verified with the package `standardwebhooks`.
Mailboxes: `gone@` does not exist (550), `later@` is told to come again (451). Paths: `/hook`, `/events`, `/redirect`
(to /hook), `/hang` (accepts and never answers), `/gone` (410), `/fail` (500).
"""

import argparse
import asyncio
import email
import email.policy
import json
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOCK = threading.Lock()


def note(path, line):
    with LOCK, open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def smtp(options):
    from aiosmtpd.smtp import SMTP, AuthResult

    class Handler:
        async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
            if address.startswith("gone@"):
                return "550 5.1.1 No such mailbox"
            if address.startswith("later@"):
                return "451 4.3.0 Come again"
            envelope.rcpt_tos.append(address)
            return "250 OK"

        async def handle_DATA(self, server, session, envelope):
            message = email.message_from_bytes(envelope.content, policy=email.policy.default)
            part = lambda kind: message.get_body((kind,)).get_content()
            note(
                options.file,
                {
                    "from": envelope.mail_from,
                    "to": envelope.rcpt_tos,
                    "headers": {name: str(value) for name, value in message.items()},
                    "text": part("plain"),
                    "html": part("html"),
                    "tls": session.ssl is not None,
                    "authenticated": bool(session.authenticated),
                },
            )
            return "250 OK"

    def authenticator(server, session, envelope, mechanism, data):
        good = (data.login.decode(), data.password.decode()) == (options.user, options.password)
        return AuthResult(success=good)

    context = None
    if options.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.cert, options.key)
    starttls = options.tls == "starttls"

    def server():
        return SMTP(
            Handler(),
            tls_context=context if starttls else None,
            require_starttls=starttls,
            auth_required=options.user is not None,
            auth_require_tls=starttls,
            authenticator=authenticator if options.user else None,
            enable_SMTPUTF8=True,
        )

    async def run():
        loop = asyncio.get_running_loop()
        implicit = context if options.tls == "implicit" else None
        listening = await loop.create_server(server, "127.0.0.1", options.port, ssl=implicit)
        await listening.serve_forever()

    asyncio.run(run())


def http(options):
    from standardwebhooks import Webhook, WebhookVerificationError

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            line = {
                "path": self.path,
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "body": body.decode(),
            }
            if options.secret:
                try:
                    line["verified"] = Webhook(options.secret).verify(body, dict(self.headers))
                except WebhookVerificationError as error:
                    line["refused"] = str(error)
            note(options.file, line)
            if self.path == "/hang":
                threading.Event().wait()
            status = {"/redirect": 302, "/gone": 410, "/fail": 500, "/events": 202}.get(self.path, 204)
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/hook")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    Server(("127.0.0.1", options.port), Handler).serve_forever()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["smtp", "http"])
    parser.add_argument("port", type=int)
    parser.add_argument("file")
    for name in ["tls", "cert", "key", "user", "password", "secret"]:
        parser.add_argument(f"--{name}")
    options = parser.parse_args()
    {"smtp": smtp, "http": http}[options.kind](options)


if __name__ == "__main__":
    sys.exit(main())
