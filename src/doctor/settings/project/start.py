"""Prints a Django project's effective settings as one JSON object.

Run by `doorwarden doctor --settings` with the project's own Python. It imports the project, asks Django and the
installed packages what is in effect, and changes nothing: the database is read only, and no view is called. The object holds
secrets, so it goes to the pipe that standard output was, and whatever the project itself prints goes to standard error.

The files of this folder are one program: they are joined in the order that `python.rs` has and share their names. Each
subject has a file, and `answer.py` puts their answers together.
"""

import sys

# A program that is an argument looks for modules in whatever folder it is run from, and before all others.
sys.path[:] = [entry for entry in sys.path if entry]

import ast
import inspect
import os
import runpy
import textwrap

OUT = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
problems = []


def quit_with(text):
    print(text, file=sys.stderr)
    sys.exit(3)


def attempt(what, read, default=None):
    """Some part that cannot be read is told, and the rest goes on."""
    try:
        return read()
    except Exception as error:
        problems.append(f"{what}: {type(error).__name__}: {error}")
        return default


def set_up(path):
    """From a path to a project that runs."""
    try:
        import django
        from django.core import management
    except ImportError as error:
        quit_with(f"{sys.executable} cannot import Django ({error})")
    manage = path if os.path.basename(path) == "manage.py" else None
    if manage is None:
        folder, names = os.path.dirname(path), [os.path.basename(path)[:-3]]
        while not os.path.exists(os.path.join(folder, "manage.py")):
            if os.path.dirname(folder) == folder:
                break
            names.insert(0, os.path.basename(folder))
            folder = os.path.dirname(folder)
        else:
            manage = os.path.join(folder, "manage.py")
        if manage is None:
            # No manage.py above it: a package ends where __init__.py does.
            folder, names = os.path.dirname(path), [os.path.basename(path)[:-3]]
            while os.path.exists(os.path.join(folder, "__init__.py")):
                names.insert(0, os.path.basename(folder))
                folder = os.path.dirname(folder)
        os.environ["DJANGO_SETTINGS_MODULE"] = ".".join(names)
    root = os.path.dirname(manage) if manage else folder
    os.chdir(root)
    sys.path[:] = [root] + [entry for entry in sys.path if entry not in ("", root)]
    if manage:
        # It says which settings are the project's, and loads an environment file if that is how things are done there.
        management.execute_from_command_line = lambda argv=None: None
        sys.argv = [manage, "check"]
        runpy.run_path(manage, run_name="__main__")
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        quit_with(f"{path} sets no DJANGO_SETTINGS_MODULE")
    django.setup()
    return root
