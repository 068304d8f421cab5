"""What Django's own sign-in decides: backends, the user model, forms and views, receivers, middleware."""

# They sign nobody in by a name and a password: they decide about permissions, or take what another site answered.
NO_PASSWORDS = frozenset((
    "rules.permissions.ObjectPermissionBackend.authenticate",
    "guardian.backends.ObjectPermissionBackend.authenticate",
    "social_core.backends.base.BaseAuth.authenticate",
    "mozilla_django_oidc.auth.OIDCAuthenticationBackend.authenticate",
))


def takes_passwords(backend, model):
    """Would Django hand it a name and a password? It looks at the function's parameters, and so is done here."""
    function = getattr(backend, "authenticate", None)
    if function is None:
        return False
    for credentials in ({"username": "x", "password": "x"}, {model.USERNAME_FIELD: "x", "password": "x"}):
        try:
            inspect.signature(function).bind(None, **credentials)
            return True
        except TypeError:
            pass
    return False


def backends(model):
    """Those that find users again, and whether the password is checked as `ModelBackend` does."""
    from django.contrib.auth import load_backend
    from django.contrib.auth.backends import BaseBackend, ModelBackend

    stock, finders = False, []
    for path in settings.AUTHENTICATION_BACKENDS:
        backend = load_backend(path)
        cls = type(backend)
        authenticate, named = static(cls, "authenticate"), "a backend of its own"
        checks = same(static(cls, "user_can_authenticate"), static(ModelBackend, "user_can_authenticate"))
        if authenticate is static(ModelBackend, "authenticate"):
            stock = stock or checks
            if not checks:
                obstacle("follow", "backends", f"{path} has its own user_can_authenticate",
                         "It lets in, or refuses, others than those with is_active.")
        elif authenticate in (None, static(BaseBackend, "authenticate")) or not takes_passwords(backend, model):
            pass
        elif getattr(authenticate, "__module__", "") + "." + getattr(authenticate, "__qualname__", "") in NO_PASSWORDS:
            pass
        else:
            means = "Whom it refuses or lets in by name and password, the gateway cannot know."
            if path.startswith("axes."):
                means = "Its locks are the service's own: what is tried at another place is not counted there."
            obstacle("follow", "backends", f"{path} decides itself who signs in", means)
        if hasattr(cls, "get_user"):
            own = not same(static(cls, "get_user"), static(ModelBackend, "get_user")) or not checks
            finders.append((path, backend, own))
            if own and not same(static(cls, "get_user"), static(BaseBackend, "get_user")):
                obstacle("follow", "backends", f"{path} has its own get_user or user_can_authenticate",
                         "Whom it finds again is judged by its own rules.")
    if not stock:
        obstacle("follow", "backends", "no backend in AUTHENTICATION_BACKENDS checks passwords as ModelBackend does")
    return finders


def user_functions(model):
    from django.contrib.auth.base_user import AbstractBaseUser

    if not issubclass(model, AbstractBaseUser):
        obstacle("fail", "user", f"{model._meta.label} does not extend AbstractBaseUser",
                 "How its passwords and sessions are checked is its own.")
        return
    packages = {"django"}
    for names, effect, means in (
        (("check_password", "is_authenticated", "is_anonymous", "has_usable_password"), "follow",
         "It decides otherwise than the hash in its column does."),
        (("get_session_auth_hash", "_get_session_auth_hash", "get_session_auth_fallback_hash"), "fail",
         "Sessions carry a value that only the service can compute, so that the gateway can neither judge nor make one."),
    ):
        for name in names:
            ours, theirs = static(model, name), static(AbstractBaseUser, name)
            if not same(ours, theirs) or put_in(theirs, packages):
                owner = next((one for one in model.__mro__ if name in vars(one)), model)
                obstacle(effect, "user", f"{dotted(owner)} has its own {name}", means)
    by_name = {field.name: field for field in model._meta.concrete_fields}
    if "is_active" not in by_name and static(model, "is_active") is not True:
        obstacle("follow", "user", f"{model._meta.label}.is_active is computed, and no column")
    from django.db import models

    for name in {model.USERNAME_FIELD, "password", "is_active", "is_staff", "is_superuser", model._meta.pk.name}:
        field = by_name.get(name)
        if field is None:
            continue
        own = [one for one in ("from_db_value",) if static(type(field), one) is not None]
        own += [
            one for one in ("get_prep_value", "get_db_prep_value", "to_python")
            if is_foreign(getattr(static(type(field), one), "__module__", "django."))
        ]
        if own:
            obstacle("fail" if field.primary_key else "follow", "user",
                     f"{model._meta.label}.{name} is a {dotted(type(field))}, which reads or writes its column its own way")
        if field.model._meta.concrete_model is not model._meta.concrete_model:
            obstacle("fail", "user", f"{model._meta.label}.{name} is in another table ({field.model._meta.db_table})",
                     "A user model that extends another one's table is not read: kind = \"http\" asks the service.")
        if name == "is_active" and not isinstance(field, models.BooleanField):
            obstacle("follow", "user", f"{model._meta.label}.is_active is a {dotted(type(field))}")


