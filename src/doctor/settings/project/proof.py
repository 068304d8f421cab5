"""Does the gateway decide as Django does? Every part is asked, and whatever cannot be asked is an obstacle."""


def proof(user):
    from django.contrib.auth import get_user_model
    from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
    from django.contrib.auth.backends import ModelBackend

    model = get_user_model()
    finders = proven("backends", lambda: backends(model)) or []
    proven("user", lambda: user_functions(model))
    proven("view", forms_and_views)
    proven("signal", lambda: receivers(model))
    proven("middleware", middleware)
    proven("sessions", session_store)
    proven("hashers", password_hashers)
    proven("simplejwt", token_rules)
    factors = proven("factor", lambda: second_factors(model)) or []
    answer = {
        "conditions": [], "username_case": "exact", "second_factors": factors, "asked": 0, "users": 0,
        "session_backend": "", "schema": "", "tables": {}, "hashes": {},
    }
    conditions = lookups(model, ModelBackend, answer)
    if issubclass(model, AbstractBaseUser) and user:
        proven("sample", lambda: asked(model, user, conditions, answer, finders, factors))
    if not answer["session_backend"] and finders:
        answer["session_backend"] = next((path for path, _, own in finders if not own), finders[0][0])
    return answer | {"obstacles": obstacles, "address_readers": address_readers()}


def lookups(model, ModelBackend, answer):
    """The conditions, if each way to find a user has the same."""
    label = f"{model._meta.label}'s manager"
    try:
        manager = model._default_manager
        if not manager_is_simple(manager, "get_by_natural_key"):
            raise NotSimple("its functions do more than return a filtered query, so that what they ask may change")
        folds, named, alias = by_name(model)
        ways = {"get_by_natural_key": (named, alias)}
        ways["get_user"] = by_key(model, ModelBackend().get_user)
        if has_tokens():
            objects = getattr(model, "objects", None)
            if objects is None or not manager_is_simple(objects, "get"):
                raise NotSimple("the manager `objects`, by which SimpleJWT finds users, is missing or not simple")
            ways["objects"] = by_key(model, lambda key: objects.get(pk=key))
        for way, found in ways.items():
            if found[0] != named:
                raise NotSimple(f"{way} asks for other conditions than get_by_natural_key")
            if found[1] != alias:
                raise NotSimple(f"{way} asks another database")
    except NotSimple as error:
        obstacle("fail", "manager", f"{label}: {error}",
                 "Whom it leaves out, the gateway would take for a user. With kind = \"http\" in [[directory]] it asks the service.")
        return []
    except Exception as error:
        obstacle("fail", "manager", f"{label} could not be asked: {type(error).__name__}: {str(error)[:200]}")
        return []
    answer["username_case"] = "fold" if folds else "exact"
    conditions = [
        {"column": name, "equals": value} if kind == "equals" else {"column": name, "is": kind}
        for name, kind, value in named
    ]
    # The column of those who may sign in is asked for anyway.
    active = {"column": column(model, "is_active"), "equals": True}
    answer["conditions"] = [one for one in conditions if one != active]
    return conditions


def has_tokens():
    return apps.is_installed("rest_framework") and "rest_framework_simplejwt.authentication" in sys.modules


def asked(model, user, conditions, answer, finders, factors):
    try:
        connection = opened(user["database"])
    except Exception as error:
        obstacle("fail", "database", f"cannot be opened: {type(error).__name__}: {str(error)[:200]}",
                 "Nothing could be asked about its users: run the doctor where the service runs, with its environment.")
        return
    if "tenant" in str(settings.DATABASES[user["database"]].get("ENGINE", "")):
        obstacle("fail", "schema", "the database has a schema for each tenant",
                 "A directory reads one schema. Give each tenant's host a gateway, or kind = \"http\".")
    with read_only(connection):
        places(connection, user, factors, answer)
        if answer["tables"].get(user["table"]) is None:
            obstacle("fail", "database", f"the table {user['table']} is not there", "Run manage.py migrate first.")
            return
        judges = not any(one["about"] == "manager" for one in obstacles)
        answer |= compared(model, connection, conditions, answer["username_case"] == "fold", finders, judges)
        answer["hashes"] = unknown_hashes(model, connection)


def places(connection, user, factors, answer):
    names = [user["table"]]
    if user["groups"]:
        names += [user["groups"]["group_table"], user["groups"]["membership_table"]]
    for name in names + sorted({factor["table"] for factor in factors}):
        answer["tables"][name] = place(connection, name)
    schemas = {answer["tables"][name][0] for name in names if answer["tables"][name]}
    for name in names[1:]:
        if answer["tables"][name] is None:
            obstacle("fail", "database", f"the table {name} is not there", "Run manage.py migrate first.")
    if len(schemas) > 1:
        obstacle("fail", "schema", f"the user's tables are in several schemas: {', '.join(sorted(schemas))}")
    answer["schema"] = min(schemas, default="")
