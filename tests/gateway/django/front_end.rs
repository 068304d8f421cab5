//! Tests that a front end that knows only SimpleJWT notices no difference, with rotation and without: its requests get the
//! same answers from Django and from the gateway in front of it.

use std::thread;

use serde_json::{Value, json};

use crate::support::client::{Client, Response};
use crate::support::django::{Django, TOKEN_BLACKLIST};
use crate::support::eventually;

const OBTAIN: &str = "/api/v1/users/login/simpleJWT";
const REFRESH: &str = "/api/v1/users/login/simpleJWT/refresh";
const VERIFY: &str = "/api/v1/users/login/simpleJWT/verify";
const BLACKLIST: &str = "/api/v1/users/login/simpleJWT/blacklist";
/// A view of Django REST framework's that requires a user.
const CALL: &str = "/api/v1/users/logout";

/// The service's `SECRET_KEY`.
const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service\n";

/// Runs the front end's steps, and returns the answers.
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

/// Reads a body as the front end does: any token is as good as another.
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

/// Checks that the answers are the same, as the front end reads them.
fn are_equal(through: &[(String, Response)], direct: &[(String, Response)]) {
    assert_eq!(through.len(), direct.len());
    for ((what, ours), (_, theirs)) in through.iter().zip(direct) {
        assert_eq!(ours.status, theirs.status, "{what}: {} / {}", ours.text(), theirs.text());
        if what.starts_with("call") {
            // A refusal at a route is the gateway's own; front ends check its code.
            if theirs.status == 401 {
                assert_eq!(ours.json()["code"], theirs.json()["code"], "{what}");
            } else {
                assert_eq!(ours.text(), theirs.text(), "{what}");
            }
            continue;
        }
        assert_eq!(ours.header("content-type"), theirs.header("content-type"), "{what}");
        // The gateway's challenge may continue with RFC 6750's `error`.
        let challenge = |response: &Response| {
            response
                .header("www-authenticate")
                .map(|value| value.split(',').next().unwrap().to_owned())
        };
        assert_eq!(challenge(ours), challenge(theirs), "{what}");
        // A strict front end rejects unknown members.
        assert_eq!(read(ours), read(theirs), "{what}");
    }
}

/// Runs a short version of a front end's day, and returns the steps and their answers: it calls until its access token is
/// refused as expired, refreshes, and signs out in the end.
fn day(client: &Client) -> Vec<(String, Response)> {
    let mut answers = Vec::new();
    let post = |path: &str, body: &Value| client.post(path).json(body).send();
    let call = |access: &Value| client.post(CALL).bearer(access.as_str().unwrap()).send();
    let credentials = json!({"username": "kim", "password": "kim-pass-1234"});
    let mut step = |what: String, response: Response| {
        answers.push((what, response.clone()));
        response
    };
    let obtained = step("obtain".into(), post(OBTAIN, &credentials)).json();
    let (mut access, mut refresh) = (obtained["access"].clone(), obtained["refresh"].clone());
    for round in 1..=3 {
        step(format!("call {round}"), call(&access));
        let late = eventually("the access token to expire", || {
            Some(call(&access)).filter(|response| response.status == 401)
        });
        step(format!("call {round}, too late"), late);
        let refreshed = post(REFRESH, &json!({"refresh": refresh}));
        let refreshed = step(format!("refresh {round}"), refreshed).json();
        access = refreshed["access"].clone();
        if let Some(next) = refreshed.get("refresh") {
            refresh = next.clone();
        }
        for (kind, token) in [("access", &access), ("refresh", &refresh)] {
            let verified = post(VERIFY, &json!({"token": token}));
            step(format!("verify {kind} {round}"), verified);
        }
    }
    step("call".into(), call(&access));
    for (what, path, body) in [
        ("blacklist without a token", BLACKLIST, json!({})),
        ("blacklist garbage", BLACKLIST, json!({"refresh": "a.b.c"})),
        ("blacklist an access token", BLACKLIST, json!({"refresh": access})),
        ("blacklist", BLACKLIST, json!({"refresh": refresh})),
        ("blacklist again", BLACKLIST, json!({"refresh": refresh})),
        ("refresh after it", REFRESH, json!({"refresh": refresh})),
    ] {
        step(what.into(), post(path, &body));
    }
    if refresh != obtained["refresh"] {
        let first = json!({"refresh": obtained["refresh"]});
        step("refresh with the first".into(), post(REFRESH, &first));
    }
    answers
}

fn the_same_day(rotates: bool) {
    let rotate = format!("{{\"ROTATE_REFRESH_TOKENS\": {rotates}, \"ACCESS_TOKEN_LIFETIME\": 10}}");
    let django = Django::start_with(&[TOKEN_BLACKLIST, ("DJANGO_SIMPLE_JWT", &rotate)]);
    let rotation = if rotates { "single-use" } else { "none" };
    let mut more = format!(
        "[tokens]\naccess_lifetime = \"10s\"\nrefresh_grace = \"1s\"\nrotation = \"{rotation}\"\n\
         [[identity.form]]\nname = \"drf\"\nkind = \"simplejwt\"\nkey_file = \"secret-key\"\n\
         danger_weak_key = true\n"
    );
    for (path, to) in
        [(OBTAIN, "login"), (REFRESH, "refresh"), (VERIFY, "verify"), (BLACKLIST, "blacklist")]
    {
        more += &format!("[[paths.alias]]\npath = \"{path}\"\nto = \"{to}\"\n");
    }
    let route = "[[route]]\nname = \"app\"\npath = \"/\"\nupstream = \"app\"\nidentity = \"drf\"\n";
    let setup = django.setup().file("secret-key", SECRET_KEY.as_bytes());
    let gateway = setup.routes(route).with(&more).start();
    let (client, address) = (gateway.client(), django.address);
    let direct = thread::spawn(move || day(&Client::new(address)));
    let through = day(&client);
    are_equal(&through, &direct.join().unwrap());
    assert_eq!(
        through.iter().filter(|(what, _)| what.starts_with("refresh ")).count(),
        if rotates { 5 } else { 4 }
    );
    let rotated = "doorwarden_refreshes_total{result=\"rotated\"}";
    gateway.counts(rotated, if rotates { 3.0 } else { 0.0 });
}

#[test]
fn a_front_end_for_simplejwt_has_the_same_day_without_rotation() {
    the_same_day(false);
}

#[test]
fn a_front_end_for_simplejwt_has_the_same_day_with_rotation() {
    the_same_day(true);
}

#[test]
fn a_front_end_for_simplejwt_without_rotation_has_the_same_answers() {
    // The Django is this test's own, because it rehashes the password of whoever signs in.
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
    are_equal(&through, &script(&Client::new(django.address)));

    // Each access token of the script is accepted until the session ends.
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
