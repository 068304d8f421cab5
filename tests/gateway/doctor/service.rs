//! Tests what the doctor finds out about a running service.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use serde_json::Value;

use super::{doctor, printed};
use crate::support::django::Django;
use crate::support::gateway::write_private;

/// A view that requires a credential and has REST framework's default classes.
const PROTECTED: &str = "/api/v1/users/logout";
const ECHO: &str = "/api/v1/whoami";

/// Returns the findings of a run, each as `severity about: says`.
fn findings(folder: &std::path::Path, arguments: &[&str], code: i32) -> Vec<String> {
    let output = doctor(folder, "unused", &[arguments, &["--json"]].concat());
    let report: Value = serde_json::from_str(&printed(&output, code)).unwrap();
    let text = |one: &Value, member: &str| one[member].as_str().unwrap().to_owned();
    let all = report["findings"].as_array().unwrap().iter();
    all.map(|one| {
        format!("{} {}: {}", text(one, "severity"), text(one, "about"), text(one, "says"))
    })
    .collect()
}

fn has(findings: &[String], words: &str) {
    let found = findings.iter().any(|finding| finding.contains(words));
    assert!(found, "{words:?} is missing in:\n{}", findings.join("\n"));
}

#[test]
fn a_django_service_is_measured_where_it_echoes() {
    let django = Django::shared();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://{}", django.address);
    let arguments = [
        &url,
        "--echo",
        ECHO,
        "--probe-path",
        PROTECTED,
        "--probe-path",
        "/api/v1/users/login/jwt/info",
        "--probe-path",
        "/admin/",
    ];
    let found = findings(folder.path(), &arguments, 0);
    for words in [
        "ok server: gunicorn",
        "ok spelling: X-User-Id reaches the application, and no other spelling is taken for it",
        "note spelling: of X-User-Id twice: both are handed on, joined",
        "warn chunked: of a chunked body of 7919 bytes the application sees nothing",
        "ok forwarded: X-Forwarded-Proto is believed",
        "ok clock: as ours",
        "ok bypass: it answers on loopback only",
        "401, WWW-Authenticate: Basic",
        "SimpleJWT (JWTAuthentication) answers: 401",
        "TokenAuthentication answers: 401 Invalid token.",
        "BasicAuthentication answers: 401 Invalid basic header",
        "a hand-made JWT in jwt-auth answers: 403 Error decoding token",
        "ok classes: /admin/: redirects to /admin/login/",
        "ok paths: not the service's: /login, /refresh",
        "note public: /static/ answers without a credential",
        "ok cors: it does not answer CORS",
        "note remote-user: for the form remote-user",
    ] {
        has(&found, words);
    }
}

#[test]
fn directory_and_keys_are_tried_at_the_service() {
    let django = Django::shared();
    let url = format!("http://{}", django.address);
    let database = django.database().display().to_string();
    for (key, code, says) in [
        (
            "django-insecure-development-key-of-the-legacy-service",
            0,
            "401 without, 405 with what the form drf gives: accepted",
        ),
        (
            "django-insecure-development-key-of-another-service",
            1,
            "fail form: /api/v1/users/logout: 401 without, 401 with",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        write_private(&folder.path().join("key"), key);
        let toml = format!(
            "[listen]\nhttp = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n\
             [[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n\
             [[route]]\nname = \"app\"\npath = \"/\"\nupstream = \"app\"\nidentity = \"drf\"\n\
             [paths]\nsession = \"/api/v1/whoami\"\n\
             [[paths.alias]]\npath = \"/api/v1/users/login/simplejwt\"\nto = \"login\"\n\
             [[directory]]\nkind = \"django\"\ndatabase = \"sqlite://{database}\"\n\
             [[issuer]]\nkind = \"simplejwt\"\nkey_file = \"key\"\n\
             [[identity.form]]\nname = \"drf\"\nkind = \"simplejwt\"\nkey_file = \"key\"\ndanger_weak_key = true\n",
            django.address
        );
        write_private(&folder.path().join("gateway.toml"), toml);
        let arguments =
            [&url, "--probe-path", PROTECTED, "--config", "gateway.toml", "--user", "kim"];
        let found = findings(folder.path(), &arguments, code);
        has(&found, says);
        has(&found, "ok directory: django: kim is its user 2");
        has(&found, "ok issuer: simplejwt: its key can be used");
        has(&found, "warn paths: the service has /api/v1/whoami too (200)");
        has(&found, "warn paths: the alias /api/v1/users/login/simplejwt (login) is no path");
        assert!(!found.join("\n").contains(key), "a secret was told");
    }
}

#[test]
fn what_cannot_be_read_is_a_failure_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let toml = "[listen]\nhttp = [\"127.0.0.1:0\"]\n[[upstream]]\nname = \"app\"\nservers = [\"127.0.0.1:1\"]\n\
         [[route]]\nname = \"app\"\npath = \"/\"\nupstream = \"app\"\n\
         [[directory]]\nkind = \"django\"\ndatabase = \"sqlite:///no/such/db.sqlite3\"\n\
         [[issuer]]\nkind = \"simplejwt\"\nkey_file = \"no-key\"\n";
    write_private(&folder.path().join("gateway.toml"), toml);
    let django = Django::shared();
    let url = format!("http://{}", django.address);
    let found = findings(folder.path(), &[&url, "--config", "gateway.toml"], 1);
    has(&found, "fail directory: the directory django failed");
    has(&found, "fail issuer: the issuer simplejwt");
    let output = doctor(folder.path(), "unused", &["http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("does not answer"));
    for wrong in [&[][..], &["https://127.0.0.1"], &["http://127.0.0.1", "--echo", "/a b"]] {
        assert_eq!(doctor(folder.path(), "unused", wrong).status.code(), Some(64), "{wrong:?}");
    }
}

/// Starts a server that gives every request this answer; it ends with the test's process.
fn answering(answer: &'static str) -> String {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head: Vec<u8> = Vec::new();
            let mut piece = [0; 4096];
            while !head.windows(4).any(|four| four == b"\r\n\r\n") {
                match stream.read(&mut piece) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => head.extend(&piece[..read]),
                }
            }
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    format!("http://127.0.0.1:{port}")
}

#[test]
fn what_is_wrong_with_a_service_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let url = answering(
        "HTTP/1.1 301 Moved Permanently\r\nServer: nginx/1.29\r\nDate: Tue, 24 Nov 2020 21:38:25 GMT\r\n\
         Location: https://app.example/\r\nVary: Origin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    let found = findings(folder.path(), &[&url], 1);
    for words in [
        "warn server: nginx/1.29: a proxy of its own",
        "fail clock: ",
        "behind ours",
        "fail scheme: it redirects to https:// for ever",
        "warn bypass: it answers at ",
        "note paths: an unknown path answers 301",
        "note cors: it answers CORS itself",
    ] {
        has(&found, words);
    }
    let url = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let found = findings(folder.path(), &[&url], 0);
    has(&found, "note server: no Server header, and it takes a blank");
    has(&found, "warn spelling: uWSGI takes X_User_Id for X-User-Id");
    has(&found, "warn chunked: behind uWSGI Django sees a chunked body empty");
    has(&found, "note clock: it sends no Date");
    // A view that does not show the header cannot be tested.
    let found = findings(folder.path(), &[&url, "--echo", "/"], 1);
    has(&found, "fail spelling: / does not show X-User-Id");
}
