"""URL patterns and their views."""

import inspect

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
