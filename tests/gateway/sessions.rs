//! Tests sessions: who am I, signing out, timeouts, cookies, cross-site requests, two credentials.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{Client, Response};
use crate::support::eventually;
use crate::support::gateway::Setup;
use crate::support::upstream::Upstream;

const COOKIE: &str = "__Host-doorwarden";

fn enter(client: &Client, name: &str, password: &str) -> (Value, String) {
    let response =
        client.post("/login").json(&json!({"username": name, "password": password})).send();
    assert_eq!(response.status, 200);
    (response.json(), response.set_cookie(COOKIE).unwrap())
}

fn kim(client: &Client) -> (Value, String) {
    enter(client, "kim", "correct horse battery")
}

#[test]
fn session_says_who_is_signed_in() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let (tokens, cookie) = kim(&client);
    for (request, proof) in [
        (client.get("/session").bearer(tokens["access"].as_str().unwrap()), "access_token"),
        (client.get("/session").cookie(COOKIE, &cookie), "session_cookie"),
    ] {
        let body = request.send().json().to_string();
        assert!(
            body.contains("\"kim\"") && body.contains("editors") && body.contains(proof),
            "{body}"
        );
        assert!(!body.contains(&cookie), "no secret in it");
    }
    assert_eq!(client.get("/session").send().status, 401);
}

#[test]
fn signing_out_ends_everything_at_once() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    type Out = fn(&Client, &Value, &str) -> Response;
    let ways: [(&str, Out); 3] = [
        ("by cookie", |client, _, cookie| client.post("/logout").cookie(COOKIE, cookie).send()),
        ("by bearer", |client, tokens, _| {
            client.post("/logout").bearer(tokens["access"].as_str().unwrap()).send()
        }),
        ("by refresh token", |client, tokens, _| {
            client.post("/logout").json(&json!({"refresh": tokens["refresh"]})).send()
        }),
    ];
    for (what, out) in ways {
        let (tokens, cookie) = kim(&client);
        let access = tokens["access"].as_str().unwrap();
        assert_eq!(client.get("/app").bearer(access).send().status, 200);
        let response = out(&client, &tokens, &cookie);
        assert_eq!(response.status, 204, "{what}");
        assert!(response.all("set-cookie").join("").contains("Max-Age=0"), "{what}");
        assert_eq!(client.get("/app").bearer(access).send().status, 401, "{what}");
        assert_eq!(client.get("/app").cookie(COOKIE, &cookie).send().status, 401, "{what}");
        let refresh = client.post("/refresh").json(&json!({"refresh": tokens["refresh"]})).send();
        assert_eq!(refresh.status, 401, "{what}");
    }
    assert_eq!(client.post("/logout").send().status, 204, "nobody is signed in: still fine");
    assert_eq!(client.get("/logout").send().status, 405, "a GET does nothing");
}

#[test]
fn a_browser_that_goes_to_logout_is_asked() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .with("[[paths.alias]]\npath = \"/accounts/logout/\"\nto = \"logout\"")
        .start();
    let client = gateway.client();
    let (_, cookie) = kim(&client);
    let lives = |cookie: &str| client.get("/session").cookie(COOKIE, cookie).send().status == 200;
    for path in ["/logout", "/logout/all", "/accounts/logout/"] {
        let page = client.get(path).cookie(COOKIE, &cookie).navigation().send();
        let text = page.text();
        assert_eq!(page.status, 200, "{path}");
        assert!(text.contains(&format!("<form method=\"post\" action=\"{path}\">")), "{text}");
        assert!(text.contains("<dd>kim</dd>") && !text.contains(&cookie), "{text}");
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert!(page.all("set-cookie").is_empty());
        let head = client.request("HEAD", path).cookie(COOKIE, &cookie).navigation().send();
        assert_eq!((head.status, head.text()), (200, String::new()));
        // Nobody is signed in, or the request is not a browser's.
        let nobody = client.get(path).navigation().send();
        assert_eq!((nobody.status, nobody.header("location")), (303, Some("/login")), "{path}");
        let script = client.get(path).cookie(COOKIE, &cookie).send();
        assert_eq!((script.status, script.header("allow")), (405, Some("POST")), "{path}");
    }
    let korean = client.get("/logout").cookie(COOKIE, &cookie).header("Accept-Language", "ko");
    assert!(korean.navigation().send().text().contains("로그아웃"));
    assert!(lives(&cookie), "a GET ends nothing");

    let form = |site: &str| {
        let post = client.post("/logout").cookie(COOKIE, &cookie).form(&[]);
        let post = post.header("Accept", "text/html").header("Sec-Fetch-Mode", "navigate");
        post.header("Sec-Fetch-Dest", "document").header("Sec-Fetch-Site", site).send()
    };
    for site in ["cross-site", "same-site"] {
        let refused = form(site);
        assert_eq!(refused.status, 403, "{site}");
        assert!(refused.text().contains("<code>cross_site</code>"), "{}", refused.text());
        assert!(lives(&cookie) && refused.all("set-cookie").is_empty(), "{site}");
    }
    let out = form("same-origin");
    assert_eq!((out.status, out.header("location")), (303, Some("/login")));
    assert!(out.all("set-cookie").join("").contains("Max-Age=0"));
    assert!(!lives(&cookie));
    let gone = client.get("/logout").cookie(COOKIE, &cookie).navigation().send();
    assert_eq!(gone.header("location"), Some("/login"));
}

