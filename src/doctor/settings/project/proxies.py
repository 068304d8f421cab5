"""What a service must be told when a proxy stands before it: it is asked with a request as the gateway sends it."""

CLIENT = "203.0.113.9"


def forwarded():
    from django.test import RequestFactory

    return RequestFactory().get("/", REMOTE_ADDR="127.0.0.1", HTTP_X_FORWARDED_FOR=CLIENT, HTTP_X_REAL_IP=CLIENT,
                                HTTP_X_FORWARDED_PROTO="https")


def axes_address():
    from axes.helpers import get_client_ip_address

    return get_client_ip_address(forwarded())


def throttle_address():
    from rest_framework.settings import api_settings
    from rest_framework.throttling import BaseThrottle

    return BaseThrottle().get_ident(forwarded()) if api_settings.DEFAULT_THROTTLE_CLASSES else CLIENT


def allauth_address():
    from allauth.account.adapter import get_adapter

    return get_adapter().get_client_ip(forwarded())


def defender_address():
    from defender.utils import get_ip

    return get_ip(forwarded())


def ratelimit_address():
    from django_ratelimit.core import _get_ip

    return _get_ip(forwarded())


READERS = (
    ("axes", axes_address, "AXES_IPWARE_PROXY_COUNT = 1\nAXES_IPWARE_META_PRECEDENCE_ORDER = [\"HTTP_X_FORWARDED_FOR\"]"
     "\n(with django-ipware installed; without it: AXES_CLIENT_IP_CALLABLE)"),
    ("rest_framework", throttle_address, "REST_FRAMEWORK = {..., \"NUM_PROXIES\": 1}"),
    ("allauth.account", allauth_address, "ALLAUTH_TRUSTED_PROXY_COUNT = 1"),
    ("defender", defender_address, "DEFENDER_BEHIND_REVERSE_PROXY = True"),
    ("django_ratelimit", ratelimit_address, "RATELIMIT_IP_META_KEY = \"HTTP_X_REAL_IP\""),
)


def address_readers():
    """Packages that count by address, and which address they would see."""
    found = []
    for package, ask, line in READERS:
        if not apps.is_installed(package):
            continue
        try:
            seen = str(ask())
        except Exception as error:
            seen = f"{type(error).__name__}: {error}"[:200]
        found.append({"package": package, "seen": seen, "is_right": seen == CLIENT, "line": line})
    return found
