//! Tests a service's tokens in a cookie, and credentials that are forwarded to the service that issued them.

use serde_json::{Value, json};

use crate::support::client::{Client, Request};
use crate::support::django::Django;
use crate::support::gateway::{Gateway, Setup};

const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service\n";
const ISSUER: &str =
    "[[issuer]]\nkind = \"simplejwt\"\nkey_file = \"secret-key\"\ncookie = \"access-token\"\n";
const SESSIONS: &str = "[[issuer]]\nkind = \"django-session\"\nkey_file = \"secret-key\"\n";
const FOLLOW: &str = "[sign_in]\nmode = \"follow\"\nlogin_path = \"/public/\"\n[[sign_in.observe]]\n\
                      kind = \"sign-in\"\npath = \"/public/login\"\n";

fn setup(django: &Django, toml: &str) -> Setup {
    let route = "name = \"asks\"\npath = \"/api/\"\nhosts = [\"asks.test\"]\naccess = \"optional\"";
    django.setup().file("secret-key", SECRET_KEY.as_bytes()).with(ISSUER).with(toml).route(route)
}

/// Returns SimpleJWT's access token, from Django itself.
fn token(django: &Django, name: &str) -> String {
    let password = format!("{name}-pass-1234");
    let response = Client::new(django.address)
        .post("/api/v1/users/login/simpleJWT")
        .json(&json!({"username": name, "password": password}))
        .send();
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["access"].as_str().unwrap().to_owned()
}

/// Returns a session of kim's that Django created.
fn session(django: &Django) -> String {
    let response = Client::new(django.address)
        .post("/api/v1/users/login")
        .json(&json!({"username": "kim", "password": "kim-pass-1234"}))
        .send();
    assert_eq!(response.status, 200, "{}", response.text());
    response.set_cookie("sessionid").unwrap()
}

fn whoami(client: &Client) -> Request {
    client.get("/api/v1/whoami")
}

/// Returns what the view saw: the gateway's user name, the cookies, `Authorization`, and the user that REST framework
/// found.
fn seen(request: &Request) -> (Value, Value, Value, Value) {
    let report = super::report(request);
    let meta = |name: &str| report["meta"][name].clone();
    let user = report["rest_framework"]["user"]["username"].clone();
    (meta("HTTP_X_USER_NAME"), meta("HTTP_COOKIE"), meta("HTTP_AUTHORIZATION"), user)
}

#[test]
fn a_token_in_a_cookie_is_its_users_and_stays_here() {
    let django = Django::shared();
    let gateway = setup(&django, "").start();
    let client = gateway.client();
    let (kim, lee) = (token(&django, "kim"), token(&django, "lee"));
    let with = |value: &str| whoami(&client).cookie("access-token", value);
    for temperature in ["cold", "warm"] {
        let (name, cookie, ..) = seen(&with(&kim).cookie("theme", "dark"));
        assert_eq!((name, cookie), (json!("kim"), json!("theme=dark")), "{temperature}");
    }
    let session = client.get("/session").cookie("access-token", &kim).send().json();
    assert_eq!((&session["issuer"], &session["user_id"]), (&json!("simplejwt"), &json!("2")));
    // Of two cookies, Django reads the last.
    let line = format!("access-token={lee}; access-token={kim}");
    assert_eq!(seen(&whoami(&client).header("cookie", &line)).0, json!("kim"));
    for (request, status, code) in [
        (with(&kim).bearer(&lee), 400, "conflicting_credentials"),
        (with("no.such.token"), 401, "token_not_valid"),
        (with(&lee).bearer("no.such.token"), 401, "token_not_valid"),
        (with(""), 401, "not_authenticated"),
    ] {
        let response = request.send();
        assert_eq!((response.status, response.code().as_str()), (status, code));
        assert_eq!(response.set_cookie("access-token"), None, "a front end gets another");
    }
    // A bad cookie beside a valid token in a header is ignored.
    assert_eq!(seen(&with("no.such.token").bearer(&kim)).0, json!("kim"));
    // On a page for everybody, a bad cookie counts as anonymous if a browser opens the page.
    let page = || client.get("/api/v1/whoami").host("asks.test").cookie("access-token", "x.y.z");
    assert_eq!(page().send().status, 401);
    let open = page().header("accept", "text/html").header("sec-fetch-mode", "navigate");
    assert_eq!(seen(&open.header("sec-fetch-dest", "document")).0, Value::Null);
}

/// Pages of other sites can make a browser send the cookie, but not the header.
#[test]
fn what_was_found_of_the_token_in_a_header_counts_for_no_cookie() {
    let django = Django::shared();
    for header_first in [true, false] {
        let gateway = setup(&django, "").start();
        let client = gateway.client();
        let kim = token(&django, "kim");
        let post = || client.post("/api/v1/whoami").header("origin", "https://evil.test").body(b"");
        let by_header = || assert_eq!(post().bearer(&kim).send().status, 200);
        let by_cookie = || {
            for elsewhere in [post(), post().header("sec-fetch-site", "cross-site")] {
                let refused = elsewhere.cookie("access-token", &kim).send();
                assert_eq!((refused.status, refused.code().as_str()), (403, "cross_site"));
            }
        };
        if header_first {
            by_header();
            by_cookie();
        } else {
            by_cookie();
            by_header();
        }
        by_cookie();
        by_header();
        let own = client.post("/api/v1/whoami").header("sec-fetch-site", "same-origin").body(b"");
        assert_eq!(own.cookie("access-token", &kim).send().status, 200);
        // Such a page cannot sign anybody out either.
        let out = client.post("/logout").header("origin", "https://evil.test").json(&json!({}));
        assert_eq!(out.cookie("access-token", &kim).send().status, 403);
        assert_eq!(seen(&whoami(&client).bearer(&kim)).0, json!("kim"));
    }
}

