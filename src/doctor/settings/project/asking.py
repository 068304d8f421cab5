"""What strangers get: each page is asked for once, without a credential.

The project's own test client asks, in this process: GET and HEAD, and nothing that a search engine would not ask for. What
a view writes to a database is rolled back, and no mail leaves. Pages with a variable in their path are asked for with
what other pages link to and with what models say of themselves (`get_absolute_url`); where neither knows one, nothing is
known of that pattern, and it stays closed.

Of POST two things are known without trying it: a form that the service gives to strangers is theirs to send, and what
stands before a class's `post` (middleware, decorators, permissions) can be run without `post` itself.
"""

import logging
import signal
import time
from contextlib import ExitStack, contextmanager
from html.parser import HTMLParser
from urllib.parse import unquote as plain_text, urljoin, urlsplit as split_url

MOST_PAGES = 1500
MOST_PAGES_OF_A_PATTERN = 3
MOST_LOOSE_PAGES = 30
MOST_SECONDS = 60
MOST_SECONDS_OF_A_PAGE = 8
LARGEST_PAGE = 2_000_000
OBJECTS_OF_A_MODEL = 3


class TooSlow(BaseException):
    """Not an `Exception`, so that no view takes it for its own."""


class Page(HTMLParser):
    """The links and forms of a page."""

    LINKS = {"a": "href", "link": "href", "script": "src", "img": "src", "source": "src", "iframe": "src", "use": "href"}

    def __init__(self, where):
        super().__init__(convert_charrefs=True)
        self.where, self.links, self.forms = where, [], []
        self.is_open = False

    def handle_starttag(self, tag, attributes):
        said = {name: value or "" for name, value in attributes}
        if tag == "base" and said.get("href"):
            self.where = urljoin(self.where, said["href"])
        target = said.get(self.LINKS.get(tag, ""))
        if target:
            self.links.append(urljoin(self.where, target))
        if tag == "form":
            action = urljoin(self.where, said.get("action") or self.where)
            self.forms.append({"action": action, "method": said.get("method", "get").lower(), "inputs": []})
            self.is_open = True
        elif tag == "input" and self.is_open:
            self.forms[-1]["inputs"].append((said.get("type", "text").lower() or "text", said.get("name", "")))
        elif tag == "button" and self.forms and said.get("formaction"):
            self.forms.append({**self.forms[-1], "action": urljoin(self.where, said["formaction"])})

    def handle_endtag(self, tag):
        if tag == "form":
            self.is_open = False


def host_name():
    names = [name for name in settings.ALLOWED_HOSTS if name != "*"]
    first = names[0].lstrip(".") if names else "localhost"
    return first.rsplit(":", 1)[0] if first.count(":") == 1 else first


@contextmanager
def nothing_stays():
    """Each database's changes are taken back."""
    from django.db import connections, transaction

    with ExitStack() as stack:
        for alias in connections:
            block = transaction.atomic(using=alias)
            block._from_testcase = True
            try:
                stack.enter_context(block)
            except Exception:
                continue
            stack.callback(attempt_rollback, alias)
        yield


def attempt_rollback(alias):
    from django.db import transaction

    try:
        transaction.set_rollback(True, using=alias)
    except Exception:
        pass


def too_slow(*_):
    raise TooSlow()


