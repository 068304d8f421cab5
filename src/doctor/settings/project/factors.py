"""Second factors that the service has: whoever has one may not be let in by the password alone."""

import re

LOOKS_LIKE = re.compile(
    r"(^|[._-])(otp|totp|hotp|mfa|2fa|two_?factor|webauthn|u2f|fido2?|second_?factor|yubikey|passkey)", re.IGNORECASE
)
FIELD_LOOKS_LIKE = re.compile(
    r"^(otp|totp|mfa|two_?factor|second_?factor|tfa|is_2fa|has_2fa|use_2fa|google_auth)|(_2fa|_otp|_mfa|_totp)(_|$)",
    re.IGNORECASE,
)
# Tables of packages whose models have no common base: what a row must have to count.
KNOWN = {
    "mfa.Authenticator": [None],
    "trench.MFAMethod": [{"column": "is_active", "equals": True}],
    "multifactor.UserKey": [{"column": "enabled", "equals": True}],
    "mfa.MFAKey": [None],
    "mfa.User_Keys": [{"column": "enabled", "equals": True}],
    "deux.MultiFactorAuth": [None],
    "kagi.TOTPDevice": [None],
    "kagi.WebAuthnKey": [None],
    "django_u2f.U2FKey": [None],
    "otp_yubikey.YubikeyDevice": [{"column": "confirmed", "equals": True}],
}
# They hold challenges, codes or logs, and no device by itself.
NO_DEVICE = frozenset(("otp_static.StaticToken", "django_otp_webauthn.WebAuthnAttestation", "mfa.RecoveryCode"))


def user_of(model, user):
    """The column that says whose it is, and by what: id or username."""
    for field in model._meta.concrete_fields:
        target = getattr(field, "remote_field", None) and field.remote_field.model
        if target is user or (inspect.isclass(target) and issubclass(user, target)):
            return field.column, "id" if field.target_field.primary_key else ""
    for field in model._meta.concrete_fields:
        if field.name == "username":
            return field.column, "username"
    return "", ""


def second_factors(user):
    found = []
    try:
        from django_otp.models import Device
    except Exception:
        Device = ()
    for model in apps.get_models(include_auto_created=False):
        label = model._meta.label
        is_otp = bool(Device) and issubclass(model, Device)
        looks = LOOKS_LIKE.search(label) or LOOKS_LIKE.search(model.__module__)
        if not is_otp and label not in KNOWN and not looks:
            continue
        if label in NO_DEVICE or model._meta.proxy:
            continue
        column_of_user, key = user_of(model, user)
        if not column_of_user:
            continue
        if is_otp:
            conditions = [{"column": column(model, "confirmed"), "equals": True}]
        else:
            conditions = KNOWN.get(label, [None])
        where = {"table": model._meta.db_table, "user_column": column_of_user, "user_key": key}
        for condition in conditions:
            found.append(where | {
                "model": label,
                "known": bool(is_otp or label in KNOWN) and key in ("id", "username"),
                "conditions": [condition] if condition else [],
                "schema": "",
            })
    own = [field.name for field in user._meta.concrete_fields if FIELD_LOOKS_LIKE.search(field.name)]
    if own:
        obstacle(
            "follow", "factor", f"{user._meta.label} has {', '.join(own)}: a second factor of the project's own, it seems",
            "Whoever has it would be let in by the password alone.",
        )
    for name in sorted({one["model"] for one in found}):
        obstacle("follow", "factor", f"{name} is a second factor, which the gateway does not ask for")
    return found
