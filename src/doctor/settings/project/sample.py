"""Real users: what Django decides about each, beside what the gateway would.

Nothing is written: the database refuses it for as long as this takes, and the transaction is rolled back. No password is
known or needed: `check_password` is taken for right while Django is asked whom it would let in with one.
"""

SAMPLE = 200


class Closed(Exception):
    pass


def opened(alias):
    from django.db import connections

    connection = connections[alias]
    name = str(connection.settings_dict.get("NAME") or "")
    if connection.vendor == "sqlite" and not name.startswith("file:") and not os.path.exists(name):
        # Opening it would make one.
        raise Closed(f"{name} is not there")
    connection.ensure_connection()
    return connection


class read_only:
    """A transaction in which nothing can be written, and which leaves nothing behind."""

    def __init__(self, connection):
        from django.db import transaction

        self.connection, self.atomic = connection, transaction.atomic(using=connection.alias)

    def __enter__(self):
        if self.connection.vendor == "sqlite":
            self.connection.cursor().execute("PRAGMA query_only = ON")
        if self.connection.vendor == "mysql":
            self.connection.cursor().execute("SET TRANSACTION READ ONLY")
        self.atomic.__enter__()
        if self.connection.vendor == "postgresql":
            self.connection.cursor().execute("SET TRANSACTION READ ONLY")

    def __exit__(self, *error):
        from django.db import transaction

        transaction.set_rollback(True, using=self.connection.alias)
        self.atomic.__exit__(*error)
        if self.connection.vendor == "sqlite":
            self.connection.cursor().execute("PRAGMA query_only = OFF")


def holds(user, conditions):
    for one in conditions:
        field = next(field for field in user._meta.concrete_fields if field.column == one["column"])
        value = getattr(user, field.attname)
        if "equals" in one:
            if value != one["equals"]:
                return False
        elif (value is None) != (one["is"] == "null"):
            return False
    return True


def sampled(model, connection):
    """Old and new ones, staff, and those who may not."""
    every = model._base_manager.using(connection.alias).order_by("pk")
    count = every.count()
    found = {user.pk: user for user in every[:SAMPLE // 2]}
    found.update((user.pk, user) for user in every.reverse()[:SAMPLE // 4])
    for field in model._meta.concrete_fields:
        if field.get_internal_type() in ("BooleanField", "NullBooleanField"):
            for value in (True, False):
                found.update((user.pk, user) for user in every.filter(**{field.name: value})[:10])
        elif field.null:
            found.update((user.pk, user) for user in every.exclude(**{f"{field.name}__isnull": True})[:10])
    return count, list(found.values())


def compared(model, connection, conditions, folds, finders, judges):
    """Asks Django about each; the first that is decided otherwise is told by its primary key."""
    from unittest import mock

    from django.contrib.auth import authenticate
    from django.utils.crypto import salted_hmac

    count, users = sampled(model, connection)
    # A backend that decides itself is left to the service anyway, and might do anything when it is asked.
    asks = judges and not any(one["effect"] == "follow" and one["about"] == "backends" for one in obstacles)
    stock_hash = not any(one["says"].find("get_session_auth_hash") >= 0 for one in obstacles)
    finder = next((backend for _, backend, _ in finders), None)
    told = set()

    def differs(what, user):
        if what not in told:
            told.add(what)
            obstacle("follow", "sample", f"user {user.pk}: {what}")

    for user in users:
        active = bool(getattr(user, "is_active", True)) and holds(user, conditions)
        name = getattr(user, model.USERNAME_FIELD)
        for _, backend, own in finders:
            if not own and (backend.get_user(user.pk) is not None) != active:
                differs("get_user does not answer what the conditions and is_active say", user)
        if stock_hash:
            salt = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"
            expected = salted_hmac(salt, user.password, algorithm="sha256").hexdigest()
            if user.get_session_auth_hash() != expected:
                obstacle("fail", "sample", f"user {user.pk}: get_session_auth_hash is not what Django's own computes")
        if not name or not asks or not isinstance(name, str):
            continue
        try:
            found = model._default_manager.get_by_natural_key(name)
        except model.DoesNotExist:
            found = None
        except model.MultipleObjectsReturned:
            differs("more than one user has this name, upper and lower case aside: Django's sign-in fails for them", user)
            continue
        if (found is not None and found.pk == user.pk) != holds(user, conditions):
            differs("its name finds another user, or none", user)
            continue
        with mock.patch.object(model, "check_password", lambda self, raw, *rest: True):
            entered = authenticate(None, **{model.USERNAME_FIELD: name, "password": "x"})
        if (entered is not None and entered.pk == user.pk) != active:
            differs("authenticate() decides otherwise than is_active and the conditions", user)
    session_backend = ""
    for path, backend, _ in finders:
        if any(backend.get_user(user.pk) is not None for user in users) or (not users and finder is backend):
            session_backend = path
            break
    return {"asked": len(users), "users": count, "session_backend": session_backend}


def unknown_hashes(model, connection):
    """Passwords that are kept in a way that no hasher in PASSWORD_HASHERS knows."""
    from django.contrib.auth.hashers import get_hashers_by_algorithm, identify_hasher, is_password_usable

    found = {}
    known = get_hashers_by_algorithm()
    for encoded in model._base_manager.using(connection.alias).values_list("password", flat=True)[:5000]:
        if not encoded or not is_password_usable(encoded):
            continue
        name = encoded.split("$", 1)[0] if "$" in encoded else "unsalted"
        if name in known:
            found[name] = found.get(name, 0) + 1
    return found


def place(connection, table):
    """Where the open connection finds a table: schema and name. `"a"."b"` in `db_table` is Django's own way to say both."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE c.oid = to_regclass(%s)", [connection.ops.quote_name(table)],
            )
            row = cursor.fetchone()
            return (row[0], row[1]) if row else None
        return ("", table) if table in connection.introspection.table_names(cursor) else None