#[test]
fn a_token_that_ends_ends_in_both_places() {
    let django = Django::shared();
    let gateway = setup(&django, "").start();
    let client = gateway.client();
    let status = |request: Request| request.send().status;
    for by_cookie in [true, false] {
        let kim = token(&django, "kim");
        let (header, cookie) =
            (|| whoami(&client).bearer(&kim), || whoami(&client).cookie("access-token", &kim));
        assert_eq!((status(header()), status(cookie())), (200, 200));
        let out = client.post("/logout").json(&json!({}));
        let out = if by_cookie { out.cookie("access-token", &kim) } else { out.bearer(&kim) };
        let out = out.send();
        assert_eq!(out.status, 204);
        assert_eq!(out.set_cookie("access-token").is_some(), by_cookie, "it is taken away");
        assert_eq!((status(header()), status(cookie())), (401, 401), "{by_cookie}");
    }
}

fn following(django: &Django) -> Gateway {
    setup(django, SESSIONS).with(FOLLOW).start()
}

/// Where the service signs people in, it recognizes them by the credentials that it issued.
#[test]
fn what_the_service_gave_goes_on_to_it_as_long_as_it_is_good() {
    let django = Django::start();
    let gateway = following(&django);
    let client = gateway.client();
    let kim = token(&django, "kim");
    let (name, _, authorization, user) = seen(&whoami(&client).bearer(&kim));
    assert_eq!((name, user), (json!("kim"), json!("kim")));
    assert_eq!(authorization, json!(format!("Bearer {kim}")));
    let (name, cookie, ..) = seen(&whoami(&client).cookie("access-token", &kim));
    assert_eq!((name, cookie), (json!("kim"), json!(format!("access-token={kim}"))));

    // A Django session beside it, live or ended, of the same user or of nobody.
    let session = session(&django);
    let both =
        |session: &str| whoami(&client).cookie("sessionid", session).cookie("access-token", &kim);
    let (name, cookie, ..) = seen(&both(&session));
    assert_eq!(name, json!("kim"));
    assert_eq!(cookie, json!(format!("sessionid={session}; access-token={kim}")));
    let (name, cookie, ..) = seen(&both("s49sbe7nu4m5dqvgmyfs8eiwk4mmt2xl"));
    assert_eq!((name, cookie), (json!("kim"), json!(format!("access-token={kim}"))));
    let lee = token(&django, "lee");
    let two = whoami(&client).cookie("sessionid", &session).cookie("access-token", &lee).send();
    assert_eq!((two.status, two.code().as_str()), (400, "conflicting_credentials"));

    // What was ended here is never forwarded, not even on a public route.
    let ended = gateway.command(&["session", "end", "--user", "django/2"]);
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let refused = whoami(&client).bearer(&kim).send();
    assert_eq!((refused.status, refused.code().as_str()), (401, "session_ended"));
    let public = || client.get("/public/whoami");
    let nothing = (Value::Null, Value::Null, Value::Null, Value::Null);
    assert_eq!(seen(&public().bearer(&kim)), nothing);
    assert_eq!(seen(&public().cookie("access-token", &kim)), nothing);
    assert_eq!(seen(&public().cookie("access-token", &kim).cookie("sessionid", &session)), nothing);
}

/// The same with explicit settings: a token in a header of its own, forwarded only to the named upstreams.
#[test]
fn an_issuer_says_whether_its_credentials_go_on_and_to_whom() {
    let django = Django::shared();
    let by_hand = "[[issuer]]\nkind = \"jwt\"\nkey_file = \"secret-key\"\nforward = true\n";
    let gateway = setup(&django, by_hand).start();
    let client = gateway.client();
    let response = Client::new(django.address)
        .post("/api/v1/users/login/jwt")
        .json(&json!({"username": "kim", "password": "kim-pass-1234"}))
        .send();
    let made = response.json()["token"].as_str().unwrap().to_owned();
    let report = super::report(&whoami(&client).header("jwt-auth", &made));
    assert_eq!(report["meta"]["HTTP_JWT_AUTH"], json!(made));
    assert_eq!(report["meta"]["HTTP_X_USER_NAME"], json!("kim"));
    let public =
        |value: &str| super::report(&client.get("/public/whoami").header("jwt-auth", value));
    assert_eq!(public(&made)["meta"]["HTTP_JWT_AUTH"], json!(made));
    assert_eq!(public("no.such.token")["meta"]["HTTP_JWT_AUTH"], Value::Null);

    let elsewhere = format!(
        "{by_hand}upstreams = [\"other\"]\n[[upstream]]\nname = \"other\"\nservers = [\"127.0.0.1:9\"]\n"
    );
    let gateway = setup(&django, &elsewhere).start();
    let report = super::report(&whoami(&gateway.client()).header("jwt-auth", &made));
    assert_eq!(report["meta"]["HTTP_JWT_AUTH"], Value::Null);
    assert_eq!(report["meta"]["HTTP_X_USER_NAME"], json!("kim"));
}
