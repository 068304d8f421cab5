//! Tests shadow mode: everything passes unchanged, and the gateway reports where it would have decided otherwise.

use std::io::{Read, Write};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::{Client, Request, Response};
use crate::support::django::Django;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup, write_private};
use crate::support::upstream::Upstream;

/// The service's `SECRET_KEY`.
const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service";

/// What an operator who knows the service a little would write first.
const FIRST_TRY: &str = r#"
[[route]]
name = "public"
path = "/public/"
upstream = "app"
access = "public"

[[route]]
name = "app"
path = "/"
upstream = "app"
"#;

/// The same after reading the reports: the service's login pages are public.
const CORRECTED: &str = r#"
[[route]]
name = "login"
path = "/api/v1/users/login"
upstream = "app"
access = "public"

[[route]]
name = "info"
path = "/api/v1/users/login/jwt/info"
upstream = "app"
"#;

const VERDICTS: [&str; 4] = ["agree", "stricter", "looser", "unknown"];

/// Makes a request, to the service or to the gateway.
type Make<'a> = Box<dyn Fn(&Client) -> Request + 'a>;

struct Case<'a> {
    what: &'static str,
    make: Make<'a>,
    status: u16,
    /// The verdict at the first try, and why it would have been refused.
    first: (&'static str, Option<&'static str>),
}

fn case<'a>(
    what: &'static str,
    status: u16,
    first: (&'static str, Option<&'static str>),
    make: impl Fn(&Client) -> Request + 'a,
) -> Case<'a> {
    Case { what, make: Box::new(make), status, first }
}

/// Adds both of the service's issuers, with its key in a file.
fn with_issuers(setup: Setup) -> (Setup, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("secret-key");
    write_private(&key, SECRET_KEY);
    let key = key.display();
    let toml = format!(
        "[[issuer]]\nkind = \"simplejwt\"\nkey_file = \"{key}\"\n\
         [[issuer]]\nkind = \"jwt\"\nname = \"by-hand\"\nkey_file = \"{key}\"\n"
    );
    (setup.with(&toml), folder)
}

fn at_django(django: &Django, path: &str, name: &str) -> Response {
    let password = format!("{name}-pass-1234");
    let body = json!({"username": name, "password": password});
    let response = Client::new(django.address).post(path).json(&body).send();
    assert_eq!(response.status, 200, "{}", response.text());
    response
}

fn token(django: &Django, path: &str, member: &str) -> String {
    at_django(django, path, "kim").json()[member].as_str().unwrap().to_owned()
}

/// Returns `doorwarden_shadow_total` of all routes, by verdict.
fn counted(gateway: &Gateway, routes: &[&str]) -> [f64; 4] {
    VERDICTS.map(|verdict| {
        let of_route = |route: &&str| {
            let name =
                format!("doorwarden_shadow_total{{route=\"{route}\",verdict=\"{verdict}\"}}");
            gateway.metric(&name).unwrap_or_else(|| panic!("{name} is not there"))
        };
        routes.iter().map(of_route).sum()
    })
}

/// Returns an answer without the parts that depend on its time and its connection.
fn said(response: &Response) -> (u16, Vec<(String, String)>, String) {
    let mut headers: Vec<_> = response
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), timeless(value)))
        .filter(|(name, _)| !["connection", "date", "expires"].contains(&name.as_str()))
        .collect();
    headers.sort();
    (response.status, headers, response.text())
}

/// Returns a cookie without the time at which it expires.
fn timeless(value: &str) -> String {
    let parts = value.split("; ").filter(|part| !part.starts_with("expires="));
    parts.collect::<Vec<_>>().join("; ")
}

/// Returns the access line of the request with this id.
fn access_line(gateway: &Gateway, request_id: &Value) -> Value {
    gateway.logged("the access line", |line| {
        line["target"] == "access" && line["request_id"] == *request_id
    })
}

