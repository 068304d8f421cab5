//! Tests services that sign in by mail address or use sliding tokens: the doctor's file makes the gateway do the same.

use serde_json::{Value, json};

use super::doctor;
use crate::support::client::{Client, Response};
use crate::support::django::Django;
use crate::support::gateway::Gateway;

const MANAGE: &str = r#"
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"#;
const WSGI: &str = r#"
import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
"#;
const SETTINGS: &str = r#"
import os
from datetime import timedelta
SECRET_KEY = "a-random-key-that-somebody-made-for-a-service-of-theirs"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.join(os.path.dirname(__file__), "db.sqlite3")}}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "shop"]
MIDDLEWARE = []
AUTH_USER_MODEL = "shop.Person"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"]}
USE_TZ = True
WSGI_APPLICATION = "shop.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"#;
const MODELS: &str = r#"
from django.contrib.auth.models import AbstractUser
from django.db import models
class Person(AbstractUser):
    username = None
    email = models.EmailField(unique=True)
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = []
"#;
const MIGRATION: &str = r#"
from django.contrib.auth.hashers import make_password
from django.db import migrations, models

def people(apps, schema_editor):
    Person = apps.get_model("shop", "Person")
    Person.objects.create(email="Kim@example.com", password=make_password("kim-pass-1234"))

class Migration(migrations.Migration):
    dependencies = [("auth", "0012_alter_user_first_name_max_length")]
    operations = [
        migrations.CreateModel(name="Person", fields=[
            ("id", models.BigAutoField(primary_key=True)),
            ("password", models.CharField(max_length=128)),
            ("last_login", models.DateTimeField(null=True)),
            ("is_superuser", models.BooleanField(default=False)),
            ("first_name", models.CharField(max_length=150, default="")),
            ("last_name", models.CharField(max_length=150, default="")),
            ("is_staff", models.BooleanField(default=False)),
            ("is_active", models.BooleanField(default=True)),
            ("date_joined", models.DateTimeField(auto_now_add=True)),
            ("email", models.EmailField(max_length=254, unique=True)),
            ("groups", models.ManyToManyField(to="auth.group")),
            ("user_permissions", models.ManyToManyField(to="auth.permission")),
        ]),
        migrations.RunPython(people),
    ]
"#;
const URLS: &str = r#"
from django.urls import path
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt import views

class Me(APIView):
    permission_classes = [IsAuthenticated]
    def get(self, request):
        return Response({"email": request.user.email, "token": request.auth["token_type"]})

urlpatterns = [
    path("me/", Me.as_view()),
    path("pair/", views.TokenObtainPairView.as_view()),
    path("pair/refresh/", views.TokenRefreshView.as_view()),
    path("sliding/", views.TokenObtainSlidingView.as_view()),
    path("sliding/refresh/", views.TokenRefreshSlidingView.as_view()),
    path("verify/", views.TokenVerifyView.as_view()),
]
"#;

/// Serves the project with these `SIMPLE_JWT` settings, and starts a gateway with the doctor's file for it.
fn served(settings: &str) -> (Django, Gateway, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("manage.py", MANAGE.to_owned()),
        ("shop/__init__.py", String::new()),
        ("shop/wsgi.py", WSGI.to_owned()),
        ("shop/settings.py", format!("{SETTINGS}{settings}")),
        ("shop/models.py", MODELS.to_owned()),
        ("shop/urls.py", URLS.to_owned()),
        ("shop/migrations/__init__.py", String::new()),
        ("shop/migrations/0001_initial.py", MIGRATION.to_owned()),
    ] {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let django = Django::project(folder, "shop");
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
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let toml = std::fs::read_to_string(folder.path().join("gateway.toml")).unwrap();
    assert!(output.status.success(), "{said}\n{toml}");
    (django, Gateway::launch(folder), toml)
}

/// Returns status and body, with each token replaced by a placeholder.
fn read(response: &Response) -> (u16, Value) {
    let mut body = response.json();
    for (name, value) in body.as_object_mut().unwrap() {
        if ["access", "refresh", "token"].contains(&name.as_str()) && value.is_string() {
            assert_eq!(value.as_str().unwrap().split('.').count(), 3);
            *value = json!("a token");
        }
    }
    (response.status, body)
}

