"""Views that do to the session what a project's own code does: keep something in it, sign somebody in, change a user."""

from django.contrib.auth import get_user_model, login, logout, update_session_auth_hash
from django.contrib.auth.tokens import default_token_generator
from django.contrib.auth.views import PasswordResetConfirmView
from django.http import HttpResponse, JsonResponse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.views.decorators.csrf import csrf_exempt

BACKEND = "django.contrib.auth.backends.ModelBackend"


def told(request):
    return JsonResponse(
        {
            "user": request.user.get_username(),
            "kept": request.session.get("kept"),
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
def flush(request):
    """An application that throws its session away whenever it sees one."""
    request.session.flush()
    return told(request)


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


def reset_link(request, name):
    user = get_user_model().objects.get(username=name)
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    return HttpResponse(f"/public/reset/{uid}/{default_token_generator.make_token(user)}/")


reset = PasswordResetConfirmView.as_view(success_url="/public/session/tell")
