//! Tests the detectors' actions, as seen by the client, the operator and the audit trail.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::support::client::{Client, Response};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;

const PASSWORD: &str = "correct horse battery";
const COOKIE: &str = "__Host-doorwarden";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn start(upstream: &Upstream, toml: &str) -> Gateway {
    Setup::new(upstream.address).behind_a_proxy().with(toml).start()
}

fn done(gateway: &Gateway, detector: &str, action: &str) -> f64 {
    let labels = format!("{{action=\"{action}\",detector=\"{detector}\"}}");
    gateway.metric(&format!("doorwarden_abnormal_access_total{labels}")).unwrap()
}

fn wait_for(gateway: &Gateway, detector: &str, action: &str) {
    eventually(action, || (done(gateway, detector, action) >= 1.0).then_some(()));
}

fn audit(gateway: &Gateway, event: &str) -> Value {
    gateway.logged("the audit line", |line| line["target"] == "audit" && line["event"] == event)
}

fn refresh(client: &Client, from: &str, tokens: &Value) -> Response {
    client.post("/refresh").from(ip(from)).json(&json!({"refresh": tokens["refresh"]})).send()
}

fn app(client: &Client, from: &str, tokens: &Value) -> Response {
    client.get("/app").from(ip(from)).bearer(tokens["access"].as_str().unwrap()).send()
}

fn guess(client: &Client, from: &str, name: &str) -> Response {
    let login = json!({"username": name, "password": "a guess"});
    client.post("/login").from(ip(from)).json(&login).send()
}

/// Refreshes until `refresh_burst` fires at a threshold of 3, and returns the latest tokens.
fn burst(client: &Client, mut tokens: Value) -> Value {
    for _ in 0..3 {
        let next = refresh(client, "1.1.1.7", &tokens);
        assert_eq!(next.status, 200, "{}", next.text());
        tokens = next.json();
    }
    tokens
}

const BURST: &str = "[detect.refresh_burst]\nthreshold = 3\nwindow = \"10m\"\n";

#[test]
fn an_address_that_tries_many_names_is_blocked_and_the_owner_elsewhere_is_not() {
    let upstream = Upstream::start();
    let toml = "[detect.password_spraying]\nthreshold = 4\naction = \"block_address\"\nduration = \"5m\"\n";
    let gateway = start(&upstream, toml);
    let client = gateway.client();
    let tokens = client.sign_in("kim", PASSWORD);
    for n in 0..4 {
        assert_eq!(guess(&client, "1.1.1.7", &format!("name-{n}")).status, 401);
    }
    wait_for(&gateway, "password_spraying", "block_address");
    let refused = guess(&client, "1.1.1.7", "kim");
    assert_eq!((refused.status, refused.code().as_str()), (429, "address_blocked"));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((290..=300).contains(&wait), "{wait}");
    assert_eq!(app(&client, "1.1.1.7", &tokens).status, 429);
    assert_eq!(app(&client, "1.1.1.8", &tokens).status, 200);
    let line = audit(&gateway, "blocked");
    for (field, value) in [("network", "1.1.1.7"), ("by", "detector"), ("why", "password_spraying")]
    {
        assert_eq!(line[field], value, "{line}");
    }
    assert_eq!(audit(&gateway, "abnormal_access")["action"], "block_address");
    let blocks = "doorwarden_blocks_total{by=\"detector\",subject=\"address\"}";
    gateway.counts(blocks, 1.0);
    let lifted = gateway.command(&["block", "lift", "1.1.1.7"]);
    assert!(lifted.status.success());
    assert_eq!(app(&client, "1.1.1.7", &tokens).status, 200);
}

