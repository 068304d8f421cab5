"""Prints a Django project's effective settings as one JSON object.

Run by `doorwarden doctor --settings` with the project's own Python. It imports the project, asks Django and the
installed packages what is in effect, and changes nothing: no database is opened and no view is called. The object holds
secrets, so it goes to the pipe that standard output was, and whatever the project itself prints goes to standard error.
"""

import sys

# A program that is an argument looks for modules in whatever folder it is run from, and before all others.
sys.path[:] = [entry for entry in sys.path if entry]

import ast
import inspect
import json
import os
import runpy
import textwrap
from datetime import timedelta
from urllib.parse import unquote, urlsplit

OUT = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
problems = []


def quit_with(text):
    print(text, file=sys.stderr)
    sys.exit(3)


def attempt(what, read, default=None):
    """Some part that cannot be read is told, and the rest goes on."""
    try:
        return read()
    except Exception as error:
        problems.append(f"{what}: {type(error).__name__}: {error}")
        return default


# --- From a path to a project that runs ------------------------------------------------------------------------------


def set_up(path):
    try:
        import django
        from django.core import management
    except ImportError as error:
        quit_with(f"{sys.executable} cannot import Django ({error})")
    manage = path if os.path.basename(path) == "manage.py" else None
    if manage is None:
        folder, names = os.path.dirname(path), [os.path.basename(path)[:-3]]
        while not os.path.exists(os.path.join(folder, "manage.py")):
            if os.path.dirname(folder) == folder:
                break
            names.insert(0, os.path.basename(folder))
            folder = os.path.dirname(folder)
        else:
            manage = os.path.join(folder, "manage.py")
        if manage is None:
            # No manage.py above it: a package ends where __init__.py does.
            folder, names = os.path.dirname(path), [os.path.basename(path)[:-3]]
            while os.path.exists(os.path.join(folder, "__init__.py")):
                names.insert(0, os.path.basename(folder))
                folder = os.path.dirname(folder)
        os.environ["DJANGO_SETTINGS_MODULE"] = ".".join(names)
    root = os.path.dirname(manage) if manage else folder
    os.chdir(root)
    sys.path[:] = [root] + [entry for entry in sys.path if entry not in ("", root)]
    if manage:
        # It says which settings are the project's, and loads an environment file if that is how things are done there.
        management.execute_from_command_line = lambda argv=None: None
        sys.argv = [manage, "check"]
        runpy.run_path(manage, run_name="__main__")
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        quit_with(f"{path} sets no DJANGO_SETTINGS_MODULE")
    django.setup()
    return root


# --- Small readers ---------------------------------------------------------------------------------------------------


def dotted(thing):
    return f"{thing.__module__}.{thing.__qualname__}"


def seconds(value):
    return int(value.total_seconds()) if isinstance(value, timedelta) else int(value or 0)


def text(value):
    return value.decode("utf-8") if isinstance(value, bytes) else str(value or "")


def listed(value):
    if value is None or value == "":
        return []
    return [str(one) for one in (value if isinstance(value, (list, tuple, set)) else [value])]


def column(model, name):
    try:
        field = model._meta.get_field(name)
    except Exception:
        return ""
    return field.column if getattr(field, "concrete", False) and field.column else ""


def database(alias):
    entry = settings.DATABASES[alias]
    options = entry.get("OPTIONS") or {}
    engine = str(entry.get("ENGINE", ""))
    kind = next((kind for word, kind in ENGINES if word in engine.rsplit(".", 1)[-1] or word in engine), "")
    name = str(entry.get("NAME") or options.get("dbname") or options.get("database") or "")
    return {
        "alias": alias,
        "engine": engine,
        "kind": kind,
        "name": os.path.abspath(name) if kind == "sqlite" and name and not name.startswith("file:") else name,
        "host": str(entry.get("HOST") or ""),
        "port": str(entry.get("PORT") or ""),
        "user": str(entry.get("USER") or options.get("user") or ""),
        "password": text(entry.get("PASSWORD") or options.get("password") or options.get("passwd")),
        "socket": str(options.get("unix_socket") or ""),
        "sslmode": str(options.get("sslmode") or ""),
        "sslrootcert": str(options.get("sslrootcert") or (options.get("ssl") or {}).get("ca") or ""),
    }


