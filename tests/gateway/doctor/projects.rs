//! Tests small real Django projects, each with one thing that authenticates differently from Django's defaults.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::{doctor_with_input, printed};
use crate::support::django::interpreter;

const SETTINGS: &str = r#"
import os
SECRET_KEY = "a-random-key-that-somebody-made-for-a-service-of-theirs"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.join(os.path.dirname(__file__), "db.sqlite3")}}
INSTALLED_APPS = [
    "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "django.contrib.messages", "shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {"context_processors": [
    "django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
]}}]
STATIC_URL = "/static/"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
WSGI_APPLICATION = None
"#;
const MANAGE: &str = r#"
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"#;
const URLS: &str = r#"
from django.contrib import admin
from django.urls import include, path
urlpatterns = [path("admin/", admin.site.urls), path("accounts/", include("django.contrib.auth.urls"))]
"#;
const MODELS: &str = r#"
from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models
"#;
const BEGIN: &str = r#"
import os, sys
sys.path.insert(0, os.getcwd())
os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
import django
django.setup()
from django.contrib.auth import get_user_model
User = get_user_model()
"#;
/// Creates the tables and three users, one of them inactive.
const FILL: &str = r#"
from django.core.management import call_command
call_command("migrate", run_syncdb=True, verbosity=0)
from django.contrib.auth.hashers import make_password
for name, more in (("Kim.Park", {}), ("lee", {"is_active": False}), ("gone", {})):
    User._base_manager.create(**{User.USERNAME_FIELD: name, "password": make_password("pass-1234"), **more})
"#;

/// The contents of a project's files, in addition to what all projects have.
#[derive(Default, Clone, Copy)]
pub(super) struct Files {
    pub(super) models: &'static str,
    pub(super) settings: &'static str,
    /// URL patterns in addition to [`URLS`].
    pub(super) urls: &'static str,
    pub(super) code: &'static str,
    /// Runs when the tables exist.
    pub(super) fill: &'static str,
}

pub(super) struct Project {
    folder: TempDir,
}

