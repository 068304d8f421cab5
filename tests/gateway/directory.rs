//! Tests what a service's own tables say about its users besides passwords: who has a second factor, and who is deleted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::client::{Client, Response};
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;

const RIGHT: &str = "right-pass-1234";

/// All users have the same password. Lee has a device; park has one that is not confirmed.
const TABLES: &str = "
CREATE TABLE auth_user (id integer PRIMARY KEY, password varchar(128), username varchar(150), email varchar(254),
  is_active bool, is_staff bool, is_superuser bool, deleted_at datetime);
CREATE TABLE auth_group (id integer PRIMARY KEY, name varchar(150));
CREATE TABLE auth_user_groups (id integer PRIMARY KEY, user_id integer, group_id integer);
CREATE TABLE authtoken_token (key varchar(40) PRIMARY KEY, created datetime, user_id integer);
CREATE TABLE otp_totp_totpdevice (id integer PRIMARY KEY, user_id integer, confirmed bool);
INSERT INTO auth_user SELECT n, 'pbkdf2_sha256$1$salt$pZkyODQZPBDWdO3+0VoWeZJMkgAAZaqumrMCsVRCCs8=', name, '', 1, 0, 0, gone
  FROM (SELECT 2 n, 'kim' name, NULL gone UNION SELECT 3, 'lee', NULL UNION SELECT 4, 'park', NULL
  UNION SELECT 5, 'gone', '2026-01-01 00:00:00' UNION SELECT 6, '\u{c9}mile', NULL);
INSERT INTO otp_totp_totpdevice VALUES (1, 3, 1), (2, 4, 0);
INSERT INTO authtoken_token VALUES ('integration-billing-2024', '2026-01-01', 2), ('a:b!c', '2026-01-01', 2),
  ('k', '2026-01-01', 5), ('\u{d0a4}', '2026-01-01', 4);
";

const DIRECTORY: &str = r#"
[[directory]]
kind = "django"
database = "sqlite://db.sqlite3"
refresh_interval = "1s"
condition = [{ column = "deleted_at", is = "null" }]
[[directory.second_factor]]
table = "otp_totp_totpdevice"
condition = [{ column = "confirmed", equals = true }]
"#;

const PLACES: &str = r#"
[[issuer]]
kind = "basic"
[[issuer]]
kind = "drf-token"
[[issuer]]
kind = "jwt"
key_file = "secret-key"
[[paths.alias]]
path = "/token"
endpoint = "login"
[[paths.alias]]
path = "/in"
endpoint = "login"
shape = "django-session"
[[paths.alias]]
path = "/jwt"
endpoint = "login"
shape = "jwt"
issuer = "jwt"
"#;

fn start(upstream: &Upstream) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db.sqlite3");
    rusqlite::Connection::open(&path).unwrap().execute_batch(TABLES).unwrap();
    Setup::new(upstream.address)
        .directories(DIRECTORY)
        .with(PLACES)
        .file("db.sqlite3", &std::fs::read(&path).unwrap())
        .file("secret-key", b"a secret of the service's that is long enough")
        .start()
}

/// Sends the credentials to every place where the gateway accepts a password, and returns the answers.
fn everywhere(client: &Client, name: &str, password: &str) -> Vec<(&'static str, Response)> {
    let fields = [("username", name), ("password", password)];
    let body = json!({"username": name, "password": password});
    let basic = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
    vec![
        ("JSON", client.post("/login").json(&body).send()),
        ("a form", client.post("/login").form(&fields).send()),
        ("the page", client.post("/login").navigation().form(&fields).send()),
        ("an alias", client.post("/token").json(&body).send()),
        ("a session's alias", client.post("/in").json(&body).send()),
        ("a JWT's alias", client.post("/jwt").json(&body).send()),
        ("Basic", client.get("/").header("Authorization", &basic).send()),
        ("Basic in a browser", client.get("/").navigation().header("Authorization", &basic).send()),
    ]
}