#[test]
fn answers_are_djangos_own_and_what_the_switch_would_change_is_told_beforehand() {
    let django = Django::start();
    let access = token(&django, "/api/v1/users/login/simpleJWT", "access");
    let made = token(&django, "/api/v1/users/login/jwt", "token");
    let signed_in = at_django(&django, "/api/v1/users/login", "admin");
    let cookies = ["sessionid", "csrftoken"]
        .map(|name| format!("{name}={}", signed_in.set_cookie(name).unwrap()))
        .join("; ");
    let (info, logout) = ("/api/v1/users/login/jwt/info", "/api/v1/users/logout");
    let nobody = Some("not_authenticated");
    let session = case("a session of Django's", 200, ("stricter", nobody), |client| {
        client.request("HEAD", "/admin/").navigation().header("Cookie", &cookies)
    });
    let cases = [
        case("nobody", 401, ("agree", nobody), |client| client.post(logout)),
        case("a token", 200, ("stricter", Some("token_not_valid")), |client| {
            client.post(logout).bearer(&access)
        }),
        case("a wrong token", 401, ("agree", Some("token_not_valid")), |client| {
            client.post(logout).bearer("a.b.c")
        }),
        case("a hand-made token", 200, ("stricter", nobody), |client| {
            client.get(info).header("jwt-auth", &made)
        }),
        case("a wrong hand-made token", 403, ("agree", nobody), |client| {
            client.get(info).header("jwt-auth", "a.b.c")
        }),
        case("the admin, by nobody", 302, ("agree", nobody), |client| {
            client.get("/admin/").navigation()
        }),
        case("a public path with a wrong token", 404, ("agree", None), |client| {
            client.get("/public/none").bearer("a.b.c")
        }),
        case("a sign-in that fails at the service", 400, ("stricter", nobody), |client| {
            client.post("/api/v1/users/login").json(&json!({}))
        }),
        case("a preflight", 401, ("unknown", None), |client| {
            client
                .request("OPTIONS", logout)
                .header("Origin", "https://app.example")
                .header("Access-Control-Request-Method", "POST")
        }),
        case("a path that is the gateway's elsewhere", 404, ("unknown", None), |client| {
            client.post("/login").json(&json!({"username": "kim", "password": "kim-pass-1234"}))
        }),
        case("a service that fails", 503, ("unknown", nobody), |client| client.get("/status/503")),
    ];

    let cors = "[cors]\nallowed_origins = [\"https://app.example\"]\n";
    let shadow = "[shadow]\nroutes = [\"public\", \"app\"]\n";
    let first = django.setup().routes(FIRST_TRY).with(cors).with(shadow).start();
    let routes = ["public", "app"];
    assert_eq!(counted(&first, &routes), [0.0; 4], "there before anything happened");
    first.counts("doorwarden_shadow_routes", 2.0);
    for name in routes {
        first.logged("a warning for each", |line| line["level"] == "WARN" && line["route"] == name);
    }
    let mut expected = [0.0; 4];
    for case in cases.iter().chain([&session]) {
        let alone = (case.make)(&Client::new(django.address)).send();
        assert_eq!(alone.status, case.status, "{}: {}", case.what, alone.text());
        let through = (case.make)(&first.client()).send();
        assert_eq!(said(&through), said(&alone), "{}", case.what);
        let place = VERDICTS.iter().position(|verdict| *verdict == case.first.0).unwrap();
        expected[place] += 1.0;
        eventually(case.what, || (counted(&first, &routes) == expected).then_some(()));
        let line = first
            .logged(case.what, |line| line["target"] == "access" && line["shadow"] == case.first.0);
        assert_eq!(line["decision"], "shadow");
        if case.first.0 == "stricter" {
            let line = first.logged(case.what, |line| {
                line["event"] == "shadow_disagreement"
                    && line["reason"] == json!(case.first.1)
                    && line["status"] == case.status
            });
            assert_eq!((&line["route"], &line["verdict"]), (&json!("app"), &json!("stricter")));
            assert_eq!(access_line(&first, &line["request_id"])["shadow"], "stricter");
        }
    }
    first.counts("doorwarden_decisions_total{decision=\"refuse\"}", 0.0);
    let log = first.log().join("\n");
    for secret in [&access, &made, &cookies] {
        assert!(!log.contains(secret.as_str()), "a credential is in the log");
    }

    // With its issuers, and with public login pages, no differences are left.
    let shadow = "[shadow]\nroutes = [\"login\", \"info\", \"public\", \"app\"]\n";
    let routes = ["login", "info", "public", "app"];
    let setup = django.setup().routes(&format!("{CORRECTED}{FIRST_TRY}")).with(shadow);
    let (setup, _key) = with_issuers(setup);
    let second = setup.start();
    for case in &cases[..8] {
        let alone = (case.make)(&Client::new(django.address)).send();
        assert_eq!(said(&(case.make)(&second.client()).send()), said(&alone), "{}", case.what);
    }
    eventually("the requests to be counted", || {
        (counted(&second, &routes).iter().sum::<f64>() >= 8.0).then_some(())
    });
    assert_eq!(counted(&second, &routes), [8.0, 0.0, 0.0, 0.0]);

    // A user whom the service itself refuses: the gateway knows them, so this is no reason not to switch.
    let refused = |client: &Client| client.get("/status/403").bearer(&access).send();
    assert_eq!(said(&refused(&second.client())), said(&refused(&Client::new(django.address))));
    let line = second.logged("the looser one", |line| line["verdict"] == "looser");
    assert_eq!((&line["user"], &line["status"]), (&json!("django/2"), &json!(403)));
    assert_eq!(line["reason"], Value::Null);
}

