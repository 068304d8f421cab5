"""`SESSION_*`."""


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
