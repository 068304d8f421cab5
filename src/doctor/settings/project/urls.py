"""All URL patterns, with what their views are for and what strangers get there."""

MOST_LANGUAGES = 12


def entries_of():
    """Each view's pattern in the order in which Django tries them, in every language."""
    from django.urls import get_resolver
    from django.urls.resolvers import LocalePrefixPattern, URLResolver
    from django.utils import translation

    resolver = get_resolver()
    # What the project's URLs use is imported with them.
    top = resolver.url_patterns
    found, kinds, localized = {}, kinds_of_classes(), []

    def walk(patterns, chain, route):
        for pattern in patterns:
            link = pattern.pattern
            # A translated pattern is one of each language.
            spelled = getattr(link, "_route", None) or getattr(link, "_regex", "")
            if isinstance(link, LocalePrefixPattern) or not isinstance(spelled, str):
                localized.append(link)
            if isinstance(pattern, URLResolver) and pattern.app_name != "admin":
                inner = joined(route, str(link))
                attempt(inner, lambda: walk(pattern.url_patterns, chain + [link], inner))
                continue
            is_admin = isinstance(pattern, URLResolver)
            callback = None if is_admin else pattern.callback
            where = joined(route, str(link))
            key = (id(callback), where)
            shapes = attempt(where, lambda: shapes_of(chain + [link]), [])
            if is_admin:
                shapes = [{"path": shape["path"], "rest": True, "total": False, "stray": False} for shape in shapes if not shape["rest"]]
            if key in found:
                found[key]["shapes"] += [one for one in shapes if one not in found[key]["shapes"]]
            elif is_admin:
                found[key] = entry_of(where, None, "admin", [], False, "django.contrib.admin", shapes)
            else:
                kind, about, custom = attempt(where, lambda: kind_of(callback, kinds), ("", [], False))
                kind = "files" if serves_files(callback) else kind
                found[key] = entry_of(where, callback, kind, about, custom, name_of(callback), shapes)

    walk(top, [], "")
    if localized:
        own = attempt("LANGUAGE_CODE", lambda: translation.get_supported_language_variant(settings.LANGUAGE_CODE), "")
        languages = sorted((code for code, _ in settings.LANGUAGES), key=lambda code: code != own)
        if len(languages) > MOST_LANGUAGES:
            problems.append(f"LANGUAGES has {len(languages)} languages: only the first {MOST_LANGUAGES} have routes")
        for language in languages[:MOST_LANGUAGES]:
            with translation.override(language):
                walk(top, [], "")
    return list(found.values())


def joined(before, after):
    """As Django joins the routes of a match."""
    return before + after.removeprefix("^") if before else after


def entry_of(route, callback, kind, about, custom, view, shapes):
    return {
        "route": route, "callback": callback, "kind": kind, "about": about, "custom": custom, "view": view,
        "shapes": shapes, "answers": [], "heads": [], "offered": {}, "admitted": [], "redirects": [], "form": None,
    }


def serves_files(callback):
    """Django's own views for files, without anything around them that could ask for a sign-in."""
    return any(callback is offered(name) for name in ("django.views.static.serve", "django.contrib.staticfiles.views.serve"))


