"""The tokens of packages: of django-rest-knox, and of dj-rest-auth, which are SimpleJWT's in a cookie."""

import hashlib


def jwt_cookie(cls):
    """The cookie in which a class of dj-rest-auth's reads the token (`JWT_AUTH_COOKIE`)."""
    base = offered("dj_rest_auth.jwt_auth.JWTCookieAuthentication")
    if not (base and issubclass(cls, base)):
        return ""
    from dj_rest_auth.app_settings import api_settings

    return str(api_settings.JWT_AUTH_COOKIE or "")


def knox():
    """How django-rest-knox keeps tokens. It is asked to hash one: versions differ in what they hash."""
    if not apps.is_installed("knox"):
        return None
    from knox.crypto import hash_token
    from knox.settings import CONSTANTS, knox_settings

    try:
        from knox.models import get_token_model

        model = get_token_model()
    except ImportError:
        from knox.models import AuthToken as model
    example = "0123456789abcdef" * 4
    try:
        digest = hash_token(example)
    except TypeError:
        # Before 4.2, with a salt of each token's own.
        digest = ""
    ways = {
        (hashlib.sha512(bytes.fromhex(example)).hexdigest(), 8): 4,
        (hashlib.sha512(example.encode()).hexdigest(), 15): 5,
    }
    columns = [column(model, name) for name in ("digest", "token_key", "user", "created", "expiry")]
    version = ways.get((digest, CONSTANTS.TOKEN_KEY_LENGTH), 0)
    return {
        "version": version if columns == ["digest", "token_key", "user_id", "created", "expiry"] else 0,
        "table": model._meta.db_table,
        "scheme": str(getattr(knox_settings, "AUTH_HEADER_PREFIX", "Token")),
        # Tokens that its manager leaves out are in the table all the same.
        "manager": dotted(type(model.objects)) if own_manager(model) else "",
    }


def own_manager(model):
    stock = offered("knox.models.AuthTokenManager")
    return stock is None or bool(changes(type(model.objects), stock, ("create",)))