#[test]
fn the_findings_of_late_are_read_in_pages() {
    let upstream = Upstream::start();
    let gateway =
        start(&upstream, "[detect.password_guessing]\nthreshold = 1\naction = \"observe\"\n");
    let client = gateway.client();
    for n in 0..5 {
        guess(&client, "1.1.1.7", &format!("name-{n}"));
    }
    eventually("the findings", || {
        (done(&gateway, "password_guessing", "observe") == 5.0).then_some(())
    });
    let ask = |query: &str| gateway.operator("GET", &format!("/findings{query}")).send();
    let first = ask("?limit=3").json();
    let accounts = |page: &Value| -> Vec<String> {
        let all = page["findings"].as_array().unwrap().iter();
        all.map(|one| one["subject"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(accounts(&first), ["name-4", "name-3", "name-2"]);
    assert_eq!(first["findings"][0]["actions"], json!(["observe"]));
    assert_eq!(first["findings"][0]["client"], "1.1.1.7");
    let second = ask(&format!("?limit=3&before={}", first["next"])).json();
    assert_eq!(
        (accounts(&second), &second["next"]),
        (vec!["name-1".into(), "name-0".into()], &Value::Null)
    );
    for wrong in ["?limit=0", "?limit=1001", "?before=x", "?page=2"] {
        assert_eq!(ask(wrong).status, 400, "{wrong}");
    }
}

#[test]
fn in_a_dry_run_no_address_is_blocked_and_neither_is_a_private_one() {
    let upstream = Upstream::start();
    for (toml, from, action) in [
        ("dry_run = true", "1.1.1.7", "dry_run"),
        ("", "10.1.2.3", "notify"),
        // A trusted proxy.
        ("", "127.0.0.9", "notify"),
        ("exempt = [\"9.9.9.9\"]", "1.1.1.7", "block_address"),
    ] {
        let toml = format!("[detect.password_spraying]\nthreshold = 4\n{toml}\n");
        let gateway = start(&upstream, &toml);
        let client = gateway.client();
        for n in 0..4 {
            assert_eq!(guess(&client, from, &format!("name-{n}")).status, 401);
        }
        wait_for(&gateway, "password_spraying", action);
        let expected = if action == "block_address" { 429 } else { 200 };
        assert_eq!(client.get("/public/").from(ip(from)).send().status, expected, "{from}");
    }
}

#[test]
fn a_scanner_is_blocked_wherever_it_looks() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .behind_a_proxy()
        .routes(
            "[[route]]\nname = \"public\"\npath = \"/public/\"\nupstream = \"app\"\naccess = \"public\"\n",
        )
        .with("[detect.scanning]\nthreshold = 6\nexempt = [\"1.1.9.0/24\", \"agent:LinkChecker\"]\n")
        .start();
    let client = gateway.client();
    let look = |from: &str, agent: &str| {
        for n in 0..3 {
            for path in [format!("/nowhere-{n}"), format!("/public/missing/{n}")] {
                let answer = client.get(&path).from(ip(from)).header("User-Agent", agent).send();
                assert_eq!(answer.status, 404, "{path}");
            }
        }
    };
    look("1.1.9.1", "Mozilla/5.0");
    look("1.1.1.8", "LinkChecker/10.0");
    look("1.1.1.7", "Mozilla/5.0");
    wait_for(&gateway, "scanning", "block_address");
    // The detectors see events in order, so they have processed the other scans.
    for (from, status) in [("1.1.1.7", 429), ("1.1.1.8", 200), ("1.1.9.1", 200)] {
        assert_eq!(client.get("/public/").from(ip(from)).send().status, status, "{from}");
    }
    assert_eq!(done(&gateway, "scanning", "block_address"), 1.0);
}

#[test]
fn a_session_that_has_to_sign_in_anew_is_worth_nothing_until_it_has() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, &format!("{BURST}action = [\"step_up\", \"notify\"]\n"));
    let client = gateway.client();
    let login = json!({"username": "kim", "password": PASSWORD});
    let first = client.post("/login").json(&login).send();
    let cookie = first.set_cookie(COOKIE).unwrap();
    let other = client.sign_in("root", "toor toor toor");
    let tokens = burst(&client, first.json());
    wait_for(&gateway, "refresh_burst", "step_up");
    wait_for(&gateway, "refresh_burst", "notify");

    for response in [
        app(&client, "1.1.1.7", &tokens),
        refresh(&client, "1.1.1.7", &tokens),
        client.get("/session").cookie(COOKIE, &cookie).send(),
        client.get("/app").cookie(COOKIE, &cookie).send(),
    ] {
        assert_eq!((response.status, response.code().as_str()), (401, "sign_in_again"));
        let asks = response.header("www-authenticate").unwrap();
        assert!(asks.contains("insufficient_user_authentication"), "{asks}");
    }
    // A browser is redirected to the login page, which is shown instead of redirecting back.
    let page = client.get("/app").navigation().cookie(COOKIE, &cookie).send();
    assert_eq!((page.status, page.header("location")), (303, Some("/login?next=/app")));
    let page = client.get("/login?next=/app").navigation().cookie(COOKIE, &cookie).send();
    assert_eq!(page.status, 200, "{:?}", page.header("location"));
    let form = [("username", "kim"), ("password", PASSWORD), ("next", "/app")];
    let origin = "http://localhost";
    let signed_in = client
        .post("/login")
        .host("localhost")
        .header("Origin", origin)
        .cookie(COOKIE, &cookie)
        .form(&form)
        .navigation()
        .send();
    assert_eq!(signed_in.status, 303, "{}", signed_in.text());
    let fresh = signed_in.set_cookie(COOKIE).unwrap();
    assert_eq!(client.get("/app").cookie(COOKIE, &fresh).send().status, 200);
    // This ends the old session, and with it the stolen tokens.
    assert_eq!(app(&client, "1.1.1.7", &tokens).status, 401);
    assert_eq!(app(&client, "1.1.1.7", &other).status, 200);
    assert_eq!(audit(&gateway, "abnormal_access")["action"], "step_up,notify");
    let line = audit(&gateway, "blocked");
    assert_eq!((&line["subject"], &line["by"]), (&json!("session"), &json!("detector")));
}