#[test]
fn a_directory_that_is_down_changes_nothing_for_the_service() {
    let django = Django::start();
    let access = token(&django, "/api/v1/users/login/simpleJWT", "access");
    let setup = django
        .setup()
        .directories("[[directory]]\nkind = \"django\"\ndatabase = \"sqlite:///none/none.db\"\n")
        .with("[shadow]\nroutes = [\"app\"]\n");
    let (setup, _key) = with_issuers(setup);
    let gateway = setup.start();
    let response = gateway.client().post("/api/v1/users/logout").bearer(&access).send();
    assert_eq!(response.status, 200, "{}", response.text());
    eventually("nothing to compare", || {
        (counted(&gateway, &["app"]) == [0.0, 0.0, 0.0, 1.0]).then_some(())
    });
}

/// Returns what the upstream received, without the fields about the request's origin, which the gateway sets.
fn seen(upstream: &Upstream) -> (String, Vec<(String, String)>, Vec<u8>) {
    let last = upstream.last();
    let is_forwarding = |name: &str| {
        name.starts_with("x-forwarded-")
            || ["forwarded", "x-real-ip", "x-request-id", "connection"].contains(&name)
    };
    let mut headers: Vec<_> = last
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .filter(|(name, _)| !is_forwarding(name))
        .collect();
    headers.sort();
    (last.target, headers, last.body)
}

fn odd(client: &Client, target: &str) -> Request {
    client
        .post(target)
        .header("Authorization", "Basic a2ltOmtpbQ==")
        .header("Cookie", "a=1;b=\"2\" ;  sessionid=x")
        .header("X-User-Id", "7")
        .header("Remote-User", "kim")
        .header("my_header", "1")
        .header("jwt-auth", "a.b.c")
        .body(b"body")
}

