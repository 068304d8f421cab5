"""A project whose own sign-in leaves a note in the session, and whose middleware takes no session without it."""

from django.contrib.auth import logout
from django.contrib.auth.signals import user_logged_in


def note(sender, request, user, **_):
    request.session["last_login"] = "noted"


def only_noted(get_response):
    user_logged_in.connect(note, dispatch_uid="sign-in-note")

    def middleware(request):
        if request.user.is_authenticated and "last_login" not in request.session:
            logout(request)
        return get_response(request)

    return middleware
