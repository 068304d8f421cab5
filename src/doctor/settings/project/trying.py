"""A whole sign-in of one user as the service does it (`--try`): `authenticate()`, `login()`, and the next request.

Everything happens in transactions that are rolled back, and no mail is sent. A cache keeps no transaction: the session that was
made there is deleted again.
"""


# Read before the project's own manage.py is run, which sees other arguments.
IS_TRIED = sys.argv[2:3] == ["--try"]


def tried():
    if not IS_TRIED:
        return None
    given = json.load(sys.stdin)
    from contextlib import ExitStack
    from importlib import import_module

    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, authenticate, get_user, get_user_model, login
    from django.db import connections, transaction
    from django.test import RequestFactory, override_settings

    model = get_user_model()
    answer = {"user": "", "backend": "", "keys": [], "again": "", "error": ""}
    host = next((host.lstrip(".") for host in settings.ALLOWED_HOSTS if host != "*"), "localhost")

    def request():
        made = RequestFactory().post("/", SERVER_NAME=host, secure=True)
        made.session = import_module(settings.SESSION_ENGINE).SessionStore()
        return made

    with ExitStack() as stack:
        stack.enter_context(override_settings(EMAIL_BACKEND="django.core.mail.backends.dummy.EmailBackend"))
        for alias in connections:
            opened(alias)
            stack.enter_context(transaction.atomic(using=alias))
            stack.callback(transaction.set_rollback, True, using=alias)
        first = request()
        try:
            user = authenticate(first, **{model.USERNAME_FIELD: given["name"], "password": given["password"]})
            if user is None:
                return answer
            first.user = user
            login(first, user)
            first.session.save()
            own = (SESSION_KEY, BACKEND_SESSION_KEY, HASH_SESSION_KEY)
            answer["user"], answer["backend"] = str(user.pk), first.session[BACKEND_SESSION_KEY]
            answer["keys"] = sorted(str(key) for key in first.session.keys() if key not in own)
            second = request()
            second.session = import_module(settings.SESSION_ENGINE).SessionStore(first.session.session_key)
            found = get_user(second)
            answer["again"] = str(found.pk) if found.is_authenticated else ""
            first.session.delete()
        except Exception as error:
            answer["error"] = f"{type(error).__name__}: {str(error)[:200]}"
    return answer