ENGINES = (
    ("sqlite", "sqlite"),
    ("spatialite", "sqlite"),
    ("postgresql", "postgres"),
    ("postgis", "postgres"),
    ("mysql", "mysql"),
)


def cache(alias):
    entry = settings.CACHES.get(alias) or {}
    options = entry.get("OPTIONS") or {}
    location = entry.get("LOCATION") or ""
    location = str(location[0] if isinstance(location, (list, tuple)) and location else location)
    url = urlsplit(location)
    host = url.hostname or ""
    host = f"[{host}]" if ":" in host else host
    plain = f"{url.scheme}://{host}:{url.port or 6379}{url.path or '/0'}" if url.scheme in ("redis", "rediss") else ""
    from django.core.cache import caches

    made = attempt("CACHES", lambda: caches[alias])
    default = getattr(getattr(made, "key_func", None), "__name__", "") in ("default_key_func", "")
    return {
        "backend": str(entry.get("BACKEND", "")),
        "url": plain,
        "user": unquote(url.username or ""),
        "password": text(options.get("PASSWORD")) or unquote(url.password or ""),
        "prefix": str(getattr(made, "key_prefix", "") or ""),
        "version": int(getattr(made, "version", 1) or 1),
        "default_key_function": default,
        "servers": 1 if not isinstance(entry.get("LOCATION"), (list, tuple)) else len(entry["LOCATION"]),
    }


# --- Users, sessions, tokens -----------------------------------------------------------------------------------------


def user_model():
    from django.contrib.auth import get_user_model
    from django.db import router

    model = get_user_model()
    meta = model._meta
    groups = None
    try:
        field = meta.get_field("groups")
        groups = {
            "group_table": field.related_model._meta.db_table,
            "membership_table": field.remote_field.through._meta.db_table,
            "user_column": field.m2m_column_name(),
            "group_column": field.m2m_reverse_name(),
        }
    except Exception:
        pass
    return {
        "label": meta.label,
        "table": meta.db_table,
        "pk": meta.pk.name,
        "id": meta.pk.column or "",
        "username_field": model.USERNAME_FIELD,
        "username": column(model, model.USERNAME_FIELD),
        "password": column(model, "password"),
        "is_active": column(model, "is_active"),
        "is_staff": column(model, "is_staff"),
        "is_superuser": column(model, "is_superuser"),
        "email": column(model, getattr(model, "EMAIL_FIELD", "email") or "email"),
        "groups": groups,
        "database": router.db_for_read(model),
    }


def sessions():
    from importlib import import_module

    store = import_module(settings.SESSION_ENGINE).SessionStore
    engine = settings.SESSION_ENGINE
    built_in = engine.rsplit(".", 1)[-1] if engine.startswith("django.contrib.sessions.backends.") else ""
    table, alias = "", "default"
    if built_in in ("db", "cached_db"):
        from django.db import router

        model = store.get_model_class()
        table, alias = model._meta.db_table, router.db_for_write(model)
    uses_cache = built_in in ("cache", "cached_db")
    return {
        "middleware": any(name.endswith(".SessionMiddleware") for name in settings.MIDDLEWARE),
        "authentication_middleware": any(name.endswith(".AuthenticationMiddleware") for name in settings.MIDDLEWARE),
        "engine": built_in or engine,
        "built_in": bool(built_in),
        "cookie": settings.SESSION_COOKIE_NAME,
        "cookie_secure": bool(settings.SESSION_COOKIE_SECURE),
        "age": int(settings.SESSION_COOKIE_AGE),
        "serializer": settings.SESSION_SERIALIZER,
        "table": table,
        "database": alias,
        "cache": cache(settings.SESSION_CACHE_ALIAS) if uses_cache else None,
    }