#[test]
fn the_service_gets_what_was_sent_byte_for_byte() {
    let upstream = Upstream::start();
    let all = "[shadow]\nroutes = [\"public\", \"optional\", \"app\"]\n";
    let gateway = Setup::new(upstream.address).with(all).start();
    let (direct, client) = (Client::new(upstream.address), gateway.client());
    for target in ["/", "/a%7eb/%41?x=%2e%2e;1", "/a%2Fb", "/a//b;c", "/public/a%2fb", "/login"] {
        odd(&direct, target).send();
        let alone = seen(&upstream);
        assert_eq!(odd(&client, target).send().status, 200, "{target}");
        assert_eq!(seen(&upstream), alone, "{target}");
    }
    let told = gateway.logged("the second reading", |line| line["reason"] == "bad_target");
    assert_eq!(told["event"], "shadow_disagreement");

    odd(&client, "/").header("Content_Length", "0").send();
    let last = upstream.last();
    let lengths: Vec<&str> = last.folded("content-length").iter().map(|field| field.1).collect();
    assert_eq!(lengths, ["4"]);

    // The service trusts the proxy in front of it, and that is the gateway.
    odd(&client, "/").header("X-Forwarded-For", "6.6.6.6").send();
    assert_eq!(upstream.last().header("x-forwarded-for"), Some("127.0.0.1"));

    // Requests that cannot be forwarded safely, or that match no route, are refused as usual.
    for (request, code) in [
        (client.get("/a/../b"), "bad_target"),
        (client.get("/").header("Connection", "X-User-Id"), "bad_connection_header"),
    ] {
        let response = request.send();
        assert_eq!((response.status, response.code().as_str()), (400, code));
    }

    assert_eq!(client.get("/").header("Transfer-Encoding", "gzip").send().status, 400);

    let upgrade = client
        .get("/public/socket")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(upgrade.send().status, 101);
}

#[test]
fn beside_an_enforced_route_the_shadow_is_no_way_around_it() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).with("[shadow]\nroutes = [\"public\"]\n").start();
    let client = gateway.client();
    assert_eq!(client.get("/").send().status, 401, "the others are enforced");
    odd(&client, "/public/a").send();
    let last = upstream.last();
    assert!(last.folded("x-user-id").is_empty() && last.folded("remote-user").is_empty());
    for name in ["authorization", "my_header", "jwt-auth"] {
        assert!(last.header(name).is_some(), "{name}");
    }

    // The gateway's own credentials are not forwarded, and a service's answer signs nobody in here.
    let access = client.sign_in("kim", "correct horse battery")["access"].clone();
    client
        .get("/public/a")
        .bearer(access.as_str().unwrap())
        .header("Cookie", "a=1; __Host-doorwarden=x")
        .send();
    let last = upstream.last();
    assert_eq!((last.header("authorization"), last.header("cookie")), (None, Some("a=1")));
    assert_eq!(last.folded("x-user-id"), [], "and nobody is introduced");
}

#[test]
fn beside_an_enforced_route_no_second_reading_leads_past_it() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).with("[shadow]\nroutes = [\"app\"]\n").start();
    let client = gateway.client();
    for target in ["/optional%2Fa", "/optional;x/a", "/x%2F/a", "/x//a"] {
        let response = client.get(target).send();
        assert_eq!((response.status, response.code().as_str()), (400, "bad_target"), "{target}");
    }
    assert_eq!(client.get("/x").send().status, 200, "the rest is in the shadow");
    assert_eq!(upstream.last().target, "/x");
}

#[test]
fn a_service_answers_as_it_does_but_for_the_gateways_cookie() {
    let upstream = Upstream::start();
    let all = "[shadow]\nroutes = [\"public\", \"optional\", \"app\"]\n";
    let gateway = Setup::new(upstream.address).with(all).start();
    let mut stream = gateway.client().connect();
    stream.write_all(&gateway.client().get("/cookies").bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    for line in ["Set-Cookie: sessionid=abc; HttpOnly; Path=/", "X-User-Groups: root"] {
        assert!(answer.contains(line), "{answer}");
    }
    assert!(!answer.contains("stolen"), "{answer}");

    assert_eq!(gateway.client().get("/break").send().status, 502);
    eventually("no answer to compare", || (counted(&gateway, &["app"])[3] == 1.0).then_some(()));
}

#[test]
fn check_warns_of_a_shadowed_route() {
    let folder =
        Setup::new("127.0.0.1:9".parse().unwrap()).with("[shadow]\nroutes = [\"app\"]\n").prepare();
    let arguments = ["check", "--config", "gateway.toml"];
    let output = crate::support::gateway::run_in(folder.path(), &arguments, "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("lets everything through on the route \"app\""), "{said}");
}