fn post(client: &Client, path: &str, body: &Value) -> Response {
    client.post(path).json(body).send()
}

/// Checks that the service and the gateway answer the same requests alike.
fn same(django: &Django, gateway: &Gateway, cases: &[(&str, Value)]) {
    let (direct, through) = (Client::new(django.address), gateway.client());
    for (path, body) in cases {
        let (ours, theirs) = (post(&through, path, body), post(&direct, path, body));
        assert_eq!(read(&ours), read(&theirs), "{path} {body}");
    }
}

#[test]
fn people_sign_in_by_what_the_model_calls_their_name() {
    let (django, gateway, toml) = served("");
    assert!(toml.contains("username_field = \"email\""), "{toml}");
    let good = json!({"email": "Kim@example.com", "password": "kim-pass-1234"});
    same(
        &django,
        &gateway,
        &[
            ("/pair/", good.clone()),
            ("/pair/", json!({"email": "Kim@example.com", "password": "wrong"})),
            ("/pair/", json!({"email": "kim@EXAMPLE.com", "password": "kim-pass-1234"})),
            ("/pair/", json!({"email": "  Kim@example.com ", "password": "kim-pass-1234"})),
            ("/pair/", json!({"username": "Kim@example.com", "password": "kim-pass-1234"})),
            ("/pair/", json!({"password": "kim-pass-1234"})),
            ("/pair/", json!({"email": null, "password": ""})),
            ("/pair/", json!({})),
        ],
    );
    let client = gateway.client();
    let access = post(&client, "/pair/", &good).json()["access"].as_str().unwrap().to_owned();
    let me = client.get("/me/").bearer(&access).send();
    assert_eq!(me.json(), json!({"email": "Kim@example.com", "token": "access"}));
    // The gateway's own paths and page use that name too.
    let own = post(&client, "/login", &json!({}));
    assert_eq!(own.json()["email"], json!(["This field is required."]));
    assert!(client.get("/login").navigation().send().text().contains("name=\"email\""));
}

#[test]
fn sliding_tokens_are_given_out_where_the_service_gives_them() {
    for (classes, minted) in [
        ("\"rest_framework_simplejwt.tokens.SlidingToken\",", "sliding"),
        (
            "\"rest_framework_simplejwt.tokens.AccessToken\", \"rest_framework_simplejwt.tokens.SlidingToken\"",
            "access",
        ),
    ] {
        let (django, gateway, toml) = served(&format!(
            "SIMPLE_JWT = {{\"AUTH_TOKEN_CLASSES\": ({classes}), \"SLIDING_TOKEN_LIFETIME\": timedelta(minutes=7), \
             \"SLIDING_TOKEN_REFRESH_LIFETIME\": timedelta(hours=9)}}\n"
        ));
        for line in
            ["shape = \"simplejwt-sliding\"", "lifetime = \"7m\"", "refresh_lifetime = \"9h\""]
        {
            assert!(toml.contains(line), "{line}: {toml}");
        }
        let good = json!({"email": "Kim@example.com", "password": "kim-pass-1234"});
        same(
            &django,
            &gateway,
            &[
                ("/sliding/", good.clone()),
                ("/sliding/", json!({"email": "Kim@example.com", "password": "wrong"})),
                ("/sliding/", json!({"email": "Kim@example.com"})),
                ("/sliding/refresh/", json!({})),
                ("/sliding/refresh/", json!({"token": "a.b.c"})),
            ],
        );
        let client = gateway.client();
        let token = |answer: &Response| answer.json()["token"].as_str().unwrap().to_owned();
        let first = token(&post(&client, "/sliding/", &good));
        let second = token(&post(&client, "/sliding/refresh/", &json!({"token": first})));
        for token in [&first, &second] {
            let me = client.get("/me/").bearer(token).send();
            assert_eq!(
                me.json(),
                json!({"email": "Kim@example.com", "token": minted}),
                "{classes}"
            );
            assert_eq!(post(&client, "/verify/", &json!({"token": token})).status, 200);
            // Signed with the service's own key.
            assert_eq!(Client::new(django.address).get("/me/").bearer(token).send().status, 200);
        }
        assert_eq!(client.post("/logout").bearer(&second).send().status, 204);
        assert_eq!(client.get("/me/").bearer(&first).send().status, 401, "they are one session's");
    }
}