#[test]
fn signing_out_everywhere_ends_every_session_of_the_user() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let (one, _) = kim(&client);
    let (two, cookie) = kim(&client);
    let (other, _) = enter(&client, "root", "toor toor toor");
    let access = |tokens: &Value| tokens["access"].as_str().unwrap().to_owned();
    assert_eq!(client.post("/logout/all").bearer(&access(&one)).send().status, 204);
    assert_eq!(client.get("/app").bearer(&access(&one)).send().status, 401);
    assert_eq!(client.get("/app").bearer(&access(&two)).send().status, 401);
    assert_eq!(client.get("/app").cookie(COOKIE, &cookie).send().status, 401);
    assert_eq!(client.get("/app").bearer(&access(&other)).send().status, 200);
    assert_eq!(client.post("/logout/all").send().status, 401);
}

#[test]
fn both_timeouts_hold() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .with("[session]\nidle_timeout = \"1s\"\nabsolute_timeout = \"3s\"")
        .start();
    let client = gateway.client();
    let (_, cookie) = kim(&client);
    let used = |cookie: &str| client.get("/app").cookie(COOKIE, cookie).send().status;
    let started = Instant::now();
    // A session in constant use ends at the absolute timeout and not before. On a busy machine it may have been unused for
    // its idle timeout in between.
    let (mut last, mut longest) = (started, Duration::ZERO);
    eventually("the absolute end", || {
        let asked = Instant::now();
        let ended = used(&cookie) == 401;
        longest = longest.max(last.elapsed());
        last = asked;
        ended.then_some(())
    });
    let lived = started.elapsed();
    let idle = longest >= Duration::from_secs(1);
    assert!(lived.as_millis() >= 2500 || idle, "it ended after {lived:?}, unused for {longest:?}");
    let (_, idle) = kim(&client);
    eventually("the idle end", || {
        std::thread::sleep(Duration::from_millis(1200));
        (used(&idle) == 401).then_some(())
    });
}

#[test]
fn an_unsafe_request_with_the_cookie_must_come_from_our_own_site() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .with("[session]\ntrusted_origins = [\"https://spa.test\"]")
        .start();
    let client = gateway.client();
    let (tokens, cookie) = kim(&client);
    for (name, value, status) in [
        ("Sec-Fetch-Site", "same-origin", 200),
        ("Sec-Fetch-Site", "none", 200),
        ("Sec-Fetch-Site", "same-site", 403),
        ("Sec-Fetch-Site", "cross-site", 403),
        ("Origin", "http://app.test", 200),
        ("Origin", "https://spa.test", 200),
        ("Origin", "https://app.test", 403),
        ("Origin", "http://app.test.evil.test", 403),
        ("Origin", "null", 403),
        ("Referer", "http://app.test/x", 200),
        ("Referer", "http://evil.test/app.test", 403),
        ("X-Nothing", "a client that is no browser", 200),
    ] {
        let with_cookie = client.post("/app").cookie(COOKIE, &cookie).header(name, value).send();
        assert_eq!(with_cookie.status, status, "{name}: {value}");
        let bearer = tokens["access"].as_str().unwrap();
        let with_bearer = client.post("/app").bearer(bearer).header(name, value).send();
        assert_eq!(with_bearer.status, 200, "a Bearer is never sent unasked ({name}: {value})");
        assert_eq!(
            client.get("/app").cookie(COOKIE, &cookie).header(name, value).send().status,
            200
        );
    }
    let out = client.post("/logout").cookie(COOKIE, &cookie).header("Origin", "https://evil.test");
    assert_eq!(out.send().status, 403);
}

