"""What each package's documentation says to do: the generator, and the edits of what it wrote.

Every edit names the page that asks for it. The pages are those of the versions in `requirements.txt`.
"""

import sys
from dataclasses import dataclass

SETTINGS = "mysite/settings.py"
URLS = "mysite/urls.py"


@dataclass(frozen=True)
class Edit:
    """One edit of one file: `text` is put behind `after`, in place of `instead_of`, or (without both) is a new file."""

    page: str
    path: str
    text: str
    after: str = ""
    instead_of: str = ""

    def make(self, project, folder):
        path = folder / self.path
        anchor = self.after or self.instead_of
        if not anchor:
            path.parent.mkdir(parents=True, exist_ok=True)
            # A file that the generator wrote is only added to.
            path.write_text((path.read_text() + "\n" if path.exists() else "") + self.text)
            return
        before = path.read_text()
        if before.count(anchor) != 1:
            sys.exit(f"{project}: {anchor!r} stands {before.count(anchor)} times in {self.path}")
        path.write_text(before.replace(anchor, (anchor if self.after else "") + self.text))


def startproject(name):
    """The command of Django's tutorial, `django-admin startproject`, into this folder."""
    return (["django-admin", "startproject", name, "."], None)


LAST_APP = "    'django.contrib.staticfiles',\n"
LAST_MIDDLEWARE = "    'django.middleware.clickjacking.XFrameOptionsMiddleware',\n"
ADMIN_URL = "    path('admin/', admin.site.urls),\n"
IMPORT_PATH = "from django.urls import path\n"


def apps(page, *names, path=SETTINGS):
    return Edit(page, path, "".join(f"    '{name}',\n" for name in names), after=LAST_APP)


def urls(page, *lines, imports="from django.urls import include, path\n", path=URLS):
    return [
        Edit(page, path, imports, instead_of=IMPORT_PATH),
        Edit(page, path, "".join(f"    {line},\n" for line in lines), after=ADMIN_URL),
    ]


def settings(page, text, path=SETTINGS):
    return Edit(page, path, text)


# Where mails go while a project is developed: to the standard output.
CONSOLE = settings(
    "Django 5.2, topics/email, Configuring email for development",
    "EMAIL_BACKEND = 'django.core.mail.backends.console.EmailBackend'\n",
)

# Django's own pages for signing in and for passwords: the admin brings templates for all but the sign-in.
AUTH_VIEWS = "Django 5.2, topics/auth/default, Using the views"
LOGIN_TEMPLATE = Edit(
    "Django 5.2, topics/auth/default, LoginView: a sample template that you can use as a starting point",
    "templates/registration/login.html",
    """\
{% if form.errors %}
<p>Your username and password didn't match. Please try again.</p>
{% endif %}

{% if next %}
    {% if user.is_authenticated %}
    <p>Your account doesn't have access to this page. To proceed,
    please login with an account that has access.</p>
    {% else %}
    <p>Please login to see this page.</p>
    {% endif %}
{% endif %}

<form method="post" action="{% url 'login' %}">
{% csrf_token %}
<table>
<tr>
    <td>{{ form.username.label_tag }}</td>
    <td>{{ form.username }}</td>
</tr>
<tr>
    <td>{{ form.password.label_tag }}</td>
    <td>{{ form.password }}</td>
</tr>
</table>

<input type="submit" value="login">
<input type="hidden" name="next" value="{{ next }}">
</form>

{# Assumes you set up the password_reset view in your URLconf #}
<p><a href="{% url 'password_reset' %}">Lost password?</a></p>
""",
)
TEMPLATES_FOLDER = Edit(
    "Django 5.2, topics/templates, Configuration", SETTINGS, "'DIRS': [BASE_DIR / 'templates'],", instead_of="'DIRS': [],"
)
REDIRECT_TO_ADMIN = settings("Django 5.2, ref/settings, LOGIN_REDIRECT_URL", "LOGIN_REDIRECT_URL = '/admin/'\n")
DJANGOS_PAGES = [TEMPLATES_FOLDER, LOGIN_TEMPLATE, REDIRECT_TO_ADMIN, CONSOLE]
DJANGOS_URLS = "path('accounts/', include('django.contrib.auth.urls'))"

