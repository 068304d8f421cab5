"""A person with a browser, and a program with an API, who do what a script in `steps/` says and write down how it went.

    python person.py prepare PROJECT                                in the project's folder: its tables and its people
    python person.py steps PROJECT ADDRESS MAILS [--gateway [--follows]]    prints one JSON object a step

The browser behaves as browsers do where a gateway or Django looks: it keeps cookies, follows redirects, fills in the
forms that it finds, and sends Origin, Referer and Sec-Fetch headers. MAILS is the file with the service's standard output.
"""

import http.client
import importlib
import json
import re
import secrets
import subprocess
import sys
import time
from email.utils import parsedate_to_datetime
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urljoin, urlsplit

# The first pixel of all uploads: a GIF of one transparent point.
PIXEL = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")


class Answer:
    """What came back in the end, and on which page that was."""

    def __init__(self, status, place, body, headers=(), hops=()):
        self.status, self.place, self.headers, self.hops = status, place, list(headers), list(hops)
        self.body = body

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    @property
    def json(self):
        return json.loads(self.body)

    def header(self, name):
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def shows(self, text):
        """Whether the text stands on the page, whatever its markup and line breaks."""
        plain = re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", self.text)))
        return text in plain or text in unescape(self.text)


class Forms(HTMLParser):
    """The forms of a page: where they go, and their fields as they stand."""

    def __init__(self, page):
        super().__init__()
        self.forms, self.select, self.textarea = [], None, None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        if tag == "form":
            self.forms.append({"action": a.get("action") or "", "method": (a.get("method") or "get").lower(),
                               "id": a.get("id"), "fields": [], "files": [], "buttons": []})
        if not self.forms or "disabled" in a:
            return
        form, name = self.forms[-1], a.get("name")
        if tag == "input" and name:
            kind = (a.get("type") or "text").lower()
            if kind == "file":
                form["files"].append(name)
            elif kind in ("submit", "image", "button"):
                form["buttons"].append((name, a.get("value") or ""))
            elif kind not in ("checkbox", "radio"):
                form["fields"].append((name, a.get("value") or ""))
            elif "checked" in a:
                form["fields"].append((name, a.get("value") or "on"))
            else:
                form["fields"].append((name, None))
        elif tag == "button" and name:
            form["buttons"].append((name, a.get("value") or ""))
        elif tag == "select" and name:
            self.select = {"name": name, "values": [], "first": None, "multiple": "multiple" in a}
        elif tag == "option" and self.select is not None:
            value = a.get("value") or ""
            if self.select["first"] is None:
                self.select["first"] = value
            if "selected" in a:
                self.select["values"].append(value)
        elif tag == "textarea" and name:
            self.textarea = [name, ""]

    def handle_endtag(self, tag):
        if tag == "select" and self.select is not None:
            values, chosen = self.select["values"], self.select
            if not values and not chosen["multiple"] and chosen["first"] is not None:
                values = [chosen["first"]]
            self.forms[-1]["fields"] += [(chosen["name"], value) for value in values] or [(chosen["name"], None)]
            self.select = None
        elif tag == "textarea" and self.textarea is not None:
            self.forms[-1]["fields"].append(tuple(self.textarea))
            self.textarea = None

    def handle_data(self, data):
        if self.textarea is not None:
            self.textarea[1] += data[1:] if not self.textarea[1] and data.startswith("\n") else data


class CannotGoOn(Exception):
    """What the person looked for is not there."""


