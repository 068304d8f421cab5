//! Tests refresh tokens: one use, one successor, and what happens when a token is used again.

use std::sync::{Arc, Barrier};
use std::thread;

use serde_json::{Value, json};

use crate::support::client::{Client, Response};
use crate::support::eventually;
use crate::support::gateway::Setup;
use crate::support::upstream::Upstream;

fn refresh(client: &Client, path: &str, token: &str) -> Response {
    client.post(path).json(&json!({"refresh": token})).send()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

#[test]
fn fifty_callers_with_one_token_get_one_successor() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let token = text(&client.sign_in("kim", "correct horse battery")["refresh"]);
    let start = Arc::new(Barrier::new(50));
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let (client, token, start) = (client.clone(), token.clone(), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                let response = refresh(&client, "/refresh", &token);
                assert_eq!(response.status, 200, "{}", response.text());
                response.json()
            })
        })
        .collect();
    let answers: Vec<Value> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "fifty equal answers");
    assert_ne!(answers[0]["refresh"], json!(token));
    for (result, count) in [("rotated", 1.0), ("replayed_in_grace", 49.0), ("reuse", 0.0)] {
        gateway.counts(&format!("doorwarden_refreshes_total{{result=\"{result}\"}}"), count);
    }
    assert_eq!(refresh(&client, "/refresh", &text(&answers[0]["refresh"])).status, 200);
}

#[test]
fn a_spent_token_after_the_grace_ends_the_session() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).with("[tokens]\nrefresh_grace = \"1s\"").start();
    let client = gateway.client();
    let first = client.sign_in("kim", "correct horse battery");
    let other = client.sign_in("kim", "correct horse battery");
    let second = refresh(&client, "/refresh", &text(&first["refresh"])).json();
    let reuse = eventually("the grace to be over", || {
        let again = refresh(&client, "/refresh", &text(&first["refresh"]));
        (again.status != 200).then_some(again)
    });
    assert_eq!(reuse.status, 401);
    assert_eq!(
        (reuse.json()["detail"].as_str(), reuse.code().as_str()),
        (Some("Token is blacklisted"), "token_not_valid")
    );
    // Thief and owner are signed out, with every token of the session; the owner's other session lives.
    assert_eq!(refresh(&client, "/refresh", &text(&second["refresh"])).status, 401);
    for access in [&first["access"], &second["access"]] {
        assert_eq!(client.get("/app").bearer(&text(access)).send().status, 401);
    }
    assert_eq!(client.get("/app").bearer(&text(&other["access"])).send().status, 200);
    gateway.counts("doorwarden_refreshes_total{result=\"reuse\"}", 1.0);
    gateway.logged("the audit line", |line| {
        line["target"] == "audit" && line["event"] == "refresh_reused"
    });
}

#[test]
fn an_alias_without_rotation_answers_as_simplejwt_does() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .with(
            "[[paths.alias]]\npath = \"/api/v1/users/login/simpleJWT\"\nto = \"login\"\n\
             [[paths.alias]]\npath = \"/api/v1/users/login/simpleJWT/refresh\"\nto = \"refresh\"\nrotation = \"none\"\n",
        )
        .start();
    let client = gateway.client();
    let obtain = client
        .post("/api/v1/users/login/simpleJWT")
        .json(&json!({"username": "kim", "password": "correct horse battery"}))
        .send()
        .json();
    let path = "/api/v1/users/login/simpleJWT/refresh";
    for _ in 0..3 {
        let answer = refresh(&client, path, &text(&obtain["refresh"]));
        assert_eq!(answer.status, 200);
        let body = answer.json();
        assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["access"]);
        assert_eq!(client.get("/app").bearer(&text(&body["access"])).send().status, 200);
    }
    let out = client.post("/logout").json(&json!({"refresh": obtain["refresh"]})).send();
    assert_eq!(out.status, 204);
    assert_eq!(refresh(&client, path, &text(&obtain["refresh"])).status, 401);
}

#[test]
fn what_is_no_refresh_token_is_refused_in_simplejwts_words() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let tokens = client.sign_in("kim", "correct horse battery");
    let good = text(&tokens["refresh"]);
    let mut forged = good.clone();
    forged.replace_range(good.len() - 8..good.len() - 4, "AAAA");
    for (body, status, expected) in [
        (json!({}), 400, json!({"refresh": ["This field is required."]})),
        (json!({"refresh": ""}), 400, json!({"refresh": ["This field may not be blank."]})),
        (json!({"refresh": null}), 400, json!({"refresh": ["This field may not be null."]})),
        (json!({"refresh": {}}), 400, json!({"refresh": ["Not a valid string."]})),
        (
            json!({"refresh": "a.b.c"}),
            401,
            json!({"detail": "Token is invalid", "code": "token_not_valid"}),
        ),
        (
            json!({"refresh": 7}),
            401,
            json!({"detail": "Token is invalid", "code": "token_not_valid"}),
        ),
        (
            json!({"refresh": forged}),
            401,
            json!({"detail": "Token is invalid", "code": "token_not_valid"}),
        ),
        (
            json!({"refresh": tokens["access"]}),
            401,
            json!({"detail": "Token has wrong type", "code": "token_not_valid"}),
        ),
    ] {
        let response = client.post("/refresh").json(&body).send();
        assert_eq!(response.status, status, "{body}");
        let answer = response.json();
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(answer[name], *value, "{body}");
        }
    }
    // A refresh token is not accepted as a Bearer token, and an access token cannot be used to refresh.
    let response = client.get("/app").bearer(&good).send();
    assert_eq!((response.status, response.code().as_str()), (401, "token_not_valid"));
}

#[test]
fn verify_answers_as_simplejwt_does() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let tokens = client.sign_in("kim", "correct horse battery");
    let verify = |token: &Value| client.post("/verify").json(&json!({"token": token})).send();
    for token in [&tokens["access"], &tokens["refresh"]] {
        let response = verify(token);
        assert_eq!((response.status, response.text().as_str()), (200, "{}"));
    }
    assert_eq!(verify(&json!("x")).status, 401);
    assert_eq!(client.post("/logout").bearer(&text(&tokens["access"])).send().status, 204);
    for token in [&tokens["access"], &tokens["refresh"]] {
        assert_eq!(verify(token).status, 401);
    }
}
