//! Tests which URLs strangers may use: small projects with real views, and the file written for each; both get the same
//! requests.

use std::path::Path;

use tempfile::TempDir;

use super::doctor;
use crate::support::client::Client;
use crate::support::django::Django;
use crate::support::gateway::Gateway;

const MANAGE: &str = r#"
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
from django.core.management import execute_from_command_line
if __name__ == "__main__":
    execute_from_command_line(sys.argv)
"#;

const WSGI: &str = r#"
import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
"#;

const SETTINGS: &str = r#"
from pathlib import Path
BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "a-key-of-a-small-project-that-a-test-has-written"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [
    "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "django.contrib.messages", "django.contrib.staticfiles", "rest_framework", "shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware", "django.contrib.messages.middleware.MessageMiddleware",
]
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [BASE_DIR / "templates"], "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]},
}]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGES = [("en", "English"), ("ko", "Korean")]
LOGIN_URL = "/accounts/login/"
USE_TZ = True
STATIC_URL = "/assets/"
MEDIA_URL = "/uploads/"
"#;

/// A shop: public pages, pages for signed-in users, and URL patterns as projects write them.
const MODELS: &str = r#"
from django.db import models

class Product(models.Model):
    name = models.CharField(max_length=50)
    seen = models.IntegerField(default=0)

    def get_absolute_url(self):
        return f"/catalogue/{self.name}_{self.pk}/"
"#;

pub(super) const URLS: &str = r#"
import functools
from django.conf.urls.i18n import i18n_patterns
from django.contrib import admin
from django.contrib.auth import login, views
from django.contrib.auth.decorators import login_required
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpResponse
from django.middleware.csrf import get_token
from django.urls import include, path, re_path
from django.views.generic import DetailView, FormView, TemplateView, View
from django.views.static import serve
from django import forms
from rest_framework.decorators import api_view, permission_classes
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView
from shop.models import Product

def decorated(view):
    @functools.wraps(view)
    def inner(*args, **kwargs):
        return view(*args, **kwargs)
    return inner

class OrganiserLogin(views.LoginView):
    template_name = "form.html"

class Detail(DetailView):
    model = Product
    template_name = "product.html"
    def get(self, request, *args, **kwargs):
        answer = super().get(request, *args, **kwargs)
        Product.objects.filter(pk=self.object.pk).update(seen=self.object.seen + 1)
        return answer

def page(text):
    return lambda request, **kwargs: HttpResponse(text)

def home(request):
    return HttpResponse('<a href="/catalogue/">catalogue</a> <a href="/contact/">contact</a> <a href="/sitemap/7/">map</a>')

def contact(request):
    if request.method == "POST":
        return HttpResponse("thanks")
    token = get_token(request)
    return HttpResponse(f'<form method="post"><input name="csrfmiddlewaretoken" value="{token}"><input name="text"></form>')

class Checkout(LoginRequiredMixin, FormView):
    """It mentions `login`, and is no sign-in."""
    form_class = forms.Form
    template_name = "form.html"
    def form_valid(self, form):
        login(self.request, None)

class Activate(LoginRequiredMixin, TemplateView):
    template_name = "form.html"

@api_view(["GET", "POST"])
def prices(request):
    return Response([])

@api_view(["GET", "POST"])
@permission_classes([IsAuthenticated])
def orders(request):
    return Response([])

organiser = [
    path("login/", decorated(OrganiserLogin.as_view())),
    path("", login_required(page("the organiser's pages"))),
    path("settings/", login_required(page("the organiser's settings"))),
]

