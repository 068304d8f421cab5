//! A front end that knows SimpleJWT, and knows it without rotation, notices no difference: what it sends to Django and to
//! the gateway in front of it has the same answers.

use serde_json::{Value, json};

use crate::support::client::{Client, Response};
use crate::support::django::Django;

const OBTAIN: &str = "/api/v1/users/login/simpleJWT";
const REFRESH: &str = "/api/v1/users/login/simpleJWT/refresh";
const VERIFY: &str = "/api/v1/users/login/simpleJWT/verify";

/// What the gateway's bodies may have and Django's do not.
const ADDED: &[&str] = &["code", "request_id", "token_type", "expires_in", "refresh_expires_in"];

/// What the front end does, step by step, and the answers.
fn script(client: &Client) -> Vec<(String, Response)> {
    let mut answers = Vec::new();
    let mut post = |what: &str, path: &str, body: &Value| {
        let response = client.post(path).json(body).send();
        answers.push((what.to_owned(), response.clone()));
        response
    };
    let obtained =
        post("obtain", OBTAIN, &json!({"username": "kim", "password": "kim-pass-1234"})).json();
    for round in 1..=3 {
        let answer =
            post(&format!("refresh {round}"), REFRESH, &json!({"refresh": obtained["refresh"]}));
        post(&format!("verify {round}"), VERIFY, &json!({"token": answer.json()["access"]}));
    }
    post("verify the refresh token", VERIFY, &json!({"token": obtained["refresh"]}));
    post("refresh with an access token", REFRESH, &json!({"refresh": obtained["access"]}));
    for (what, path, body) in [
        ("a wrong password", OBTAIN, json!({"username": "kim", "password": "wrong"})),
        ("an unknown name", OBTAIN, json!({"username": "nobody", "password": "wrong"})),
        (
            "an inactive user",
            OBTAIN,
            json!({"username": "inactive", "password": "inactive-pass-1234"}),
        ),
        ("no password", OBTAIN, json!({"username": "kim"})),
        ("nothing", OBTAIN, json!({})),
        ("blanks", OBTAIN, json!({"username": "", "password": ""})),
        ("nulls", OBTAIN, json!({"username": null, "password": null})),
        ("objects", OBTAIN, json!({"username": {}, "password": []})),
        ("no refresh token", REFRESH, json!({})),
        ("a blank refresh token", REFRESH, json!({"refresh": ""})),
        ("a garbled refresh token", REFRESH, json!({"refresh": "a.b.c"})),
        ("no token to verify", VERIFY, json!({})),
        ("a garbled token to verify", VERIFY, json!({"token": "garbage"})),
    ] {
        post(what, path, &body);
    }
    let form = [("username", "kim"), ("password", "kim-pass-1234")];
    answers.push(("a form".into(), client.post(OBTAIN).form(&form).send()));
    answers
}

/// A body as the front end reads it: a token is a token, and what it does not know it does not see.
fn read(response: &Response) -> Value {
    let mut body = response.json();
    for (name, value) in body.as_object_mut().unwrap() {
        if let ("access" | "refresh", Some(token)) = (name.as_str(), value.as_str()) {
            assert_eq!(token.split('.').count(), 3, "{name} is a JWT");
            *value = json!("a token");
        }
    }
    body
}

#[test]
fn a_front_end_for_simplejwt_without_rotation_has_the_same_answers() {
    // Django writes the hash of who signs in there anew, so it is this test's own.
    let django = Django::start();
    let mut aliases = String::new();
    for (path, to, more) in
        [(OBTAIN, "login", ""), (REFRESH, "refresh", "rotation = \"none\""), (VERIFY, "verify", "")]
    {
        aliases += &format!("[[paths.alias]]\npath = \"{path}\"\nto = \"{to}\"\n{more}\n");
    }
    let gateway = django.setup().with(&aliases).start();
    let client = gateway.client();

    let through = script(&client);
    let direct = script(&Client::new(django.address));
    assert_eq!(through.len(), direct.len());
    for ((what, ours), (_, theirs)) in through.iter().zip(&direct) {
        assert_eq!(ours.status, theirs.status, "{what}: {} / {}", ours.text(), theirs.text());
        assert_eq!(ours.header("content-type"), theirs.header("content-type"), "{what}");
        // The gateway's may go on, with RFC 6750's `error`.
        let challenge = |response: &Response| {
            response
                .header("www-authenticate")
                .map(|value| value.split(',').next().unwrap().to_owned())
        };
        assert_eq!(challenge(ours), challenge(theirs), "{what}");
        let (mut ours, theirs) = (read(ours), read(theirs));
        for name in ADDED {
            if theirs.get(name).is_none() {
                ours.as_object_mut().unwrap().remove(*name);
            }
        }
        assert_eq!(ours, theirs, "{what}");
    }

    // Each access token that came of it opens the service, until the session ends.
    let tokens = |name: &str| -> Vec<String> {
        through
            .iter()
            .filter(|(what, _)| what == "obtain" || what.starts_with("refresh "))
            .filter_map(|(_, answer)| answer.json()[name].as_str().map(str::to_owned))
            .collect()
    };
    let access = tokens("access");
    assert_eq!(access.len(), 4, "one of the sign-in, three of the same refresh token");
    let opens = |token: &String| client.get("/api/v1/whoami").bearer(token).send().status;
    assert!(access.iter().all(|token| opens(token) == 200));
    let refresh = json!({"refresh": tokens("refresh")[0]});
    assert_eq!(client.post("/logout").json(&refresh).send().status, 204);
    assert_eq!(client.post(REFRESH).json(&refresh).send().status, 401);
    assert!(access.iter().all(|token| opens(token) == 401));
}