def simplejwt():
    try:
        from rest_framework_simplejwt.settings import api_settings as jwt
    except ImportError:
        return None
    from django.utils.module_loading import import_string

    classes = []
    for one in jwt.AUTH_TOKEN_CLASSES:
        one = import_string(one) if isinstance(one, str) else one
        classes.append(str(getattr(one, "token_type", "")))
    serializer = str(getattr(jwt, "TOKEN_OBTAIN_SERIALIZER", ""))
    return {
        "algorithm": str(jwt.ALGORITHM),
        "signing_key": text(jwt.SIGNING_KEY),
        "verifying_key": text(getattr(jwt, "VERIFYING_KEY", "")),
        "jwk_url": str(getattr(jwt, "JWK_URL", "") or ""),
        "access_lifetime": seconds(jwt.ACCESS_TOKEN_LIFETIME),
        "refresh_lifetime": seconds(jwt.REFRESH_TOKEN_LIFETIME),
        "rotate": bool(jwt.ROTATE_REFRESH_TOKENS),
        "blacklist_after_rotation": bool(jwt.BLACKLIST_AFTER_ROTATION),
        "update_last_login": bool(getattr(jwt, "UPDATE_LAST_LOGIN", False)),
        "audience": listed(jwt.AUDIENCE),
        "issuer": str(jwt.ISSUER or ""),
        "leeway": seconds(getattr(jwt, "LEEWAY", 0)),
        "header": http_header(str(jwt.AUTH_HEADER_NAME)),
        "schemes": listed(jwt.AUTH_HEADER_TYPES),
        "user_id_field": str(jwt.USER_ID_FIELD),
        "user_id_claim": str(jwt.USER_ID_CLAIM),
        "token_type_claim": str(jwt.TOKEN_TYPE_CLAIM or ""),
        "jti_claim": str(jwt.JTI_CLAIM or ""),
        "token_types": classes,
        "check_revoke_token": bool(getattr(jwt, "CHECK_REVOKE_TOKEN", False)),
        "revoke_claim": str(getattr(jwt, "REVOKE_TOKEN_CLAIM", "")),
        "custom_obtain": serializer not in ("", "rest_framework_simplejwt.serializers.TokenObtainPairSerializer"),
        "blacklist": apps.is_installed("rest_framework_simplejwt.token_blacklist"),
    }


def table_of(app, model):
    try:
        return apps.get_model(app, model)._meta.db_table
    except LookupError:
        return ""


def http_header(meta):
    """`HTTP_X_ACCESS` as a client sends it."""
    words = meta.removeprefix("HTTP_").split("_")
    return "-".join(word.capitalize() for word in words)


# --- Authentication classes ------------------------------------------------------------------------------------------


def described_class(cls):
    names = {dotted(base) for base in cls.__mro__}
    found = {"name": dotted(cls), "kind": "other", "header": "", "keyword": "", "custom": False}
    for base, kind in (
        ("rest_framework_simplejwt.authentication.JWTAuthentication", "simplejwt"),
        ("rest_framework.authentication.TokenAuthentication", "drf-token"),
        ("rest_framework.authentication.BasicAuthentication", "basic"),
        ("rest_framework.authentication.SessionAuthentication", "session"),
        ("rest_framework.authentication.RemoteUserAuthentication", "remote-user"),
    ):
        if base in names:
            found["kind"] = kind
            found["custom"] = base != dotted(cls)
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


def rest_framework():
    try:
        from rest_framework.settings import api_settings
    except ImportError:
        return None
    written = getattr(settings, "REST_FRAMEWORK", {}) or {}
    return {
        "written": "DEFAULT_AUTHENTICATION_CLASSES" in written,
        "classes": [described_class(cls) for cls in api_settings.DEFAULT_AUTHENTICATION_CLASSES],
    }


def remote_user_middleware():
    from django.utils.module_loading import import_string

    found = []
    for name in settings.MIDDLEWARE:
        middleware = attempt(name, lambda: import_string(name))
        bases = {dotted(base) for base in getattr(middleware, "__mro__", ())}
        if "django.contrib.auth.middleware.RemoteUserMiddleware" in bases:
            found.append({
                "name": name,
                "header": str(middleware.header),
                "persistent": "django.contrib.auth.middleware.PersistentRemoteUserMiddleware" in bases,
            })
    return found


# --- Paths -----------------------------------------------------------------------------------------------------------