class Stranger:
    """Asks, and remembers what it asked."""

    def __init__(self, entries):
        from django.shortcuts import resolve_url
        from django.test import Client

        self.host = host_name()
        # From somewhere else: what a service shows to its own machine is not for strangers.
        self.client = Client(
            raise_request_exception=False, SERVER_NAME=self.host, REMOTE_ADDR="203.0.113.7",
            HTTP_ACCEPT="text/html,*/*;q=0.8", HTTP_USER_AGENT="doorwarden doctor",
        )
        self.ends = time.monotonic() + MOST_SECONDS
        self.asked = {}
        self.by_view = {(id(entry["callback"]), entry["route"]): entry for entry in entries}
        self.login = split_url(attempt("LOGIN_URL", lambda: resolve_url(settings.LOGIN_URL), "")).path

    def is_over(self):
        return len(self.asked) >= MOST_PAGES or time.monotonic() > self.ends

    def ask(self, method, path):
        """Status, place and answer; nothing if it took too long."""
        self.client.cookies.clear()
        signal.signal(signal.SIGALRM, too_slow)
        signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS_OF_A_PAGE)
        try:
            with nothing_stays():
                return self.client.generic(method, path, secure=True)
        except TooSlow:
            return None
        except Exception:
            return None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def entry_at(self, path):
        """The pattern that takes a path."""
        from django.urls import Resolver404, resolve
        from django.utils import translation

        language = translation.get_language_from_path(path)
        try:
            with translation.override(language or settings.LANGUAGE_CODE):
                found = resolve(plain_text(path))
        except (Resolver404, ValueError):
            return None
        return self.by_view.get((id(found.func), found.route))

    def local(self, url):
        """The path of a URL of this service's, else nothing."""
        try:
            parts = split_url(url)
        except ValueError:
            return None
        if parts.scheme not in ("", "http", "https") or (parts.hostname or self.host) != self.host:
            return None
        return parts.path or "/"

    def asks_sign_in(self, location):
        """Does a redirect say where to come back to?"""
        from django.contrib.auth import REDIRECT_FIELD_NAME

        query = f"&{split_url(location).query}"
        return f"&{REDIRECT_FIELD_NAME}=" in query or "&next=" in query

    def is_sign_in(self, location, path):
        """Does a redirect lead to a sign-in, or to who knows where?"""
        target = self.local(urljoin(f"https://{self.host}{path}", location))
        if target is None or target == self.login:
            return True
        entry = self.entry_at(target)
        return entry is not None and entry["kind"] in ("login", "admin")

    def verdict(self, response, path, entry):
        """What a stranger gets: `served`, or in a word why not; and how it is told."""
        status = response.status_code
        if 200 <= status < 300 or status == 304:
            return "served", str(status)
        if 300 <= status < 400:
            location = response.get("Location", "")
            told = f"{status} to {location}"
            if self.asks_sign_in(location):
                return "asks-sign-in", told
            if self.is_sign_in(location, path):
                return "sign-in", told
            target = self.local(urljoin(f"https://{self.host}{path}", location)) or ""
            from django.views.generic import RedirectView

            cls = class_of(entry["callback"]) if entry else None
            moves = status in (301, 308) or (cls and issubclass(cls, RedirectView))
            return ("served" if moves or target.startswith(path) else "sent-away"), told
        return {401: "refused", 403: "refused", 404: "absent", 405: "method"}.get(status, "broken"), str(status)


def candidates_of(entries):
    """The paths that are known without asking, then those of objects."""
    for entry in entries:
        for shape in entry["shapes"]:
            if "*" not in shape["path"] and (not shape["rest"] or shape["path"] == "/"):
                yield shape["path"]
    from django.apps import apps as installed

    for model in installed.get_models():
        if not hasattr(model, "get_absolute_url"):
            continue
        try:
            with nothing_stays():
                urls = [one.get_absolute_url() for one in model._default_manager.order_by("pk")[:OBJECTS_OF_A_MODEL]]
        except Exception:
            continue
        yield from (url for url in urls if isinstance(url, str) and url.startswith("/"))


def unreachable():
    """Why no page should be asked for: to connect to an SQLite file that is not there makes it."""
    from django.db import connections

    for alias in connections:
        entry = settings.DATABASES.get(alias) or {}
        engine, name = str(entry.get("ENGINE") or ""), str(entry.get("NAME") or "")
        is_file = "sqlite" in engine or "spatialite" in engine
        if is_file and name and ":memory:" not in name and not name.startswith("file:") and not os.path.exists(name):
            return f"the database {alias} is not there"
    alias = "default"
    if not str((settings.DATABASES.get(alias) or {}).get("ENGINE") or "dummy").endswith("dummy"):
        try:
            connections[alias].ensure_connection()
        except Exception as error:
            return f"the database {alias} cannot be opened ({type(error).__name__})"
    return None


def ask_all(stranger, entries):
    """Finds out what strangers are served; the entries learn it."""
    why = unreachable()
    if why:
        problems.append(f"what strangers get: {why}")
        return
    logging.disable(logging.CRITICAL)
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    queue, seen, forms = [], set(), []

    def want(url):
        path = stranger.local(url)
        if path and path not in seen and not path.startswith(tuple(FILES)):
            seen.add(path)
            queue.append(path)

    FILES = [url for url in (settings.STATIC_URL, settings.MEDIA_URL) if url and url.startswith("/") and url != "/"]
    for path in [*candidates_of(entries), "/robots.txt", "/favicon.ico"]:
        want(path)
    at = loose = 0
    while at < len(queue) and not stranger.is_over():
        path = queue[at]
        at += 1
        entry = stranger.entry_at(path)
        is_fixed = entry is not None and any(
            shape["path"] == path and not shape["rest"] and "*" not in path for shape in entry["shapes"]
        )
        if entry is None:
            if loose < MOST_LOOSE_PAGES:
                loose += 1
                entries += without_pattern(stranger, path)
            continue
        if entry["kind"] in NOT_ASKED:
            continue
        if not is_fixed and sum(not one["fixed"] for one in entry["answers"]) >= MOST_PAGES_OF_A_PATTERN:
            continue
        response = stranger.ask("GET", path)
        stranger.asked[path] = entry
        if response is None:
            entry["answers"].append({"path": path, "fixed": is_fixed, "verdict": "broken", "told": "no answer"})
            continue
        said, told = stranger.verdict(response, path, entry)
        entry["answers"].append({"path": path, "fixed": is_fixed, "verdict": said, "told": told})
        if 300 <= response.status_code < 400:
            want(urljoin(f"https://{stranger.host}{path}", response.get("Location", "")))
        if said != "served":
            continue
        if "HEAD" not in entry["heads"]:
            head = stranger.ask("HEAD", path)
            entry["heads"].append("HEAD" if head is not None and head.status_code == response.status_code else "")
        page = read_page(response, f"https://{stranger.host}{path}")
        if response.streaming:
            response.close()
        if page:
            for link in page.links:
                want(link)
            for form in page.forms:
                if form["method"] == "get":
                    want(form["action"])
                elif form["method"] == "post":
                    forms.append((path, form))
    for path, form in forms:
        offered_form(stranger, path, form)
    for entry in entries:
        if not stranger.is_over():
            attempt(entry["route"], lambda: checks_of(stranger, entry))
    for entry in entries:
        if entry["callback"] and (entry["kind"] or any(one["verdict"] == "served" for one in entry["answers"])):
            find_redirects(stranger, entry)
    if at < len(queue):
        problems.append(f"{len(queue) - at} pages were not asked for: it took too long")


