//! Tests credentials that Django issued before the gateway came: accepted, not forwarded to Django, and revoked.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::{Client, Request, Response};
use crate::support::django::Django;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup, write_private};

/// The service's `SECRET_KEY`.
const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service";

/// Starts a gateway with both issuers that the service is, with its key in a file.
fn issuers(setup: Setup) -> (Gateway, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("secret-key");
    write_private(&key, format!("{SECRET_KEY}\n"));
    let key = key.display();
    let toml = format!(
        "[[issuer]]\nkind = \"simplejwt\"\nkey_file = \"{key}\"\n\
         [[issuer]]\nkind = \"jwt\"\nname = \"by-hand\"\nkey_file = \"{key}\"\n"
    );
    (setup.with(&toml).start(), folder)
}

/// Signs in at Django itself.
fn at_django(django: &Django, path: &str, name: &str, password: &str) -> Value {
    let response = Client::new(django.address)
        .post(path)
        .json(&json!({"username": name, "password": password}))
        .send();
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

/// Returns SimpleJWT's pair of tokens.
fn pair(django: &Django, name: &str, password: &str) -> (String, String) {
    let answer = at_django(django, "/api/v1/users/login/simpleJWT", name, password);
    let text = |member: &str| answer[member].as_str().unwrap().to_owned();
    (text("access"), text("refresh"))
}

fn kim(django: &Django) -> String {
    pair(django, "kim", "kim-pass-1234").0
}

fn by_hand(django: &Django) -> String {
    let answer = at_django(django, "/api/v1/users/login/jwt", "kim", "kim-pass-1234");
    answer["token"].as_str().unwrap().to_owned()
}

fn whoami(client: &Client) -> Request {
    client.get("/api/v1/whoami")
}

fn status(request: &Request) -> u16 {
    request.send().status
}

fn refused(gateway: &Gateway, issuer: &str, reason: &str) {
    gateway.logged(&format!("{issuer} to refuse with {reason}"), |line| {
        line["event"] == "issued_refused" && line["issuer"] == issuer && line["reason"] == reason
    });
}

#[test]
fn a_view_sees_whose_token_it_was_and_not_the_token() {
    let django = Django::start();
    let (gateway, _key) = issuers(django.setup());
    let client = gateway.client();
    let (access, made) = (kim(&django), by_hand(&django));
    for (request, issuer) in [
        (whoami(&client).bearer(&access), "simplejwt"),
        (whoami(&client).header("jwt-auth", &made), "by-hand"),
        (client.get("/public/whoami").header("Jwt-Auth", &made), "by-hand"),
    ] {
        for temperature in ["cold", "warm"] {
            let response = request.send();
            assert_eq!(response.status, 200, "{temperature}: {}", response.text());
            let report = response.json();
            let meta = &report["meta"];
            assert_eq!(meta["HTTP_X_USER_ID"], "2", "{temperature}, {issuer}");
            assert_eq!(meta["HTTP_X_USER_NAME"], "kim");
            assert_eq!(meta["HTTP_X_USER_GROUPS"], "editors");
            assert_eq!(meta["HTTP_X_SESSION_ID"], "", "no session is made up");
            assert_eq!(report["rest_framework"]["user"], Value::Null);
            let text = report.to_string();
            assert!(!text.contains(&access) && !text.contains(&made), "{text}");
        }
    }
    gateway.logged("the issuer in the access log", |line| {
        line["issuer"] == "by-hand" && line["user"] == "django/2" && line["proof"] == "issued"
    });
    // A credential does not count as a spoofed identity.
    gateway.counts("doorwarden_spoofed_headers_removed_total", 0.0);
    let session = client.get("/session").bearer(&access).send().json();
    assert_eq!((&session["issuer"], &session["user_id"]), (&json!("simplejwt"), &json!("2")));
    assert_eq!(session["session_id"], Value::Null);
}

#[test]
fn what_is_no_credential_is_refused_and_the_operator_learns_why() {
    let django = Django::start();
    let (gateway, _key) = issuers(django.setup());
    let client = gateway.client();
    let (access, refresh) = pair(&django, "kim", "kim-pass-1234");
    let lee = pair(&django, "lee", "lee-pass-1234").0;
    let made = by_hand(&django);
    let (signed, _) = access.rsplit_once('.').unwrap();
    let (_, anothers) = lee.rsplit_once('.').unwrap();
    for (request, issuer, reason) in [
        (whoami(&client).bearer(&refresh), "simplejwt", "wrong_type"),
        (whoami(&client).bearer("a.b.c"), "simplejwt", "malformed"),
        (whoami(&client).bearer(&format!("{signed}.{anothers}")), "simplejwt", "bad_signature"),
        (whoami(&client).bearer(&made), "simplejwt", "no_exp"),
        (whoami(&client).header("jwt-auth", &access), "by-hand", "no_user"),
        // A valid token beside an invalid one changes nothing.
        (whoami(&client).header("jwt-auth", "x").bearer(&access), "by-hand", "malformed"),
        (whoami(&client).header("jwt-auth", "no token"), "by-hand", "malformed"),
    ] {
        let response: Response = request.send();
        assert_eq!(
            (response.status, response.code().as_str()),
            (401, "token_not_valid"),
            "{reason}"
        );
        assert!(!response.text().contains(issuer), "{}", response.text());
        refused(&gateway, issuer, reason);
    }
    let two = whoami(&client).header("jwt-auth", &made).bearer(&lee).send();
    assert_eq!((two.status, two.code().as_str()), (400, "conflicting_credentials"));
    let twice = whoami(&client).header("jwt-auth", &made).header("jwt-auth", &made).send();
    assert_eq!(twice.status, 400);
    assert_eq!(status(&whoami(&client).header("jwt-auth", &made).bearer(&access)), 200);
    gateway.counts("doorwarden_issued_refusals_total{reason=\"wrong_type\"}", 1.0);
}

#[test]
fn signing_out_takes_one_token_back_even_where_anybody_may_come() {
    let django = Django::start();
    let (gateway, _key) = issuers(django.setup());
    let client = gateway.client();
    let (one, two) = (kim(&django), kim(&django));
    let verify = |token: &str| status(&client.post("/verify").json(&json!({"token": token})));
    assert_eq!(verify(&one), 200);
    assert_eq!(client.post("/logout").bearer(&one).send().status, 204);
    let gone = whoami(&client).bearer(&one).send();
    assert_eq!((gone.status, gone.code().as_str()), (401, "session_ended"));
    assert_eq!((verify(&one), verify(&two)), (401, 200));
    assert_eq!(status(&whoami(&client).bearer(&two)), 200);
    assert_eq!(client.post("/logout").bearer(&one).send().status, 204, "twice is no error");
    // Django would still accept it, so it must not be forwarded.
    let direct = Client::new(django.address).get("/api/v1/whoami").bearer(&one).send().json();
    assert_ne!(direct["rest_framework"]["user"], Value::Null);
    let public = client.get("/public/whoami").bearer(&one).send().json();
    assert_eq!(public["rest_framework"]["user"], Value::Null);
    assert_eq!(client.post("/logout/all").bearer(&two).send().status, 204);
    assert_eq!(status(&whoami(&client).bearer(&two)), 401);
}

#[test]
fn what_an_operator_ended_stays_ended_after_a_crash() {
    let django = Django::start();
    let (mut gateway, _key) = issuers(django.setup());
    let (access, made) = (kim(&django), by_hand(&django));
    let both = |gateway: &Gateway| {
        let client = gateway.client();
        let by_hand = whoami(&client).header("jwt-auth", &made);
        (status(&whoami(&client).bearer(&access)), status(&by_hand))
    };
    assert_eq!(both(&gateway), (200, 200));
    let end = |gateway: &Gateway, user: &str| {
        let output =
            gateway.command(&["session", "end", "--user", user, "--config", "gateway.toml"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    end(&gateway, "django/2");
    assert_eq!(both(&gateway), (401, 401));
    gateway.kill();
    // Without a running gateway, the command writes to the store itself.
    let lee = pair(&django, "lee", "lee-pass-1234").0;
    end(&gateway, "django/3");
    gateway.spawn();
    assert_eq!(both(&gateway), (401, 401));
    assert_eq!(status(&whoami(&gateway.client()).bearer(&lee)), 401);
    let client = gateway.client();
    eventually("a sign-in in a later second", || {
        (status(&whoami(&client).bearer(&kim(&django))) == 200).then_some(())
    });
}

#[test]
fn a_user_who_was_switched_off_is_noticed() {
    let django = Django::start();
    let (gateway, _key) = issuers(django.setup_with("refresh_interval = \"1s\""));
    let client = gateway.client();
    let (access, made) = (kim(&django), by_hand(&django));
    assert_eq!(status(&whoami(&client).bearer(&access)), 200);
    django.run("User.objects.filter(pk=2).update(is_active=False)");
    eventually("the token to be refused", || {
        (status(&whoami(&client).bearer(&access)) == 401).then_some(())
    });
    assert_eq!(status(&whoami(&client).header("jwt-auth", &made)), 401);
    refused(&gateway, "simplejwt", "inactive_user");
}