#[test]
fn a_session_that_is_slowed_down_refreshes_once_a_minute() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, &format!("{BURST}action = \"limit\"\n"));
    let client = gateway.client();
    let (tokens, other) = (client.sign_in("kim", PASSWORD), client.sign_in("kim", PASSWORD));
    let mut tokens = burst(&client, tokens);
    wait_for(&gateway, "refresh_burst", "limit");
    let next = refresh(&client, "1.1.1.7", &tokens);
    assert_eq!(next.status, 200, "the first within the minute");
    tokens = next.json();
    for _ in 0..2 {
        let refused = refresh(&client, "1.1.1.7", &tokens);
        assert_eq!((refused.status, refused.code().as_str()), (429, "slow_down"));
        assert_eq!(refused.header("retry-after"), Some("60"));
    }
    // The session can be used as before, and others refresh as before.
    assert_eq!(app(&client, "1.1.1.7", &tokens).status, 200);
    assert_eq!(refresh(&client, "1.1.1.7", &other).status, 200);
}

#[test]
fn all_sessions_of_a_user_end_and_nobody_elses() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, &format!("{BURST}action = \"end_user_sessions\"\n"));
    let client = gateway.client();
    let (one, two) = (client.sign_in("kim", PASSWORD), client.sign_in("kim", PASSWORD));
    let other = client.sign_in("root", "toor toor toor");
    let one = burst(&client, one);
    wait_for(&gateway, "refresh_burst", "end_user_sessions");
    for tokens in [&one, &two] {
        let refused = app(&client, "1.1.1.7", tokens);
        assert_eq!((refused.status, refused.code().as_str()), (401, "session_ended"));
    }
    assert_eq!(app(&client, "1.1.1.7", &other).status, 200);
    let ended = "doorwarden_sessions_ended_total{reason=\"detected\"}";
    gateway.counts(ended, 2.0);
}

#[test]
fn who_is_exempt_is_left_alone_and_a_bound_holds() {
    let upstream = Upstream::start();
    for (exempt, action) in [
        ("user:file/kim", "exempt"),
        ("group:editors", "exempt"),
        ("user:file/root", "end_session"),
        ("group:admins", "end_session"),
    ] {
        let toml = format!("{BURST}action = \"end_session\"\nexempt = [\"{exempt}\"]\n");
        let gateway = start(&upstream, &toml);
        let client = gateway.client();
        let tokens = burst(&client, client.sign_in("kim", PASSWORD));
        wait_for(&gateway, "refresh_burst", action);
        let expected = if action == "exempt" { 200 } else { 401 };
        assert_eq!(app(&client, "1.1.1.7", &tokens).status, expected, "{exempt}");
    }
    let toml = format!("[detect]\nactions_per_hour = 1\n{BURST}action = \"end_session\"\n");
    let gateway = start(&upstream, &toml);
    let client = gateway.client();
    let first = burst(&client, client.sign_in("kim", PASSWORD));
    wait_for(&gateway, "refresh_burst", "end_session");
    let second = burst(&client, client.sign_in("kim", PASSWORD));
    wait_for(&gateway, "refresh_burst", "bounded");
    assert_eq!(app(&client, "1.1.1.7", &first).status, 401);
    assert_eq!(app(&client, "1.1.1.7", &second).status, 200);
}

#[test]
fn a_finding_that_ends_a_session_cuts_what_is_open() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, &format!("{BURST}action = \"end_session\"\n"));
    let client = gateway.client();
    let tokens = client.sign_in("kim", PASSWORD);
    let mut stream = client.connect();
    use std::io::{Read as _, Write as _};
    let asked = client.get("/drip").bearer(tokens["access"].as_str().unwrap());
    stream.write_all(&asked.bytes()).unwrap();
    eventually("the stream to begin", || (!upstream.seen().is_empty()).then_some(()));
    burst(&client, tokens);
    wait_for(&gateway, "refresh_burst", "end_session");
    let begun = std::time::Instant::now();
    // The connection is closed in some way, although the service goes on.
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(String::from_utf8_lossy(&rest).contains("first"));
}
