"""Where the databases and caches are, from `DATABASES` and `CACHES`."""

import os
from urllib.parse import unquote, urlsplit


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
