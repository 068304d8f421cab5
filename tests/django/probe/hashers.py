"""A hasher for tests that sign in often: as Django's own, with a thousandth of the work.

A hash of fewer rounds than its settings say is written anew by Django at the first sign-in, and is dear from then on.
Where this class stands first in `PASSWORD_HASHERS`, the seeded hashes are as they should be and stay.
"""

from django.contrib.auth.hashers import PBKDF2PasswordHasher


class CheapPBKDF2(PBKDF2PasswordHasher):
    iterations = 1000
