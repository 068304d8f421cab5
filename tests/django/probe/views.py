"""See the package's docstring for the list of views.

All of them take any method and no CSRF token: what is tested is the gateway's protection, not Django's.
"""

import hashlib
import html
import time

from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.settings import api_settings

from config.authentication import JWTAuthentication as HandMadeJWTAuthentication

CHUNK = 64 * 1024
# What CGI-style servers tell besides the headers. RAW_URI is gunicorn's: the target's bytes before any decoding.
SERVER_META = (
    "REMOTE_ADDR",
    "REMOTE_USER",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "RAW_URI",
    "SERVER_PROTOCOL",
    "CONTENT_TYPE",
    "CONTENT_LENGTH",
    "wsgi.url_scheme",
)


def digest(request):
    """Length and SHA-256 of the body, read piece by piece: an upload is never held whole."""
    length, sha256 = 0, hashlib.sha256()
    while piece := request.read(CHUNK):
        length += len(piece)
        sha256.update(piece)
    return {"length": length, "sha256": sha256.hexdigest()}


def described(user):
    return {
        "id": user.pk,
        "username": user.get_username(),
        "is_authenticated": user.is_authenticated,
        "is_staff": getattr(user, "is_staff", False),
    }


def rest_framework_user(request):
    """Whom REST framework's classes find (the service's four, then the hand-made one), and by which of them."""
    classes = [*api_settings.DEFAULT_AUTHENTICATION_CLASSES, HandMadeJWTAuthentication]
    drf = Request(request, authenticators=[each() for each in classes])
    try:
        found = drf.user
    except APIException as error:
        return {"user": None, "by": None, "status": error.status_code, "error": str(error.detail)}
    by = drf.successful_authenticator
    return {"user": described(found) if by else None, "by": type(by).__name__ if by else None}


@csrf_exempt
def whoami(request, rest=""):
    # The body first: whoever looks at request.POST afterwards finds it read and does not read it again.
    body = digest(request)
    meta = {name: value for name, value in request.META.items() if name.startswith("HTTP_")}
    meta |= {name: request.META[name] for name in SERVER_META if name in request.META}
    return JsonResponse(
        {
            "method": request.method,
            "path": request.path,
            "query": request.META.get("QUERY_STRING", ""),
            "user": described(request.user),
            "rest_framework": rest_framework_user(request),
            "meta": meta,
            "body": body,
        }
    )


@csrf_exempt
def home(request):
    name = request.META.get("HTTP_X_USER_NAME", "nobody")
    identity = request.META.get("HTTP_X_USER_ID", "none")
    return HttpResponse(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Legacy service</title>'
        "<h1>Legacy service</h1>"
        f'<p>Signed in as <b id="user-name">{html.escape(name)}</b>, '
        f'id <b id="user-id">{html.escape(identity)}</b>.</p>'
    )


@csrf_exempt
def slow(request):
    seconds = min(float(request.GET.get("seconds", "1")), 120.0)
    time.sleep(max(seconds, 0.0))
    return JsonResponse({"slept": seconds})


@csrf_exempt
def stream(request):
    chunks = min(int(request.GET.get("chunks", "5")), 10_000)
    size = min(int(request.GET.get("size", "32")), 1024 * 1024)
    pause = min(float(request.GET.get("pause", "0.1")), 10.0)

    def pieces():
        for number in range(chunks):
            if number:
                time.sleep(pause)
            yield f"chunk {number} ".encode().ljust(size - 1, b".") + b"\n"

    return StreamingHttpResponse(pieces(), content_type="text/plain")


@csrf_exempt
def events(request):
    count = min(int(request.GET.get("count", "3")), 10_000)
    pause = min(float(request.GET.get("pause", "0.2")), 10.0)

    def messages():
        for number in range(count):
            if number:
                time.sleep(pause)
            yield f"id: {number}\nevent: tick\ndata: {number}\n\n"

    response = StreamingHttpResponse(messages(), content_type="text/event-stream")
    response["Cache-Control"] = "no-cache"
    return response


@csrf_exempt
def set_cookies(request):
    response = JsonResponse({"cookies": ["theme", "cart", "__Host-doorwarden"]})
    response.set_cookie("theme", "dark", max_age=3600, samesite="Lax")
    response.set_cookie("cart", "7", httponly=True)
    response.set_cookie("__Host-doorwarden", "forged", secure=True, httponly=True, path="/")
    for name in ("X-User-Id", "X_User_Id", "X-User-Name", "X-User-Groups", "X-Session-Id"):
        response[name] = "forged"
    response["X-Application"] = "legacy"
    return response


@csrf_exempt
def status(request, code):
    if not 200 <= code <= 599:
        return JsonResponse({"error": "a final status, please: 200 to 599"}, status=400)
    if code in (204, 304):
        return HttpResponse(status=code)
    response = JsonResponse({"status": code}, status=code)
    if location := request.GET.get("location"):
        response["Location"] = location
    return response


@csrf_exempt
def upload(request):
    return JsonResponse(digest(request))
