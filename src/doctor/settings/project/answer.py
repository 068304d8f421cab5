"""All of it."""

import json
import os
import sys


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
        "numeric_ids": attempt("PyJWT", takes_numeric_ids, False),
        "authtoken_table": table_of("authtoken", "Token"),
        "knox": attempt("REST_KNOX", knox),
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
        "tried": attempt("--try", tried),
        "proof": attempt("the sign-in", lambda: proof(user)),
        "wsgi": str(getattr(settings, "WSGI_APPLICATION", "") or ""),
        "asgi": str(getattr(settings, "ASGI_APPLICATION", "") or ""),
        "problems": problems,
    }


try:
    answer = main(os.path.abspath(sys.argv[1]), [path for path in sys.argv[2:] if path != "--try"])
except SystemExit:
    raise
except BaseException as error:
    quit_with(f"the project cannot be loaded: {type(error).__name__}: {error}")
json.dump(answer, OUT)
OUT.close()
