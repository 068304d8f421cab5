//! Tests every way in which a service's session can begin and end: its engines, upgrades, interim answers, HEAD, routes in
//! shadow mode, and routes that leave the session to the service.

use std::io::Write as _;

use super::adopted::{become_, does, end, ended, is_over, listed, rechecked, session_of, tell};
use super::follow::{ISSUER, line, setup, setup_with};
use super::{COOKIE, enter, report};
use crate::support::client::{Client, Response};
use crate::support::django::Django;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::redis::Redis;
use crate::support::scripted::Scripted;

const FORM: &str = "identity = \"session\"";
const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Creates a session of kim's that the gateway does not know.
fn unseen(django: &Django) -> String {
    become_(&Client::new(django.address), "kim", "")
}

#[test]
fn a_session_of_each_engine_is_adopted_rotated_and_ended() {
    let redis = Redis::start();
    for engine in ["db", "cached_db", "cache", "signed_cookies"] {
        let keys = if engine == "cache" {
            format!("\ncache = \"{}\"\ncache_prefix = \"app\"", redis.url())
        } else {
            String::new()
        };
        let django = Django::start_with(&[
            ("DJANGO_SESSION_ENGINE", engine),
            ("DJANGO_CACHE_URL", &redis.url()),
            ("DJANGO_CACHE_PREFIX", "app"),
        ]);
        let gateway =
            setup(&django, FORM, &format!("{ISSUER}\nengine = \"{engine}\"{keys}")).start();
        let client = gateway.client();
        let first = become_(&client, "kim", "");
        let before = listed(&gateway);
        assert_eq!((before.len(), before[0].1.as_str()), (1, "kim"), "{engine}");
        assert_eq!(report(&tell(&client, &first))["header"], "kim", "{engine}");
        // A signed cookie changes with its contents; in the other engines the key changes.
        let how = if engine == "signed_cookies" { "keep/basket" } else { "rotate" };
        let second = session_of(&does(&client, how, &line(&[("sessionid", &first)])));
        assert_ne!(first, second, "{engine}");
        assert_eq!(report(&tell(&client, &second))["header"], "kim", "{engine}");
        assert_eq!(listed(&gateway), before, "{engine}: no other has begun");

        let as_lee = become_(&client, "lee", &line(&[("sessionid", &second)]));
        ended(&gateway, &before[0].0, "superseded");
        is_over(&tell(&client, &second));
        let lee = listed(&gateway);
        assert_eq!((lee.len(), lee[0].1.as_str()), (1, "lee"), "{engine}");
        end(&gateway, &lee[0].0);
        is_over(&tell(&client, &as_lee));

        // A signed cookie has the same bytes as one that ended if both are of the same second, and counts as ended then.
        let (third, id) = eventually("kim to be in again", || {
            let third = become_(&client, "kim", "");
            Some((third, listed(&gateway).first()?.0.clone()))
        });
        does(&client, "leave", &line(&[("sessionid", &third)]));
        ended(&gateway, &id, "signed_out");
        is_over(&tell(&client, &third));
        assert_eq!(listed(&gateway), [], "{engine}");
        // In no engine is a stranger's basket a user's session.
        let basket = session_of(&does(&client, "keep/basket", ""));
        let again = client.get("/public/session/tell").cookie("sessionid", &basket);
        assert_eq!(report(&again)["kept"], "basket", "{engine}");
        assert_eq!(listed(&gateway), [], "{engine}");
    }
}

#[test]
fn a_head_request_signs_in_as_a_get_does() {
    let django = Django::start();
    let gateway = setup(&django, "", ISSUER).start();
    let client = gateway.client();
    let answer = client.request("HEAD", "/public/session/become/kim").send();
    let session = session_of(&answer);
    assert_eq!(listed(&gateway)[0].1, "kim");
    assert_eq!(report(&tell(&client, &session))["header"], "kim");
}

/// Starts a gateway with Django's users and sessions in front of an upstream that answers with these bytes.
fn answering(django: &Django, answer: String) -> (Scripted, Gateway) {
    let upstream = Scripted::start(move |connection| {
        while connection.until("\r\n\r\n").is_some() {
            connection.write(&answer);
        }
    });
    let gateway = Setup::new(upstream.address)
        .directories(&format!(
            "[[directory]]\nkind = \"django\"\ndatabase = \"sqlite://{}\"\n",
            django.database().display()
        ))
        .file("secret-key", b"django-insecure-development-key-of-the-legacy-service\n")
        .with(ISSUER)
        .route("name = \"ws\"\npath = \"/ws\"\naccess = \"optional\"\nwebsocket = true")
        .start();
    (upstream, gateway)
}

