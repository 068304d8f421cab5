//! Tests adopted sessions: the service signs people in itself, and the gateway treats its sessions as its own from then on.

use serde_json::Value;

use super::follow::{ISSUER, line, setup, setup_with};
use super::{COOKIE, enter, report};
use crate::support::client::{Client, Request, Response};
use crate::support::django::Django;
use crate::support::eventually;
use crate::support::gateway::Gateway;

const FORM: &str = "identity = \"session\"";

fn gateway(django: &Django, identity: &str) -> Gateway {
    setup(django, identity, ISSUER).start()
}

pub(super) fn tell(client: &Client, session: &str) -> Request {
    client.get("/session/tell").cookie("sessionid", session)
}

/// Calls one of the views that change the session, with these cookies, and returns the answer.
pub(super) fn does(client: &Client, what: &str, cookies: &str) -> Response {
    let response = client.get(&format!("/public/session/{what}")).header("Cookie", cookies).send();
    assert_eq!(response.status, 200, "{what}: {}", response.text());
    response
}

pub(super) fn session_of(response: &Response) -> String {
    response.set_cookie("sessionid").unwrap_or_else(|| panic!("no cookie: {:?}", response.headers))
}

/// Signs in to the service without a password, and returns the session's key.
pub(super) fn become_(client: &Client, name: &str, cookies: &str) -> String {
    session_of(&does(client, &format!("become/{name}"), cookies))
}

