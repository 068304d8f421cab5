"""Who judges a view's callers, in REST framework: a class with rules of its own goes on doing it."""

import inspect


def judges_of(callback, cls):
    """The authentication classes of a view of REST framework's; a view of another kind has none."""
    api = offered("rest_framework.views.APIView")
    if not (cls and api and issubclass(cls, api)):
        return []
    given = getattr(callback, "initkwargs", None) or getattr(inspect.unwrap(callback), "initkwargs", None) or {}
    classes = given.get("authentication_classes") or getattr(cls, "authentication_classes", None) or []
    return [one for one in classes if inspect.isclass(one)]