# Where a request would sign out, and what a gateway answers itself or leaves open by its class.
NOT_ASKED = ("admin", "logout", "dj-rest-auth-logout", "knox-logout", "knox-logout-all", "drf-token-destroy", "files")


def without_pattern(stranger, path):
    """What a middleware hands out where no view is: a file of the site's root, say."""
    response = stranger.ask("GET", path)
    if response is None or response.status_code != 200:
        return []
    shape = {"path": path, "rest": False, "total": True, "stray": False}
    entry = entry_of(path, None, "", [], False, "a middleware", [shape])
    entry["answers"].append({"path": path, "fixed": True, "verdict": "served", "told": "200"})
    stranger.asked[path] = entry
    return [entry]


def read_page(response, where):
    if getattr(response, "streaming", False) or "html" not in response.get("Content-Type", ""):
        return None
    if len(response.content) > LARGEST_PAGE:
        return None
    page = Page(where)
    try:
        page.feed(response.content.decode(response.charset or "utf-8", "replace"))
    except Exception:
        return None
    return page


def find_redirects(stranger, entry):
    """The paths that Django sends to themselves with a final slash (APPEND_SLASH)."""
    for shape in entry["shapes"]:
        path = shape["path"]
        if shape["rest"] or "*" in path or not path.endswith("/") or path == "/" or stranger.is_over():
            continue
        response = stranger.ask("GET", path[:-1])
        if response is not None and response.status_code in (301, 308):
            target = stranger.local(urljoin(f"https://{stranger.host}{path[:-1]}", response.get("Location", "")))
            entry["redirects"] += [path] if target == path else []


def offered_form(stranger, path, form):
    """A form that the service gives to strangers: they may send it."""
    action = stranger.local(form["action"])
    entry = stranger.entry_at(action) if action else None
    if entry is None:
        return
    entry["offered"].setdefault(action, path)
    passwords = [name for kind, name in form["inputs"] if kind == "password"]
    if len(passwords) == 1:
        before = [name for kind, name in form["inputs"] if kind in ("text", "email", "tel") and name]
        entry["form"] = entry["form"] or {"username": before[0] if before else "", "password": passwords[0]}


def checks_of(stranger, entry):
    """Whether what stands before a class's `post` lets a stranger through: asked with `post` itself taken out.

    REST framework asks its permissions before; a page of Django's that gives itself to strangers asks whatever it asks in
    `dispatch` and around it.
    """
    from django.views.generic import View

    cls = class_of(entry["callback"])
    api = offered("rest_framework.views.APIView")
    is_api = bool(cls and api and issubclass(cls, api))
    actions = getattr(entry["callback"], "actions", None) or {}
    name = actions.get("post") if actions else "post"
    answered = [one["path"] for one in entry["answers"] if is_api or one["verdict"] == "served"]
    fixed = [shape["path"] for shape in entry["shapes"] if "*" not in shape["path"] and not shape["rest"]] if is_api else []
    path = next(iter(fixed + answered), None)
    if not (cls and issubclass(cls, View)) or not name or path is None or entry["kind"] in NOT_ASKED:
        return
    before = getattr(cls, name, None)
    # A decorator around `post` would be taken out with it.
    if before is None or hasattr(before, "__wrapped__"):
        return
    reached = []

    def handler(*_, **__):
        from django.http import HttpResponse

        reached.append(True)
        return HttpResponse(status=204)

    own = vars(cls).get(name)
    handler.__dict__.update(getattr(before, "__dict__", {}))
    setattr(cls, name, handler)
    try:
        response = stranger.ask("POST", path)
    finally:
        if own is not None:
            setattr(cls, name, own)
        else:
            delattr(cls, name)
    if reached and response is not None and response.status_code == 204:
        entry["admitted"].append(path)