impl Project {
    pub(super) fn new(files: Files) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        std::fs::create_dir(folder.path().join("shop")).unwrap();
        write("manage.py", MANAGE);
        write("shop/__init__.py", "");
        write("shop/models.py", &format!("{MODELS}{}", files.models));
        write("shop/settings.py", &format!("{SETTINGS}{}", files.settings));
        write("shop/urls.py", &format!("{URLS}{}", files.urls));
        write("shop/code.py", files.code);
        let project = Self { folder };
        project.python(&format!("{BEGIN}{FILL}{}", files.fill));
        project
    }

    fn python(&self, program: &str) {
        let output = Command::new(interpreter())
            .args(["-B", "-c", program])
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn manage(&self) -> PathBuf {
        self.folder.path().join("manage.py")
    }

    /// Returns the doctor's findings, each as `severity about: says`, and the file. The doctor exits with 0 exactly if
    /// nothing failed.
    pub(super) fn doctor(&self) -> (Vec<String>, String) {
        self.doctor_with(&[], "")
    }

    /// Does the same, with more arguments and text on standard input.
    fn doctor_with(&self, more: &[&str], input: &str) -> (Vec<String>, String) {
        let out = tempfile::tempdir().unwrap();
        let manage = self.manage().display().to_string();
        let arguments =
            ["--settings", &manage, "--json", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let arguments = [&arguments[..], more].concat();
        let output = doctor_with_input(out.path(), "unused", &arguments, input);
        let failed = output.status.code() == Some(1);
        let report: Value = serde_json::from_str(&printed(&output, i32::from(failed))).unwrap();
        let text = |one: &Value, member: &str| one[member].as_str().unwrap().to_owned();
        let findings = report["findings"].as_array().unwrap().iter().map(|one| {
            format!("{} {}: {}", text(one, "severity"), text(one, "about"), text(one, "says"))
        });
        let findings: Vec<String> = findings.collect();
        assert_eq!(findings.iter().any(|one| one.starts_with("fail ")), failed, "{findings:#?}");
        let toml = std::fs::read_to_string(out.path().join("gateway.toml")).unwrap();
        (findings, toml)
    }
}

fn has(findings: &[String], words: &str) {
    let found = findings.iter().any(|one| one.contains(words));
    assert!(found, "{words:?} is missing in:\n{}", findings.join("\n"));
}

/// Projects as `startproject` makes them, and other ways to express the same.
#[test]
fn what_decides_as_django_does_is_taken_over() {
    for (name, files) in [
        ("startproject", Files::default()),
        (
            "a name that is an address, keys that are UUIDs",
            Files {
                models: "import uuid\nclass User(AbstractUser):\n    id = models.UUIDField(primary_key=True, default=uuid.uuid4)\n    \
                         username = None\n    email = models.EmailField(unique=True)\n    USERNAME_FIELD = \"email\"\n    \
                         REQUIRED_FIELDS = []\n",
                settings: "AUTH_USER_MODEL = \"shop.User\"\n",
                ..Files::default()
            },
        ),
        (
            "a backend for permissions, one for links by mail, more iterations, an own page",
            Files {
                settings: "AUTHENTICATION_BACKENDS = [\"shop.code.Permissions\", \"shop.code.Links\", \
                           \"django.contrib.auth.backends.ModelBackend\"]\n\
                           PASSWORD_HASHERS += [\"shop.code.Slow\"]\n",
                urls: "from django.contrib.auth.views import LoginView\nclass In(LoginView):\n    template_name = \"in.html\"\n    \
                       next_page = \"/home/\"\nurlpatterns += [path(\"in/\", In.as_view())]\n",
                code: "from django.contrib.auth.backends import BaseBackend\nfrom django.contrib.auth.hashers import \
                       PBKDF2PasswordHasher\nclass Permissions(BaseBackend):\n    def has_perm(self, user, perm, obj=None): return True\n\
                       class Links:\n    def authenticate(self, request, link): raise ValueError\n\
                       class Slow(PBKDF2PasswordHasher):\n    iterations = 2_000_000\n",
                ..Files::default()
            },
        ),
    ] {
        let (findings, toml) = Project::new(files).doctor();
        has(
            &findings,
            "ok sign-in: the gateway signs people in as Django does: asked about 3 of 3",
        );
        assert!(!toml.contains("mode = \"follow\""), "{name}: {toml}");
        assert!(!findings.iter().any(|one| one.starts_with("fail ")), "{name}: {findings:#?}");
    }
}

/// The model alone would let users in whom Django refuses.
#[test]
fn what_a_manager_asks_besides_is_read_from_its_query() {
    const USER: &str = "AUTH_USER_MODEL = \"shop.User\"\n";
    for (models, conditions) in [
        (
            "class Living(UserManager):\n    def get_queryset(self):\n        return super().get_queryset().filter(deleted_at__isnull=True, is_banned=False)\n    \
             def get_by_natural_key(self, username):\n        return self.get(username__iexact=username)\n\
             class User(AbstractUser):\n    deleted_at = models.DateTimeField(null=True)\n    is_banned = models.BooleanField(default=False)\n    objects = Living()\n",
            &[
                "username_case = \"fold\"",
                "column = \"deleted_at\"",
                "is = \"null\"",
                "column = \"is_banned\"",
                "equals = false",
            ][..],
        ),
        (
            "class Rows(models.QuerySet):\n    def good(self):\n        return self.exclude(is_banned=True).filter(state=\"member\")\n\
             class Living(UserManager.from_queryset(Rows)):\n    def get_queryset(self):\n        return super().get_queryset().good()\n\
             class User(AbstractUser):\n    is_banned = models.BooleanField(default=False)\n    state = models.CharField(max_length=9, default=\"member\", db_column=\"st\")\n    objects = Living()\n",
            &["column = \"is_banned\"", "equals = false", "column = \"st\"", "equals = \"member\""],
        ),
        (
            "class Active(UserManager):\n    def get_queryset(self):\n        return super().get_queryset().filter(is_active=True)\n\
             class User(AbstractUser):\n    objects = Active()\n",
            &[],
        ),
    ] {
        let (findings, toml) =
            Project::new(Files { models, settings: USER, ..Files::default() }).doctor();
        has(&findings, "ok sign-in: the gateway signs people in as Django does");
        for words in conditions {
            assert!(toml.contains(words), "{words} is missing in {toml}");
        }
        assert_eq!(toml.contains("[[directory.condition]]"), !conditions.is_empty(), "{toml}");
    }
}

/// The doctor writes nothing that only looks right: the service goes on signing in, or the doctor fails.
#[test]
fn what_decides_otherwise_is_named() {
    const USER: &str = "AUTH_USER_MODEL = \"shop.User\"\n";
    let user = |models: &'static str| Files { models, settings: USER, ..Files::default() };
    for (files, words) in [
        (
            user(
                "import threading\nnow = threading.local()\nclass Here(UserManager):\n    def get_queryset(self):\n        \
                  found = super().get_queryset()\n        return found.filter(tenant=now.tenant) if hasattr(now, \"tenant\") else found\n\
                  class User(AbstractUser):\n    tenant = models.IntegerField(default=0)\n    objects = Here()\n",
            ),
            "fail sign-in: manager: shop.User's manager: its functions do more than return a filtered query",
        ),
        (
            user(
                "class Either(UserManager):\n    def get_by_natural_key(self, name):\n        return self.get(models.Q(username=name) | models.Q(email=name))\n\
                  class User(AbstractUser):\n    objects = Either()\n",
            ),
            "fail sign-in: manager: shop.User's manager: it has alternatives (OR)",
        ),
        (
            user(
                "class Small(UserManager):\n    def get_by_natural_key(self, name):\n        return self.get(username=name.lower())\n\
                  class User(AbstractUser):\n    objects = Small()\n",
            ),
            "it does not ask for username as it was given",
        ),
        (
            user(
                "class User(AbstractUser):\n    epoch = models.IntegerField(default=0)\n    def get_session_auth_hash(self):\n        \
                  return super().get_session_auth_hash() + str(self.epoch)\n",
            ),
            "fail sign-in: user: shop.models.User has its own get_session_auth_hash",
        ),
        (
            user(
                "class User(AbstractUser):\n    def check_password(self, raw):\n        return raw == \"sesame\"\n",
            ),
            "note sign-in: user: shop.models.User has its own check_password",
        ),
        (
            user(
                "class Secret(models.CharField):\n    def from_db_value(self, value, *more):\n        return value[::-1]\n    \
                  def get_prep_value(self, value):\n        return value[::-1]\n\
                  class User(AbstractUser):\n    password = Secret(max_length=128)\n",
            ),
            "shop.User.password is a shop.models.Secret, which reads or writes its column its own way",
        ),
        (
            user(
                "class User(AbstractUser):\n    totp_secret = models.CharField(max_length=40, blank=True)\n",
            ),
            "shop.User has totp_secret: a second factor",
        ),
        (
            Files {
                settings: "AUTHENTICATION_BACKENDS = [\"shop.code.Own\"]\n",
                code: "from django.contrib.auth.backends import ModelBackend\nclass Own(ModelBackend):\n    \
                       def user_can_authenticate(self, user):\n        return not user.email.endswith(\"@gone.example\")\n",
                ..Files::default()
            },
            "shop.code.Own has its own user_can_authenticate",
        ),
        (
            Files {
                urls: "import shop.code\n",
                code: "from django.contrib.auth.backends import ModelBackend\n\
                       ModelBackend.user_can_authenticate = lambda self, user: user.is_active and not user.email\n",
                fill: "User._base_manager.update(email=\"kim@shop.example\")\n",
                ..Files::default()
            },
            "get_user does not answer what the conditions and is_active say",
        ),
        (
            Files {
                settings: "SESSION_ENGINE = \"shop.code\"\n",
                code: "from django.contrib.sessions.backends.db import SessionStore as Base\nclass SessionStore(Base): pass\n",
                ..Files::default()
            },
            "fail sign-in: sessions: SESSION_ENGINE is shop.code",
        ),
        (
            Files {
                urls: "import shop.code\n",
                code: "from django.contrib.auth.signals import user_logged_in\ndef remember(sender, request, user, **more):\n    \
                       request.session[\"organisation\"] = 1\nuser_logged_in.connect(remember)\n",
                ..Files::default()
            },
            "note sign-in: signal: shop.code.remember waits for user_logged_in",
        ),
        (
            Files {
                settings: "MIDDLEWARE += [\"shop.code.Organisation\"]\n",
                code: "class Organisation:\n    def __init__(self, get_response): self.get_response = get_response\n    \
                       def __call__(self, request):\n        if \"organisation\" not in request.session: request.session.flush()\n        \
                       return self.get_response(request)\n",
                ..Files::default()
            },
            "note sign-in: middleware: shop.code.Organisation reads organisation from the session",
        ),
        (
            Files {
                urls: "from django.contrib.auth.views import LoginView\nfrom shop.code import Puzzle\n\
                       urlpatterns += [path(\"in/\", LoginView.as_view(authentication_form=Puzzle))]\n",
                code: "from django import forms\nfrom django.contrib.auth.forms import AuthenticationForm\n\
                       class Puzzle(AuthenticationForm):\n    answer = forms.CharField()\n",
                ..Files::default()
            },
            "note sign-in: form: shop.code.Puzzle has its own answer",
        ),
        (
            Files {
                models: "from django.conf import settings\nclass RecoveryKey(models.Model):\n    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)\n    \
                         class Meta:\n        db_table = \"keys\"\nclass TotpDevice(models.Model):\n    \
                         owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, db_column=\"who\")\n",
                ..Files::default()
            },
            "fail factor: shop.TotpDevice may hold second factors",
        ),
    ] {
        let (findings, toml) = Project::new(files).doctor();
        has(&findings, words);
        has(
            &findings,
            "note sign-in: the service goes on signing people in, and the gateway follows",
        );
        assert!(toml.contains("[sign_in]\nmode = \"follow\""), "{toml}");
        assert!(!toml.contains("[[identity.form]]"), "{toml}");
    }
}

/// A gateway with the written file signs in whom the service does.
#[test]
fn a_sign_in_is_tried_both_ways() {
    let project = Project::new(Files::default());
    for (name, password, words) in [
        (
            "Kim.Park",
            "pass-1234\n",
            "ok try: Kim.Park: the service signs in user 1 (django.contrib.auth.backends.ModelBackend), the gateway user 1",
        ),
        (
            "Kim.Park",
            "wrong",
            "ok try: Kim.Park: the service signs in nobody, the gateway nobody (wrong password)",
        ),
        (
            "kim.park",
            "pass-1234",
            "ok try: kim.park: the service signs in nobody, the gateway nobody (no such user)",
        ),
        (
            "lee",
            "pass-1234",
            "ok try: lee: the service signs in nobody, the gateway nobody (may not sign in)",
        ),
    ] {
        let (findings, _) = project.doctor_with(&["--try", name], password);
        has(&findings, words);
        assert!(!findings.iter().any(|one| one.starts_with("fail ")), "{findings:#?}");
    }
    // The trial leaves nothing behind: no session, and no `last_login`.
    project.python(&format!(
        "{BEGIN}from django.contrib.sessions.models import Session\n\
         assert not Session.objects.exists() and not User._base_manager.exclude(last_login=None).exists()\n"
    ));
}

/// A database that cannot be opened proves nothing.
#[test]
fn without_its_database_nothing_is_proven() {
    let project = Project::new(Files::default());
    let database = project.folder.path().join("shop/db.sqlite3");
    std::fs::remove_file(&database).unwrap();
    let (findings, toml) = project.doctor();
    has(&findings, "fail sign-in: database: cannot be opened");
    assert!(toml.contains("mode = \"follow\"") && !database.exists(), "{toml}");
}