/// Returns the live sessions as the operator sees them: id, user and issuer.
pub(super) fn listed(gateway: &Gateway) -> Vec<(String, String, Value)> {
    let all = gateway.operator("GET", "/sessions").send().json();
    let text = |one: &Value, name: &str| one[name].as_str().unwrap().to_owned();
    all["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (text(one, "session"), text(one, "name"), one["issuer"].clone()))
        .collect()
}

/// Ends a session as the operator.
pub(super) fn end(gateway: &Gateway, session: &str) {
    let body = serde_json::json!({"session": session});
    let answer = gateway.operator("POST", "/sessions/end").json(&body).send();
    assert_eq!(answer.json()["ended"], 1, "{}", answer.text());
}

/// Waits until the gateway has looked every user up again.
pub(super) fn rechecked(gateway: &Gateway) {
    let metric = "doorwarden_directory_duration_seconds_count{directory=\"django\"}";
    let before = gateway.metric(metric).unwrap();
    eventually("another round", || (gateway.metric(metric).unwrap() >= before + 4.0).then_some(()));
}

pub(super) fn ended(gateway: &Gateway, session: &str, reason: &str) {
    gateway.logged(&format!("{session} to end with {reason}"), |line| {
        line["event"] == "session_ended" && line["session"] == session && line["reason"] == reason
    });
}

pub(super) fn is_over(request: &Request) {
    let response = request.send();
    assert_eq!((response.status, response.code().as_str()), (401, "session_ended"));
}

#[test]
fn a_session_of_the_services_is_listed_and_ends_with_the_gateways() {
    let django = Django::start();
    let gateway = gateway(&django, "");
    let client = gateway.client();
    // One session is from before the gateway, the other from an answer that passed through it.
    let before = become_(&Client::new(django.address), "kim", "");
    assert_eq!(report(&tell(&client, &before))["header"], "kim");
    let seen = become_(&client, "lee", "");
    let all = listed(&gateway);
    let names: Vec<&str> = all.iter().map(|(_, name, _)| name.as_str()).collect();
    assert_eq!(names, ["lee", "kim"]);
    assert!(all.iter().all(|(_, _, issuer)| issuer == "django-session"), "{all:?}");
    for (name, how) in [("kim", "first_use"), ("lee", "answer")] {
        let id = &all.iter().find(|(_, other, _)| other == name).unwrap().0;
        gateway.logged("the adoption", |line| {
            line["event"] == "adopted" && line["session"] == **id && line["reason"] == how
        });
    }
    // Any number of concurrent requests belong to one session.
    assert_eq!(report(&tell(&client, &seen))["header"], "lee");
    assert_eq!(listed(&gateway).len(), 2);

    let lee = all.iter().find(|(_, name, _)| name == "lee").unwrap();
    end(&gateway, &lee.0);
    is_over(&tell(&client, &seen));
    is_over(&tell(&client, &seen));
    let out = client.post("/logout").cookie("sessionid", &before).send();
    assert_eq!(out.status, 204);
    is_over(&tell(&client, &before));
    assert_eq!(listed(&gateway), []);
    // The service itself still accepts both; the gateway refuses them, after a crash too.
    let direct = Client::new(django.address);
    assert_eq!(report(&direct.get("/session/tell").cookie("sessionid", &seen))["user"], "lee");
}

#[test]
fn an_end_outlives_the_gateway() {
    let django = Django::start();
    let mut gateway = gateway(&django, "");
    let session = become_(&gateway.client(), "kim", "");
    let id = listed(&gateway)[0].0.clone();
    end(&gateway, &id);
    gateway.kill();
    gateway.spawn();
    is_over(&tell(&gateway.client(), &session));
}

#[test]
fn the_services_log_out_ends_it_here_however_it_is_said() {
    let django = Django::start();
    let gateway = gateway(&django, FORM);
    let client = gateway.client();
    // Either the answer deletes the cookie, or it sets one of a session in which nobody is signed in any more.
    for how in ["leave", "leave-with/message"] {
        let session = become_(&client, "kim", "");
        let id = listed(&gateway)[0].0.clone();
        let out = does(&client, how, &line(&[("sessionid", &session)]));
        assert!(out.set_cookie("sessionid").is_some(), "{how}");
        ended(&gateway, &id, "signed_out");
        is_over(&tell(&client, &session));
        assert_eq!(listed(&gateway), []);
    }
}

#[test]
fn a_changed_key_is_the_same_session() {
    let django = Django::start();
    let gateway = gateway(&django, FORM);
    let client = gateway.client();
    let first = become_(&client, "kim", "");
    let before = listed(&gateway);
    let second = session_of(&does(&client, "rotate", &line(&[("sessionid", &first)])));
    assert_ne!(first, second);
    assert_eq!(report(&tell(&client, &second))["header"], "kim");
    assert_eq!(listed(&gateway), before, "and no other has begun");
    gateway.logged("the rotation", |line| {
        line["event"] == "adopted" && line["reason"] == "rotated" && line["session"] == *before[0].0
    });
}

#[test]
fn the_session_that_changed_its_password_stays_and_the_others_end() {
    let django = Django::start();
    // The interval is long, so that no recheck happens between the change and the answer that reports it.
    let gateway = setup_with("refresh_interval = \"5s\"", &django, FORM, ISSUER).start();
    let client = gateway.client();
    // One session is the service's, one is the gateway's with the form's; and there is another of each.
    let theirs = become_(&client, "kim", "");
    let (_, ours) = enter(&client, "lee", "lee-pass-1234");
    let (_, other) = enter(&client, "lee", "lee-pass-1234");
    let another = become_(&client, "kim", "");
    let mine = |cookies: &str| client.get("/session/tell").header("Cookie", cookies);
    for cookies in
        [line(&[(COOKIE, &ours)]), line(&[(COOKIE, &other)]), line(&[("sessionid", &another)])]
    {
        assert_eq!(mine(&cookies).send().status, 200);
    }
    let changed = does(&client, "password/other-pass-1", &line(&[("sessionid", &theirs)]));
    let theirs = session_of(&changed);
    let changed = does(&client, "password/other-pass-2", &line(&[(COOKIE, &ours)]));
    assert_eq!(changed.set_cookie("sessionid"), None, "the form's stays here");

    for cookies in [line(&[(COOKIE, &other)]), line(&[("sessionid", &another)])] {
        eventually("the others to end", || (mine(&cookies).send().status == 401).then_some(()));
    }
    let kept = [(line(&[("sessionid", &theirs)]), "kim"), (line(&[(COOKIE, &ours)]), "lee")];
    for round in 0..2 {
        for (cookies, name) in &kept {
            assert_eq!(report(&mine(cookies))["user"], *name, "round {round}");
        }
        rechecked(&gateway);
    }
}

#[test]
fn one_identity_at_a_time_and_the_newer_one() {
    let django = Django::start();
    for identity in [FORM, "identity = { bearer = \"session\" }", ""] {
        let gateway = gateway(&django, identity);
        let client = gateway.client();
        let (_, ours) = enter(&client, "kim", "kim-pass-1234");
        let kim = listed(&gateway)[0].0.clone();
        let response = does(&client, "become/admin", &line(&[(COOKIE, &ours)]));
        let theirs = session_of(&response);
        assert_eq!(response.set_cookie(COOKIE).as_deref(), Some(""), "{identity}: ours goes");
        ended(&gateway, &kim, "superseded");
        is_over(&client.get("/session/tell").cookie(COOKIE, &ours));
        assert_eq!(report(&tell(&client, &theirs))["header"], "admin", "{identity}");
        let all = listed(&gateway);
        assert_eq!((all.len(), all[0].1.as_str()), (1, "admin"), "{identity}");
    }
}

#[test]
fn whoever_takes_anothers_place_is_followed_there_and_back() {
    let django = Django::start();
    let gateway = gateway(&django, FORM);
    let client = gateway.client();
    let (_, ours) = enter(&client, "admin", "admin-pass-1234");
    let as_kim = become_(&client, "kim", &line(&[(COOKIE, &ours)]));
    assert_eq!(report(&tell(&client, &as_kim))["header"], "kim");
    let kim = listed(&gateway)[0].0.clone();
    let back = become_(&client, "admin", &line(&[("sessionid", &as_kim)]));
    ended(&gateway, &kim, "superseded");
    assert_eq!(report(&tell(&client, &back))["header"], "admin");
    is_over(&tell(&client, &as_kim));
}

#[test]
fn an_answer_that_comes_too_late_brings_nothing_back() {
    let django = Django::start();
    let gateway = gateway(&django, FORM);
    let client = gateway.client();
    let folder = tempfile::tempdir().unwrap();
    for what in ["late-rotate", "late-become/admin"] {
        let session = become_(&client, "kim", "");
        let id = listed(&gateway)[0].0.clone();
        let here = folder.path().join(what.replace('/', "-"));
        let request = client
            .get(&format!("/public/session/{what}?at={}", here.display()))
            .header("Cookie", &line(&[("sessionid", &session)]));
        let waiting = std::thread::spawn(move || request.send());
        eventually("the request to be there", || here.exists().then_some(()));
        end(&gateway, &id);
        std::fs::write(here.with_extension("go"), b"").unwrap();
        let late = waiting.join().unwrap();
        assert_eq!(late.status, 200, "{what}: {}", late.text());
        assert_eq!(late.set_cookie("sessionid"), None, "{what}");
        assert_eq!(listed(&gateway), [], "{what}");
        is_over(&tell(&client, late.json()["key"].as_str().unwrap()));
    }
}

#[test]
fn only_the_upstreams_that_the_issuer_names_are_believed() {
    let django = Django::start();
    let issuer = format!("{ISSUER}\nupstreams = [\"other\"]");
    let other = format!("[[upstream]]\nname = \"other\"\nservers = [\"{}\"]", django.address);
    let gateway = setup(&django, "", &format!("{issuer}\n{other}"))
        .route("name = \"o\"\npath = \"/public/session/become/lee\"\naccess = \"public\"")
        .start();
    let response = does(&gateway.client(), "become/lee", "");
    assert_eq!(response.set_cookie("sessionid"), None, "another service cannot sign anybody in");
    assert_eq!(listed(&gateway), []);
}

#[test]
fn a_session_of_the_services_is_turned_into_no_other_credential() {
    let django = Django::start();
    let minted = "[[identity.form]]\nname = \"token\"\nkind = \"simplejwt\"\nkey_file = \"secret-key\"\ndanger_weak_key = true";
    for (more, status) in [("", 403), ("danger_mint = true", 200)] {
        let gateway = setup(&django, FORM, &format!("{ISSUER}\n{more}\n{minted}"))
            .route("name = \"api\"\npath = \"/api/\"\nidentity = \"token\"")
            .route("name = \"both\"\npath = \"/api/v1/whoami/both\"\nidentity = [\"session\", \"token\"]")
            .start();
        let client = gateway.client();
        let session = become_(&client, "kim", "");
        let api = client.get("/api/v1/whoami").cookie("sessionid", &session).send();
        assert_eq!(api.status, status, "{}", api.text());
        if status == 403 {
            assert_eq!(api.code(), "mint_not_allowed");
        }
        let both = report(&client.get("/api/v1/whoami/both").cookie("sessionid", &session));
        assert_eq!(both["user"]["username"], "kim", "by their own session");
        assert_eq!(both["meta"]["HTTP_AUTHORIZATION"].is_string(), status == 200, "{both}");
    }
}

#[test]
fn sessions_that_the_service_throws_away_end_in_an_error_and_not_in_a_loop() {
    let django = Django::start_with(&[("DJANGO_SIGN_IN_NOTE", "1")]);
    let gateway = setup(&django, FORM, "").start();
    let client = gateway.client();
    let mut answers = Vec::new();
    for _ in 0..4 {
        let (_, cookie) = enter(&client, "kim", "kim-pass-1234");
        let answer = client.get("/session/tell").cookie(COOKIE, &cookie).send();
        answers.push((answer.status, answer.json()["user"].as_str().map(str::to_owned)));
        if answer.status == 503 {
            assert_eq!(answer.code(), "session_not_kept");
        }
    }
    let nobody = (200, Some(String::new()));
    assert_eq!(answers, [nobody.clone(), nobody.clone(), nobody, (503, None)]);
    assert!(gateway.log().iter().any(|line| line.contains("throws away each session")));
    // Nothing is known about other users' sessions yet.
    let (_, lee) = enter(&client, "lee", "lee-pass-1234");
    assert_eq!(client.get("/session/tell").cookie(COOKIE, &lee).send().status, 200);
}
