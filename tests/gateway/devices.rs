//! Tests guesses at one account from many places: strangers must wait, and a browser that its owner has signed in with may
//! go on.

use std::net::IpAddr;

use serde_json::json;

use crate::support::DEVICE_COOKIE;
use crate::support::client::{Client, Request, Response};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;

const PASSWORD: &str = "correct horse battery";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn start(upstream: &Upstream, toml: &str) -> Gateway {
    // The waits are longer than any test of this suite.
    let login = "[login]\nbackoff_initial = \"30s\"\nbackoff_max = \"15m\"\n";
    Setup::new(upstream.address).behind_a_proxy().with(&format!("{login}{toml}")).start()
}

fn login(client: &Client, name: &str, password: &str) -> Request {
    client.post("/login").json(&json!({"username": name, "password": password}))
}

/// Tries wrong passwords, each from another network, and returns how many were checked.
fn guesses(client: &Client, name: &str, times: usize) -> usize {
    let met = |n: usize| {
        let from = ip(&format!("1.{}.{}.7", 10 + n / 250, n % 250));
        login(client, name, "a guess").from(from).send()
    };
    let answers: Vec<Response> = (0..times).map(met).collect();
    for answer in answers.iter().filter(|answer| answer.status != 401) {
        assert_eq!((answer.status, answer.code().as_str()), (429, "too_many_attempts"));
        assert!(answer.header("retry-after").is_some());
    }
    answers.iter().filter(|answer| answer.status == 401).count()
}

#[test]
fn after_fifteen_guesses_from_fifteen_addresses_the_right_one_of_a_stranger_waits() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "[detect.distributed_guessing]\nthreshold = 12\n");
    let client = gateway.client();
    let first = login(&client, "kim", PASSWORD).from(ip("1.2.3.4")).send();
    let device = first.set_cookie(DEVICE_COOKIE).unwrap();

    assert_eq!(guesses(&client, "kim", 15), 10, "twice login.account_failures");
    let stranger = login(&client, "kim", PASSWORD).from(ip("1.99.1.1")).send();
    assert_eq!((stranger.status, stranger.code().as_str()), (429, "too_many_attempts"));
    let wait: u64 = stranger.header("retry-after").unwrap().parse().unwrap();
    assert!(wait > 30, "{wait}");

    // The owner's own browser may sign in from a new place, and every other account is unaffected.
    let own =
        login(&client, "kim", PASSWORD).from(ip("1.99.1.2")).cookie(DEVICE_COOKIE, &device).send();
    assert_eq!(own.status, 200, "{}", own.text());
    // The device keeps its id; its cookie stores the time of the latest sign-in.
    let own = own.set_cookie(DEVICE_COOKIE).unwrap();
    let again =
        login(&client, "kim", PASSWORD).from(ip("1.99.9.9")).cookie(DEVICE_COOKIE, &own).send();
    assert_eq!(again.status, 200);
    let other = login(&client, "root", "toor toor toor").from(ip("1.99.1.1")).send();
    assert_eq!(other.status, 200);
    // To another account, kim's device is unknown.
    guesses(&client, "root", 15);
    let with_kims = login(&client, "root", "toor toor toor").from(ip("1.98.1.1"));
    assert_eq!(with_kims.cookie(DEVICE_COOKIE, &own).send().status, 429);

    let found =
        "doorwarden_abnormal_access_total{action=\"notify\",detector=\"distributed_guessing\"}";
    eventually("the findings", || (gateway.metric(found) == Some(2.0)).then_some(()));
    // The detector that counts only the account's failures reported first, with a lower count.
    for (detector, count) in [("password_guessing", 10), ("distributed_guessing", 12)] {
        let audit = gateway.logged(detector, |line| {
            line["event"] == "abnormal_access" && line["detector"] == detector
        });
        assert_eq!((&audit["account"], &audit["count"]), (&json!("kim"), &json!(count)));
    }
}

#[test]
fn a_device_is_void_after_ten_failures_and_a_forged_one_never_counts() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "");
    let client = gateway.client();
    let first = login(&client, "kim", PASSWORD).from(ip("1.2.3.4")).send();
    let device = first.set_cookie(DEVICE_COOKIE).unwrap();
    assert_eq!(guesses(&client, "kim", 30), 10);
    let with = |cookie: &str, password: &str| {
        login(&client, "kim", password)
            .from(ip("1.99.1.2"))
            .cookie(DEVICE_COOKIE, cookie)
            .send()
            .status
    };
    let mut forged = device.clone();
    forged.replace_range(40..41, if &device[40..41] == "A" { "B" } else { "A" });
    for other in ["", "x", &*forged] {
        assert_eq!(with(other, PASSWORD), 429, "{other}");
    }
    for _ in 0..10 {
        assert_eq!(with(&device, "a guess"), 401);
    }
    assert_eq!(with(&device, PASSWORD), 429, "whoever stole it has no more guesses than that");
}

