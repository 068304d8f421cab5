"""Authentication classes of REST framework, and what the source of others seems to say."""

import ast
import inspect
import textwrap


HEADERS = ("www_authenticate_realm", "media_type", "authenticate_header")
# Each with what it may have otherwise and still decides the same.
CLASSES = (
    ("rest_framework_simplejwt.authentication.JWTAuthentication", "simplejwt", HEADERS),
    # The same tokens, in a cookie too.
    ("dj_rest_auth.jwt_auth.JWTCookieAuthentication", "simplejwt", HEADERS + ("enforce_csrf",)),
    ("rest_framework.authentication.TokenAuthentication", "drf-token", HEADERS + ("keyword",)),
    # Its `authenticate_header` is the word before the token.
    ("knox.auth.TokenAuthentication", "knox", ("www_authenticate_realm", "media_type")),
    ("rest_framework.authentication.BasicAuthentication", "basic", HEADERS),
    # Who sends a session is decided by Django; what is asked besides, against other sites, is the gateway's too.
    ("rest_framework.authentication.SessionAuthentication", "session", HEADERS + ("enforce_csrf",)),
    ("rest_framework.authentication.RemoteUserAuthentication", "remote-user", HEADERS + ("header",)),
)


def is_packages_own(cls, base):
    """A variant of the same package's, like SimpleJWT's without a look at the table: it takes the same tokens."""
    return cls.__module__ == base.rsplit(".", 1)[0] and dotted(cls) != base


def described_class(cls):
    names = {dotted(base) for base in cls.__mro__}
    found = {"name": dotted(cls), "kind": "other", "header": "", "keyword": "", "custom": False, "changes": []}
    for base, kind, harmless in CLASSES:
        if base in names:
            found["kind"] = kind
            stock = next(one for one in cls.__mro__ if dotted(one) == base)
            found["changes"] = [] if is_packages_own(cls, base) else changes(cls, stock, harmless)
            found["custom"] = bool(found["changes"])
    if found["kind"] == "simplejwt":
        found["cookie"] = attempt(dotted(cls), lambda: jwt_cookie(cls), "")
    if found["kind"] == "drf-token":
        found["keyword"] = str(getattr(cls, "keyword", "Token"))
    if found["kind"] == "remote-user":
        found["header"] = str(getattr(cls, "header", "REMOTE_USER"))
    if found["kind"] == "other":
        found["hand_made"] = attempt(dotted(cls), lambda: hand_made(cls))
    return found


def hand_made(cls):
    """What the source of a class that calls `jwt.decode` seems to say. A guess, and told as one."""
    method = getattr(cls, "authenticate", None)
    method = inspect.unwrap(method) if method else None
    if method is None or not hasattr(method, "__globals__"):
        return None
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    scope, decoded = method.__globals__, None
    header = claim = key = ""
    algorithms, names = [], set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "decode":
            if getattr(scope.get(getattr(node.func.value, "id", "")), "__name__", "") == "jwt":
                decoded = node
        if isinstance(node, (ast.Call, ast.Subscript)):
            header = header or header_read(node)
    if decoded is None:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and node.value is decoded:
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    for node in ast.walk(tree):
        member = constant_read(node, names)
        claim = claim or member
    if len(decoded.args) > 1:
        key = evaluated(decoded.args[1], scope)
    for keyword in decoded.keywords:
        if keyword.arg == "algorithms":
            algorithms = evaluated(keyword.value, scope)
        if keyword.arg == "key":
            key = evaluated(keyword.value, scope)
    algorithms = [algorithms] if isinstance(algorithms, str) else list(algorithms or [])
    return {
        "header": header,
        "claim": claim,
        "key": key if isinstance(key, str) else "",
        "algorithms": [str(one) for one in algorithms],
    }


def header_read(node):
    """`request.headers.get("x")`, `request.META["HTTP_X"]` and the like."""
    where, argument = None, None
    if isinstance(node, ast.Subscript):
        where, argument = node.value, node.slice
    elif isinstance(node.func, ast.Attribute) and node.func.attr == "get" and node.args:
        where, argument = node.func.value, node.args[0]
    if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str):
        return ""
    if getattr(where, "attr", "") == "headers":
        return argument.value
    if getattr(where, "attr", "") == "META" and argument.value.startswith("HTTP_"):
        return http_header(argument.value)
    return ""


def constant_read(node, names):
    if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") in names:
        return node.slice.value if isinstance(node.slice, ast.Constant) else ""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
        if getattr(node.func.value, "id", "") in names and node.args and isinstance(node.args[0], ast.Constant):
            return str(node.args[0].value)
    return ""


def evaluated(node, scope):
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, (ast.List, ast.Tuple)):
        return [evaluated(one, scope) for one in node.elts]
    if isinstance(node, ast.Name):
        return scope.get(node.id, "")
    if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "settings":
        return getattr(settings, node.attr, "")
    return ""


def challenge_of(classes):
    """What a view with these classes sends with 401; without one it refuses with 403."""
    from django.http import HttpRequest

    first = next(iter(classes), None)
    return attempt("authenticate_header", lambda: str(first().authenticate_header(HttpRequest()) or ""), "") if first else ""


def rest_framework():
    try:
        from rest_framework.settings import api_settings
    except ImportError:
        return None
    written = getattr(settings, "REST_FRAMEWORK", {}) or {}
    return {
        "written": "DEFAULT_AUTHENTICATION_CLASSES" in written,
        "classes": [described_class(cls) for cls in api_settings.DEFAULT_AUTHENTICATION_CLASSES],
        "challenge": challenge_of(api_settings.DEFAULT_AUTHENTICATION_CLASSES),
    }