HARMLESS_OF_VIEW = frozenset((
    "template_name", "next_page", "redirect_field_name", "redirect_authenticated_user", "extra_context", "success_url",
    "get_success_url", "get_redirect_url", "get_default_redirect_url", "get_context_data", "get_template_names",
    "success_url_allowed_hosts", "get_success_url_allowed_hosts", "http_method_names", "initial", "prefix",
    "authentication_form", "form_class", "response_class", "template_engine", "content_type", "__init__",
))
HARMLESS_OF_FORM = frozenset((
    "error_messages", "media", "base_fields", "declared_fields", "__init__", "default_renderer", "template_name",
    "template_name_label", "template_name_div", "template_name_p", "template_name_table", "template_name_ul",
    "field_order", "use_required_attribute", "error_css_class", "required_css_class", "label_suffix", "prefix",
    "bound_field_class",
))
HARMLESS_OF_SITE = frozenset((
    "site_title", "site_header", "index_title", "site_url", "login_template", "logout_template", "index_template",
    "app_index_template", "password_change_template", "password_change_done_template", "enable_nav_sidebar",
    "empty_value_display", "final_catch_all_view", "__init__", "login_form", "password_change_form",
))


def every_view():
    """All callbacks, with those of the admins."""
    from django.urls import get_resolver
    from django.urls.resolvers import URLResolver

    waiting, found = list(get_resolver().url_patterns), []
    while waiting:
        one = waiting.pop()
        if isinstance(one, URLResolver):
            waiting.extend(one.url_patterns)
        else:
            found.append(one.callback)
    return found


def form_is_stock(form, who):
    from django.contrib.admin.forms import AdminAuthenticationForm
    from django.contrib.auth.forms import AuthenticationForm

    if not inspect.isclass(form) or not issubclass(form, AuthenticationForm):
        obstacle("follow", "form", f"{who} signs in by {dotted(form) if inspect.isclass(form) else form}, no AuthenticationForm")
        return
    base = AdminAuthenticationForm if issubclass(form, AdminAuthenticationForm) else AuthenticationForm
    own = changes(form, base, HARMLESS_OF_FORM)
    own += [name for name in dir(form) if name.startswith("clean_") and static(base, name) is None]
    own += sorted(set(form.base_fields) - {"username", "password"})
    if own:
        obstacle("follow", "form", f"{dotted(form)} has its own {', '.join(own)}",
                 f"It asks for more, or refuses more, than a name and a password ({who}).")


def forms_and_views():
    from django.contrib.admin.sites import AdminSite
    from django.contrib.auth.views import LoginView

    sites = set()
    for callback in every_view():
        view = getattr(callback, "view_class", None) or getattr(callback, "cls", None)
        site = getattr(callback, "admin_site", None)
        if site is not None:
            sites.add(site)
        if inspect.isclass(view) and issubclass(view, LoginView):
            own = changes(view, LoginView, HARMLESS_OF_VIEW)
            if own:
                obstacle("follow", "view", f"{dotted(view)} has its own {', '.join(own)}",
                         "What it does when somebody signs in, the gateway would not do.")
            given = getattr(callback, "view_initkwargs", {})
            form = given.get("authentication_form") or given.get("form_class")
            form_is_stock(form or view.authentication_form or view.form_class, dotted(view))
        writes(view if inspect.isclass(view) else callback)
    for site in sites:
        own = changes(type(site), AdminSite, HARMLESS_OF_SITE)
        own = [name for name in own if name in ("login", "has_permission", "admin_view", "__getattribute__")]
        if own:
            obstacle("follow", "admin", f"{dotted(type(site))} has its own {', '.join(own)}",
                     "Whom it lets in depends on more than who is signed in.")
        if site.login_form is not None:
            form_is_stock(site.login_form, dotted(type(site)))


def functions_of(thing):
    if not inspect.isclass(thing):
        yield inspect.unwrap(thing)
        return
    for cls in thing.__mro__:
        if is_foreign(cls.__module__) and not cls.__module__.startswith("rest_framework."):
            for value in vars(cls).values():
                value = inspect.unwrap(getattr(value, "__func__", value)) if callable(value) else None
                if inspect.isfunction(value):
                    yield value


def writes(view):
    """A view that signs people in and puts something into their session."""
    from django.contrib.auth import login

    for function in functions_of(view):
        scope, code = getattr(function, "__globals__", {}), getattr(function, "__code__", None)
        if code is None or not is_foreign(function.__module__) or not any(
            scope.get(name) is login for name in code.co_names
        ):
            continue
        keys = session_keys(function, ast.Store)
        if keys:
            obstacle("follow", "view", f"{function.__module__}.{function.__qualname__} puts {', '.join(keys)} into the session",
                     "Only the service's own sign-in does that; pages that look for it would not find it.")


