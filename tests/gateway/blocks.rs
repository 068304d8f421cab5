//! Tests blocks: the answers to those blocked, what operators see, and what a restart and lifting a block do.

use std::net::IpAddr;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::client::{Client, Response};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;

const PASSWORD: &str = "correct horse battery";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn said(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {error}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn start(upstream: &Upstream) -> Gateway {
    Setup::new(upstream.address).behind_a_proxy().log("audit_file = \"audit.log\"").start()
}

fn app(client: &Client, from: &str, tokens: &Value) -> Response {
    client.get("/app").from(ip(from)).bearer(tokens["access"].as_str().unwrap()).send()
}

fn refused(response: &Response) -> (u16, String) {
    (response.status, response.code())
}

fn audit(gateway: &Gateway, event: &str) -> Value {
    eventually("the audit line", || {
        let text = std::fs::read_to_string(gateway.folder().join("audit.log")).unwrap();
        let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["event"] == event)
    })
}

fn count(gateway: &Gateway, name: &str) -> f64 {
    gateway.metric(name).unwrap_or_else(|| panic!("{name} exists from the start"))
}

#[test]
fn a_blocked_address_gets_429_everywhere_until_the_block_is_lifted() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let client = gateway.client();
    let tokens = client.sign_in("kim", PASSWORD);
    let active = "doorwarden_blocks_active{subject=\"address\"}";
    let total = "doorwarden_blocks_total{by=\"operator\",subject=\"address\"}";
    let refusals = "doorwarden_refusals_total{code=\"address_blocked\",reason=\"address_blocked\"}";
    for name in [active, total, refusals] {
        assert_eq!(count(&gateway, name), 0.0, "{name}");
    }
    assert_eq!(app(&client, "1.1.1.7", &tokens).status, 200);

    let add = ["block", "add", "1.1.1.7", "--for", "30m", "--reason", "scans the shop"];
    let line = said(&gateway.command(&add));
    assert!(line.starts_with("the address 1.1.1.7 is blocked until 20"), "{line}");
    let seen = upstream.seen().len();
    let login = json!({"username": "kim", "password": PASSWORD});
    for request in [
        client.get("/app").bearer(tokens["access"].as_str().unwrap()),
        client.get("/public/"),
        client.get("/nowhere"),
        client.get("/login"),
        client.post("/login").json(&login),
        client.post("/refresh").json(&json!({"refresh": tokens["refresh"]})),
    ] {
        let response = request.from(ip("1.1.1.7")).send();
        assert_eq!(refused(&response), (429, "address_blocked".into()));
        let wait: u64 = response.header("retry-after").unwrap().parse().unwrap();
        assert!((1790..=1800).contains(&wait), "{wait}");
    }
    assert_eq!(upstream.seen().len(), seen, "nothing of it reached the service");
    let page = client.get("/app").navigation().from(ip("1.1.1.7")).send();
    assert_eq!(page.status, 429);
    assert!(page.text().contains("address_blocked"), "{}", page.text());
    // The block concerns neither the neighbouring address nor what a client claims in its headers.
    assert_eq!(app(&client, "1.1.1.8", &tokens).status, 200);
    assert_eq!((count(&gateway, active), count(&gateway, total)), (1.0, 1.0));
    eventually("the count", || (count(&gateway, refusals) == 7.0).then_some(()));
    let access = gateway.logged("the access line", |line| line["refusal"] == "address_blocked");
    assert_eq!((&access["client"], &access["decision"]), (&json!("1.1.1.7"), &json!("refuse")));
    let line = audit(&gateway, "blocked");
    for (field, value) in [
        ("subject", "address"),
        ("network", "1.1.1.7"),
        ("by", "operator"),
        ("why", "scans the shop"),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    let listed = said(&gateway.command(&["block", "list"]));
    assert!(listed.contains("address  1.1.1.7") && listed.contains("scans the shop"), "{listed}");

    assert_eq!(said(&gateway.command(&["block", "lift", "1.1.1.7"])), "lifted\n");
    assert_eq!(app(&client, "1.1.1.7", &tokens).status, 200);
    assert_eq!(count(&gateway, active), 0.0);
    assert_eq!(audit(&gateway, "block_lifted")["network"], "1.1.1.7");
    let again = gateway.command(&["block", "lift", "1.1.1.7"]);
    assert_eq!(again.status.code(), Some(1));
}

#[test]
fn a_blocked_network_holds_every_address_of_it() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let client = gateway.client();
    said(&gateway.command(&["block", "add", "2a00:1:2::/48"]));
    said(&gateway.command(&["block", "add", "1.2.3.4/24"]));
    for (from, status) in [
        ("2a00:1:2:ffff::9", 429),
        ("2a00:1:3::9", 200),
        ("1.2.3.255", 429),
        ("::ffff:1.2.3.9", 429),
        ("1.2.4.1", 200),
    ] {
        assert_eq!(client.get("/public/").from(ip(from)).send().status, status, "{from}");
    }
}

