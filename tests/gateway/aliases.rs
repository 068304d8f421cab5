//! Tests aliases that answer as the service does, and the session cookie under the service's own cookie name.

use serde_json::json;

use crate::support::client::{Client, Request, Response};
use crate::support::gateway::Setup;
use crate::support::upstream::Upstream;

const OWN: &str = "__Host-doorwarden";
const ALIASES: &str = r#"
[[paths.alias]]
path = "/in"
endpoint = "login"
shape = "django-session"
[[paths.alias]]
path = "/out"
endpoint = "logout"
shape = "django-session"
"#;

/// A session key as Django writes its own.
const DJANGOS: &str = "s49sbe7nu4m5dqvgmyfs8eiwk4mmt2xl";

fn setup(upstream: &Upstream) -> Setup {
    Setup::new(upstream.address).with(ALIASES)
}

fn enter(request: Request) -> Response {
    let response =
        request.json(&json!({"username": "kim", "password": "correct horse battery"})).send();
    assert_eq!(response.status, 200, "{}", response.text());
    response
}

/// Signs kim in at the alias, and returns the value of `sessionid`.
fn by_alias(client: &Client) -> String {
    enter(client.post("/in")).set_cookie("sessionid").unwrap()
}

fn status(request: Request) -> u16 {
    request.send().status
}

/// Returns the value that an answer sets for a cookie; `Some("")` deletes it.
fn sets(response: &Response, name: &str) -> Option<String> {
    response.set_cookie(name)
}

#[test]
fn the_cookie_counts_under_the_services_name_and_stays_here() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let client = gateway.client();
    let signed_in = enter(client.post("/in"));
    let lines = signed_in.sets();
    let attributes = |name: &str| lines.iter().find(|line| line.starts_with(name)).unwrap();
    assert!(
        attributes("sessionid=")
            .ends_with("; Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Lax")
    );
    assert!(attributes("csrftoken=").ends_with("; Path=/; Max-Age=31449600; Secure; SameSite=Lax"));
    assert_eq!(lines.len(), 2, "and not under our own name: {lines:?}");

    let value = sets(&signed_in, "sessionid").unwrap();
    let line = format!("theme=dark; sessionid={value}; csrftoken=c");
    for target in ["/page", "/public/page", "/optional/page"] {
        assert_eq!(status(client.get(target).header("Cookie", &line)), 200);
        let seen = upstream.last();
        assert_eq!(seen.header("x-user-name"), Some("kim"), "{target}");
        assert_eq!(seen.all("cookie"), ["theme=dark; csrftoken=c"]);
    }
    let session = client.get("/session").cookie("sessionid", &value).send().json();
    assert_eq!(
        (&session["username"], &session["proof"]),
        (&json!("kim"), &json!("session_cookie"))
    );

    // The same origin check applies as for the gateway's own cookie.
    let post = |origin: &str| {
        client.post("/page").cookie("sessionid", &value).header("Origin", origin).body(b"x").send()
    };
    assert_eq!(post("http://app.test").status, 200);
    let other = post("http://evil.test");
    assert_eq!((other.status, other.code().as_str()), (403, "cross_site"));
    for path in ["/in", "/out"] {
        let form =
            client.post(path).header("Origin", "http://evil.test").form(&[("username", "kim")]);
        assert_eq!(form.send().code(), "cross_site", "{path}");
    }

    let out = client.post("/out").cookie("sessionid", &value).send();
    assert_eq!((out.status, out.body.len()), (200, 0));
    assert_eq!(sets(&out, "sessionid").as_deref(), Some(""));
    assert_eq!((sets(&out, "csrftoken"), sets(&out, OWN)), (None, None));
    let over = client.get("/page").cookie("sessionid", &value).send();
    assert_eq!((over.status, over.code().as_str()), (401, "session_ended"));
    assert_eq!(sets(&over, "sessionid").as_deref(), Some(""));
}

#[test]
fn a_cookie_of_the_services_own_is_the_services() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let client = gateway.client();
    let theirs = format!("sessionid={DJANGOS}");
    assert_eq!(status(client.get("/public/page").header("Cookie", &theirs)), 200);
    assert_eq!(upstream.last().all("cookie"), [theirs.as_str()]);
    let nobody = client.get("/page").header("Cookie", &theirs).send();
    assert_eq!((nobody.status, nobody.code().as_str()), (401, "not_authenticated"));
    let out = client.post("/out").header("Cookie", &theirs).send();
    assert_eq!(
        (out.status, out.text().as_str()),
        (401, r#"{"detail":"Authentication credentials were not provided."}"#)
    );
    assert!(nobody.all("set-cookie").is_empty() && out.all("set-cookie").is_empty());

    // A browser sends both if the service's cookie has a `Domain`; their order is not defined.
    let ours = format!("sessionid={}", by_alias(&client));
    for line in [format!("{theirs}; {ours}"), format!("{ours}; {theirs}")] {
        assert_eq!(status(client.get("/page").header("Cookie", &line)), 200);
        let seen = upstream.last();
        assert_eq!(seen.header("x-user-name"), Some("kim"));
        assert_eq!(seen.all("cookie"), [theirs.as_str()]);
    }
}

