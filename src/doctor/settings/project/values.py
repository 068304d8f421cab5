"""Small readers that the other parts share."""

from datetime import timedelta


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


def table_of(app, model):
    try:
        return apps.get_model(app, model)._meta.db_table
    except LookupError:
        return ""


def http_header(meta):
    """`HTTP_X_ACCESS` as a client sends it."""
    words = meta.removeprefix("HTTP_").split("_")
    return "-".join(word.capitalize() for word in words)
