//! Checks the doctor's findings on projects, row by row, with one more input of the same kind: `--nocapture` prints the
//! table.

use super::projects::{Files, Project};
use super::routes::{CMS_URLS, URLS, served, written};
use crate::support::client::Client;
use crate::support::gateway::Gateway;

/// One line of the table: the finding, and the lines that are in the file because of it.
fn row(number: &str, input: &str, files: Files, says: &str, lines: &[&str]) {
    let (findings, toml) = Project::new(files).doctor();
    let found = findings.iter().find(|one| one.contains(says));
    let found = found.unwrap_or_else(|| panic!("{number}: {says:?} in\n{}", findings.join("\n")));
    for line in lines {
        assert!(toml.contains(line), "{number}: {line} in\n{toml}");
    }
    let failed = findings.iter().any(|one| one.starts_with("fail "));
    let status = if failed { 1 } else { 0 };
    eprintln!("| {number} | {input} | exit {status} | {found} | {} |", lines.join(", "));
}

const FOLLOW: &str = "mode = \"follow\"";
const USER: &str = "AUTH_USER_MODEL = \"shop.User\"\n";

fn head() {
    eprintln!("\n| row | input | doctor | says | writes |\n|---|---|---|---|---|");
}

#[test]
fn sign_ins_row_by_row() {
    head();
    let taken_over = "ok sign-in: the gateway signs people in as Django does";
    let axes = Files {
        settings: "AUTHENTICATION_BACKENDS = [\"shop.code.Standalone\", \"shop.code.Own\"]\n",
        code: "from django.contrib.auth.backends import BaseBackend, ModelBackend\n\
               class Standalone(BaseBackend):\n    def authenticate(self, request, username=None, password=None): return None\n\
               class Own(ModelBackend):\n    pass\n",
        ..Files::default()
    };
    row(
        "9",
        "[a backend without get_user, an own ModelBackend]",
        axes,
        "shop.code.Standalone",
        &[FOLLOW],
    );
    let rules = Files {
        settings: "AUTHENTICATION_BACKENDS = [\"shop.code.Rules\", \"django.contrib.auth.backends.ModelBackend\"]\n",
        code: "class Rules:\n    def authenticate(self, *args, **kwargs): return None\n    def has_perm(self, user, perm, *args): return False\n",
        ..Files::default()
    };
    row("9+", "[django-rules' backend, ModelBackend]", rules, "shop.code.Rules", &[FOLLOW]);
    let hash = Files {
        models: "class User(AbstractUser):\n    epoch = models.IntegerField(default=0)\n    def get_session_auth_hash(self):\n        \
                 return super().get_session_auth_hash() + str(self.epoch)\n",
        settings: USER,
        ..Files::default()
    };
    row("10", "an own get_session_auth_hash", hash, "has its own get_session_auth_hash", &[FOLLOW]);
    let serializer = Files {
        settings: "SESSION_SERIALIZER = \"shop.code.Serializer\"\n",
        code: "from django.core.signing import JSONSerializer\nclass Serializer(JSONSerializer): pass\n",
        ..Files::default()
    };
    row("10+", "an own SESSION_SERIALIZER", serializer, "SESSION_SERIALIZER", &[]);
    let factor = Files {
        models: "class User(AbstractUser):\n    totp_secret = models.CharField(max_length=40, blank=True)\n",
        settings: USER,
        ..Files::default()
    };
    row(
        "25",
        "a user model with a secret for codes",
        factor,
        "totp_secret: a second factor",
        &[FOLLOW],
    );
    let receiver = Files {
        urls: "import shop.code\n",
        code: "from django.contrib.auth.signals import user_logged_in\ndef remember(sender, request, user, **more):\n    \
               request.session[\"organisation\"] = 1\nuser_logged_in.connect(remember)\n",
        ..Files::default()
    };
    row("27", "a receiver of user_logged_in", receiver, "waits for user_logged_in", &[FOLLOW]);
    let middleware = Files {
        settings: "MIDDLEWARE += [\"shop.code.Stamp\"]\n",
        code: "class Stamp:\n    def __init__(self, get_response): self.get_response = get_response\n    \
               def __call__(self, request):\n        if request.session.get(\"stamp\") is None: request.session.flush()\n        \
               return self.get_response(request)\n",
        ..Files::default()
    };
    row(
        "27+",
        "middleware that reads session[\"stamp\"]",
        middleware,
        "reads stamp from the session",
        &[FOLLOW],
    );
    let hosts = Files { settings: "ALLOWED_HOSTS = [\"shop.example\"]\n", ..Files::default() };
    row("31", "ALLOWED_HOSTS = [\"shop.example\"]", hosts, "ALLOWED_HOSTS", &[]);
    let scheme = Files {
        settings: "ALLOWED_HOSTS = [\"shop.example\"]\nSECURE_SSL_REDIRECT = True\n",
        ..Files::default()
    };
    row("31+", "SECURE_SSL_REDIRECT without SECURE_PROXY_SSL_HEADER", scheme, "SECURE_", &[]);
    row("5", "a project of startproject, nothing otherwise", Files::default(), taken_over, &[]);
}

