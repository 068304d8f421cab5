"""Views that do to the session what a project's own code does: keep something in it, sign somebody in, change a user."""

import pathlib
import time

from django.contrib.auth import get_user_model, login, logout, update_session_auth_hash
from django.contrib.auth.tokens import default_token_generator
from django.contrib.auth.views import PasswordResetConfirmView
from django.http import HttpResponse, JsonResponse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.views.decorators.csrf import csrf_exempt

BACKEND = "django.contrib.auth.backends.ModelBackend"


def told(request):
    if request.session.modified and not request.session.is_empty():
        # Its key is known from then on.
        request.session.save()
    return JsonResponse(
        {
            "user": request.user.get_username(),
            "kept": request.session.get("kept"),
            "key": request.session.session_key,
            "cookies": sorted(request.COOKIES.items()),
            "header": request.META.get("HTTP_X_USER_NAME"),
        }
    )


@csrf_exempt
def tell(request):
    return told(request)


@csrf_exempt
def keep(request, value):
    """A basket: something in the session, whoever's it is."""
    request.session["kept"] = value
    return told(request)


@csrf_exempt
def become(request, name):
    """A magic link, or a staff member who takes a customer's place."""
    login(request, get_user_model().objects.get(username=name), backend=BACKEND)
    return told(request)


@csrf_exempt
def leave(request):
    logout(request)
    return told(request)


@csrf_exempt
def leave_with(request, value):
    """A sign-out after which the stranger is told something: Django's messages can lie in the session."""
    logout(request)
    return keep(request, value)


def wait_at(request):
    """Says by a file that the request is here, and waits for another one."""
    at = pathlib.Path(request.GET["at"])
    at.touch()
    for _ in range(3000):
        if at.with_suffix(".go").exists():
            return
        time.sleep(0.01)


@csrf_exempt
def late_rotate(request):
    wait_at(request)
    return rotate(request)


@csrf_exempt
def late_become(request, name):
    wait_at(request)
    return become(request, name)


@csrf_exempt
def rotate(request):
    request.session.cycle_key()
    return told(request)


@csrf_exempt
def password(request, value):
    """A page that changes the caller's own password and keeps them signed in."""
    request.user.set_password(value)
    request.user.save()
    update_session_auth_hash(request, request.user)
    return told(request)


@csrf_exempt
def late_password(request, value):
    """The same by a service that has more to do between the new password and its answer."""
    request.user.set_password(value)
    request.user.save()
    wait_at(request)
    update_session_auth_hash(request, request.user)
    return told(request)


def reset_link(request, name):
    user = get_user_model().objects.get(username=name)
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    return HttpResponse(f"/public/reset/{uid}/{default_token_generator.make_token(user)}/")


reset = PasswordResetConfirmView.as_view(success_url="/public/session/tell")