/// Requests an upgrade, and returns the head of the answer.
fn upgrade(client: &Client, cookies: &str) -> Response {
    let mut stream = client.connect();
    let head = format!("GET /ws HTTP/1.1\r\nHost: app.test\r\n{HANDSHAKE}{cookies}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    Response::read(&mut stream, false)
}

#[test]
fn the_answer_to_an_upgrade_is_followed_like_any_other() {
    let django = Django::start();
    let (kim, lee) = (unseen(&django), become_(&Client::new(django.address), "lee", ""));
    let (_upstream, gateway) = answering(
        &django,
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Set-Cookie: sessionid={kim}; Path=/; HttpOnly\r\n\r\n"
        ),
    );
    let client = gateway.client();
    let answer = upgrade(&client, "");
    assert_eq!((answer.status, answer.set_cookie("sessionid")), (101, Some(kim.clone())));
    assert_eq!(listed(&gateway)[0].1, "kim", "signed in by the upgrade");
    // The new session replaces another user's.
    let answer = upgrade(&client, &format!("Cookie: sessionid={lee}\r\n"));
    assert_eq!(answer.status, 101);
    let names: Vec<String> = listed(&gateway).into_iter().map(|(_, name, _)| name).collect();
    assert_eq!(names, ["kim"], "lee's ended");
    gateway.logged("lee's end", |line| {
        line["event"] == "session_ended" && line["reason"] == "superseded"
    });
    // An upgrade does not revive a session that has ended.
    end(&gateway, &listed(&gateway)[0].0.clone());
    let answer = upgrade(&client, "");
    assert_eq!(answer.status, 101);
    assert_eq!(listed(&gateway), []);
}

