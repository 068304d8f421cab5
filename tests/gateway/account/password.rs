//! Tests changing the password, where the directory can, and what a change ends.

use std::os::unix::fs::MetadataExt as _;

use serde_json::{Value, json};

use super::{COOKIE, LEES, PASSWORD, SignedIn, enter};
use crate::support::DEVICE_COOKIE;
use crate::support::client::{Client, Response};
use crate::support::gateway::{Gateway, Setup, users_file};
use crate::support::receivers::Receiver;
use crate::support::upstream::Upstream;

const NEW: &str = "새 비밀번호 tr0ub4dor";

fn start(upstream: &Upstream, toml: &str) -> Gateway {
    let users = format!("# Whoever edits this by hand keeps the comments.\n{}", users_file());
    Setup::new(upstream.address).file("users.toml", users.as_bytes()).with(toml).start()
}

fn change(client: &Client, session: &SignedIn, current: &str, new: &str) -> Response {
    let body = json!({"current_password": current, "new_password": new});
    client.post("/account/password").bearer(&session.access).json(&body).send()
}

fn login(client: &Client, name: &str, password: &str) -> Response {
    client.post("/login").json(&json!({"username": name, "password": password})).send()
}

#[test]
fn a_new_password_ends_what_rests_on_the_old_one() {
    let (upstream, server) = (Upstream::start(), Receiver::smtp(&[]));
    let users = format!(
        "# Kept.\n{}\n[users.kim.attributes] # and this\nemail = \"kim@example.org\"\n",
        users_file()
    );
    let mail = format!(
        "[notify.mail]\nhost = \"{}\"\nport = {}\nfrom = \"Acme <security@example.com>\"\n\
         public_url = \"https://app.example\"\ndanger_plaintext = true\n",
        server.address.ip(),
        server.address.port()
    );
    let gateway =
        Setup::new(upstream.address).file("users.toml", users.as_bytes()).with(&mail).start();
    let client = gateway.client();
    let (kim, other, lee) = (
        enter(&client, "kim", PASSWORD),
        enter(&client, "kim", PASSWORD),
        enter(&client, "lee", LEES),
    );
    let rules = client.get("/account/password").bearer(&kim.access).send().json();
    assert_eq!(rules, json!({"change": "here", "url": null, "min_length": 8}));
    let before = std::fs::metadata(gateway.folder().join("users.toml")).unwrap();

    let changed = change(&client, &kim, PASSWORD, NEW);
    assert_eq!((changed.status, changed.json()), (200, json!({"ended": 1})), "{}", changed.text());
    assert!(changed.set_cookie(DEVICE_COOKIE).is_some(), "this browser is known anew");
    assert!(kim.is_in(&client) && lee.is_in(&client) && !other.is_in(&client));
    assert_eq!(login(&client, "kim", PASSWORD).status, 401);
    assert_eq!(login(&client, "kim", NEW).status, 200);
    assert_eq!(login(&client, "lee", LEES).status, 200);
    gateway.logged("the change", |line| line["event"] == "password_changed");
    gateway.logged("the end", |line| {
        line["event"] == "session_ended" && line["reason"] == "password_changed"
    });

    let file = gateway.folder().join("users.toml");
    let after = std::fs::metadata(&file).unwrap();
    assert_eq!(after.mode(), before.mode());
    assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.starts_with("# Kept.\n") && text.contains("] # and this\n"), "{text}");
    assert!(!text.contains(NEW) && text.lines().count() == users.lines().count());

    let letters = server.wait_for(1);
    assert_eq!(letters[0]["to"], json!(["kim@example.org"]));
    let letter = letters[0]["text"].as_str().unwrap();
    assert!(letter.contains("The password of the account was changed."), "{letter}");
    assert!(letter.contains("https://app.example/incident?answer=not-me"), "{letter}");
    let leads = |line: &str| line.trim() == "https://app.example/account";
    assert!(letter.lines().any(leads), "{letter}");

    // Another attempt right away must wait.
    let refused = change(&client, &kim, NEW, "yet another one");
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_attempts"));
    assert!(refused.header("retry-after").is_some());
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let upstream = Upstream::start();
    let gateway =
        start(&upstream, "[login]\naccount_failures = 3\n[account]\npassword_min_length = 10");
    let client = gateway.client();
    let kim = enter(&client, "kim", PASSWORD);
    let file = || std::fs::read_to_string(gateway.folder().join("users.toml")).unwrap();
    let before = file();
    for (new, why) in [
        ("nine char", "too_short"),
        (&*"x1".repeat(513), "too_long"),
        (PASSWORD, "same"),
        ("aaaaaaaaaaaa", "repeats"),
        ("tab\tand more", "control_character"),
    ] {
        let refused = change(&client, &kim, PASSWORD, new);
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (400, "password_not_allowed"),
            "{why}"
        );
        assert_eq!(refused.json()["why"], why);
    }
    for body in [json!({}), json!({"current_password": PASSWORD}), json!({"new_password": NEW})] {
        let refused = client.post("/account/password").bearer(&kim.access).json(&body).send();
        assert_eq!(refused.status, 400, "{body}");
    }
    // A stolen session cannot be used to guess the password: wrong ones count as at the sign-in.
    for _ in 0..3 {
        let refused = change(&client, &kim, "a guess", NEW);
        assert_eq!((refused.status, refused.code().as_str()), (401, "no_active_account"));
    }
    let refused = change(&client, &kim, PASSWORD, NEW);
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_attempts"));
    let elsewhere = client
        .post("/account/password")
        .cookie(COOKIE, &kim.cookie)
        .header("Origin", "https://evil.example")
        .form(&[("current_password", PASSWORD), ("new_password", NEW), ("new_password_again", NEW)])
        .send();
    assert_eq!((elsewhere.status, elsewhere.code().as_str()), (403, "cross_site"));
    assert_eq!(file(), before);
    assert!(kim.is_in(&client));
}

