//! Tests a login page of the service's that redirects signed-in users straight on, and pages that redirect them back to it.

use std::path::Path;

use super::follow::ISSUER;
use crate::support::client::{Client, Response};
use crate::support::django::Django;

const FILES: [(&str, &str); 4] = [
    (
        "manage.py",
        r#"
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"#,
    ),
    ("shop/__init__.py", ""),
    (
        "shop/settings.py",
        r#"
from pathlib import Path
BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "a-key-of-a-small-project-that-a-test-has-written"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
ROOT_URLCONF = "shop.urls"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [BASE_DIR / "shop"]}]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "legacy.sqlite3"}}
LOGIN_URL = "/accounts/login/"
USE_TZ = True
"#,
    ),
    ("shop/form.html", "<form method=post>{% csrf_token %}{{ form }}</form>"),
];

const URLS: &str = r#"
from django.contrib.auth.decorators import login_required, permission_required, user_passes_test
from django.contrib.auth.views import LoginView
from django.http import HttpResponse
from django.urls import path
from django.views.generic import RedirectView

def page(request):
    return HttpResponse(f"for {request.user.get_username()}")

urlpatterns = [
    path("accounts/login/", LoginView.as_view(template_name="form.html", redirect_authenticated_user=True)),
    path("open/", login_required(page)),
    path("staff/", permission_required("auth.add_user")(page)),
    path("old-staff/", RedirectView.as_view(url="/staff/")),
    path("named/", user_passes_test(lambda user: user.is_staff, login_url="http://app.test/accounts/login/")(page)),
]
"#;

/// The service's users are created when it starts.
const WSGI: &str = r#"
import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
from django.contrib.auth.models import User
User.objects.create_user("kim", password="kim-pass-1234")
User.objects.create_superuser("admin", password="admin-pass-1234")
"#;

fn project() -> Django {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        std::fs::write(path, content).unwrap();
    };
    FILES.iter().for_each(|(name, content)| write(name, content));
    write("shop/urls.py", URLS);
    write("shop/wsgi.py", WSGI);
    Django::project(folder, "shop")
}

fn sign_in(client: &Client, name: &str) -> String {
    let page = "/accounts/login/?next=/open/";
    let csrf = client.get(page).send().set_cookie("csrftoken").unwrap();
    let password = format!("{name}-pass-1234");
    let fields = [("csrfmiddlewaretoken", &*csrf), ("username", name), ("password", &password)];
    let answer = client.post(page).cookie("csrftoken", &csrf).form(&fields).send();
    assert_eq!(answer.status, 302, "{}", answer.text());
    answer.set_cookie("sessionid").unwrap()
}

/// Follows redirects as a browser does, and returns the last answer and the number of redirects.
fn browse(client: &Client, path: &str, session: &str, navigates: bool) -> (Response, usize) {
    let mut path = path.to_owned();
    for hops in 0..20 {
        let request = client.get(&path).host("app.test").cookie("sessionid", session);
        let answer = if navigates { request.navigation() } else { request }.send();
        let Some(location) = answer.header("location") else { return (answer, hops) };
        path = location.trim_start_matches("http://app.test").to_owned();
    }
    panic!("{path}: 20 redirects");
}

#[test]
fn who_is_sent_to_and_fro_by_the_service_sees_who_they_are() {
    let django = project();
    let direct = Client::new(django.address);
    let kims = sign_in(&direct, "kim");
    let endless = std::panic::catch_unwind(|| browse(&direct, "/staff/", &kims, true));
    assert!(endless.is_err(), "the service by itself sends a browser to and fro");

    let gateway = django
        .setup()
        .file("secret-key", b"a-key-of-a-small-project-that-a-test-has-written")
        .routes(
            "[[route]]\nname = \"login\"\npath = \"/accounts/login/\"\nupstream = \"app\"\naccess = \"public\"\n\
             [[route]]\nname = \"app\"\npath = \"/\"\nupstream = \"app\"\n",
        )
        .with(&format!(
            "{ISSUER}
        [paths]
        logout = \"/doorwarden/logout\"
        [sign_in]
        mode = \"follow\"
        login_path = \"/accounts/login/\"
        [[sign_in.observe]]
        kind = \"sign-in\"
        path = \"/accounts/login/\""
        ))
        .start();
    let client = gateway.client();
    let kim = sign_in(&client, "kim");
    for path in ["/staff/", "/named/", "/old-staff/"] {
        let (page, hops) = browse(&client, path, &kim, true);
        assert_eq!(page.status, 403, "{path}");
        assert!(page.text().contains("account_not_allowed"), "{path}: {}", page.text());
        assert!(page.text().contains("<dd>kim</dd>"), "{path}: {}", page.text());
        assert!(page.text().contains("href=\"/doorwarden/logout\""), "{path}: {}", page.text());
        assert!(hops <= 6, "{path}: {hops}");
        eprintln!(
            "| 14+ | the service's own page, {path} | 403 account_not_allowed after {hops} redirects | kim is named |"
        );
    }
    let (script, _) = browse(&client, "/staff/", &kim, false);
    assert_eq!((script.status, script.code().as_str()), (403, "account_not_allowed"));
    gateway.logged("whom it was refused", |line| {
        line["refusal"] == "account_not_allowed" && line["user"] == "django/1"
    });
    // The session is unaffected, and a few visits to the login page are no loop.
    for _ in 0..3 {
        let (page, hops) = browse(&client, "/accounts/login/?next=/open/", &kim, true);
        assert_eq!((page.status, page.text().as_str(), hops), (200, "for kim", 1));
    }
    let admin = sign_in(&client, "admin");
    assert_eq!(browse(&client, "/staff/", &admin, true).0.text(), "for admin");

    // The way out: signing out, and signing in as another user.
    let ask = client.get("/doorwarden/logout").host("app.test").cookie("sessionid", &kim);
    assert!(ask.navigation().send().text().contains("kim"));
    let out = client.post("/doorwarden/logout").host("app.test").cookie("sessionid", &kim);
    let out = out.header("Origin", "http://app.test").navigation().form(&[]).send();
    assert_eq!((out.status, out.header("location")), (303, Some("/accounts/login/")));
    let (page, _) = browse(&client, "/staff/", &kim, true);
    assert!(page.status == 200 && page.text().contains("password"), "{}", page.text());
}
