//! Tests that users with devices of django-otp and django-two-factor-auth sign in at the gateway with the codes that they
//! have.
//!
//! The package itself creates the tables, users and devices, checks codes beside the gateway, and reports its state
//! afterwards.

use std::io::Write as _;
use std::process::Stdio;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::{Path, python};
use crate::support::client::{Client, Response};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;

/// Django with the packages, on this database. Each script is appended to it.
const DJANGO: &str = r#"
import sys, json, time, django
from django.conf import settings
settings.configure(
    SECRET_KEY="a-key-that-signs-nothing-but-what-this-test-makes", USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1], "OPTIONS": {"timeout": 20}}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField", ROOT_URLCONF="urls", OTP_TOTP_THROTTLE_FACTOR=3600,
    PASSWORD_HASHERS=["django.contrib.auth.hashers.PBKDF2PasswordHasher"],
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "django.contrib.messages",
        "django_otp", "django_otp.plugins.otp_totp", "django_otp.plugins.otp_static", "two_factor",
        "two_factor.plugins.phonenumber", "allauth", "allauth.account", "allauth.mfa",
    ],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware", "allauth.account.middleware.AccountMiddleware"],
)
django.setup()
from django.contrib.auth.models import User
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
def of(name, kind=TOTPDevice): return kind.objects.filter(user__username=name).order_by("id")
def code(device):
    totp = TOTP(device.bin_key, device.step, device.t0, device.digits, device.drift)
    return str(totp.token()).zfill(device.digits)
"#;

const MAKE: &str = r#"
from django.core.management import call_command
call_command("migrate", verbosity=0)
from two_factor.plugins.phonenumber.models import PhoneDevice
people = {name: User.objects.create_user(name, password=f"{name}-pass-1234") for name in
    ["none", "phone", "eight", "drift", "two", "begun", "static", "both", "text"]}
def device(name, **more): return TOTPDevice.objects.create(user=people[name], name="default", confirmed=True, **more)
device("phone"); device("eight", digits=8, step=60); device("drift", drift=20); device("two"); device("two"); device("both")
TOTPDevice.objects.create(user=people["begun"], name="default", confirmed=False)
for name in ["static", "both"]:
    backup = StaticDevice.objects.create(user=people[name], name="backup", confirmed=True)
    for token in ["abcd2345", "efgh2345"]: backup.token_set.create(token=token)
PhoneDevice.objects.create(user=people["text"], name="default", confirmed=True, number="+31101234567", method="sms")
PhoneDevice.objects.create(user=people["both"], name="backup", confirmed=True, number="+31101234567", method="sms")
print(json.dumps({name: [device.key for device in of(name)] for name in people}))
"#;

const SETTINGS: &str = r#"
[[directory.second_factor]]
kind = "django-otp"
take_over = true
[[directory.second_factor]]
table = "two_factor_phonedevice"
condition = [{ column = "confirmed", equals = true }]
"#;