def session_keys(thing, context):
    """The constant keys that a function or class reads from a session, or writes into it."""
    tree, found = syntax_of(thing), []
    if tree is None:
        return []
    is_session = lambda node: isinstance(node, ast.Attribute) and node.attr == "session"
    reading = context is ast.Load
    for node in ast.walk(tree):
        key = None
        if isinstance(node, ast.Subscript) and is_session(node.value) and isinstance(node.ctx, context):
            key = node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and is_session(node.func.value):
            name = node.func.attr
            if name in (("get", "has_key") if reading else ("setdefault", "update", "set_expiry")):
                key = node.args[0] if node.args else ast.Constant("something")
                key = key if name != "set_expiry" else ast.Constant("an expiry of its own")
        elif reading and isinstance(node, ast.Compare) and len(node.comparators) == 1 and is_session(node.comparators[0]):
            key = node.left
        if key is not None:
            text_of = str(key.value) if isinstance(key, ast.Constant) else ast.unparse(key)
            if text_of not in found:
                found.append(text_of)
    return found


def receivers(model):
    from django.contrib.auth import signals

    for name in ("user_logged_in", "user_login_failed"):
        live = getattr(signals, name)._live_receivers(model)
        live = [one for part in (live if isinstance(live, tuple) else (live,)) for one in part]
        for one in live:
            one = getattr(one, "__func__", one)
            module = getattr(one, "__module__", "") or type(one).__module__
            if is_foreign(module):
                called = f"{module}.{getattr(one, '__qualname__', type(one).__qualname__)}"
                obstacle("follow", "signal", f"{called} waits for {name}",
                         "It hears of the service's own sign-in only.")


def middleware():
    from django.utils.module_loading import import_string

    for path in settings.MIDDLEWARE:
        one = import_string(path)
        module = getattr(one, "__module__", "") or ""
        if not is_foreign(module):
            continue
        keys = session_keys(one, ast.Load)
        if keys:
            obstacle("follow", "middleware", f"{path} reads {', '.join(keys)} from the session",
                     "A session that the gateway made would not have it.")
    expected = {
        "SessionMiddleware": ("django.contrib.sessions.middleware", ("process_request", "process_response")),
        "AuthenticationMiddleware": ("django.contrib.auth.middleware", ("process_request",)),
    }
    from importlib import import_module

    for path in settings.MIDDLEWARE:
        one = import_string(path)
        for name, (module, functions) in expected.items():
            base = getattr(import_module(module), name)
            if inspect.isclass(one) and issubclass(one, base) and any(
                not same(static(one, function), static(base, function)) for function in functions
            ):
                obstacle("follow", "middleware", f"{path} is a {name} of its own",
                         "Who is signed in is decided by it.")


def session_store():
    from importlib import import_module

    engine = import_module(settings.SESSION_ENGINE)
    if not engine.__name__.startswith("django.contrib.sessions.backends."):
        obstacle("fail", "sessions", f"SESSION_ENGINE is {settings.SESSION_ENGINE}, which keeps sessions its own way",
                 "Only the service can read them.")
        return
    if is_foreign(engine.SessionStore.__module__):
        obstacle("fail", "sessions", f"the SessionStore of {engine.__name__} is {dotted(engine.SessionStore)}")
    packages = {"django"}
    for name in ("encode", "decode", "load", "save", "create", "key_salt"):
        if put_in(static(engine.SessionStore, name), packages):
            obstacle("fail", "sessions", f"{dotted(engine.SessionStore)}.{name} was replaced")


def password_hashers():
    """A hasher with a known name and another way to hash."""
    from django.contrib.auth.hashers import get_hashers

    for one in get_hashers():
        cls = type(one)
        base = next((base for base in cls.__mro__ if not is_foreign(base.__module__) and hasattr(base, "algorithm")), None)
        if base is None or base.__name__ == "BasePasswordHasher" or getattr(base, "algorithm", None) != one.algorithm:
            continue
        own = [name for name in ("verify", "decode", "_code") if hasattr(base, name)
               and not same(static(cls, name), static(base, name))]
        if own:
            obstacle("follow", "hashers", f"{dotted(cls)} has its own {', '.join(own)} under the name {one.algorithm}")


def token_rules():
    """What SimpleJWT and REST framework ask besides."""
    try:
        from rest_framework_simplejwt.settings import api_settings as jwt
        from rest_framework_simplejwt import authentication
    except Exception:
        return
    rule = jwt.USER_AUTHENTICATION_RULE
    if rule is not authentication.default_user_authentication_rule:
        obstacle("follow", "simplejwt", f"USER_AUTHENTICATION_RULE is {getattr(rule, '__module__', '')}.{getattr(rule, '__qualname__', rule)}",
                 "It decides who gets tokens.")
