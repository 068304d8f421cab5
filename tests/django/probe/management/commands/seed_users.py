"""Makes the users that the tests sign in with.

    id  name        password             hash                             what for
    1   admin       admin-pass-1234      pbkdf2_sha256, Django's rounds   superuser, staff; the Django admin
    2   kim         kim-pass-1234        pbkdf2_sha256, 1,000 rounds      the everyday user; group `editors`
    3   lee         lee-pass-1234        argon2 (id), 8 MiB               groups `editors` and `reviewers`
    4   park        park-pass-1234       bcrypt_sha256, cost 4
    5   choi        choi-pass-1234       scrypt, N = 1,024
    10  inactive    inactive-pass-1234   pbkdf2_sha256, 1,000 rounds      `is_active` is off
    11  nopassword  none works           unusable                         made by a social sign-in, say
    12  staff       staff-pass-1234      pbkdf2_sha256, 1,000 rounds      `is_staff` only
    13  김민정      비밀번호-1234        argon2 (id), 8 MiB               a name and password beyond ASCII, both NFC
    14  blanks      "  two blanks  "     pbkdf2_sha256, 1,000 rounds      blanks around the password are part of it
    20  1           one-pass-1234        pbkdf2_sha256, 1,000 rounds      a name that is somebody else's id

Cheap rounds keep tests fast; each hash is still one that Django itself verifies. Salts are fixed, so running the command
again gives the same rows: it repairs what a test changed, and leaves sessions alone (Django ties a session to the
hash). Signing in at Django itself upgrades a cheap hash to Django's present rounds, as it does for any user.
"""

from django.contrib.auth.hashers import (
    Argon2PasswordHasher,
    BCryptSHA256PasswordHasher,
    PBKDF2PasswordHasher,
    ScryptPasswordHasher,
)
from django.contrib.auth.models import Group, User
from django.core.management.base import BaseCommand
from django.db import transaction

SALT = "dGVzdHMtb25seS1zYWx0"


class CheapArgon2(Argon2PasswordHasher):
    time_cost = 1
    memory_cost = 8 * 1024
    parallelism = 1


def pbkdf2(password):
    return PBKDF2PasswordHasher().encode(password, SALT)


def cheap_pbkdf2(password):
    return PBKDF2PasswordHasher().encode(password, SALT, iterations=1000)


def argon2(password):
    return CheapArgon2().encode(password, SALT)


def bcrypt_sha256(password):
    return BCryptSHA256PasswordHasher().encode(password, b"$2b$04$dGVzdHMtb25seS1zYWx0O.")


def scrypt(password):
    return ScryptPasswordHasher().encode(password, SALT, n=1024)


def unusable(_password):
    # `!` and forty characters, as set_unusable_password() writes it; fixed, so that a second run changes nothing.
    return "!" + "unusable" * 5


USERS = [
    (1, "admin", "admin-pass-1234", pbkdf2, {"is_staff": True, "is_superuser": True}, []),
    (2, "kim", "kim-pass-1234", cheap_pbkdf2, {"email": "kim@example.com"}, ["editors"]),
    (3, "lee", "lee-pass-1234", argon2, {}, ["editors", "reviewers"]),
    (4, "park", "park-pass-1234", bcrypt_sha256, {}, []),
    (5, "choi", "choi-pass-1234", scrypt, {}, []),
    (10, "inactive", "inactive-pass-1234", cheap_pbkdf2, {"is_active": False}, []),
    (11, "nopassword", "", unusable, {}, []),
    (12, "staff", "staff-pass-1234", cheap_pbkdf2, {"is_staff": True}, []),
    (13, "김민정", "비밀번호-1234", argon2, {}, []),
    (14, "blanks", "  two blanks  ", cheap_pbkdf2, {}, []),
    (20, "1", "one-pass-1234", cheap_pbkdf2, {}, []),
]
FLAGS = {"is_active": True, "is_staff": False, "is_superuser": False, "email": ""}


class Command(BaseCommand):
    help = "Makes the users that the tests sign in with, or puts them back as they were."

    @transaction.atomic
    def handle(self, *args, **options):
        for pk, username, password, hasher, flags, groups in USERS:
            fields = FLAGS | flags | {"username": username, "password": hasher(password)}
            user, _ = User.objects.update_or_create(pk=pk, defaults=fields)
            user.groups.set([Group.objects.get_or_create(name=name)[0] for name in groups])
        if options["verbosity"] > 0:
            self.stdout.write(f"{len(USERS)} users are in place")
