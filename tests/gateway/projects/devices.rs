use serde_json::json;

use super::{Path, python};
use crate::support::gateway::Setup;
use crate::support::upstream::Upstream;

/// Creates the tables of django-otp and django-allauth with their own migrations, and users with devices.
const MAKE: &str = r#"
import sys, django
from django.conf import settings
settings.configure(
    SECRET_KEY="a-key-that-signs-nothing-but-what-this-test-makes", USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField", ROOT_URLCONF="urls",
    PASSWORD_HASHERS=["django.contrib.auth.hashers.PBKDF2PasswordHasher"],
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "django.contrib.messages",
        "django_otp", "django_otp.plugins.otp_totp", "django_otp.plugins.otp_static",
        "allauth", "allauth.account", "allauth.mfa",
    ],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware", "allauth.account.middleware.AccountMiddleware"],
)
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.contrib.auth.models import User
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_otp.plugins.otp_static.models import StaticDevice
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
people = {name: User.objects.create_user(name, password=f"{name}-pass-1234")
          for name in ["none", "totp", "begun", "static", "mfa", "codes"]}
TOTPDevice.objects.create(user=people["totp"], name="phone", confirmed=True)
TOTPDevice.objects.create(user=people["begun"], name="phone", confirmed=False)
StaticDevice.objects.create(user=people["static"], name="codes", confirmed=True)
TOTP.activate(people["mfa"], generate_totp_secret())
TOTP.activate(people["codes"], generate_totp_secret())
RecoveryCodes.activate(people["codes"])
"#;

/// The settings that the doctor writes for these packages.
const FACTORS: &str = r#"
[[directory.second_factor]]
table = "otp_totp_totpdevice"
user_column = "user_id"
condition = [{ column = "confirmed", equals = true }]
[[directory.second_factor]]
table = "otp_static_staticdevice"
user_column = "user_id"
condition = [{ column = "confirmed", equals = true }]
[[directory.second_factor]]
table = "mfa_authenticator"
user_column = "user_id"
"#;

fn made(at: &Path) {
    let output = python().arg("-c").arg(MAKE).arg(at).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// With a confirmed device of django-otp or allauth.mfa, a password alone is not enough.
#[test]
fn a_password_opens_nothing_that_a_real_device_protects() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("db.sqlite3");
    made(&database);
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .directories(&format!(
            "[[directory]]\nkind = \"django\"\ndatabase = \"sqlite://{}\"\n{FACTORS}",
            database.display()
        ))
        .with("[[issuer]]\nkind = \"basic\"")
        .start();
    let client = gateway.client();
    for (name, is_protected) in [
        ("none", false),
        ("begun", false),
        ("totp", true),
        ("static", true),
        ("mfa", true),
        ("codes", true),
    ] {
        let password = format!("{name}-pass-1234");
        let answer =
            client.post("/login").json(&json!({"username": name, "password": password})).send();
        assert_eq!(
            answer.status,
            if is_protected { 403 } else { 200 },
            "{name}: {}",
            answer.text()
        );
        if is_protected {
            assert_eq!(answer.code(), "second_factor_elsewhere", "{name}");
        }
        let basic = base64(&format!("{name}:{password}"));
        let answer = client.get("/app").header("Authorization", &format!("Basic {basic}")).send();
        assert_eq!(
            answer.status,
            if is_protected { 403 } else { 200 },
            "{name}: {}",
            answer.text()
        );
    }
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