#[test]
fn who_cannot_change_it_here_sees_where_else_or_nothing() {
    let upstream = Upstream::start();
    for (toml, change_, url) in [
        ("[account]\nchange_password = false", "nowhere", Value::Null),
        (
            "[account]\nchange_password = false\npassword_change_url = \"/accounts/password_change/\"",
            "elsewhere",
            json!("/accounts/password_change/"),
        ),
        ("[paths]\naccount_password = false", "nowhere", Value::Null),
    ] {
        let gateway = start(&upstream, toml);
        let client = gateway.client();
        let kim = enter(&client, "kim", PASSWORD);
        let summary = client.get("/account").bearer(&kim.access).send().json();
        assert_eq!(summary["password"], json!({"change": change_, "url": url, "min_length": null}));
        let html = client.get("/account").cookie(COOKIE, &kim.cookie).navigation().send().text();
        match url.as_str() {
            Some(url) => assert!(html.contains(&format!("href=\"{url}\"")), "{html}"),
            None => assert!(!html.contains("id=\"password\""), "{html}"),
        }
        if !toml.contains("account_password") {
            let refused = change(&client, &kim, PASSWORD, NEW);
            assert_eq!((refused.status, refused.code().as_str()), (404, "not_on_account"));
        }
        assert_eq!(login(&client, "kim", PASSWORD).status, 200);
    }
}

#[test]
fn who_has_a_second_factor_shows_it_before_a_change() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "[second_factor]\nmode = \"optional\"");
    let client = gateway.client();
    let kim = enter(&client, "kim", PASSWORD);
    let begun = client
        .post("/account/second-factors")
        .bearer(&kim.access)
        .json(&json!({"action": "begin"}))
        .send()
        .json();
    let mut app = crate::second_factor::App::new(begun["secret"].as_str().unwrap());
    let confirmed = client
        .post("/account/second-factors")
        .bearer(&kim.access)
        .json(&json!({
            "action": "confirm", "enrolment": begun["enrolment"], "otp": app.code(), "name": "x",
        }))
        .send();
    assert_eq!(confirmed.status, 200, "{}", confirmed.text());
    // The recovery codes can be downloaded as a file; other text cannot.
    let codes = confirmed.json()["recovery_codes"].as_array().unwrap().clone();
    let codes: Vec<_> = codes.iter().map(|code| code.as_str().unwrap()).collect();
    let download = |codes: &str, origin: &str| {
        let form = client.post("/account/second-factors").cookie(COOKIE, &kim.cookie);
        let form = form.header("Accept", "text/html").header("Origin", origin);
        form.form(&[("action", "download"), ("codes", codes)]).send()
    };
    let file = download(&codes.join("\r\n"), "http://app.test");
    assert_eq!(
        (file.status, file.header("content-type")),
        (200, Some("text/plain; charset=utf-8"))
    );
    assert!(file.header("content-disposition").unwrap().starts_with("attachment"));
    assert!(codes.iter().all(|code| file.text().contains(code)), "{}", file.text());
    assert_eq!(download("<script>", "http://app.test").status, 400);
    assert_eq!(download(&codes.join("\r\n"), "https://evil.example").status, 403);
    let summary = client.get("/account").bearer(&kim.access).send().json();
    assert_eq!(
        (&summary["second_factors"], &summary["recovery_codes_left"]),
        (&json!(1), &json!(10))
    );
    // The session has only a password: it can change and forget nothing, but it can end any session.
    let refused = change(&client, &kim, PASSWORD, NEW);
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (401, "insufficient_user_authentication")
    );
    let refused = client.post("/account/devices").bearer(&kim.access);
    let refused = refused.json(&json!({"action": "forget_all"})).send();
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (401, "insufficient_user_authentication")
    );
    let led = client
        .post("/account/devices")
        .cookie(COOKIE, &kim.cookie)
        .navigation()
        .form(&[("action", "forget_all")])
        .send();
    assert_eq!(led.header("location"), Some("/login/second-factor?next=/account"));
    let led = client.get("/account/password").cookie(COOKIE, &kim.cookie).navigation().send();
    assert_eq!(led.header("location"), Some("/login/second-factor?next=/account/password"));
    let ended = client.post("/account/sessions").bearer(&kim.access);
    assert_eq!(ended.json(&json!({"action": "end_others"})).send().status, 200);
    let proved = client.post("/login/second-factor").bearer(&kim.access);
    assert_eq!(proved.json(&json!({"otp": app.code()})).send().status, 200);
    assert_eq!(change(&client, &kim, PASSWORD, NEW).status, 200);
    let session = client.get("/session").bearer(&kim.access).send().json();
    assert_eq!(session["acr"], "aal2", "what it proved stays");
}