VIEWS = {
    "rest_framework_simplejwt.views.TokenObtainPairView": "simplejwt-obtain",
    "rest_framework_simplejwt.views.TokenRefreshView": "simplejwt-refresh",
    "rest_framework_simplejwt.views.TokenVerifyView": "simplejwt-verify",
    "rest_framework_simplejwt.views.TokenBlacklistView": "simplejwt-blacklist",
    "rest_framework_simplejwt.views.TokenObtainSlidingView": "sliding-obtain",
    "rest_framework_simplejwt.views.TokenRefreshSlidingView": "sliding-refresh",
    "rest_framework.authtoken.views.ObtainAuthToken": "drf-token-obtain",
    "django.contrib.auth.views.LoginView": "login",
    "django.contrib.auth.views.LogoutView": "logout",
    "django.contrib.auth.views.PasswordResetView": "password-reset",
    "django.contrib.auth.views.PasswordResetDoneView": "password-reset",
    "django.contrib.auth.views.PasswordResetConfirmView": "password-reset",
    "django.contrib.auth.views.PasswordResetCompleteView": "password-reset",
    "allauth.account.views.LoginView": "login",
    "allauth.account.views.LogoutView": "logout",
    "allauth.account.views.SignupView": "sign-up",
    "dj_rest_auth.views.LoginView": "login",
    "dj_rest_auth.views.LogoutView": "logout",
    "dj_rest_auth.registration.views.RegisterView": "sign-up",
}
PUBLIC_WORDS = (
    ("password", "reset"), ("reset", "password"), ("password", "forgot"), ("forgot",), ("sign-up",), ("signup",),
    ("register",), ("registration",), ("activate",), ("activation",), ("verify-email",), ("confirm-email",),
)


def literal(pattern):
    """The text that a pattern stands for, and whether that is all of it."""
    from django.urls.resolvers import LocalePrefixPattern, RegexPattern, RoutePattern

    if isinstance(pattern, LocalePrefixPattern):
        return str(pattern.language_prefix), True
    if isinstance(pattern, RoutePattern):
        route = str(pattern._route)
        before, found, _ = route.partition("<")
        return before, not found
    if isinstance(pattern, RegexPattern):
        regex = str(pattern._regex).removeprefix("^").removesuffix("$").removesuffix(r"\Z")
        regex = regex.replace(r"\-", "-").replace(r"\/", "/")
        end = next((at for at, letter in enumerate(regex) if letter in "\\.^$*+?{}[]|()"), len(regex))
        if end < len(regex) and regex[end] in "*+?{":
            end = max(end - 1, 0)
        return regex[:end], end == len(regex)
    return "", False


def endpoints():
    from django.urls import get_resolver
    from django.urls.resolvers import URLResolver

    found, admins, classes, paths = [], [], {}, []

    def walk(patterns, prefix, exact):
        for pattern in patterns:
            piece, whole = literal(pattern.pattern)
            path = prefix + piece if exact else prefix
            if isinstance(pattern, URLResolver):
                if pattern.app_name == "admin":
                    admins.append(path)
                    continue
                walk(pattern.url_patterns, path, exact and whole)
                continue
            paths.append(path)
            entry = attempt(path, lambda: endpoint(pattern.callback, path, exact and whole, classes))
            if entry:
                found.append(entry)

    walk(get_resolver().url_patterns, "/", True)
    described = [described_class(one) | {"alone_at": paths} for one, paths in classes.items()]
    return {"endpoints": found, "admins": admins, "view_classes": described, "paths": paths[:2000]}


def endpoint(callback, path, exact, classes):
    view = inspect.unwrap(callback)
    cls = getattr(callback, "cls", None) or getattr(callback, "view_class", None)
    cls = cls or getattr(view, "cls", None) or getattr(view, "view_class", None)
    named = list(getattr(cls, "authentication_classes", None) or [])
    for one in named:
        paths = classes.setdefault(one, [])
        if exact and len(named) == 1:
            paths.append(path)
    kind = custom = None
    for base in getattr(cls, "__mro__", ()):
        kind = VIEWS.get(dotted(base))
        if kind:
            custom = base is not cls
            serializer = cls.get_serializer_class if hasattr(cls, "get_serializer_class") else None
            chosen = getattr(cls, "serializer_class", None)
            custom = bool(custom or (serializer and kind.startswith("simplejwt") and chosen is not None))
            break
    kind = kind or by_what_it_calls(cls or view)
    if kind is None:
        words = path.lower().replace("_", "-")
        if any(all(word in words for word in group) for group in PUBLIC_WORDS):
            kind = "public-by-name"
    if kind is None:
        return None
    name = dotted(cls) if cls else f"{view.__module__}.{getattr(view, '__qualname__', '')}"
    return {"path": path, "exact": exact, "kind": kind, "view": name, "custom": bool(custom)}


