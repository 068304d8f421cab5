"""What a view is for, decided by its class: the installed packages' own and whatever is derived from them.

Neither a word in a path nor one in a source says anything: `/accounts/2fa/totp/activate/` is for who is signed in, and a
checkout that calls `login` is no sign-in page.
"""

import inspect
import sys

# The names under which packages offer their views, wherever those are defined. The first kind in a class's order counts.
VIEWS = {
    "simplejwt-obtain": ("rest_framework_simplejwt.views.TokenObtainPairView",),
    "simplejwt-refresh": ("rest_framework_simplejwt.views.TokenRefreshView",),
    "simplejwt-verify": ("rest_framework_simplejwt.views.TokenVerifyView",),
    "simplejwt-blacklist": ("rest_framework_simplejwt.views.TokenBlacklistView",),
    "sliding-obtain": ("rest_framework_simplejwt.views.TokenObtainSlidingView",),
    "sliding-refresh": ("rest_framework_simplejwt.views.TokenRefreshSlidingView",),
    "drf-token-obtain": (
        "rest_framework.authtoken.views.ObtainAuthToken",
        "djoser.views.TokenCreateView",
    ),
    "drf-token-destroy": ("djoser.views.TokenDestroyView",),
    "dj-rest-auth-connect": ("dj_rest_auth.registration.views.SocialConnectView",),
    "dj-rest-auth-login": ("dj_rest_auth.views.LoginView",),
    "dj-rest-auth-logout": ("dj_rest_auth.views.LogoutView",),
    "knox-obtain": ("knox.views.LoginView",),
    "knox-logout": ("knox.views.LogoutView",),
    "knox-logout-all": ("knox.views.LogoutAllView",),
    "login": (
        "django.contrib.auth.views.LoginView",
        "allauth.account.views.LoginView",
        "allauth.headless.account.views.LoginView",
        "two_factor.views.LoginView",
        "two_factor.views.core.LoginView",
        "oscar.apps.customer.views.AccountAuthView",
        "sesame.views.LoginView",
    ),
    "logout": (
        "django.contrib.auth.views.LogoutView",
        "allauth.account.views.LogoutView",
        "oscar.apps.customer.views.LogoutView",
    ),
    # Between the password and the session.
    "sign-in-step": (
        "allauth.account.views.RequestLoginCodeView",
        "allauth.account.views.ConfirmLoginCodeView",
        "allauth.account.views.AccountInactiveView",
        "allauth.mfa.base.views.AuthenticateView",
        "allauth.mfa.base.views.TrustView",
        "allauth.mfa.webauthn.views.LoginWebAuthnView",
        "allauth.socialaccount.views.LoginCancelledView",
        "allauth.socialaccount.views.LoginErrorView",
        "allauth.socialaccount.providers.base.views.BaseLoginView",
        "dj_rest_auth.mfa.views.MFAVerifyView",
        "djoser.social.views.ProviderAuthView",
        "mozilla_django_oidc.views.OIDCAuthenticationRequestView",
        "mozilla_django_oidc.views.OIDCAuthenticationCallbackView",
    ),
    "password-reset": (
        "django.contrib.auth.views.PasswordResetView",
        "allauth.account.views.PasswordResetView",
        "dj_rest_auth.views.PasswordResetView",
    ),
    "password-reset-step": (
        "django.contrib.auth.views.PasswordResetDoneView",
        "django.contrib.auth.views.PasswordResetConfirmView",
        "django.contrib.auth.views.PasswordResetCompleteView",
        "allauth.account.views.PasswordResetDoneView",
        "allauth.account.views.PasswordResetFromKeyView",
        "allauth.account.views.PasswordResetFromKeyDoneView",
        "allauth.account.views.ConfirmPasswordResetCodeView",
        "allauth.account.views.CompletePasswordResetView",
        "dj_rest_auth.views.PasswordResetConfirmView",
    ),
    "sign-up": (
        "allauth.account.views.SignupView",
        "allauth.account.views.SignupByPasskeyView",
        "allauth.mfa.webauthn.views.SignupWebAuthnView",
        "allauth.socialaccount.views.SignupView",
        "dj_rest_auth.registration.views.RegisterView",
        "oscar.apps.customer.views.AccountRegistrationView",
        "django_registration.views.RegistrationView",
        "registration.views.RegistrationView",
    ),
    "sign-up-step": (
        "allauth.account.views.ConfirmEmailView",
        "allauth.account.views.EmailVerificationSentView",
        "dj_rest_auth.registration.views.VerifyEmailView",
        "dj_rest_auth.registration.views.ResendEmailVerificationView",
        "django_registration.views.ActivationView",
        "registration.views.ActivationView",
    ),
    # Files that a package hands out to whom it lets, strangers too.
    "own-files": ("wagtail.images.views.serve.ServeView",),
    # They ask for what their clients have: an identifier and a secret.
    "client-credentials": (
        "oauth2_provider.views.TokenView",
        "oauth2_provider.views.RevokeTokenView",
        "oauth2_provider.views.IntrospectTokenView",
    ),
    # A service that answers a front end of its own says by its 401 how to go on.
    "headless-signed-in": ("allauth.headless.base.views.AuthenticatedAPIView",),
    "headless": ("allauth.headless.base.views.APIView",),
}
FUNCTIONS = {
    "django.contrib.auth.views.logout_then_login": "logout",
    "cms.views.login": "login",
    "django.views.i18n.set_language": "for-everybody",
    # A page of Wagtail's with a password of its own.
    "wagtail.views.authenticate_with_password": "for-everybody",
    "wagtail.documents.views.serve.authenticate_with_password": "for-everybody",
    "wagtail.documents.views.serve.serve": "own-files",
    "social_django.views.auth": "sign-in-step",
    "social_django.views.complete": "sign-in-step",
}
# The methods that a kind is about; all, where there are none.
ABOUT = {"own-files": ["GET", "HEAD"]}
# A provider's views are made by a function of its package's.
MAKERS = {
    "allauth.socialaccount.providers.oauth.views": "sign-in-step",
    "allauth.socialaccount.providers.oauth2.views": "sign-in-step",
    "allauth.socialaccount.providers.saml.views": "sign-in-step",
    "allauth.socialaccount.providers.openid_connect.views": "sign-in-step",
}
# What djoser's one class of views does for strangers.
DJOSER = {
    "create": "sign-up",
    "activation": "sign-up-step",
    "resend_activation": "sign-up-step",
    "reset_password": "password-reset",
    "reset_password_confirm": "password-reset-step",
    "reset_username": "password-reset",
    "reset_username_confirm": "password-reset-step",
}


