"""The user is Django's own (table `auth_user`); the rest of the service imports it from here."""

from django.contrib.auth.models import User

__all__ = ["User"]