class Browser:
    """One browser with its cookies."""

    def __init__(self, address):
        self.address = address
        port = address.rsplit(":", 1)[1]
        # `localhost` is what a new project's ALLOWED_HOSTS let in, and what browsers take Secure cookies from.
        self.host = f"localhost:{port}"
        self.origin = f"http://{self.host}"
        self.cookies = {}
        self.page = None

    def send(self, method, target, body=b"", headers=()):
        """One request and its answer, as they are."""
        connection = http.client.HTTPConnection(self.address, timeout=60)
        try:
            connection.putrequest(method, quote(target, safe="/?&=%:+,;@!$'()*~-._#[]"), skip_host=True,
                                  skip_accept_encoding=True)
            for name, value in [("Host", self.host), *headers, ("Connection", "close")]:
                connection.putheader(name, value)
            if body or method not in ("GET", "HEAD"):
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def request(self, method, target, body=b"", kind=None, extra=(), navigate=True):
        """One request of the browser: with its cookies, which the answer may change."""
        headers = [("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36")]
        came_from = self.page or "/"
        headers.append(("Accept", "text/html,application/xhtml+xml,*/*;q=0.8" if navigate else "application/json"))
        headers.append(("Sec-Fetch-Site", "same-origin"))
        headers.append(("Sec-Fetch-Mode", "navigate" if navigate else "cors"))
        headers.append(("Sec-Fetch-Dest", "document" if navigate else "empty"))
        headers.append(("Referer", self.origin + came_from))
        if method not in ("GET", "HEAD"):
            headers.append(("Origin", self.origin))
        if kind:
            headers.append(("Content-Type", kind))
        if self.cookies:
            headers.append(("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items())))
        status, answered, content = self.send(method, target, body, headers + list(extra))
        for name, value in answered:
            if name.lower() == "set-cookie":
                self.keep(value)
        return Answer(status, target, content, answered)

    def keep(self, line):
        """Obeys a Set-Cookie."""
        pair, *attributes = line.split(";")
        name, _, value = pair.strip().partition("=")
        gone = False
        for attribute in attributes:
            key, _, said = attribute.strip().partition("=")
            if key.lower() == "max-age":
                gone = int(said) <= 0
                break
            if key.lower() == "expires":
                gone = parsedate_to_datetime(said).timestamp() < time.time()
        if gone:
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value

    def go(self, method, target, body=b"", kind=None):
        """A navigation: follows redirects, and stays on the page at which they end."""
        hops = []
        for _ in range(12):
            answer = self.request(method, target, body, kind)
            where = answer.header("Location")
            if answer.status not in (301, 302, 303, 307, 308) or where is None:
                answer.hops = hops
                self.page = target
                return answer
            hops.append((answer.status, target))
            there = urlsplit(urljoin(self.origin + target, where))
            if there.netloc != self.host:
                return Answer(answer.status, f"away to {there.scheme}://{there.netloc}{there.path}", b"", answer.headers)
            target = (there.path or "/") + (f"?{there.query}" if there.query else "")
            if answer.status not in (307, 308) and method != "HEAD":
                method, body, kind = "GET", b"", None
        return Answer(answer.status, "in a loop of redirects", b"", hops=hops)

    def open(self, target):
        return self.go("GET", target)

    def submit(self, answer, fields, files=(), button=None, to=""):
        """Fills in the form of a page that has all these fields and goes there, and sends it."""
        wanted = set(fields) | {name for name, *_ in files}
        forms = Forms(answer.text).forms
        for form in forms:
            names = {name for name, _ in form["fields"]} | set(form["files"])
            pressed = button is None or button in [name for name, _ in form["buttons"]]
            if wanted <= names and pressed and form["action"].endswith(to):
                break
        else:
            raise CannotGoOn(f"no form with {', '.join(sorted(wanted)) or button or to} on {place(answer)} ({answer.status})")
        pairs = [(name, value) for name, value in form["fields"] if name not in fields and value is not None]
        for name, value in fields.items():
            pairs += [(name, one) for one in (value if isinstance(value, list) else [value])]
        pairs += [(name, value) for name, value in form["buttons"] if name == button][:1]
        page = self.page or "/"
        there = urlsplit(urljoin(self.origin + page, form["action"] or page))
        target = there.path + (f"?{there.query}" if there.query else "")
        if form["method"] == "get":
            return self.open(f"{there.path}?{urlencode(pairs)}")
        if form["files"]:
            kind, body = multipart(pairs, files)
        else:
            kind, body = "application/x-www-form-urlencoded", urlencode(pairs).encode()
        return self.go("POST", target, body, kind)

    def press(self, answer, target, fields=(), files=()):
        """A button whose script posts to the address that the page names, with Django's CSRF token as a field."""
        if target not in answer.text:
            raise CannotGoOn(f"nothing for {target} on {place(answer)} ({answer.status})")
        pairs = [("csrfmiddlewaretoken", self.cookies.get("csrftoken", "")), *dict(fields).items()]
        if files:
            kind, body = multipart(pairs, files)
        else:
            kind, body = "application/x-www-form-urlencoded", urlencode(pairs).encode()
        return self.go("POST", target, body, kind)

    def fetch(self, method, target, value=None, headers=()):
        """What a script of the page asks: JSON, with the browser's cookies and Django's CSRF token."""
        extra = list(headers)
        if "csrftoken" in self.cookies:
            extra.append(("X-CSRFToken", self.cookies["csrftoken"]))
        body = b"" if value is None else json.dumps(value).encode()
        return self.request(method, target, body, None if value is None else "application/json", extra, navigate=False)


class Program:
    """A program without cookies that speaks JSON."""

    def __init__(self, address):
        self.browser = Browser(address)

    def call(self, method, target, value=None, **headers):
        body = b"" if value is None else json.dumps(value).encode()
        said = [("Accept", "application/json")] + [(name.replace("_", "-"), text) for name, text in headers.items()]
        if value is not None:
            said.append(("Content-Type", "application/json"))
        status, answered, content = self.browser.send(method, target, body, said)
        return Answer(status, target, content, answered)


def multipart(pairs, files):
    boundary = "----" + secrets.token_hex(12)
    body = b""
    for name, value in pairs:
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    for name, filename, kind, content in files:
        body += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
            f"Content-Type: {kind}\r\n\r\n"
        ).encode() + content + b"\r\n"
    return f"multipart/form-data; boundary={boundary}", body + f"--{boundary}--\r\n".encode()


def place(answer):
    """Where an answer was seen, without what differs from run to run."""
    path, _, query = answer.place.partition("?")
    shown = [(name, value) for name, value in parse_qsl(query) if name == "next"]
    return path + ("?" + unquote(urlencode(shown)) if shown else "")


class Steps:
    """The steps so far, each printed when it is done."""

    def __init__(self, address, mails, gateway, follows=False):
        self.address, self.mails, self.gateway = address, Path(mails), gateway
        # Does the service sign people in?
        self.follows = follows
        self.read_up_to = 0

    def browser(self):
        return Browser(self.address)

    def program(self):
        return Program(self.address)

    def step(self, name):
        return Step(name)

    def at_the_gateway(self, user, password, page, sees):
        """Signs in at the gateway's own page, where there is one, and opens a page of the service."""
        with self.step("sign in at the gateway's page") as step:
            if not self.gateway:
                step.without_a_page("-", "there is no gateway")
                return
            me = self.password_at_the_gateway(user, password)
            answer = me.open(page)
            if self.follows:
                # The service signs people in, and whatever is given to the gateway opens nothing.
                step.without_a_page("-", "the gateway has no page, and takes no password")
                step.tell(answer.place.partition("?")[0] != page, f"{page} stays closed", f"{page} IS OPEN")
                return
            step.ends(answer, sees=sees)

    def password_at_the_gateway(self, user, password):
        """A browser that gave name and password to the gateway's page; where the service signs people in, to where that
        page would be, as a script and as a form."""
        me = self.browser()
        fields = {"username": user, "password": password}
        if self.follows:
            me.fetch("POST", "/login", fields)
            me.request("POST", "/login", urlencode(fields).encode(), "application/x-www-form-urlencoded")
        else:
            me.submit(me.open("/login"), fields)
        return me

    def mail(self, what=r"https?://\S+"):
        """The next mail that the service sent, in which this is found; what is found. Links lose their host."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            text = self.mails.read_text("utf-8", "replace")
            whole = text.rfind("-" * 79)
            new = re.sub(r"=\n", "", text[self.read_up_to : whole])
            found = re.search(what, new)
            if found:
                self.read_up_to = whole
                link = found.group(found.lastindex or 0)
                return re.sub(r"^https?://[^/]+", "", link)
            time.sleep(0.02)
        raise CannotGoOn("no such mail came")


class Step:
    """One step: a line, with the status of its last answer and where and what it shows."""

    def __init__(self, name):
        self.name, self.status, self.outcome, self.fine = name, "-", [], True

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _trace):
        if isinstance(error, Exception):
            self.status, self.fine = "!", False
            self.outcome = [f"cannot: {error}" if isinstance(error, CannotGoOn) else f"cannot: {kind.__name__} {error}"]
        done = {"step": self.name, "status": str(self.status), "outcome": ", ".join(self.outcome), "fine": self.fine}
        print(json.dumps(done), flush=True)
        return isinstance(error, Exception)

    def without_a_page(self, status, outcome):
        self.status, self.outcome = status, [outcome]

    def tell(self, right, text, otherwise):
        self.outcome.append(text if right else otherwise)
        self.fine &= right

    def note(self, text):
        self.outcome.append(text)

    def ends(self, answer, sees=(), misses=(), quiet=False):
        """How the step ended. `sees` must be on the page and `misses` must not, or the outcome says so in capitals
        and the step is not fine."""
        self.status = answer.status
        self.outcome = [] if quiet else [place(answer)]
        for text in [sees] if isinstance(sees, str) else sees:
            self.tell(answer.shows(text), f"shows '{text}'", f"DOES NOT SHOW '{text}'")
        for text in [misses] if isinstance(misses, str) else misses:
            self.tell(not answer.shows(text), f"no '{text}'", f"SHOWS '{text}'")
        return answer

    def says(self, answer, *keys, **values):
        """How a call of a program ended: the names of what it was given, and what these values are."""
        self.status = answer.status
        try:
            value = answer.json
        except ValueError:
            value = None
        if isinstance(value, dict):
            self.outcome = [answer.place, "{" + ", ".join(sorted(value)) + "}"]
        else:
            self.outcome = [answer.place, (answer.text[:60] if value is None else json.dumps(value)[:60]) or "empty"]
        for key in keys:
            if not (isinstance(value, dict) and key in value):
                self.tell(False, "", f"HAS NO {key}")
        for key, wanted in values.items():
            is_now = value.get(key) if isinstance(value, dict) else None
            self.tell(is_now == wanted, f"{key} is {is_now}", f"{key} IS {is_now}, NOT {wanted}")
        return answer


def main():
    what, project, *rest = sys.argv[1:]
    script = importlib.import_module(f"steps.{project}")
    if what == "prepare":
        manage = [sys.executable, "manage.py"]
        subprocess.run([*manage, "migrate", "-v", "0"], check=True)
        subprocess.run([*manage, "shell", "-v", "0", "-c", script.PREPARE], check=True)
    else:
        script.steps(Steps(rest[0], rest[1], "--gateway" in rest, "--follows" in rest))


if __name__ == "__main__":
    main()