def endpoints():
    entries = entries_of()
    stranger = Stranger(entries)
    attempt("asking", lambda: ask_all(stranger, entries))
    found, paths, classes, callbacks = [], [], {}, {}
    kinds = {}
    for order, entry in enumerate(entries):
        cls = class_of(entry["callback"]) if entry["callback"] else None
        named = list(getattr(cls, "authentication_classes", None) or [])
        literal = [shape["path"] for shape in entry["shapes"] if not shape["rest"] and "*" not in shape["path"]]
        for one in named:
            classes.setdefault(one, []).extend(literal if len(named) == 1 else [])
            kinds.setdefault(one, set()).add(entry["kind"])
        kind, guessed = entry["kind"], False
        if not kind and entry["callback"]:
            kind = attempt(entry["route"], lambda: by_what_it_calls(cls or inspect.unwrap(entry["callback"])), "")
            guessed = bool(kind)
        judges = judges_of(entry["callback"], cls)
        challenge = challenge_of(judges)
        same_view = callbacks.setdefault(id(entry["callback"]), len(callbacks))
        for shape in entry["shapes"]:
            paths.append(shape["path"])
            found.append({
                "path": shape["path"],
                "exact": not shape["rest"] and "*" not in shape["path"],
                "rest": shape["rest"],
                "total": shape["total"],
                "digits": shape.get("digits", []),
                "stray": shape["stray"],
                "hidden": is_hidden(stranger, entry, shape),
                "order": order,
                "same_view": same_view,
                "kind": kind,
                "about": entry["about"],
                "guessed": guessed,
                "view": entry["view"],
                "custom": entry["custom"],
                "form": entry["form"],
                "without_session": is_without_session(cls),
                "judged_by": [dotted(one) for one in judges],
                "challenge": challenge,
                "redirects_to_slash": shape["path"] in entry["redirects"],
            } | what_strangers_get(entry, shape))
    admins = [one["path"] for one in found if one["kind"] == "admin"]
    described = [
        described_class(one) | {"alone_at": paths, "kinds": sorted(kinds[one])} for one, paths in classes.items()
    ]
    return {
        "endpoints": found,
        "admins": admins,
        "view_classes": described,
        "paths": paths[:2000],
        "asked": len(stranger.asked),
        "sign_in_by": attempt("ACCOUNT_LOGIN_METHODS", sign_in_methods, []),
    }


def is_without_session(cls):
    """A view of REST framework's that does not find whom Django's session is for."""
    api, session = offered("rest_framework.views.APIView"), offered("rest_framework.authentication.SessionAuthentication")
    if not (cls and api and issubclass(cls, api)) or cls.__module__.startswith("rest_framework"):
        return False
    classes = list(getattr(cls, "authentication_classes", None) or [])
    return bool(classes) and not any(session and inspect.isclass(one) and issubclass(one, session) for one in classes)


def is_hidden(stranger, entry, shape):
    """Does Django give this very path to another view, whose pattern stands before?"""
    if entry["callback"] is None or shape["rest"] or "*" in shape["path"]:
        return False
    return stranger.entry_at(shape["path"]) is not entry


def what_strangers_get(entry, shape):
    """The methods that strangers are known to be served there, and what was asked and answered."""
    if shape["stray"]:
        return {"served": {}, "answers": [], "asked": [], "asks_sign_in": False}
    answers = [one for one in entry["answers"] if takes(shape, one["path"])]
    served = [one for one in answers if one["verdict"] == "served"]
    methods = {}
    if served:
        methods["GET"] = f"{served[0]['told']} at {served[0]['path']}"
        if "HEAD" in entry["heads"]:
            methods["HEAD"] = methods["GET"]
    for path, page in entry["offered"].items():
        if takes(shape, path):
            methods["POST"] = f"a form at {page}"
    for path in entry["admitted"]:
        if takes(shape, path):
            methods.setdefault("POST", "its own checks let strangers pass")
    return {
        "served": methods,
        "answers": [f"{one['told']} at {one['path']}" for one in answers if one["verdict"] in ODD][:3],
        "asked": [one["path"] for one in answers],
        "sent_to": sent_to(answers),
        "asks_sign_in": any(one["verdict"] == "asks-sign-in" for one in answers) and not served,
    }


ODD = ("sent-away", "broken", "absent", "method")


def takes(shape, path):
    """Does a shape take a path?"""
    wanted, given = shape["path"].split("/"), path.split("/")
    if shape["rest"]:
        wanted = wanted[:-1]
        given = given[: len(wanted)]
    return len(wanted) == len(given) and all(
        ours == theirs or (ours == "*" and theirs) for ours, theirs in zip(wanted, given)
    )


def taken(paths):
    """Which of these paths lead to a view of the project's (a catch-all is none)."""
    from django.urls import Resolver404, resolve

    def view(path):
        try:
            return resolve(path).func
        except Resolver404:
            return None

    every = view("/no/such/path/as-this-one")
    return [path for path in paths if view(path) is not None and view(path) is not every]
