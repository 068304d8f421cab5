//! Tests aliases of the shape "dj-rest-auth": the gateway's own tokens in cookies, with the checks that cookies need.

use serde_json::{Value, json};

use crate::support::client::{Client, Request, Response};
use crate::support::django::Django;
use crate::support::eventually;
use crate::support::gateway::Gateway;

const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service\n";

fn gateway(django: &Django, more: &str) -> Gateway {
    let alias = |path: &str, to: &str| {
        format!(
            "[[paths.alias]]\npath = \"{path}\"\nto = \"{to}\"\nshape = \"dj-rest-auth\"\n\
             access_cookie = \"access-token\"\nrefresh_cookie = \"refresh-token\"\n"
        )
    };
    let key = "key_file = \"secret-key\"";
    django
        .setup()
        .file("secret-key", SECRET_KEY.as_bytes())
        .with(&format!("[[identity.form]]\nname = \"drf\"\nkind = \"simplejwt\"\n{key}\ndanger_weak_key = true\n"))
        .with(&alias("/auth/login/", "login"))
        .with(&alias("/auth/token/refresh/", "refresh"))
        .with(&alias("/auth/logout/", "logout"))
        .with(more)
        .route("name = \"api\"\npath = \"/api/\"\nidentity = { cookie = \"drf\", bearer = \"drf\" }")
        .start()
}

fn sign_in(client: &Client) -> Response {
    let body = json!({"username": "kim", "password": "kim-pass-1234"});
    let response = client.post("/auth/login/").json(&body).send();
    assert_eq!(response.status, 200, "{}", response.text());
    response
}

/// Returns both tokens, as the browser received them.
fn cookies(response: &Response) -> (String, String) {
    let one = |name| response.set_cookie(name).unwrap();
    (one("access-token"), one("refresh-token"))
}

fn whoami(client: &Client, access: &str) -> Request {
    client.get("/api/v1/whoami").cookie("access-token", access)
}

#[test]
fn a_sign_in_sets_both_tokens_and_neither_goes_on() {
    let django = Django::shared();
    let gateway = gateway(&django, "");
    let client = gateway.client();
    let response = sign_in(&client);
    let (access, refresh) = cookies(&response);
    let user = json!({"pk": 2, "username": "kim", "email": "kim@example.com"});
    assert_eq!(response.json(), json!({"access": access, "refresh": "", "user": user}));
    for line in response.sets() {
        assert!(line.contains("; Path=/; Max-Age="), "{line}");
        assert!(line.ends_with("; HttpOnly; Secure; SameSite=Lax"), "{line}");
    }
    let report = super::report(
        &whoami(&client, &access).cookie("refresh-token", &refresh).cookie("theme", "dark"),
    );
    assert_eq!(report["meta"]["HTTP_COOKIE"], json!("theme=dark"));
    assert_eq!(report["rest_framework"]["user"]["username"], json!("kim"), "by the form");
    // The cookies are not forwarded on public routes either, nor under each other's name.
    let public =
        |name: &str, value: &str| super::report(&client.get("/public/whoami").cookie(name, value));
    for (name, value) in [
        ("access-token", &access),
        ("refresh-token", &refresh),
        ("access-token", &refresh),
        ("refresh-token", &access),
    ] {
        assert_eq!(public(name, value)["meta"]["HTTP_COOKIE"], Value::Null, "{name}");
    }
    // Another token under such a name is left to the service.
    assert_eq!(public("access-token", "a.b.c")["meta"]["HTTP_COOKIE"], json!("access-token=a.b.c"));
    // A refresh token gives no access.
    assert_eq!(whoami(&client, &refresh).send().status, 401);
    // Signing in again in this browser ends the previous session.
    let again = client.post("/auth/login/").cookie("refresh-token", &refresh);
    let again = again.json(&json!({"username": "lee", "password": "lee-pass-1234"})).send();
    assert_eq!(again.status, 200);
    assert_eq!(whoami(&client, &access).send().code(), "session_ended");
}

#[test]
fn what_a_cookie_brings_must_come_from_our_own_site() {
    let django = Django::shared();
    let gateway = gateway(&django, "");
    let client = gateway.client();
    let (access, refresh) = cookies(&sign_in(&client));
    let evil =
        |path: &str| client.post(path).header("origin", "https://evil.test").json(&json!({}));
    // The token is used in a header first: that must not make the cookie acceptable.
    assert_eq!(evil("/api/v1/whoami").bearer(&access).send().status, 200);
    for request in [
        evil("/api/v1/whoami").cookie("access-token", &access),
        evil("/auth/token/refresh/").cookie("refresh-token", &refresh),
        evil("/auth/logout/").cookie("access-token", &access).cookie("refresh-token", &refresh),
        evil("/logout").cookie("access-token", &access),
    ] {
        let refused = request.send();
        assert_eq!((refused.status, refused.code().as_str()), (403, "cross_site"));
        assert!(refused.all("set-cookie").is_empty(), "it takes nothing away");
    }
    let body = json!({"username": "kim", "password": "kim-pass-1234"});
    let planted =
        client.post("/auth/login/").header("origin", "https://evil.test").json(&body).send();
    assert_eq!((planted.status, planted.all("set-cookie").len()), (403, 0));
    assert_eq!(whoami(&client, &access).send().status, 200);
    let own = client.post("/auth/token/refresh/").header("sec-fetch-site", "same-origin");
    assert_eq!(own.json(&json!({})).cookie("refresh-token", &refresh).send().status, 200);
}