#[test]
fn an_interim_answer_sets_no_cookie() {
    let django = Django::start();
    let kim = unseen(&django);
    for interim in ["103 Early Hints", "102 Processing"] {
        let (_upstream, gateway) = answering(
            &django,
            format!(
                "HTTP/1.1 {interim}\r\nSet-Cookie: sessionid={kim}; Path=/\r\nLink: </a>\r\n\r\n\
                 HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
            ),
        );
        let mut stream = gateway.client().connect();
        stream
            .write_all(b"GET /ws HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut all = String::new();
        std::io::Read::read_to_string(&mut stream, &mut all).unwrap();
        assert!(all.contains("200 OK"), "{interim}: {all}");
        assert!(!all.to_ascii_lowercase().contains("set-cookie"), "{interim}: {all}");
        assert_eq!(listed(&gateway), [], "{interim}");
    }
}

#[test]
fn on_a_route_in_the_shadow_nothing_is_adopted_and_nothing_is_taken_away() {
    let django = Django::start();
    let gateway =
        setup(&django, FORM, &format!("{ISSUER}\n[shadow]\nroutes = [\"public\"]")).start();
    let client = gateway.client();
    let session = become_(&client, "kim", "");
    assert_eq!(listed(&gateway), [], "not by an answer");
    let again = client.get("/public/session/tell").cookie("sessionid", &session);
    assert_eq!(report(&again)["user"], "kim", "as without a gateway");
    // On another route, the first use adopts it.
    assert_eq!(report(&tell(&client, &session))["header"], "kim");
    let id = listed(&gateway)[0].0.clone();
    let rotated = does(&client, "rotate", &line(&[("sessionid", &session)]));
    assert!(rotated.set_cookie("sessionid").is_some());
    assert_eq!(listed(&gateway)[0].0, id, "and its rotation there is not seen");
}

#[test]
fn a_route_that_leaves_the_sessions_out_lets_none_pass_where_a_form_makes_them() {
    let django = Django::start();
    let (kim, direct) = (unseen(&django), Client::new(django.address));
    let basket = session_of(&does(&direct, "keep/basket", ""));
    let route = |name: &str, path: &str, more: &str| {
        format!("name = \"{name}\"\npath = \"/public/session/{path}\"\naccess = \"public\"\n{more}")
    };
    let left = "credentials = [\"cookie\"]";
    for (identity, passes) in [
        (FORM, false),
        ("identity = { cookie = \"session\" }", false),
        ("identity = { bearer = \"session\" }", false),
        ("identity = []", true),
    ] {
        let gateway = setup(&django, FORM, ISSUER)
            .route(&route("left", "tell", &format!("{left}\n{identity}")))
            .start();
        let client = gateway.client();
        for (name, value) in [("sessionid", kim.as_str()), ("\u{a0}sessionid", &kim)] {
            let told = report(&client.get("/public/session/tell").cookie(name, value));
            let is_seen = told.to_string().contains(&kim);
            assert_eq!(is_seen, passes, "{identity}: {name}: {told}");
            assert_eq!(told["user"], if passes { "kim" } else { "" }, "{identity}: {name}");
            assert_eq!(told["header"], serde_json::Value::Null, "it proves nothing");
        }
        // Under two names at once, and behind a stranger's session.
        for cookies in [
            line(&[("sessionid", &kim), ("sessionid", &basket)]),
            line(&[("sessionid", &basket), ("sessionid", &kim)]),
        ] {
            let told = report(&client.get("/public/session/tell").header("Cookie", &cookies));
            let seen = told.to_string().contains(&kim);
            assert!(passes || !seen, "{identity}: {cookies}: {told}");
        }
        // A stranger's own session is forwarded in any case.
        let told = report(&client.get("/public/session/tell").cookie("sessionid", &basket));
        assert_eq!(told["kept"], "basket", "{identity}");
        assert_eq!(listed(&gateway), [], "{identity}: what is left is not adopted");
    }
}

#[test]
fn a_look_between_the_new_password_and_the_answer_ends_the_others_alone() {
    let django = Django::start();
    let gateway = setup_with("refresh_interval = \"1s\"", &django, FORM, ISSUER).start();
    let client = gateway.client();
    let folder = tempfile::tempdir().unwrap();
    let service = become_(&client, "kim", "");
    let another = become_(&client, "kim", "");
    let (_, ours) = enter(&client, "lee", "lee-pass-1234");
    let (_, other) = enter(&client, "lee", "lee-pass-1234");
    for (user, mine, not_mine, rotates) in [
        ("kim", ("sessionid", &*service), ("sessionid", &*another), true),
        ("lee", (COOKIE, &ours), (COOKIE, &other), false),
    ] {
        let tell = |cookies: &str| client.get("/session/tell").header("Cookie", cookies);
        let (mine, not_mine) = (line(&[mine]), line(&[not_mine]));
        assert_eq!(report(&tell(&mine))["user"], user);
        assert_eq!(report(&tell(&not_mine))["user"], user);
        let here = folder.path().join(user);
        let request = client
            .post(&format!("/session/late-password/quite-new-1234?at={}", here.display()))
            .header("Origin", "http://app.test")
            .header("Cookie", &mine);
        let before = listed(&gateway);
        let waiting = std::thread::spawn(move || request.send());
        eventually("the password to be another", || here.exists().then_some(()));
        eventually("the other session to end", || {
            (tell(&not_mine).send().status == 401).then_some(())
        });
        rechecked(&gateway);
        std::fs::write(here.with_extension("go"), b"").unwrap();
        let changed = waiting.join().unwrap();
        assert_eq!(changed.status, 200, "{user}: {}", changed.text());
        let cookies = match changed.set_cookie("sessionid") {
            Some(rotated) => line(&[("sessionid", &rotated)]),
            None => mine.clone(),
        };
        assert_eq!(changed.set_cookie("sessionid").is_some(), rotates, "{user}");
        for round in 0..2 {
            assert_eq!(report(&tell(&cookies))["user"], user, "round {round}");
            rechecked(&gateway);
        }
        let after = listed(&gateway);
        let of = |all: &[(String, String, serde_json::Value)]| -> Vec<String> {
            all.iter().filter(|(_, name, _)| name == user).map(|(id, ..)| id.clone()).collect()
        };
        assert_eq!(of(&after).len(), 1, "{user}: one is left");
        assert!(of(&before).contains(&of(&after)[0]), "{user}: and it is the one of before");
    }
}