QUICKSTART = "django-allauth, installation/quickstart"
HEADLESS = "django-allauth, headless/installation"
ALLAUTHS_BACKENDS = settings(
    QUICKSTART,
    """\
AUTHENTICATION_BACKENDS = [
    # Needed to login by username in Django admin, regardless of `allauth`
    'django.contrib.auth.backends.ModelBackend',

    # `allauth` specific authentication methods, such as login by email
    'allauth.account.auth_backends.AuthenticationBackend',
]
""",
)
COMPLETE = "dj-rest-auth, getting-started/installation, Complete Example"
SHOP = "django-oscar, internals/getting_started"
SHOP_SETTINGS = "frobshop/settings.py"
SHOP_URLS = "frobshop/urls.py"

# name -> the generators with what is typed into them, and the edits.
PROJECTS = {
    "allauth": (
        [startproject("mysite")],
        [
            apps(
                f"{QUICKSTART}; {HEADLESS}; mfa/introduction",
                "allauth",
                "allauth.account",
                "allauth.headless",
                "allauth.mfa",
                "allauth.usersessions",
            ),
            Edit(QUICKSTART, SETTINGS, "    'allauth.account.middleware.AccountMiddleware',\n", after=LAST_MIDDLEWARE),
            ALLAUTHS_BACKENDS,
            settings(
                "django-allauth, account/configuration, Login Methods and Signup Fields",
                """\
ACCOUNT_LOGIN_METHODS = {'email', 'username'}
ACCOUNT_SIGNUP_FIELDS = ['email*', 'username*', 'password1*', 'password2*']
""",
            ),
            settings(
                "django-allauth, faq: I cannot send mails",
                "EMAIL_BACKEND = 'django.core.mail.backends.console.EmailBackend'\n",
            ),
            *urls(
                HEADLESS,
                "path('accounts/', include('allauth.urls'))",
                "path('_allauth/', include('allauth.headless.urls'))",
            ),
        ],
    ),
    "djoser": (
        [startproject("mysite")],
        [
            apps("djoser, getting_started, Configuration", "rest_framework", "djoser"),
            settings(
                "djoser, authentication_backends, JSON Web Token Authentication",
                """\
REST_FRAMEWORK = {
    'DEFAULT_AUTHENTICATION_CLASSES': (
        'rest_framework_simplejwt.authentication.JWTAuthentication',
    ),
}

SIMPLE_JWT = {
   'AUTH_HEADER_TYPES': ('JWT',),
}
""",
            ),
            settings(
                "djoser, authentication_backends; settings",
                """\
DJOSER = {
    'TOKEN_MODEL': None,
    'PASSWORD_RESET_CONFIRM_URL': '#/password/reset/confirm/{uid}/{token}',
    'USERNAME_RESET_CONFIRM_URL': '#/username/reset/confirm/{uid}/{token}',
    'ACTIVATION_URL': '#/activate/{uid}/{token}',
    'SEND_ACTIVATION_EMAIL': True,
    'SERIALIZERS': {},
}
""",
            ),
            CONSOLE,
            *urls(
                "djoser, authentication_backends, urls.py",
                "re_path(r'^auth/', include('djoser.urls'))",
                "re_path(r'^auth/', include('djoser.urls.jwt'))",
                imports="from django.urls import include, path, re_path\n",
            ),
        ],
    ),
    "dj_rest_auth": (
        [startproject("mysite")],
        [
            apps(
                COMPLETE,
                "django.contrib.sites",
                "rest_framework",
                "rest_framework.authtoken",
                "rest_framework_simplejwt.token_blacklist",
                "allauth",
                "allauth.account",
                "allauth.socialaccount",
                "allauth.socialaccount.providers.google",
                "dj_rest_auth",
                "dj_rest_auth.registration",
            ),
            Edit(COMPLETE, SETTINGS, "    'allauth.account.middleware.AccountMiddleware',\n", after=LAST_MIDDLEWARE),
            settings(
                COMPLETE,
                """\
from datetime import timedelta

SITE_ID = 1

REST_FRAMEWORK = {
    'DEFAULT_AUTHENTICATION_CLASSES': [
        'dj_rest_auth.jwt_auth.JWTCookieAuthentication',
    ],
}

REST_AUTH = {
    'USE_JWT': True,
    'JWT_AUTH_COOKIE': 'access-token',
    'JWT_AUTH_REFRESH_COOKIE': 'refresh-token',
    'JWT_AUTH_HTTPONLY': True,
    'JWT_AUTH_SECURE': False,  # Set True in production
    'JWT_AUTH_SAMESITE': 'Lax',
    'JWT_AUTH_RETURN_EXPIRATION': True,
    'SESSION_LOGIN': False,
}

SIMPLE_JWT = {
    'ACCESS_TOKEN_LIFETIME': timedelta(minutes=15),
    'REFRESH_TOKEN_LIFETIME': timedelta(days=7),
    'ROTATE_REFRESH_TOKENS': True,
    'BLACKLIST_AFTER_ROTATION': True,
}

# Allauth configuration
ACCOUNT_EMAIL_REQUIRED = True
ACCOUNT_EMAIL_VERIFICATION = 'mandatory'
ACCOUNT_AUTHENTICATION_METHOD = 'email'
""",
            ),
            # The example leaves it out, and nobody could sign in by mail address.
            ALLAUTHS_BACKENDS,
            CONSOLE,
            *urls(
                COMPLETE,
                "path('api/auth/', include('dj_rest_auth.urls'))",
                "path('api/auth/registration/', include('dj_rest_auth.registration.urls'))",
                imports="from django.urls import include, path, re_path\nfrom django.views.generic import TemplateView\n",
            ),
            Edit(
                "dj-rest-auth, guides/user-profiles, Password Reset URL",
                URLS,
                """\
    # Must be before other URLs
    re_path(
        r'^password-reset/confirm/(?P<uidb64>[0-9A-Za-z_\\-]+)/(?P<token>[0-9A-Za-z]{1,13}-[0-9A-Za-z]{1,32})/$',
        TemplateView.as_view(template_name='password_reset_confirm.html'),
        name='password_reset_confirm',
    ),
""",
                after="urlpatterns = [\n",
            ),
        ],
    ),
    "knox": (
        [startproject("mysite")],
        [
            apps("django-rest-knox, installation, Setup knox", "rest_framework", "knox"),
            settings(
                "django-rest-knox, installation, Setup knox",
                "REST_FRAMEWORK = {\n    'DEFAULT_AUTHENTICATION_CLASSES': ('knox.auth.TokenAuthentication',),\n}\n",
            ),
            Edit(
                "django-rest-knox, auth, Global usage on all views",
                "mysite/views.py",
                """\
from knox.views import LoginView as KnoxLoginView
from rest_framework.authentication import BasicAuthentication

class LoginView(KnoxLoginView):
    authentication_classes = [BasicAuthentication]
""",
            ),
            Edit(
                "django-rest-knox, auth, TokenAuthentication",
                "mysite/views.py",
                """\
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from knox.auth import TokenAuthentication

class ExampleView(APIView):
    authentication_classes = (TokenAuthentication,)
    permission_classes = (IsAuthenticated,)

    def get(self, request, format=None):
        content = {
            'foo': 'bar'
        }
        return Response(content)
""",
            ),
            *urls(
                "django-rest-knox, auth, Global usage on all views",
                "path(r'login/', LoginView.as_view(), name='knox_login')",
                "path(r'logout/', knox_views.LogoutView.as_view(), name='knox_logout')",
                "path(r'logoutall/', knox_views.LogoutAllView.as_view(), name='knox_logoutall')",
                "path('example/', ExampleView.as_view())",
                imports="from django.urls import path\n\nfrom knox import views as knox_views\n"
                "from mysite.views import ExampleView, LoginView\n",
            ),
        ],
    ),
    "axes": (
        [startproject("mysite")],
        [
            apps("django-axes, 2_installation", "axes"),
            settings(
                "django-axes, 2_installation",
                """\
AUTHENTICATION_BACKENDS = [
    # AxesStandaloneBackend should be the first backend in the AUTHENTICATION_BACKENDS list.
    'axes.backends.AxesStandaloneBackend',

    # Django ModelBackend is the default authentication backend.
    'django.contrib.auth.backends.ModelBackend',
]
""",
            ),
            Edit("django-axes, 2_installation", SETTINGS, "    'axes.middleware.AxesMiddleware',\n", after=LAST_MIDDLEWARE),
            *DJANGOS_PAGES,
            *urls(AUTH_VIEWS, DJANGOS_URLS),
        ],
    ),
    "two_factor": (
        [startproject("mysite")],
        [
            apps(
                "django-two-factor-auth, installation, Setup",
                "django_otp",
                "django_otp.plugins.otp_static",
                "django_otp.plugins.otp_totp",
                "django_otp.plugins.otp_email",
                "two_factor",
                "two_factor.plugins.phonenumber",
                "two_factor.plugins.email",
            ),
            Edit(
                "django-two-factor-auth, installation, Setup",
                SETTINGS,
                "    'django_otp.middleware.OTPMiddleware',\n",
                after="    'django.contrib.auth.middleware.AuthenticationMiddleware',\n",
            ),
            settings(
                "django-two-factor-auth, installation, Setup",
                "LOGIN_URL = 'two_factor:login'\n\n# this one is optional\nLOGIN_REDIRECT_URL = 'two_factor:profile'\n",
            ),
            CONSOLE,
            *urls(
                "django-two-factor-auth, installation, Setup",
                "path('', include(tf_urls))",
                imports="from django.urls import include, path\nfrom two_factor.urls import urlpatterns as tf_urls\n",
            ),
        ],
    ),
    "hijack": (
        [startproject("mysite")],
        [
            apps("django-hijack, index, Installation and Django admin integration", "hijack", "hijack.contrib.admin"),
            Edit(
                "django-hijack, index, Installation",
                SETTINGS,
                "    'hijack.middleware.HijackUserMiddleware',\n",
                after=LAST_MIDDLEWARE,
            ),
            *DJANGOS_PAGES,
            *urls("django-hijack, index, Installation", "path('hijack/', include('hijack.urls'))", DJANGOS_URLS),
        ],
    ),
    # It sends its mails to the standard output as it is.
    "wagtail": ([(["wagtail", "start", "mysite", "."], None)], []),
    "oscar": (
        [startproject("frobshop")],
        [
            Edit(
                SHOP,
                SHOP_SETTINGS,
                "from oscar.defaults import *\n",
                after="from pathlib import Path\n",
            ),
            Edit(
                SHOP,
                SHOP_SETTINGS,
                """\
                'oscar.apps.search.context_processors.search_form',
                'oscar.apps.checkout.context_processors.checkout',
                'oscar.apps.communication.notifications.context_processors.notifications',
                'oscar.core.context_processors.metadata',
""",
                after="                'django.contrib.messages.context_processors.messages',\n",
            ),
            apps(
                SHOP,
                "django.contrib.sites",
                "django.contrib.flatpages",
                "oscar.config.Shop",
                "oscar.apps.analytics.apps.AnalyticsConfig",
                "oscar.apps.checkout.apps.CheckoutConfig",
                "oscar.apps.address.apps.AddressConfig",
                "oscar.apps.shipping.apps.ShippingConfig",
                "oscar.apps.catalogue.apps.CatalogueConfig",
                "oscar.apps.catalogue.reviews.apps.CatalogueReviewsConfig",
                "oscar.apps.communication.apps.CommunicationConfig",
                "oscar.apps.partner.apps.PartnerConfig",
                "oscar.apps.basket.apps.BasketConfig",
                "oscar.apps.payment.apps.PaymentConfig",
                "oscar.apps.offer.apps.OfferConfig",
                "oscar.apps.order.apps.OrderConfig",
                "oscar.apps.customer.apps.CustomerConfig",
                "oscar.apps.search.apps.SearchConfig",
                "oscar.apps.voucher.apps.VoucherConfig",
                "oscar.apps.wishlists.apps.WishlistsConfig",
                "oscar.apps.dashboard.apps.DashboardConfig",
                "oscar.apps.dashboard.reports.apps.ReportsDashboardConfig",
                "oscar.apps.dashboard.users.apps.UsersDashboardConfig",
                "oscar.apps.dashboard.orders.apps.OrdersDashboardConfig",
                "oscar.apps.dashboard.catalogue.apps.CatalogueDashboardConfig",
                "oscar.apps.dashboard.offers.apps.OffersDashboardConfig",
                "oscar.apps.dashboard.partners.apps.PartnersDashboardConfig",
                "oscar.apps.dashboard.pages.apps.PagesDashboardConfig",
                "oscar.apps.dashboard.ranges.apps.RangesDashboardConfig",
                "oscar.apps.dashboard.reviews.apps.ReviewsDashboardConfig",
                "oscar.apps.dashboard.vouchers.apps.VouchersDashboardConfig",
                "oscar.apps.dashboard.communications.apps.CommunicationsDashboardConfig",
                "oscar.apps.dashboard.shipping.apps.ShippingDashboardConfig",
                "widget_tweaks",
                "haystack",
                "treebeard",
                "sorl.thumbnail",
                "django_tables2",
                path=SHOP_SETTINGS,
            ),
            Edit(
                SHOP,
                SHOP_SETTINGS,
                "    'oscar.apps.basket.middleware.BasketMiddleware',\n"
                "    'django.contrib.flatpages.middleware.FlatpageFallbackMiddleware',\n",
                after=LAST_MIDDLEWARE,
            ),
            settings(
                SHOP,
                """\
SITE_ID = 1

AUTHENTICATION_BACKENDS = (
    'oscar.apps.customer.auth_backends.EmailBackend',
    'django.contrib.auth.backends.ModelBackend',
)

MEDIA_URL = '/media/'
MEDIA_ROOT = BASE_DIR / 'media'

HAYSTACK_CONNECTIONS = {
    'default': {
        'ENGINE': 'haystack.backends.simple_backend.SimpleEngine',
    },
}

OSCAR_INITIAL_ORDER_STATUS = 'Pending'
OSCAR_INITIAL_LINE_STATUS = 'Pending'
OSCAR_ORDER_STATUS_PIPELINE = {
    'Pending': ('Being processed', 'Cancelled',),
    'Being processed': ('Processed', 'Cancelled',),
    'Cancelled': (),
}
""",
                path=SHOP_SETTINGS,
            ),
            Edit(
                SHOP,
                SHOP_SETTINGS,
                "        'NAME': BASE_DIR / 'db.sqlite3',\n        'ATOMIC_REQUESTS': True,\n",
                instead_of="        'NAME': BASE_DIR / 'db.sqlite3',\n",
            ),
            settings(CONSOLE.page, CONSOLE.text, path=SHOP_SETTINGS),
            *urls(
                SHOP,
                "path('', include(apps.get_app_config('oscar').urls[0]))",
                imports="from django.apps import apps\nfrom django.urls import include, path\n",
                path=SHOP_URLS,
            ),
            Edit(SHOP, SHOP_URLS, "    path('i18n/', include('django.conf.urls.i18n')),\n", after="urlpatterns = [\n"),
        ],
    ),
    "cms": (
        [
            startproject("mysite"),
            # "Already have a Django project? Run `djangocms .`", with the rules that the package brings and all questions
            # answered as proposed, but for the last one: its packages are installed, and a test makes the tables.
            (
                ["djangocms", ".", "--interactive", "--use-bundled-install-rules"],
                "traditional\nyes\nno\nyes\nno\nno\nyes\nno\n",
            ),
        ],
        [
            settings(
                "django-cms, how_to/manual-installation, Media files", "MEDIA_URL = '/media/'\nMEDIA_ROOT = BASE_DIR / 'media'\n"
            ),
            CONSOLE,
        ],
    ),
}
