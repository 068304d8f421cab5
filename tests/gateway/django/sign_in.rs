//! Tests who can sign in: every user whom Django would let in, with the password that Django has, and nobody else.

use serde_json::json;

use super::{enter, report};
use crate::support::django::Django;

/// Id, name, password, and the beginning of the stored password.
const USERS: &[(&str, &str, &str, &str)] = &[
    ("1", "admin", "admin-pass-1234", "pbkdf2_sha256$1000000$"),
    ("2", "kim", "kim-pass-1234", "pbkdf2_sha256$1000$"),
    ("3", "lee", "lee-pass-1234", "argon2$argon2id$"),
    ("4", "park", "park-pass-1234", "bcrypt_sha256$$2b$04$"),
    ("5", "choi", "choi-pass-1234", "scrypt$1024$"),
    ("12", "staff", "staff-pass-1234", "pbkdf2_sha256$1000$"),
    ("13", "김민정", "비밀번호-1234", "argon2$argon2id$"),
    ("14", "blanks", "  two blanks  ", "pbkdf2_sha256$1000$"),
    ("20", "1", "one-pass-1234", "pbkdf2_sha256$1000$"),
];

#[test]
fn every_user_signs_in_whatever_hasher_wrote_the_password() {
    let django = Django::shared();
    let gateway = django.setup().start();
    let client = gateway.client();
    let database = rusqlite::Connection::open(django.database()).unwrap();
    let stored = || -> Vec<(String, String)> {
        let mut rows = database.prepare("SELECT username, password FROM auth_user").unwrap();
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let before = stored();
    for (id, name, password, encoded) in USERS {
        let row = before.iter().find(|(stored, _)| stored == name).unwrap();
        assert!(row.1.starts_with(encoded), "{name} has {}", row.1);
        let (access, _) = enter(&client, name, password);
        let meta = report(&client.get("/api/v1/whoami").bearer(&access))["meta"].take();
        assert_eq!(meta["HTTP_X_USER_ID"], *id, "{name}");
    }
    // A hash with fewer rounds than Django's present default is not upgraded: that would end the user's Django sessions.
    assert_eq!(stored(), before);
}

#[test]
fn nobody_else_signs_in() {
    let django = Django::shared();
    let gateway = django.setup().start();
    let client = gateway.client();
    let mut answers = Vec::new();
    for (what, name, password) in [
        ("inactive", "inactive", "inactive-pass-1234"),
        ("an unusable password", "nopassword", "none works"),
        ("what is stored as unusable", "nopassword", "!unusableunusableunusableunusableunusable"),
        ("unknown", "nobody", "kim-pass-1234"),
        ("somebody else's password", "kim", "lee-pass-1234"),
        ("an id is no name", "2", "kim-pass-1234"),
        ("other case", "Kim", "kim-pass-1234"),
        ("without the blanks", "blanks", "two blanks"),
        ("with blanks", "park", " park-pass-1234 "),
        ("a name in another normal form", "\u{1100}\u{1175}\u{11b7}민정", "비밀번호-1234"),
        ("a LIKE pattern", "k%m", "kim-pass-1234"),
        ("SQL", "kim' --", "kim-pass-1234"),
    ] {
        let response =
            client.post("/login").json(&json!({"username": name, "password": password})).send();
        assert_eq!(response.status, 401, "{what}: {}", response.text());
        assert!(response.all("set-cookie").is_empty(), "{what}");
        let mut body = response.json();
        assert!(body["request_id"].take().is_string());
        answers.push(body);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    assert_eq!(answers[0]["code"], "no_active_account");
}

#[test]
fn without_its_database_nobody_signs_in_and_who_is_signed_in_goes_on() {
    let django = Django::start();
    let gateway = django.setup_with("refresh_interval = \"1s\"").start();
    let client = gateway.client();
    let (access, cookie) = super::kim(&client);
    let sign_in = || {
        let kim = json!({"username": "kim", "password": "kim-pass-1234"});
        client.post("/login").json(&kim).send()
    };
    let unavailable = |what: &str| {
        let response = sign_in();
        assert_eq!(
            (response.status, response.code().as_str()),
            (503, "directory_unavailable"),
            "{what}"
        );
        assert!(response.header("retry-after").is_some(), "{what}");
        for request in [
            client.get("/api/v1/whoami").bearer(&access),
            client.get("/api/v1/whoami").cookie(super::COOKIE, &cookie),
        ] {
            assert_eq!(report(&request)["meta"]["HTTP_X_USER_ID"], "2", "{what}");
        }
    };

    let writer = rusqlite::Connection::open(django.database()).unwrap();
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    unavailable("locked for longer than the wait");
    writer.execute_batch("ROLLBACK").unwrap();
    assert_eq!(sign_in().status, 200, "at once");

    let elsewhere = django.database().with_extension("moved");
    std::fs::rename(django.database(), &elsewhere).unwrap();
    gateway.logged("a recheck without the database", |line| {
        line["message"]
            .as_str()
            .is_some_and(|message| message.contains("sessions stay as they are"))
    });
    unavailable("removed");
    std::fs::rename(&elsewhere, django.database()).unwrap();
    assert_eq!(sign_in().status, 200, "at once");
}