/// Runs a script on the database, and returns what it prints.
fn django(database: &Path, script: &str) -> Value {
    let mut child = python()
        .arg("-")
        .arg(database)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let script = format!("{DJANGO}{script}");
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

struct Kit {
    folder: tempfile::TempDir,
    keys: Value,
    gateway: Gateway,
    client: Client,
    _upstream: Upstream,
}

fn kit(more: &str) -> Kit {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("db.sqlite3");
    let keys = django(&database, MAKE);
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .directories(&format!(
            "[[directory]]\nkind = \"django\"\ndatabase = \"sqlite://{}\"\n{SETTINGS}",
            database.display()
        ))
        .with(&format!("[[issuer]]\nkind = \"basic\"\n{more}"))
        .start();
    let client = gateway.client();
    Kit { folder, keys, gateway, client, _upstream: upstream }
}

impl Kit {
    fn django(&self, script: &str) -> Value {
        django(&self.folder.path().join("db.sqlite3"), script)
    }

    /// Returns the code of one of a user's devices, this many steps from now.
    fn code(&self, name: &str, device: usize, steps: i64) -> String {
        let key = self.keys[name][device].as_str().unwrap();
        let key = data_encoding::HEXLOWER.decode(key.as_bytes()).unwrap();
        let (secs, digits) = if name == "eight" { (60, 8) } else { (30, 6) };
        totp(&key, secs, digits, steps)
    }

    /// Signs in, as soon as the wait has passed.
    fn sign_in(&self, name: &str, otp: &str) -> Response {
        eventually("the wait to be over", || {
            let response = login(&self.client, name, otp);
            (response.status != 429).then_some(response)
        })
    }

    fn ends(&self, name: &str, otp: &str, status: u16, code: &str) {
        let response = self.sign_in(name, otp);
        assert_eq!(response.status, status, "{name}: {}", response.text());
        if status != 200 {
            assert_eq!(response.code(), code, "{name}");
        }
    }
}

fn login(client: &Client, name: &str, otp: &str) -> Response {
    let mut body = json!({"username": name, "password": format!("{name}-pass-1234")});
    if !otp.is_empty() {
        body["otp"] = json!(otp);
    }
    client.post("/login").json(&body).send()
}

#[test]
fn people_use_the_codes_that_they_have() {
    let kit = kit("[second_factor]\nmode = \"optional\"");
    // A user without a confirmed device is asked for no code, and may set one up here; a telephone is left to the service.
    for name in ["none", "begun"] {
        kit.ends(name, "", 200, "");
    }
    kit.ends("text", "", 403, "second_factor_elsewhere");
    let asked = login(&kit.client, "phone", "");
    assert_eq!((asked.status, asked.code().as_str()), (401, "second_factor_required"));
    let basic = base64("phone:phone-pass-1234");
    let refused = kit.client.get("/app").header("Authorization", &format!("Basic {basic}")).send();
    assert_eq!((refused.status, refused.code().as_str()), (403, "second_factor_elsewhere"));

    // Once with the ticket, and once with the password. The same code and the previous step's count as used.
    let right = kit.code("phone", 0, 0);
    let ticket = asked.json()["ticket"].clone();
    let second = kit.client.post("/login/second-factor");
    let signed_in = second.json(&json!({"ticket": ticket, "otp": right})).send();
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
    let access = signed_in.json()["access"].as_str().unwrap().to_owned();
    kit.ends("phone", &right, 401, "bad_code");
    kit.ends("phone", &kit.code("phone", 0, -1), 401, "bad_code");
    kit.ends("phone", &kit.code("phone", 0, 1), 200, "");

    // They are listed as the service's.
    let listed = kit.client.get("/account/second-factors").bearer(&access).send().json();
    assert_eq!(
        (&listed["factors"], &listed["at_service"][0]["kind"]),
        (&json!([]), &json!("totp"))
    );
    assert_eq!(listed["at_service"][0]["name"], "default");

    // Other digits, other steps, an app with a wrong clock, a user with two apps.
    kit.ends("eight", &kit.code("eight", 0, 0), 200, "");
    kit.ends("drift", &kit.code("drift", 0, 20), 200, "");
    kit.ends("two", &kit.code("two", 0, 0), 200, "");
    kit.ends("two", &kit.code("two", 1, 0), 200, "");

    // Static tokens, once each, with and without an app.
    let both = login(&kit.client, "both", "");
    assert_eq!((both.status, both.code().as_str()), (401, "second_factor_required"));
    for name in ["static", "both"] {
        kit.ends(name, "abcd2345", 200, "");
        kit.ends(name, "abcd2345", 401, "bad_code");
        kit.ends(name, " EFGH2345 ", 200, "");
    }
    let left = kit.django("print(json.dumps(StaticToken.objects.count()))");
    assert_eq!(left, json!(0));
}

#[test]
fn what_was_used_or_guessed_on_one_side_counts_on_the_other() {
    // The gateway's settings demand no code, but users with devices of their service are asked for one all the same.
    let kit = kit("");
    let used = kit.django(
        "device = of('phone').get(); token = code(device); assert device.verify_token(token)\n\
         assert of('static', StaticDevice).get().verify_token('abcd2345'); print(json.dumps(token))",
    );
    kit.ends("phone", used.as_str().unwrap(), 401, "bad_code");
    kit.ends("static", "abcd2345", 401, "bad_code");

    let right = kit.code("eight", 0, 0);
    kit.ends("eight", &right, 200, "");
    kit.ends("static", "efgh2345", 200, "");
    kit.ends("both", "000000", 401, "bad_code");
    let found = kit.django(&format!(
        "from django.utils import timezone\n\
         eight, both = of('eight').get(), of('both').get()\n\
         age = (timezone.now() - both.throttling_failure_timestamp).total_seconds()\n\
         print(json.dumps([eight.verify_token('{right}'), eight.last_used_at is not None,\n\
             both.verify_is_allowed()[0], both.throttling_failure_count, -5 < age < 600,\n\
             of('static', StaticDevice).get().verify_token('efgh2345'),\n\
             of('both', StaticDevice).get().throttling_failure_count]))"
    ));
    assert_eq!(found, json!([false, true, false, 1, true, false, 0]));

    // A user whom the service makes wait must wait here too, and no attempt is counted.
    kit.django("of('two').update(throttling_failure_count=12, throttling_failure_timestamp='2100-01-01T00:00:00Z')");
    let waits = login(&kit.client, "two", &kit.code("two", 0, 0));
    assert_eq!((waits.status, waits.code().as_str()), (429, "too_many_attempts"));
    assert!(waits.header("retry-after").is_some());
    kit.django("of('two').update(throttling_failure_count=0, throttling_failure_timestamp=None)");
    kit.ends("two", &kit.code("two", 1, 0), 200, "");
    kit.gateway.logged("a wait in the audit trail", |line| {
        line["event"] == "second_factor_refused" && line["reason"] == "throttled"
    });
}

#[test]
fn of_equal_codes_at_once_one_signs_in() {
    let kit = kit("");
    for (name, otp) in [("phone", kit.code("phone", 0, 0)), ("static", "abcd2345".to_owned())] {
        let all: Vec<_> = (0..4)
            .map(|_| {
                let (client, otp) = (kit.gateway.client(), otp.clone());
                thread::spawn(move || login(&client, name, &otp).status)
            })
            .collect();
        let mut ends: Vec<u16> = all.into_iter().map(|one| one.join().unwrap()).collect();
        ends.sort_unstable();
        assert_eq!(ends[0], 200, "{name} {ends:?}");
        assert!(ends[1..].iter().all(|status| matches!(status, 401 | 429)), "{name} {ends:?}");
    }
}

/// Computes a code of RFC 6238, independently of the gateway.
fn totp(key: &[u8], secs: u64, digits: usize, steps: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let step = (now / secs).checked_add_signed(steps).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag[19] & 15);
    let number = u32::from_be_bytes(tag[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:0digits$}", number % 10_u32.pow(u32::try_from(digits).unwrap()))
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// Devices that `allauth.mfa` itself makes: an app with recovery codes, an app alone, and one with a secret that an adapter
/// would have encrypted.
const ALLAUTH: &str = r#"
from django.core.management import call_command
call_command("migrate", verbosity=0)
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP as App, generate_totp_secret
people = {name: User.objects.create_user(name, password=f"{name}-pass-1234") for name in ["codes", "app", "sealed", "key", "none"]}
secrets = {name: generate_totp_secret() for name in ["codes", "app"]}
for name, secret in secrets.items(): App.activate(people[name], secret)
codes = RecoveryCodes.activate(people["codes"]).generate_codes()
Authenticator.objects.create(user=people["sealed"], type="totp", data={"secret": "gAAAAABlZ0_8Xw-1kqVn3zv9"})
Authenticator.objects.create(user=people["key"], type="webauthn", data={"name": "key"})
print(json.dumps({"secrets": secrets, "codes": codes}))
"#;

#[test]
fn people_of_allauth_use_the_codes_that_they_have() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("db.sqlite3");
    let made = django(&database, ALLAUTH);
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .directories(&format!(
            "[[directory]]\nkind = \"django\"\ndatabase = \"sqlite://{}\"\n\
             [[directory.second_factor]]\nkind = \"allauth\"\ntake_over = true\ntolerance = 1\n",
            database.display()
        ))
        .start();
    let client = gateway.client();
    let ends = |name: &str, otp: &str, status: u16, code: &str| {
        let response = login(&client, name, otp);
        assert_eq!(response.status, status, "{name} {otp}: {}", response.text());
        if status != 200 {
            assert_eq!(response.code(), code, "{name} {otp}");
        }
    };
    ends("none", "", 200, "");
    for name in ["sealed", "key"] {
        ends(name, "", 403, "second_factor_elsewhere");
    }
    let secret = made["secrets"]["app"].as_str().unwrap();
    let key = data_encoding::BASE32.decode(secret.as_bytes()).unwrap();
    let right = totp(&key, 30, 6, 0);
    ends("app", "", 401, "second_factor_required");
    ends("app", &right, 200, "");
    ends("app", &right, 401, "bad_code");
    ends("app", "000000", 401, "bad_code");
    ends("app", &totp(&key, 30, 6, 1), 200, "");

    // A recovery code can be used once on both sides together, however it is grouped.
    let code = |index: usize| made["codes"][index].as_str().unwrap().to_owned();
    ends("codes", &format!("{}-{}", &code(0)[..4], &code(0)[4..]), 200, "");
    ends("codes", &code(0), 401, "bad_code");
    let script = format!(
        "from allauth.mfa.models import Authenticator\n\
         one = lambda: Authenticator.objects.get(user__username='codes', type='recovery_codes')\n\
         print(json.dumps([one().wrap().validate_code('{}'), one().wrap().validate_code('{}'),\n\
             len(one().wrap().get_unused_codes()), one().last_used_at is not None]))",
        code(0),
        code(3),
    );
    assert_eq!(django(&database, &script), json!([false, true, 8, true]));
    ends("codes", &code(3), 401, "bad_code");
    let all: Vec<_> = (0..4)
        .map(|_| {
            let (client, code) = (gateway.client(), code(5));
            thread::spawn(move || login(&client, "codes", &code).status)
        })
        .collect();
    let used = all.into_iter().filter_map(|one| (one.join().unwrap() == 200).then_some(())).count();
    assert_eq!(used, 1);
}