urlpatterns = [
    path("", home),
    path("admin/", admin.site.urls),
    path("orga/event/<str:event>/", include(organiser)),
    path("accounts/login/", views.LoginView.as_view(template_name="form.html")),
    path("accounts/password_reset/", views.PasswordResetView.as_view(template_name="form.html")),
    path("accounts/reset/<uidb64>/<token>/", views.PasswordResetConfirmView.as_view(template_name="form.html")),
    path("accounts/2fa/totp/activate/", Activate.as_view()),
    path("accounts/2fa/totp/deactivate/", Activate.as_view()),
    path("checkout/", Checkout.as_view()),
    path("contact/", contact),
    path("catalogue/", page("<a href='/catalogue/shoes_1/'>shoes</a>")),
    path("catalogue/reports/", login_required(page("reports"))),
    re_path(r"^catalogue/(?P<slug>[\w-]*)_(?P<pk>\d+)/$", Detail.as_view()),
    path("catalogue/<str:slug>_<int:pk>/edit/", login_required(page("edit"))),
    path("api/prices/", prices),
    path("api/orders/", orders),
    re_path(r"^jwt/create/?$", TokenObtainPairView.as_view()),
    re_path(r"^jwt/refresh/?", TokenRefreshView.as_view()),
    re_path(r"^brochures/(?P<path>.*)$", serve, {"document_root": "brochures"}),
    re_path(r"^invoices/(?P<path>.*)$", login_required(serve), {"document_root": "brochures"}),
    path("sitemap/<int:number>/", page("a map")),
    path("sitemap/<slug:name>/", login_required(page("a secret map"))),
] + i18n_patterns(
    path("about/", page("about us")),
    path("members/", login_required(page("members"))),
    path("login/", OrganiserLogin.as_view()),
)
"#;

/// Pages that editors create, below everything else.
pub(super) const CMS_URLS: &str = r#"
from django.contrib import admin
from django.contrib.auth import views
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.urls import path, re_path

PAGES = {"": '<a href="/news/">news</a> <a href="/team/">team</a>', "news/": "news", "team/": "team"}

def serve(request, path):
    if path == "team/" and not request.user.is_authenticated:
        return redirect(f"/accounts/login/?next=/{path}")
    if path not in PAGES:
        raise Http404
    return HttpResponse(PAGES[path])

def editor(request, **kwargs):
    return HttpResponse("editor")

urlpatterns = [
    path("admin/", admin.site.urls),
    path("accounts/login/", views.LoginView.as_view(template_name="form.html")),
    path("editor/", login_required(editor)),
    path("editor/sprite/", editor),
    path("editor/pages/<int:pk>/", login_required(editor)),
    re_path(r"^((?:[\w\-]+/)*)$", serve),
]
"#;

/// Serves the project from a folder of its own.
pub(super) fn served(urls: &str) -> Django {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    for (name, text) in [
        ("manage.py", MANAGE),
        ("shop/__init__.py", ""),
        ("shop/wsgi.py", WSGI),
        ("shop/settings.py", SETTINGS),
        ("shop/models.py", MODELS),
        ("shop/urls.py", urls),
        ("shop/migrations/__init__.py", ""),
        ("shop/migrations/0001_initial.py", MIGRATION),
        ("templates/form.html", "<form method=post>{% csrf_token %}{{ form }}</form>"),
        ("templates/product.html", "<a href='{{ object.get_absolute_url }}'>{{ object.name }}</a>"),
        ("brochures/shoes.txt", "shoes"),
    ] {
        write(name, text);
    }
    Django::project(folder, "shop")
}

const MIGRATION: &str = r#"
from django.db import migrations, models

def product(apps, schema_editor):
    apps.get_model("shop", "Product").objects.create(name="shoes")

class Migration(migrations.Migration):
    operations = [
        migrations.CreateModel(name="Product", fields=[
            ("id", models.BigAutoField(primary_key=True)),
            ("name", models.CharField(max_length=50)),
            ("seen", models.IntegerField(default=0)),
        ]),
        migrations.RunPython(product),
    ]
"#;

/// Runs the doctor for the project, and returns the folder and the output; the file is written in any case.
pub(super) fn written(django: &Django) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let manage = django.folder().join("manage.py").display().to_string();
    let upstream = django.address.to_string();
    let arguments = [
        ["--settings", &manage],
        ["--listen", "127.0.0.1:0"],
        ["--admin", "127.0.0.1:0"],
        ["--upstream", &upstream],
    ];
    let output = doctor(folder.path(), "unused", arguments.as_flattened());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(folder.path().join("gateway.toml").exists(), "{text}");
    (folder, text)
}

/// Returns the status for a stranger: from the service itself, or from the gateway's check.
fn asked(client: &Client, method: &str, path: &str) -> u16 {
    client.request(method, path).send().status
}

fn compare(django: &Django, gateway: &Gateway, cases: &[(&str, &str, bool)]) {
    let (before, after) = (Client::new(django.address), gateway.client());
    for (method, path, passes) in cases {
        let status = asked(&after, method, path);
        if *passes {
            assert_eq!(status, asked(&before, method, path), "{method} {path}");
        } else {
            assert_eq!(status, 401, "{method} {path}");
        }
    }
}

