"""Makes each project of this folder as its package's documentation does, and compares the result with what is here.

A project is what a generator writes (`startproject`, `wagtail start`, `djangocms .`) and the edits for which the
documentation asks: `edits.py` has them, each with the page that it comes from. Of what a generator writes, only the
random SECRET_KEY is put to a fixed one, so that two runs are equal.

    python make.py            compares: prints the hash of each file, and ends with 1 where one differs
    python make.py --write    writes the projects into this folder
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from edits import PROJECTS

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent


def make(name, folder):
    """Makes one project in an empty folder."""
    generators, edits = PROJECTS[name]
    for command, answers in generators:
        done = subprocess.run(
            [BIN / command[0], *command[1:]], cwd=folder, input=answers, text=True, capture_output=True, check=False
        )
        if done.returncode:
            sys.exit(f"{name}: {' '.join(command)}: {done.stdout}{done.stderr}")
    for path in files(folder):
        text = (folder / path).read_text()
        # `#` stands in a key too: it ends at the quote.
        fixed = re.sub(
            r"""^(SECRET_KEY = )(['"])django-insecure-.*\2$""", rf"\1\2django-insecure-{name}\2", text, flags=re.M
        )
        (folder / path).write_text(fixed)
    for edit in edits:
        edit.make(name, folder)


def files(folder):
    """The files of a project, without what running it leaves."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(
        path.relative_to(folder) for path in found if path.suffix != ".pyc" and path.name != "db.sqlite3"
    )


def hashes(folder):
    return {str(path): hashlib.sha256((folder / path).read_bytes()).hexdigest() for path in files(folder)}


def main():
    different = []
    for name in PROJECTS:
        here = HERE / name
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            make(name, folder)
            if sys.argv[1:] == ["--write"]:
                shutil.rmtree(here, ignore_errors=True)
                shutil.copytree(folder, here, ignore=shutil.ignore_patterns("*.pyc", "__pycache__"))
            made, kept = hashes(folder), hashes(here)
        for path in sorted(made.keys() | kept.keys()):
            print(f"{made.get(path, 'not made'):64} {name}/{path}")
            if made.get(path) != kept.get(path):
                different.append(f"{name}/{path}: is {kept.get(path, 'not here')}")
    if different:
        sys.exit("not as the documentation makes it:\n" + "\n".join(different))


if __name__ == "__main__":
    main()