#[test]
fn a_refresh_reads_the_cookie_and_a_sign_out_ends_everything() {
    let django = Django::shared();
    let gateway = gateway(&django, "");
    let client = gateway.client();
    let (access, refresh) = cookies(&sign_in(&client));
    let ask = |body: &Value| client.post("/auth/token/refresh/").json(body);
    let nothing = ask(&json!({})).send();
    assert_eq!(nothing.status, 401);
    let text = "No valid refresh token found.";
    assert_eq!(nothing.json(), json!({"detail": text, "code": "token_not_valid"}));
    let refreshed = ask(&json!({"refresh": ""})).cookie("refresh-token", &refresh).send();
    let (next, successor) = cookies(&refreshed);
    let members = refreshed.json();
    assert_eq!((&members["access"], members.as_object().unwrap().len()), (&json!(next), 2));
    assert!(members["access_expiration"].as_str().unwrap().ends_with('Z'));
    // The body's token takes precedence.
    let by_body = ask(&json!({"refresh": successor})).cookie("refresh-token", "a.b.c").send();
    let (_, successor) = cookies(&by_body);
    assert_eq!(whoami(&client, &next).send().status, 200);

    let out =
        client.post("/auth/logout/").json(&json!({})).cookie("refresh-token", &successor).send();
    assert_eq!((out.status, out.json()), (200, json!({"detail": "Successfully logged out."})));
    for name in ["access-token", "refresh-token"] {
        assert_eq!(out.set_cookie(name).as_deref(), Some(""), "{name}");
    }
    for access in [&access, &next] {
        assert_eq!(whoami(&client, access).send().code(), "session_ended");
    }
    assert_eq!(ask(&json!({})).cookie("refresh-token", &successor).send().status, 401);
    // Signing out again, or without a session, succeeds: the caller is signed out.
    for request in
        [client.post("/auth/logout/"), client.post("/auth/logout/").cookie("access-token", &next)]
    {
        assert_eq!(request.json(&json!({})).send().status, 200);
    }
}

/// The answer is that of the service's own sign-out if nothing shows whose session it is.
#[test]
fn an_access_token_that_has_expired_ends_nothing_alone() {
    let django = Django::shared();
    let gateway = gateway(&django, "[tokens]\naccess_lifetime = \"10s\"\n");
    let client = gateway.client();
    let (access, refresh) = cookies(&sign_in(&client));
    eventually("the access token to expire", || {
        (whoami(&client, &access).send().status == 401).then_some(())
    });
    // The access token is refused as expired, which tells a script to refresh.
    assert_eq!(whoami(&client, &access).send().code(), "token_not_valid");
    let out = client.post("/auth/logout/").json(&json!({})).cookie("access-token", &access).send();
    let text = "Refresh token was not included in cookie data.";
    assert_eq!((out.status, out.json()), (401, json!({"detail": text})));
    assert_eq!(out.set_cookie("access-token").as_deref(), Some(""));
    let both = client.post("/auth/logout/").json(&json!({})).cookie("access-token", &access);
    assert_eq!(both.cookie("refresh-token", &refresh).send().status, 200);
}

#[test]
fn scripts_get_the_refresh_token_where_they_may_and_dates_where_they_are_asked_for() {
    let django = Django::shared();
    let more = "[[paths.alias]]\npath = \"/open/login/\"\nto = \"login\"\nshape = \"dj-rest-auth\"\n\
                access_cookie = \"jwt\"\nhttp_only = false\nexpiration = true\n\
                username_field = \"login\"\nuser = { id = \"{user.id}\", staff = \"{user.staff}\" }\n";
    let gateway = gateway(&django, more);
    let client = gateway.client();
    let open = |body: Value| client.post("/open/login/").json(&body).send();
    let response = open(json!({"login": "kim", "password": "kim-pass-1234"}));
    let body = response.json();
    assert_eq!(body["user"], json!({"id": "2", "staff": false}));
    assert_eq!(body["refresh"].as_str().unwrap().split('.').count(), 3);
    assert!(body["refresh_expiration"].is_string() && body["access_expiration"].is_string());
    let lines = response.sets();
    assert_eq!(lines.len(), 1, "there is a name for one");
    assert!(lines[0].starts_with("jwt=") && !lines[0].contains("HttpOnly"), "{}", lines[0]);
    let wrong = open(json!({"login": "kim", "password": "wrong"}));
    let text = "Unable to log in with provided credentials.";
    assert_eq!((wrong.status, wrong.json()), (400, json!({"non_field_errors": [text]})));
    let missing = open(json!({"password": "wrong"}));
    assert_eq!(
        (missing.status, missing.json()),
        (400, json!({"login": ["This field is required."]}))
    );
}