#[test]
fn whoever_has_a_device_is_refused_wherever_a_password_is_taken() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let client = gateway.client();
    for name in ["kim", "park"] {
        for (place, answer) in everywhere(&client, name, RIGHT) {
            assert!([200, 303].contains(&answer.status), "{place}, {name}: {}", answer.text());
        }
    }
    let before = upstream.seen().len();
    for (place, answer) in everywhere(&client, "lee", RIGHT) {
        assert_eq!(answer.status, 403, "{place}: {}", answer.text());
        assert!(answer.all("set-cookie").is_empty(), "{place}: {:?}", answer.headers);
        let text = answer.text();
        if ["the page", "Basic in a browser"].contains(&place) {
            assert!(
                text.contains("Sign in on the service&#39;s own sign-in page"),
                "{place}: {text}"
            );
        } else {
            assert_eq!(answer.code(), "second_factor_elsewhere", "{place}");
            assert!(!text.contains("access"), "{place}: {text}");
        }
    }
    let korean = client.post("/login").navigation().header("Accept-Language", "ko");
    let korean = korean.form(&[("username", "lee"), ("password", RIGHT)]).send();
    assert!(korean.text().contains("2단계 인증"), "{}", korean.text());
    // A wrong guess reveals nothing: neither whether there is a device nor whether the user exists.
    let wrong = |name: &str| -> Vec<(u16, usize)> {
        let answers = everywhere(&client, name, "wrong");
        answers.iter().map(|(_, answer)| (answer.status, answer.all("set-cookie").len())).collect()
    };
    assert_eq!(wrong("lee"), wrong("nobody"));
    assert_eq!(upstream.seen().len(), before, "nothing of all that was forwarded");
    gateway.logged("the sign-in in the audit trail", |line| {
        line["event"] == "sign_in_failed"
            && line["account"] == "lee"
            && line["reason"] == "second_factor_required"
    });
    gateway.logged("the request with a password in it", |line| {
        line["event"] == "issued_refused" && line["reason"] == "second_factor_required"
    });
}

#[test]
fn who_is_not_there_for_the_services_manager_is_nobody_here() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let client = gateway.client();
    let answers = |name: &str| -> Vec<u16> {
        everywhere(&client, name, RIGHT).iter().map(|(_, answer)| answer.status).collect()
    };
    assert_eq!(answers("gone"), answers("nobody"));
    assert_eq!(with_token(&client, "k").status, 401, "nor by a token that is still there");
    // A live session of a deleted user ends.
    let access = client.sign_in("kim", RIGHT)["access"].as_str().unwrap().to_owned();
    let database = rusqlite::Connection::open(gateway.folder().join("db.sqlite3")).unwrap();
    database.execute("UPDATE auth_user SET deleted_at = '2026-02-02' WHERE id = 2", []).unwrap();
    crate::support::eventually("the session to end", || {
        (client.get("/").bearer(&access).send().status == 401).then_some(())
    });
}

fn with_token(client: &Client, key: &str) -> Response {
    client.get("/").header("Authorization", &format!("Token {key}")).send()
}

#[test]
fn any_key_that_a_service_has_given_is_asked_for() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let client = gateway.client();
    for (key, name) in [("integration-billing-2024", "kim"), ("a:b!c", "kim"), ("\u{d0a4}", "park")]
    {
        let answer = with_token(&client, key);
        assert_eq!(answer.status, 200, "{key}: {}", answer.text());
        assert_eq!(upstream.last().header("x-user-name"), Some(name), "{key}");
    }
    for key in ["integration-billing-2025", "INTEGRATION-BILLING-2024", "a:b!", "%", "a b"] {
        assert_eq!(with_token(&client, key).status, 401, "{key}");
    }
    // A token that was signed out stays refused.
    let out = client.post("/logout").header("Authorization", "Token a:b!c").send();
    assert_eq!(out.status, 204, "{}", out.text());
    assert_eq!(with_token(&client, "a:b!c").status, 401);
    assert_eq!(with_token(&client, "integration-billing-2024").status, 200);
}

#[test]
fn a_name_is_normalised_where_djangos_form_does_it_and_nowhere_else() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let client = gateway.client();
    for typed in ["ｋｉｍ", "E\u{301}mile"] {
        for (place, answer) in everywhere(&client, typed, RIGHT) {
            let is_in = answer.status == 303 && !answer.all("set-cookie").is_empty();
            assert_eq!(is_in, place == "the page", "{place}, {typed}: {}", answer.text());
            assert_ne!(answer.status, 200, "{place}, {typed}: {}", answer.text());
        }
    }
}