#[test]
fn strangers_go_on_being_served_and_nothing_else_opens() {
    let django = served(URLS);
    let (folder, said) = written(&django);
    let seen = database_of(django.folder(), "SELECT seen FROM shop_product");
    assert_eq!(seen, "0", "what a view writes while it is asked is taken back");
    for words in [
        "pages were asked for without a credential",
        "GET, HEAD /catalogue/ (shop.urls.page",
        "/jwt/create is answered by the gateway (login)",
        "/jwt/create/ is answered by the gateway (login)",
        "GET, HEAD /sitemap/*/, because of /sitemap/*/",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    let toml = std::fs::read_to_string(folder.path().join("gateway.toml")).unwrap();
    assert!(toml.contains("href = \"/accounts/password_reset/\""), "{toml}");
    let gateway = Gateway::launch(folder);
    compare(
        &django,
        &gateway,
        &[
            ("GET", "/", true),
            ("HEAD", "/", true),
            ("POST", "/", false),
            ("GET", "/catalogue/", true),
            ("GET", "/catalogue", true),
            ("GET", "/catalogue/shoes_1/", true),
            ("GET", "/catalogue/boots_99/", true),
            ("GET", "/catalogue/reports/", false),
            ("GET", "/catalogue/shoes_1/edit/", false),
            ("GET", "/catalogue/shoes_1/edit/more/", false),
            ("GET", "/contact/", true),
            ("POST", "/contact/", true),
            ("DELETE", "/contact/", false),
            ("GET", "/orga/event/pycon/login/", true),
            ("POST", "/orga/event/pycon/login/", true),
            ("GET", "/orga/event/pycon/", false),
            ("GET", "/orga/event/pycon/settings/", false),
            ("GET", "/orga/event/", false),
            ("GET", "/accounts/login/", true),
            ("GET", "/accounts/password_reset/", true),
            ("GET", "/accounts/reset/MQ/set-password/", true),
            ("GET", "/accounts/2fa/totp/activate/", false),
            ("GET", "/accounts/2fa/totp/deactivate/", false),
            ("GET", "/checkout/", false),
            ("POST", "/checkout/", false),
            ("GET", "/api/prices/", true),
            ("POST", "/api/prices/", true),
            // Closed, with the service's own status: 403, since its first authentication class has no challenge.
            ("GET", "/api/orders/", true),
            ("POST", "/api/orders/", true),
            ("GET", "/brochures/none.txt", true),
            ("GET", "/invoices/none.txt", false),
            ("GET", "/assets/none.css", true),
            ("GET", "/uploads/none.png", false),
            // Two patterns of one shape: only numbers are served, so neither is opened.
            ("GET", "/sitemap/7/", false),
            ("GET", "/sitemap/secret/", false),
            ("GET", "/en/about/", true),
            ("GET", "/ko/about/", true),
            ("GET", "/fr/about/", false),
            ("GET", "/ko/members/", false),
            ("GET", "/ko/login/", true),
            ("POST", "/en/login/", true),
            ("GET", "/no/such/page/", false),
        ],
    );
}

#[test]
fn pages_of_editors_are_open_and_the_editor_is_not() {
    let django = served(CMS_URLS);
    let (folder, said) = written(&django);
    assert!(said.contains("GET, HEAD below / (shop.urls.serve"), "{said}");
    let gateway = Gateway::launch(folder);
    compare(
        &django,
        &gateway,
        &[
            ("GET", "/", true),
            ("GET", "/news/", true),
            ("POST", "/news/", false),
            // Not for strangers, and the service itself refuses them: a catch-all may serve such pages among others.
            ("GET", "/team/", true),
            ("GET", "/made/tomorrow/", true),
            ("GET", "/editor/", false),
            ("GET", "/editor/sprite/", true),
            ("GET", "/editor/pages/7/", false),
            ("GET", "/admin/auth/user/", false),
            ("GET", "/accounts/login/", true),
        ],
    );
}

/// Returns one value of the project's database.
fn database_of(folder: &Path, query: &str) -> String {
    let script = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()[0])";
    let output = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(folder.join("db.sqlite3"))
        .arg(query)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
