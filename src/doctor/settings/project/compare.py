"""What a subclass has otherwise than the class that the gateway stands in for.

A name proves nothing: `TokenAuthentication` of a project's own may refuse tokens after a day. Functions are compared by
identity, wherever they were defined, so that a mixin counts, and so does a function that somebody put into the stock
class when the project started.
"""

import inspect
import types

# What a class has without deciding anything.
BOILERPLATE = frozenset((
    "__annotations__", "__class_getitem__", "__dict__", "__doc__", "__firstlineno__", "__init_subclass__", "__module__",
    "__orig_bases__", "__parameters__", "__static_attributes__", "__subclasshook__", "__weakref__", "__abstractmethods__",
    "_abc_impl", "__hash__", "__eq__", "__repr__", "__str__", "__annotate__", "__annotations_cache__",
    "__annotate_func__",
))
HOOKS = ("__getattr__", "__getattribute__", "__call__")


def static(cls, name):
    return inspect.getattr_static(cls, name, None)


def same(one, other):
    if one is other:
        return True
    plain = (str, bytes, int, bool, float, tuple, list, dict, set, frozenset, type(None))
    return isinstance(one, plain) and isinstance(other, plain) and one == other


def changes(cls, base, harmless=()):
    """The names of what `cls` has otherwise than `base`."""
    packages = {one.__module__.split(".")[0] for one in base.__mro__}
    found = [] if type(cls) is type(base) else ["its metaclass"]
    for name in sorted(set(dir(base)) | set(HOOKS)):
        if name in BOILERPLATE or name in harmless:
            continue
        ours, theirs = static(cls, name), static(base, name)
        if not same(ours, theirs) or put_in(theirs, packages):
            found.append(name)
    return found


def put_in(thing, packages):
    """A function of somebody else's in a package's class."""
    thing = getattr(thing, "__func__", thing)
    if not isinstance(thing, types.FunctionType):
        return False
    return (thing.__module__ or "").split(".")[0] not in packages | {"functools", "contextlib"}


def is_foreign(module):
    """Is it neither Django's nor Python's?"""
    return not (module or "").startswith(("django.", "builtins"))


def syntax_of(thing):
    """The syntax tree of a function or class, if its source is there."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(thing))))
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