def by_what_it_calls(view):
    """A view that signs people in or out by itself: it names Django's `login` or `logout`, or PyJWT's `encode`."""
    from django.contrib.auth import login, logout

    functions = [getattr(view, name, None) for name in ("post", "get", "form_valid")] if inspect.isclass(view) else [view]
    for function in functions:
        function = inspect.unwrap(function) if callable(function) else None
        code, scope = getattr(function, "__code__", None), getattr(function, "__globals__", {})
        if code is None or scope.get("__name__", "").startswith(("django.", "rest_framework")):
            continue
        called = {name: scope.get(name) for name in code.co_names}
        if any(value is login for value in called.values()):
            return "login"
        if any(value is logout for value in called.values()):
            return "logout"
        if "encode" in called and any(getattr(value, "__name__", "") == "jwt" for value in called.values()):
            return "hand-made-obtain"
    return None


def taken(paths):
    """Which of these paths lead to a view of the project's (a catch-all is none)."""
    from django.urls import Resolver404, resolve

    def view(path):
        try:
            return resolve(path).func
        except Resolver404:
            return None

    every = view("/no/such/path/as-this-one")
    return [path for path in paths if view(path) is not None and view(path) is not every]


# --- All of it -------------------------------------------------------------------------------------------------------


def main(path, own_paths):
    global settings, apps
    root = set_up(path)
    import django
    from django.apps import apps
    from django.conf import settings
    from django.contrib.auth.hashers import get_hashers

    # The first access reads them, and may fail for a reason of the project's own.
    secret_key = text(settings.SECRET_KEY)
    user = attempt("AUTH_USER_MODEL", user_model)
    session = attempt("SESSION_ENGINE", sessions)
    urls = attempt("ROOT_URLCONF", endpoints, {"endpoints": [], "admins": [], "view_classes": [], "paths": []})
    aliases = {user["database"] if user else "default", session["database"] if session else "default"}
    return {
        "django": django.get_version(),
        "root": root,
        "settings_module": os.environ["DJANGO_SETTINGS_MODULE"],
        "secret_key": secret_key,
        "fallbacks": [text(key) for key in getattr(settings, "SECRET_KEY_FALLBACKS", [])],
        "databases": [attempt("DATABASES", lambda alias=alias: database(alias)) for alias in sorted(aliases)],
        "user": user,
        "hashers": attempt("PASSWORD_HASHERS", lambda: [hasher.algorithm for hasher in get_hashers()], []),
        "backends": list(settings.AUTHENTICATION_BACKENDS),
        "sessions": session,
        "rest_framework": attempt("REST_FRAMEWORK", rest_framework),
        "simplejwt": attempt("SIMPLE_JWT", simplejwt) if apps.is_installed("rest_framework") else None,
        "authtoken_table": table_of("authtoken", "Token"),
        "remote_user": attempt("MIDDLEWARE", remote_user_middleware, []),
        "urls": urls,
        "taken": attempt("ROOT_URLCONF", lambda: taken(own_paths), []),
        "login_url": str(settings.LOGIN_URL),
        "static_url": str(settings.STATIC_URL or ""),
        "media_url": str(settings.MEDIA_URL or ""),
        "debug": bool(settings.DEBUG),
        "allowed_hosts": listed(settings.ALLOWED_HOSTS),
        "trusted_origins": listed(settings.CSRF_TRUSTED_ORIGINS),
        "csrf_cookie": settings.CSRF_COOKIE_NAME,
        "use_x_forwarded_host": bool(settings.USE_X_FORWARDED_HOST),
        "proxy_ssl_header": listed(settings.SECURE_PROXY_SSL_HEADER),
        "ssl_redirect": bool(settings.SECURE_SSL_REDIRECT),
        "use_tz": bool(settings.USE_TZ),
        "cors": any(name.startswith("corsheaders.") for name in settings.MIDDLEWARE),
        "wsgi": str(getattr(settings, "WSGI_APPLICATION", "") or ""),
        "asgi": str(getattr(settings, "ASGI_APPLICATION", "") or ""),
        "problems": problems,
    }


try:
    answer = main(os.path.abspath(sys.argv[1]), sys.argv[2:])
except SystemExit:
    raise
except BaseException as error:
    quit_with(f"the project cannot be loaded: {type(error).__name__}: {error}")
json.dump(answer, OUT)
OUT.close()