def offered(name):
    """What a package offers under a name, if the project uses that package: nothing is imported for this."""
    module, _, last = name.rpartition(".")
    return getattr(sys.modules.get(module), last, None)


def kinds_of_classes():
    return {offered(name): kind for kind, names in VIEWS.items() for name in names if offered(name)}


def class_of(callback):
    """The class of a view, through decorators that keep to `functools.wraps`."""
    for view in (callback, inspect.unwrap(callback)):
        for name in ("cls", "view_class"):
            if inspect.isclass(getattr(view, name, None)):
                return getattr(view, name)
    return None


def name_of(callback):
    cls, view = class_of(callback), inspect.unwrap(callback)
    return dotted(cls) if cls else f"{view.__module__}.{getattr(view, '__qualname__', type(view).__name__)}"


def kind_of(callback, classes):
    """What the view is for, by its class; which methods that is about (all, if empty); and is it a class of its own?"""
    cls, view = class_of(callback), inspect.unwrap(callback)
    actions = getattr(callback, "actions", None) or getattr(view, "actions", None) or {}
    djoser = offered("djoser.views.UserViewSet")
    if cls and djoser and issubclass(cls, djoser):
        kinds = {DJOSER[action]: method.upper() for method, action in actions.items() if action in DJOSER}
        for kind, method in kinds.items():
            return kind, [method], cls is not djoser
        return "", [], False
    made_by_dj_rest_auth = next((base for base in getattr(cls, "__mro__", ()) if base.__module__ == "dj_rest_auth.jwt_auth"), None)
    if made_by_dj_rest_auth:
        return "dj-rest-auth-refresh", [], cls is not made_by_dj_rest_auth
    for base in getattr(cls, "__mro__", ()):
        if base in classes:
            kind = classes[base]
            options = getattr(callback, "initkwargs", None) or getattr(view, "initkwargs", None) or {}
            # The stock views have their serializers by the name of a setting.
            own_serializer = kind.startswith(("simplejwt", "sliding")) and (
                options.get("serializer_class") or getattr(cls, "serializer_class", None)
            )
            return kind, ABOUT.get(kind, []), bool(base is not cls or own_serializer)
    name = f"{getattr(view, '__module__', '')}.{getattr(view, '__qualname__', '')}"
    if cls is None:
        kind = FUNCTIONS.get(name) or MAKERS.get(getattr(view, "__module__", ""), "")
        return kind, ABOUT.get(kind, []), False
    return "", [], False


def sign_in_methods():
    """By what people sign in with allauth (`ACCOUNT_LOGIN_METHODS`, before it `ACCOUNT_AUTHENTICATION_METHOD`)."""
    if not apps.is_installed("allauth.account"):
        return []
    from allauth.account import app_settings

    methods = getattr(app_settings, "LOGIN_METHODS", None)
    if methods is None:
        method = getattr(app_settings, "AUTHENTICATION_METHOD", "username")
        methods = str(getattr(method, "value", method)).split("_")
    return sorted(str(getattr(one, "value", one)) for one in methods)


def by_what_it_calls(view):
    """A view of the project's own that signs people in or out: it names Django's `login` or `logout`, or PyJWT's `encode`.

    That is a hint for a comment in the file, and opens nothing.
    """
    from django.contrib.auth import login, logout

    functions = [getattr(view, name, None) for name in ("post", "get", "form_valid")] if inspect.isclass(view) else [view]
    for function in functions:
        function = inspect.unwrap(function) if callable(function) else None
        code, scope = getattr(function, "__code__", None), getattr(function, "__globals__", {})
        if code is None or scope.get("__name__", "").startswith(("django.", "rest_framework")):
            continue
        called = {name: scope.get(name) for name in code.co_names}
        if any(value is login for value in called.values()):
            return "login"
        if any(value is logout for value in called.values()):
            return "logout"
        if "encode" in called and any(getattr(value, "__name__", "") == "jwt" for value in called.values()):
            return "hand-made-obtain"
    return ""
