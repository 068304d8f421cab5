//! Tests `sign_in.mode = "follow"`: the service's own pages sign people in, and the gateway observes.

use serde_json::json;

use super::follow::{ISSUER, line};
use super::report;
use crate::support::client::{Client, Request, Response};
use crate::support::django::Django;
use crate::support::gateway::{Gateway, Setup};

const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service\n";

const ROUTES: &str = "
    [[route]]
    name = \"login\"
    path = \"/admin/login/\"
    upstream = \"app\"
    access = \"public\"
    [[route]]
    name = \"api-login\"
    path = \"/api/v1/users/login\"
    upstream = \"app\"
    access = \"public\"
    [[route]]
    name = \"app\"
    path = \"/\"
    upstream = \"app\"
";

fn setup(django: &Django) -> Setup {
    django.setup().routes(ROUTES).file("secret-key", SECRET_KEY.as_bytes()).with(&format!(
        "{ISSUER}
        [sign_in]
        mode = \"follow\"
        login_path = \"/admin/login/\"
        [[sign_in.observe]]
        kind = \"sign-in\"
        path = \"/admin/login/\"
        [[sign_in.observe]]
        kind = \"sign-in\"
        path = \"/api/*/users/login\"
        [[sign_in.observe]]
        kind = \"sign-out\"
        path = \"/session/leave\"
        methods = [\"POST\"]
        [login]
        account_failures = 3
        backoff_initial = \"1m\""
    ))
}

/// Posts the service's own login form, with Django's CSRF check.
fn posts(client: &Client, name: &str, password: &str) -> Response {
    let page = client.get("/admin/login/").send();
    let csrf = page.set_cookie("csrftoken").unwrap();
    let fields = [("csrfmiddlewaretoken", &*csrf), ("username", name), ("password", password)];
    client.post("/admin/login/").cookie("csrftoken", &csrf).form(&fields).send()
}

fn json_login(client: &Client, name: &str, password: &str) -> Request {
    client.post("/api/v1/users/login").json(&json!({"username": name, "password": password}))
}

fn sessions(gateway: &Gateway) -> usize {
    gateway.operator("GET", "/sessions").send().json()["sessions"].as_array().unwrap().len()
}

#[test]
fn the_services_own_page_signs_in_and_out() {
    let django = Django::start();
    let gateway = setup(&django).start();
    let client = gateway.client();
    let sent = client.get("/session/tell?a=1").navigation().send();
    assert_eq!(
        (sent.status, sent.header("location")),
        (303, Some("/admin/login/?next=/session/tell%3Fa%3D1"))
    );
    let api = client.get("/session/tell").send();
    assert_eq!((api.status, api.code().as_str()), (401, "not_authenticated"));
    // The gateway's usual own paths belong to the service here, which is behind a protected route.
    for own in ["/login", "/refresh", "/verify", "/session", "/logout"] {
        assert_eq!(client.post(own).send().code(), "not_authenticated", "{own}");
    }

    let signed_in = posts(&client, "admin", "admin-pass-1234");
    assert_eq!(signed_in.status, 302, "{}", signed_in.text());
    let session = signed_in.set_cookie("sessionid").unwrap();
    assert_eq!(signed_in.all("set-cookie").len(), 2, "the service's two: {:?}", signed_in.headers);
    gateway.logged("the sign-in", |line| {
        line["event"] == "sign_in_observed"
            && line["account"] == "admin"
            && line["user"] == "django/1"
    });
    assert_eq!(sessions(&gateway), 1);
    let seen = report(&client.get("/session/tell").cookie("sessionid", &session));
    assert_eq!(seen["header"], "admin");

    let out = client
        .post("/session/leave")
        .header("Origin", "http://app.test")
        .cookie("sessionid", &session)
        .send();
    assert_eq!(out.status, 200, "{}", out.text());
    assert_eq!(sessions(&gateway), 0);
    let after = client.get("/session/tell").cookie("sessionid", &session).send();
    assert_eq!((after.status, after.code().as_str()), (401, "session_ended"));
}

#[test]
fn wrong_passwords_at_the_service_are_counted_and_locked_out() {
    let django = Django::start();
    let gateway = setup(&django).start();
    let client = gateway.client();
    // The form and JSON count for one account, whatever the spelling of the name.
    assert_eq!(posts(&client, "kim", "wrong").status, 200);
    assert_eq!(json_login(&client, "kim", "wrong").send().status, 403);
    assert_eq!(json_login(&client, " KIM ", "wrong").send().status, 403);
    gateway.logged("the failures", |line| {
        line["event"] == "sign_in_failed" && line["reason"] == "refused_by_service"
    });
    let locked = json_login(&client, "kim", "kim-pass-1234").send();
    assert_eq!((locked.status, locked.code().as_str()), (429, "too_many_attempts"));
    let wait: u64 = locked.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(posts(&client, "kim", "kim-pass-1234").status, 429);
    // Other accounts are not locked, and a success resets the count.
    for _ in 0..2 {
        assert_eq!(json_login(&client, "lee", "wrong").send().status, 403);
        assert_eq!(json_login(&client, "lee", "wrong").send().status, 403);
        assert_eq!(json_login(&client, "lee", "lee-pass-1234").send().status, 200);
    }
}

#[test]
fn an_odd_body_is_no_way_around_and_goes_on_as_it_came() {
    let django = Django::start();
    let gateway = setup(&django).start();
    let client = gateway.client();
    let odd = client
        .post("/api/v1/users/login")
        .header("Content-Type", "application/json")
        .body(b"{\"username\": \"x\", \"username\": \"kim\", \"password\": \"wrong\"}");
    let mut answers: Vec<u16> = (0..4).map(|_| odd.send().status).collect();
    answers.dedup();
    assert_eq!(answers, [403, 429]);
    // A name in an unusually formatted body is found as well.
    let spaced = "{ \"password\":\"kim-pass-1234\",\n\t\"username\":\"kim\" }";
    let good = client
        .post("/api/v1/users/login")
        .header("Content-Type", "application/json")
        .body(spaced.as_bytes())
        .send();
    assert_eq!(good.status, 200, "{}", good.text());
    let session = good.set_cookie("sessionid").unwrap();
    let both = line(&[("sessionid", &session)]);
    assert_eq!(report(&client.get("/session/tell").header("Cookie", &both))["header"], "kim");
    // The same body in chunks.
    let pieces = format!("{:x}\r\n{spaced}\r\n0\r\n\r\n", spaced.len());
    let head = "POST /api/v1/users/login HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\
                Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(client.raw(format!("{head}{pieces}").as_bytes()).status, 200);
    let long = client
        .post("/api/v1/users/login")
        .header("Content-Type", "application/json")
        .body(&vec![b' '; 1 << 20])
        .send();
    assert_eq!((long.status, long.code().as_str()), (413, "body_too_large"));
}