#[test]
fn a_blocked_user_has_no_credential_that_holds() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let client = gateway.client();
    let tokens = client.sign_in("kim", PASSWORD);
    let login = json!({"username": "kim", "password": PASSWORD});
    let cookie = client.post("/login").json(&login).send().set_cookie("__Host-doorwarden").unwrap();
    said(&gateway.command(&["block", "add", "--user", "kim", "--reason", "left"]));
    let by_cookie = |path| client.get(path).cookie("__Host-doorwarden", &cookie).send();
    for response in [
        app(&client, "1.1.1.1", &tokens),
        by_cookie("/app"),
        by_cookie("/session"),
        client.post("/refresh").json(&json!({"refresh": tokens["refresh"]})).send(),
        client.post("/verify").json(&json!({"token": tokens["access"]})).send(),
        client.post("/login").json(&login).send(),
    ] {
        assert_eq!(refused(&response), (403, "user_blocked".into()), "{}", response.text());
    }
    // The blocked user may see what anybody may see, and the service is not told who they are.
    assert_eq!(by_cookie("/public/").status, 200);
    assert!(upstream.last().all("x-user-id").is_empty());
    let access = gateway.logged("the access line", |line| line["refusal"] == "user_blocked");
    assert_eq!(access["user"], "file/kim", "{access}");
    // A wrong password is still refused as a wrong password.
    let wrong = json!({"username": "kim", "password": "a guess"});
    assert_eq!(client.post("/login").json(&wrong).send().status, 401);
    assert_eq!(app(&client, "1.1.1.1", &client.sign_in("root", "toor toor toor")).status, 200);
    said(&gateway.command(&["block", "lift", "--user", "file/kim"]));
    assert_eq!(app(&client, "1.1.1.1", &tokens).status, 200);
    assert_eq!(by_cookie("/session").status, 200);
}

#[test]
fn a_blocked_session_is_refused_and_its_users_others_are_not() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let client = gateway.client();
    let (one, two) = (client.sign_in("kim", PASSWORD), client.sign_in("kim", PASSWORD));
    let session = client.get("/session").bearer(one["access"].as_str().unwrap()).send().json();
    let id = format!("--session={}", session["session_id"].as_str().unwrap());
    said(&gateway.command(&["block", "add", &id]));
    let response = app(&client, "1.1.1.1", &one);
    assert_eq!(refused(&response), (403, "session_blocked".into()));
    let refresh = client.post("/refresh").json(&json!({"refresh": one["refresh"]})).send();
    assert_eq!(refused(&refresh), (403, "session_blocked".into()));
    assert_eq!(app(&client, "1.1.1.1", &two).status, 200);
    said(&gateway.command(&["block", "lift", &id]));
    // The refused refresh has not spent its token.
    assert_eq!(
        client.post("/refresh").json(&json!({"refresh": one["refresh"]})).send().status,
        200
    );
}

#[test]
fn blocks_survive_a_restart_and_are_changed_where_no_gateway_runs() {
    let upstream = Upstream::start();
    let mut gateway = start(&upstream);
    said(&gateway.command(&["block", "add", "1.1.1.7", "--for", "1d"]));
    gateway.kill();
    let listed: Value =
        serde_json::from_str(&said(&gateway.command(&["block", "list", "--json"]))).unwrap();
    assert_eq!(listed["blocks"][0]["subject"], "1.1.1.7", "{listed}");
    said(&gateway.command(&["block", "add", "1.1.1.8", "--for", "1d"]));
    said(&gateway.command(&["block", "add", "1.1.1.9", "--for", "1d"]));
    said(&gateway.command(&["block", "lift", "1.1.1.9"]));
    gateway.spawn();
    let client = gateway.client();
    for (from, status) in [("1.1.1.7", 429), ("1.1.1.8", 429), ("1.1.1.9", 200)] {
        assert_eq!(client.get("/public/").from(ip(from)).send().status, status, "{from}");
    }
}

#[test]
fn the_operators_api_takes_one_subject_and_an_end() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let asked = json!({"address": "1.1.1.7", "seconds": 60, "reason": "why"});
    let made = gateway.operator("POST", "/blocks").json(&asked).send();
    assert_eq!((made.status, &made.json()["until"].is_string()), (200, &true));
    let listed = gateway.operator("GET", "/blocks").send().json();
    let first = &listed["blocks"][0];
    assert_eq!(first["reason"], "why", "{listed}");
    for wrong in [json!({}), json!({"address": "x"}), json!({"address": "1.1.1.1", "seconds": 0})] {
        let response = gateway.operator("POST", "/blocks").json(&wrong).send();
        assert_eq!(refused(&response), (400, "bad_body".into()), "{wrong}");
    }
    let lift = json!({"address": "1.1.1.7"});
    for lifted in [true, false] {
        let response = gateway.operator("POST", "/blocks/lift").json(&lift).send();
        assert_eq!(response.json()["lifted"], lifted);
    }
    assert_eq!(gateway.operator("DELETE", "/blocks").send().status, 405);
    for (arguments, says) in [
        (&["block", "add"][..], "ADDRESS"),
        (&["block", "add", "somewhere"], "not an address or network"),
        (&["block", "add", "1.1.1.1", "--for", "soon"], "90s, 30m"),
        (&["block", "add", "1.1.1.1", "--for", "367d"], "366d"),
        (&["block", "add", "1.1.1.1", "--user", "kim"], "--user"),
    ] {
        let output = gateway.command(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {error}");
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
}

#[test]
fn explain_says_that_somebody_is_blocked_and_why() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    said(&gateway.command(&["block", "add", "1.1.1.7", "--reason", "scans"]));
    let question = json!({
        "head": "GET /app HTTP/1.1\r\nhost: localhost\r\n\r\n", "client": "1.1.1.7",
    });
    let told = gateway.operator("POST", "/explain").json(&question).send().json().to_string();
    assert!(told.contains("address_blocked") && told.contains("by operator: scans"), "{told}");
}