#[test]
fn two_credentials_of_two_people_are_refused() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let (kims, kims_cookie) = kim(&client);
    let (roots, _) = enter(&client, "root", "toor toor toor");
    let both = |access: &str, cookie: &str| {
        client.get("/app").bearer(access).cookie(COOKIE, cookie).send()
    };
    let refused = both(roots["access"].as_str().unwrap(), &kims_cookie);
    assert_eq!((refused.status, refused.code().as_str()), (400, "conflicting_credentials"));
    assert_eq!(both(kims["access"].as_str().unwrap(), &kims_cookie).status, 200);
    assert_eq!(both("a.bad.one", &kims_cookie).status, 401, "a bad Bearer never falls back");
    let twice = format!("{COOKIE}={kims_cookie}; {COOKIE}={}", "A".repeat(43));
    let refused = client.get("/app").header("Cookie", &twice).send();
    assert_eq!((refused.status, refused.code().as_str()), (400, "bad_cookie"));
}

#[test]
fn a_bad_credential_is_ignored_where_anybody_may_come_and_401_where_it_is_optional() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    for (path, status) in [("/public/x", 200), ("/optional/x", 401), ("/app", 401)] {
        assert_eq!(client.get(path).bearer("a.bad.one").send().status, status, "{path}");
    }
    assert_eq!(client.get("/optional/x").send().status, 200);
    let (tokens, _) = kim(&client);
    for path in ["/public/x", "/optional/x"] {
        client.get(path).bearer(tokens["access"].as_str().unwrap()).send();
        assert_eq!(upstream.last().all("x-user-id"), ["kim"], "{path}");
    }
    for header in ["Bearer", "Bearer  two", "Bearer a b", "bearer\ta", "Bearer é"] {
        let refused = client.get("/app").header("Authorization", header).send();
        assert_eq!(refused.status, 401, "{header}");
    }
    for target in ["/app?access_token=", "/app?token="] {
        let target = format!("{target}{}", tokens["access"].as_str().unwrap());
        assert_eq!(client.get(&target).send().status, 401, "no token from a query");
    }
}

#[test]
fn cors_is_answered_for_listed_origins_only() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .with("[cors]\nallowed_origins = [\"http://localhost:3000\"]\nallow_credentials = true\nallowed_headers = [\"authorization\", \"content-type\"]")
        .start();
    let client = gateway.client();
    let preflight = |origin: &str, path: &str| {
        client
            .request("OPTIONS", path)
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", "authorization")
            .send()
    };
    for path in ["/app", "/login"] {
        let answer = preflight("http://localhost:3000", path);
        assert_eq!(answer.status, 204, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("http://localhost:3000"));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert!(answer.header("access-control-allow-methods").unwrap().contains("POST"));
        assert!(answer.header("vary").unwrap().to_lowercase().contains("origin"));
        let foreign = preflight("http://evil.test", path);
        assert_eq!(foreign.header("access-control-allow-origin"), None, "{path}");
        assert_eq!(foreign.header("access-control-allow-methods"), None, "{path}");
    }
    assert!(upstream.seen().is_empty(), "no preflight is forwarded");
    let refused = client.get("/app").header("Origin", "http://localhost:3000").send();
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("access-control-allow-origin"), Some("http://localhost:3000"));
    let plain = client.get("/public/x").header("Origin", "http://evil.test").send();
    assert_eq!(plain.header("access-control-allow-origin"), None);
}

#[test]
fn a_route_can_forward_preflights_without_identity() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .route("name = \"own-cors\"\npath = \"/own/\"\nforward_preflight = true")
        .start();
    let client = gateway.client();
    let (_, cookie) = kim(&client);
    let answer = client
        .request("OPTIONS", "/own/x")
        .header("Origin", "http://any.test")
        .header("Access-Control-Request-Method", "PUT")
        .cookie(COOKIE, &cookie)
        .send();
    assert_eq!(answer.status, 200);
    assert_eq!(upstream.last().method, "OPTIONS");
    assert_eq!(upstream.last().folded("x-user-id"), []);
    assert_eq!(client.request("OPTIONS", "/own/x").send().status, 401, "not a preflight");
}

#[test]
fn the_public_keys_are_published() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let keys = gateway.client().get("/.well-known/jwks.json").send().json();
    let key = &keys["keys"][0];
    assert_eq!(
        (key["kty"].as_str(), key["crv"].as_str(), key["alg"].as_str()),
        (Some("EC"), Some("P-256"), Some("ES256"))
    );
    assert!(key["d"].is_null(), "never the private part");
}
