"""Settings of the service.

What differs between one machine and the next comes from the environment, with defaults for development:

    DJANGO_DB                    path of the SQLite file            (db.sqlite3 beside manage.py)
    DJANGO_DATABASE_URL          another database: postgres://user:password@host:port/name,
                                 mysql://user:password@host:port/name; ?socket=path behind it,
                                 and for PostgreSQL &search_path=schema,schema
    DJANGO_SECRET_KEY            signs sessions and tokens          (a fixed development key)
    DJANGO_DEBUG                 1 shows tracebacks                 (0)
    DJANGO_ALLOWED_HOSTS         comma separated                    (*)
    DJANGO_CSRF_TRUSTED_ORIGINS  comma separated                    (none)
    DJANGO_SIMPLE_JWT            further SIMPLE_JWT as JSON; a lifetime is in seconds   ({})
    DJANGO_TOKEN_BLACKLIST       1 installs SimpleJWT's blacklist, and its path         (0)
    DJANGO_SESSION_ENGINE        db, cached_db, cache, signed_cookies  (db)
    DJANGO_CACHE_URL             a Redis: redis://host:port/number  (none: memory of the process)
    DJANGO_CACHE_PREFIX          before the cache's keys            (none)
    DJANGO_PASSWORD_HASHERS      comma separated; the first writes  (Django's)
"""

import json
import os
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

BASE_DIR = Path(__file__).resolve().parent.parent


def listed(name, default=""):
    return [item.strip() for item in os.environ.get(name, default).split(",") if item.strip()]


SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "django-insecure-development-key-of-the-legacy-service")
DEBUG = os.environ.get("DJANGO_DEBUG", "0") == "1"
ALLOWED_HOSTS = listed("DJANGO_ALLOWED_HOSTS", "*")
CSRF_TRUSTED_ORIGINS = listed("DJANGO_CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework.authtoken",
    "rest_framework_simplejwt",
    "users",
    "probe",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
if os.environ.get("DJANGO_SIGN_IN_NOTE", "0") == "1":
    MIDDLEWARE.append("probe.sign_in_note.only_noted")

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


def database():
    url = urlsplit(os.environ.get("DJANGO_DATABASE_URL", ""))
    if not url.scheme:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ.get("DJANGO_DB", BASE_DIR / "db.sqlite3"),
        }
    if url.scheme == "mysql":
        # A driver without C code, which Django takes for the one that it knows.
        import pymysql

        pymysql.install_as_MySQLdb()
    query = parse_qs(url.query)
    socket, search_path = (query.get(name, [""])[0] for name in ("socket", "search_path"))
    return {
        "OPTIONS": {"options": f"-c search_path={search_path}"} if search_path else {},
        "ENGINE": {"postgres": "django.db.backends.postgresql", "mysql": "django.db.backends.mysql"}[url.scheme],
        "NAME": unquote(url.path[1:]),
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        # Either driver takes a path here for the socket.
        "HOST": socket or url.hostname or "",
        "PORT": url.port or "",
    }


DATABASES = {"default": database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

SESSION_ENGINE = "django.contrib.sessions.backends." + os.environ.get("DJANGO_SESSION_ENGINE", "db")
if os.environ.get("DJANGO_CACHE_URL"):
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": os.environ["DJANGO_CACHE_URL"],
            "KEY_PREFIX": os.environ.get("DJANGO_CACHE_PREFIX", ""),
        }
    }

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

if os.environ.get("DJANGO_PASSWORD_HASHERS"):
    PASSWORD_HASHERS = listed("DJANGO_PASSWORD_HASHERS")

LANGUAGE_CODE = "en-us"
TIME_ZONE = "Asia/Seoul"
USE_I18N = True
USE_TZ = True

STATIC_URL = "/static/"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": (
        "rest_framework.authentication.BasicAuthentication",
        "rest_framework.authentication.SessionAuthentication",
        "rest_framework.authentication.TokenAuthentication",
        "rest_framework_simplejwt.authentication.JWTAuthentication",
    ),
}

SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=5),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=1),
    "ROTATE_REFRESH_TOKENS": False,
    "BLACKLIST_AFTER_ROTATION": True,
    "ALGORITHM": "HS256",
    "SIGNING_KEY": SECRET_KEY,
    "AUTH_HEADER_TYPES": ("Bearer",),
    "USER_ID_FIELD": "id",
    "USER_ID_CLAIM": "user_id",
    "AUTH_TOKEN_CLASSES": ("rest_framework_simplejwt.tokens.AccessToken",),
}

for name, value in json.loads(os.environ.get("DJANGO_SIMPLE_JWT", "{}")).items():
    SIMPLE_JWT[name] = timedelta(seconds=value) if name.endswith("_LIFETIME") else value

if os.environ.get("DJANGO_TOKEN_BLACKLIST", "0") == "1":
    INSTALLED_APPS.append("rest_framework_simplejwt.token_blacklist")
