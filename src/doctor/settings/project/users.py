"""The user model, and middleware that believes a header."""


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