#[test]
fn another_password_voids_what_was_known_of_somebody_who_is_signed_in_nowhere() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .behind_a_proxy()
        .directories(
            "[[directory]]\nkind = \"file\"\npath = \"users.toml\"\nrefresh_interval = \"1s\"\n",
        )
        .with("[login]\nbackoff_initial = \"30s\"\n")
        .start();
    let client = gateway.client();
    let first = login(&client, "kim", PASSWORD).from(ip("1.2.3.4")).send();
    let device = first.set_cookie(DEVICE_COOKIE).unwrap();
    let access = first.json()["access"].as_str().unwrap().to_owned();
    assert_eq!(client.post("/logout").bearer(&access).send().status, 204);
    let other = login(&client, "lee", "staple 한글 암호").from(ip("1.2.3.4")).send();
    let lees = other.set_cookie(DEVICE_COOKIE).unwrap();
    let passwd = ["user", "passwd", "kim", "--file", "users.toml", "--password-stdin"];
    let changed = crate::support::gateway::run_in(gateway.folder(), &passwd, "a new one\n");
    assert!(changed.status.success());
    // The gateway rereads the file, and the old password is no longer valid.
    eventually("the new password", || {
        let old = login(&client, "kim", PASSWORD).from(ip("1.2.3.4")).send();
        if old.status == 200 {
            let access = old.json()["access"].as_str().unwrap().to_owned();
            assert_eq!(client.post("/logout").bearer(&access).send().status, 204);
        }
        (old.status == 401).then_some(())
    });
    let looked_at = guesses(&client, "kim", 12);
    assert!(looked_at <= 10, "{looked_at}");
    assert_eq!(guesses(&client, "lee", 12), 10);
    let with = |name: &str, password: &str, cookie: &str| {
        let request = login(&client, name, password).from(ip("1.99.1.2"));
        request.cookie(DEVICE_COOKIE, cookie).send().status
    };
    assert_eq!(with("kim", "a new one", &device), 429, "it was known for the password before");
    assert_eq!(with("lee", "staple 한글 암호", &lees), 200, "nobody changed this one");
    let ended = "doorwarden_sessions_ended_total{reason=\"directory_changed\"}";
    gateway.counts(ended, 0.0);
}

#[test]
fn the_device_cookie_is_the_browsers_alone() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "");
    let client = gateway.client();
    let signed_in = login(&client, "kim", PASSWORD).send();
    let lines = signed_in.all("set-cookie");
    let line = lines.iter().find(|line| line.starts_with(&format!("{DEVICE_COOKIE}="))).unwrap();
    for attribute in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/", "Max-Age=31536000"] {
        assert!(line.contains(attribute), "{attribute} in {line}");
    }
    // The device cookie is never forwarded to a service, and signs nobody in.
    let device = signed_in.set_cookie(DEVICE_COOKIE).unwrap();
    let cookies = format!("theme=dark; {DEVICE_COOKIE}={device}");
    client.get("/public/").header("Cookie", &cookies).send();
    assert_eq!(upstream.last().all("cookie"), ["theme=dark"]);
    assert_eq!(client.get("/app").header("Cookie", &cookies).send().status, 401);
    // A wrong password gets no device cookie, and neither does a page on another site.
    assert_eq!(login(&client, "kim", "a guess").send().set_cookie(DEVICE_COOKIE), None);
    let elsewhere = login(&client, "kim", PASSWORD).header("Origin", "https://evil.example").send();
    assert_eq!((elsewhere.status, elsewhere.set_cookie(DEVICE_COOKIE)), (200, None));
}

#[test]
fn another_password_voids_what_was_known() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .behind_a_proxy()
        .directories("[[directory]]\nkind = \"file\"\npath = \"users.toml\"\nrecheck = \"1s\"\n")
        .with("[login]\nbackoff_initial = \"30s\"\n")
        .start();
    let client = gateway.client();
    let first = login(&client, "kim", PASSWORD).from(ip("1.2.3.4")).send();
    let (device, tokens) = (first.set_cookie(DEVICE_COOKIE).unwrap(), first.json());
    let passwd = ["user", "passwd", "kim", "--file", "users.toml", "--password-stdin"];
    let changed = crate::support::gateway::run_in(gateway.folder(), &passwd, "a new one\n");
    assert!(changed.status.success());
    eventually("the session to end", || {
        let app = client.get("/app").bearer(tokens["access"].as_str().unwrap()).send();
        (app.status == 401).then_some(())
    });
    assert_eq!(guesses(&client, "kim", 12), 10);
    let own =
        login(&client, "kim", "a new one").from(ip("1.99.1.2")).cookie(DEVICE_COOKIE, &device);
    assert_eq!(own.send().status, 429);
}
