"""The queries by which Django finds a user, as conditions on columns.

Django is asked for the query itself: what compiles it is intercepted, so that a manager's filters, a queryset class and
an own `get_by_natural_key` are all in it, and nothing is read. Conditions of simple forms are told (a column is null, a
column is a constant); anything else is not.
"""

# Upper and lower case, blanks, and a character that Unicode's compatibility forms would change.
PROBES = ("Probe.Name", "probe.name", "  Probe ", "\ufb01Probe@Example.COM")


class NotSimple(Exception):
    pass


def intercepted(ask):
    """The queries that a call makes; each finds nothing."""
    from unittest import mock

    from django.db.models.sql.compiler import SQLCompiler

    seen = []

    def execute_sql(compiler, *arguments, **named):
        # It is what fills in the tables and what a row would be made of.
        compiler.as_sql()
        seen.append((compiler.query, compiler.using))
        return iter(())

    with mock.patch.object(SQLCompiler, "execute_sql", execute_sql):
        try:
            ask()
        except Exception as error:
            from django.core.exceptions import ObjectDoesNotExist

            if not isinstance(error, ObjectDoesNotExist):
                raise NotSimple(f"{type(error).__name__}: {error}")
    return seen


def conditions_of(query, model):
    """All that must hold, as (column, kind, value)."""
    tables = {join.table_name for join in query.alias_map.values() if query.alias_refcount.get(join.table_alias)}
    if len(tables) > 1 or query.combinator or query.extra or query.group_by or query.low_mark:
        raise NotSimple("it reads more than the user's own table")
    if not issubclass(query.model, model) and not issubclass(model, query.model):
        raise NotSimple(f"it asks for {query.model._meta.label}")
    return flattened(query.where, model)


def flattened(node, model):
    from django.db.models.expressions import Col
    from django.db.models.lookups import Exact, IExact, IsNull
    from django.db.models.sql.where import WhereNode

    if isinstance(node, WhereNode):
        if node.connector != "AND" and len(node.children) > 1:
            raise NotSimple("it has alternatives (OR)")
        inner = [one for child in node.children for one in flattened(child, model)]
        return [opposite(one, model) for one in inner] if node.negated and len(inner) == 1 else (
            refuse("it excludes what is not one condition") if node.negated else inner
        )
    lhs = getattr(node, "lhs", None)
    if not isinstance(lhs, Col) or not getattr(lhs.target, "column", None):
        raise NotSimple(f"{type(node).__name__} is no condition on a column")
    column, value = lhs.target.column, node.rhs
    if isinstance(node, IsNull):
        return [(column, "null" if value else "not-null", None)]
    if isinstance(node, IExact):
        return [(column, "folded", value)]
    if isinstance(node, Exact) and lhs.target.primary_key:
        return [(column, "equals", str(value))]
    if isinstance(node, Exact) and isinstance(value, (bool, int, str)):
        return [(column, "equals", value)]
    raise NotSimple(f"{column}: {type(node).__name__} with {type(value).__name__}")


def refuse(why):
    raise NotSimple(why)


def opposite(condition, model):
    column, kind, value = condition
    field = next(field for field in model._meta.concrete_fields if field.column == column)
    if kind in ("null", "not-null"):
        return (column, "not-null" if kind == "null" else "null", None)
    if kind == "equals" and isinstance(value, bool) and not field.null:
        return (column, "equals", not value)
    raise NotSimple(f"{column}: what is excluded is no yes or no")


def by_name(model):
    """How a name is looked for: the conditions besides, and whether upper and lower case are the same."""
    found = set()
    wanted = model._meta.get_field(model.USERNAME_FIELD).column
    for probe in PROBES:
        queries = intercepted(lambda: model._default_manager.get_by_natural_key(probe))
        if len(queries) != 1:
            raise NotSimple(f"it makes {len(queries)} queries")
        conditions = conditions_of(queries[0][0], model)
        names = [one for one in conditions if one[0] == wanted and one[2] == probe]
        if len(names) != 1:
            raise NotSimple(f"it does not ask for {wanted} as it was given")
        rest = [one for one in conditions if one is not names[0]]
        if any(kind == "folded" for _, kind, _ in rest):
            raise NotSimple("it compares other columns without regard to case")
        found.add((names[0][1] == "folded", tuple(sorted(rest, key=repr)), queries[0][1]))
    if len(found) != 1:
        raise NotSimple("it depends on the name")
    return found.pop()


def by_key(model, ask):
    """How a user is looked for by primary key: the conditions besides, and the database."""
    key = key_for(model)
    queries = intercepted(lambda: ask(key))
    if len(queries) != 1:
        raise NotSimple(f"it makes {len(queries)} queries")
    conditions = conditions_of(queries[0][0], model)
    rest = [one for one in conditions if one != (model._meta.pk.column, "equals", str(key))]
    if len(rest) != len(conditions) - 1:
        raise NotSimple("it does not ask for the primary key alone")
    return tuple(sorted(rest, key=repr)), queries[0][1]


def key_for(model):
    """A key that the column could hold."""
    import uuid

    from django.db import models

    pk = model._meta.pk
    while getattr(pk, "remote_field", None):
        pk = pk.target_field
    if isinstance(pk, models.UUIDField):
        return uuid.UUID(int=1)
    return 1 if isinstance(pk, (models.IntegerField, models.AutoField)) else "1"


def written_simply(function, owner, depth=0):
    """Is it one `return` of filters, with nothing of the moment in it (the request's tenant, the clock)?

    The query shows what a manager asks for now; only its source shows that it always asks for the same.
    """
    if function is None or not is_foreign(getattr(function, "__module__", "")):
        return True
    tree = syntax_of(function)
    if tree is None or depth > 4:
        return False
    definition = tree.body[0]
    body = [one for one in definition.body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
    if len(body) != 1 or not isinstance(body[0], ast.Return):
        return False
    names = {argument.arg for argument in definition.args.args}
    harmless = {"super", "Q", "models", "self", "cls", "True", "False", "None"} | names
    for node in ast.walk(body[0]):
        if isinstance(node, ast.Name) and node.id not in harmless:
            value = function.__globals__.get(node.id)
            from django.db.models import QuerySet

            if not isinstance(value, (str, int)) and not (inspect.isclass(value) and issubclass(value, QuerySet)):
                return False
        if isinstance(node, ast.Attribute):
            for one in owner:
                inner = static(one, node.attr)
                inner = getattr(inner, "__func__", inner)
                if inspect.isfunction(inner) and inner is not function and not written_simply(inner, owner, depth + 1):
                    return False
    return True


def manager_is_simple(manager, name):
    """The manager's own functions, and those of its queryset's class."""
    owner = (type(manager), getattr(manager, "_queryset_class", None) or type(manager))
    functions = [static(type(manager), "get_queryset"), static(type(manager), name)]
    functions.append(static(type(manager), "get"))
    for queryset_function in ("get", "filter", "_filter_or_exclude", "_chain", "__init__", "_fetch_all"):
        functions.append(static(owner[1], queryset_function))
    return all(written_simply(getattr(one, "__func__", one), owner) for one in functions if callable(one))