const REST: &str = "INSTALLED_APPS += [\"rest_framework\", \"rest_framework.authtoken\"]\n";

#[test]
fn judges_row_by_row() {
    head();
    let view = "from rest_framework.response import Response\nfrom rest_framework.views import APIView\n\
                from rest_framework.permissions import IsAuthenticated\nfrom shop import code\n\
                class Orders(APIView):\n    permission_classes = [IsAuthenticated]\n    authentication_classes = [code.Judge]\n    \
                def get(self, request): return Response([])\nurlpatterns += [path(\"orders/\", Orders.as_view())]\n";
    let own = Files {
        settings: REST,
        urls: view,
        code: "from rest_framework.authentication import TokenAuthentication\nclass Judge(TokenAuthentication):\n    \
               def authenticate_credentials(self, key):\n        return super().authenticate_credentials(key)\n",
        ..Files::default()
    };
    row(
        "26",
        "TokenAuthentication with its own authenticate_credentials",
        own,
        "shop.code.Judge",
        &["access = \"optional\""],
    );
    let word = Files {
        settings: REST,
        urls: view,
        code: "from rest_framework.authentication import TokenAuthentication\nclass Judge(TokenAuthentication):\n    keyword = \"Key\"\n",
        ..Files::default()
    };
    row(
        "26+",
        "the same with another keyword alone",
        word,
        "tokens that it has given out stay good (Authorization: Key)",
        &["schemes = [\"Key\"]"],
    );
}

/// Sends each path as a stranger's request, to the service and to the gateway.
fn strangers(number: &str, urls: &str, paths: &[(&str, &str, bool)]) {
    let django = served(urls);
    let (folder, _) = written(&django);
    let gateway = Gateway::launch(folder);
    let (direct, through) = (Client::new(django.address), gateway.client());
    for (at, (method, path, is_open)) in paths.iter().enumerate() {
        let ask = |client: &Client| client.request(method, path).send().status;
        let (before, after) = (ask(&direct), ask(&through));
        let expected = if *is_open { before } else { 401 };
        assert_eq!(after, expected, "{method} {path}");
        let more = if at + 1 == paths.len() { "+" } else { "" };
        eprintln!(
            "| {number}{more} | {method} {path} | the service: {before} | the gateway: {after} | |"
        );
    }
}

#[test]
fn strangers_row_by_row() {
    head();
    strangers(
        "23",
        CMS_URLS,
        &[
            ("GET", "/", true),
            ("GET", "/news/", true),
            ("GET", "/editor/sprite/", true),
            ("GET", "/editor/", false),
            ("POST", "/news/", false),
        ],
    );
    strangers(
        "24",
        URLS,
        &[
            ("GET", "/orga/event/pycon/login/", true),
            ("GET", "/orga/event/pycon/settings/", false),
            ("POST", "/checkout/", false),
            ("GET", "/accounts/2fa/totp/activate/", false),
            ("GET", "/ko/about/", true),
            ("POST", "/jwt/create", true),
            ("GET", "/catalogue/shoes_1/edit/", false),
        ],
    );
}