#[test]
fn a_browser_has_one_session_under_one_name() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let client = gateway.client();
    for ((first, name), (second, other)) in
        [(("/login", OWN), ("/in", "sessionid")), (("/in", "sessionid"), ("/login", OWN))]
    {
        let old = sets(&enter(client.post(first)), name).unwrap();
        let new = enter(client.post(second).cookie(name, &old));
        assert_eq!(sets(&new, name).as_deref(), Some(""), "{first}, then {second}");
        let new = sets(&new, other).unwrap();
        assert_eq!(status(client.get("/page").cookie(name, &old)), 401, "it was replaced");
        assert_eq!(status(client.get("/page").cookie(other, &new)), 200);
        // The gateway's own sign-out accepts the cookie under either name.
        let out = client.post("/logout").cookie(other, &new).send();
        assert_eq!(out.status, 204);
        assert_eq!(sets(&out, other).as_deref(), Some(""));
        assert_eq!(status(client.get("/page").cookie(other, &new)), 401);
    }
}

#[test]
fn two_names_that_name_two_sessions_are_refused() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let client = gateway.client();
    let (one, two) = (by_alias(&client), sets(&enter(client.post("/login")), OWN).unwrap());
    let line = format!("sessionid={one}; {OWN}={two}");
    let both = |request: Request| request.header("Cookie", &line).send();
    let refused = both(client.get("/page"));
    assert_eq!((refused.status, refused.code().as_str()), (400, "conflicting_credentials"));
    let same = format!("sessionid={one}; {OWN}={one}");
    assert_eq!(status(client.get("/page").header("Cookie", &same)), 200);
    let twice = client.get("/page").header("Cookie", &format!("sessionid={one}; sessionid={two}"));
    assert_eq!(twice.send().code(), "bad_cookie");
    // Signing in, or out, resolves the conflict.
    let again = enter(client.post("/in").header("Cookie", &line));
    assert_eq!(sets(&again, OWN).as_deref(), Some(""));
    for (name, old) in [("sessionid", &one), (OWN, &two)] {
        assert_eq!(status(client.get("/page").cookie(name, old)), 401, "{name}");
    }
}

#[test]
fn an_upstream_neither_takes_a_session_away_nor_plants_one() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream)
        .routes(
            "[[route]]\nname = \"app\"\npath = \"/\"\nupstream = \"app\"\naccess = \"optional\"\n",
        )
        .start();
    let client = gateway.client();
    let ours = by_alias(&client);
    // Nobody is signed in, so the application may set its cookie, for example for a cart.
    let nobody = client.get("/cookies").send();
    assert_eq!(sets(&nobody, "sessionid").as_deref(), Some("abc"));
    for cookie in ["sessionid=abc", "sessionid=;Max-Age=0", "=sessionid=abc"] {
        let known = client.get(&format!("/sets?{cookie}")).cookie("sessionid", &ours).send();
        assert_eq!((known.status, known.all("set-cookie").len()), (200, 0), "{cookie}");
    }
    let theme = client.get("/sets?theme=dark").cookie("sessionid", &ours).send();
    assert_eq!(sets(&theme, "theme").as_deref(), Some("dark"));
    for cookie in [format!("sessionid={ours};Path=/"), format!("=sessionid={ours}")] {
        assert!(
            client.get(&format!("/sets?{cookie}")).send().all("set-cookie").is_empty(),
            "{cookie}"
        );
    }
}

#[test]
fn an_operators_answers_are_given_word_for_word() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .with(
            r#"
[login]
account_failures = 2
[[paths.alias]]
path = "/in"
endpoint = "login"
shape = "django-session"
cookie = "sid"
csrf_cookie = ""
answers.success = { status = 201, body = '{"ok": true, "next": "/home"}' }
answers.missing = { status = 422, body = "" }
answers.refused = { status = 401, body = '{"error":"no"}' }
[[paths.alias]]
path = "/out"
endpoint = "logout"
shape = "django-session"
cookie = "sid"
answers.success.status = 204
answers.refused = { status = 403, body = '{"error":"who?"}' }
"#,
        )
        .start();
    let client = gateway.client();
    let given = |name: &str, password: &str| json!({"username": name, "password": password});
    let good = client.post("/in").json(&given("kim", "correct horse battery")).send();
    assert_eq!((good.status, good.text().as_str()), (201, r#"{"ok": true, "next": "/home"}"#));
    assert_eq!(good.sets().len(), 1);
    assert_eq!(good.header("cache-control"), Some("no-store"));
    let missing = client.post("/in").json(&json!({})).send();
    assert_eq!((missing.status, missing.body.len()), (422, 0));
    for _ in 0..2 {
        let wrong = client.post("/in").json(&given("lee", "wrong")).send();
        assert_eq!((wrong.status, wrong.text().as_str()), (401, r#"{"error":"no"}"#));
        assert!(wrong.header("www-authenticate").is_some());
    }
    // Refusals that only a gateway has are answered in the gateway's own format.
    let locked = client.post("/in").json(&given("lee", "wrong")).send();
    assert_eq!((locked.status, locked.code().as_str()), (429, "too_many_attempts"));
    assert!(locked.header("retry-after").is_some());
    let nobody = client.post("/out").send();
    assert_eq!((nobody.status, nobody.text().as_str()), (403, r#"{"error":"who?"}"#));
    let out = client.post("/out").cookie("sid", &sets(&good, "sid").unwrap()).send();
    assert_eq!(out.status, 204);
    for refusal in ["no_active_account", "bad_body", "not_authenticated", "too_many_attempts"] {
        gateway.logged(refusal, |line| line["refusal"] == refusal);
    }
}
