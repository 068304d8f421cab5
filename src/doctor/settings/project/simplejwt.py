"""`SIMPLE_JWT`, with the defaults of the installed version."""

SLIDING_SERIALIZERS = {
    "OBTAIN": "rest_framework_simplejwt.serializers.TokenObtainSlidingSerializer",
    "REFRESH": "rest_framework_simplejwt.serializers.TokenRefreshSlidingSerializer",
}


def simplejwt():
    try:
        from rest_framework_simplejwt.settings import api_settings as jwt
    except ImportError:
        return None
    from django.utils.module_loading import import_string

    classes = []
    for one in jwt.AUTH_TOKEN_CLASSES:
        one = import_string(one) if isinstance(one, str) else one
        classes.append(str(getattr(one, "token_type", "")))
    serializer = str(getattr(jwt, "TOKEN_OBTAIN_SERIALIZER", ""))
    return {
        "algorithm": str(jwt.ALGORITHM),
        "signing_key": text(jwt.SIGNING_KEY),
        "verifying_key": text(getattr(jwt, "VERIFYING_KEY", "")),
        "jwk_url": str(getattr(jwt, "JWK_URL", "") or ""),
        "access_lifetime": seconds(jwt.ACCESS_TOKEN_LIFETIME),
        "refresh_lifetime": seconds(jwt.REFRESH_TOKEN_LIFETIME),
        "rotate": bool(jwt.ROTATE_REFRESH_TOKENS),
        "blacklist_after_rotation": bool(jwt.BLACKLIST_AFTER_ROTATION),
        "update_last_login": bool(getattr(jwt, "UPDATE_LAST_LOGIN", False)),
        "audience": listed(jwt.AUDIENCE),
        "issuer": str(jwt.ISSUER or ""),
        "leeway": seconds(getattr(jwt, "LEEWAY", 0)),
        "header": http_header(str(jwt.AUTH_HEADER_NAME)),
        "schemes": listed(jwt.AUTH_HEADER_TYPES),
        "user_id_field": str(jwt.USER_ID_FIELD),
        "user_id_claim": str(jwt.USER_ID_CLAIM),
        "token_type_claim": str(jwt.TOKEN_TYPE_CLAIM or ""),
        "jti_claim": str(jwt.JTI_CLAIM or ""),
        "token_types": classes,
        "check_revoke_token": bool(getattr(jwt, "CHECK_REVOKE_TOKEN", False)),
        "revoke_claim": str(getattr(jwt, "REVOKE_TOKEN_CLAIM", "")),
        "custom_obtain": serializer not in ("", "rest_framework_simplejwt.serializers.TokenObtainPairSerializer"),
        "sliding_lifetime": seconds(jwt.SLIDING_TOKEN_LIFETIME),
        "sliding_refresh_lifetime": seconds(jwt.SLIDING_TOKEN_REFRESH_LIFETIME),
        "custom_sliding": not all(
            str(getattr(jwt, f"TOKEN_{what}_SLIDING_SERIALIZER", stock)) == stock
            for what, stock in SLIDING_SERIALIZERS.items()
        ),
        "blacklist": apps.is_installed("rest_framework_simplejwt.token_blacklist"),
    }
