//! Tests a route's rate limits, by address, user and session.

use std::net::IpAddr;

use crate::support::client::Response;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::tls::{Body, Certificate, H2};
use crate::support::upstream::Upstream;

fn limit(by: &str, requests: u32, per: &str) -> String {
    format!("[[route.rate_limit]]\nby = \"{by}\"\nrequests = {requests}\nper = \"{per}\"\n")
}

fn route(limits: &str) -> String {
    format!("name = \"limited\"\npath = \"/limited/\"\naccess = \"optional\"\n{limits}")
}

fn get(gateway: &Gateway, from: &str, token: Option<&str>) -> Response {
    let request = gateway.client().get("/limited/x").from(from.parse::<IpAddr>().unwrap());
    token.map_or_else(|| request.clone(), |token| request.clone().bearer(token)).send()
}

fn token(gateway: &Gateway, name: &str, password: &str) -> String {
    gateway.client().sign_in(name, password)["access"].as_str().unwrap().to_owned()
}

#[test]
fn an_address_that_asks_too_often_is_told_when_to_come_again() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .behind_a_proxy()
        .route(&route(&limit("address", 3, "1h")))
        .start();
    for left in [2, 1, 0] {
        let answer = get(&gateway, "192.0.2.1", None);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit-policy"), Some("\"address-1h\";q=3;w=3600"));
        let reset = 1200 * (3 - left);
        let said = answer.header("ratelimit").unwrap().to_owned();
        let of = |reset| format!("\"address-1h\";r={left};t={reset}");
        assert!(said == of(reset) || said == of(reset - 1), "{said}");
    }
    let seen = upstream.seen().len();
    let answer = get(&gateway, "192.0.2.1", None);
    assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limited"));
    let wait: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1190..=1200).contains(&wait), "{wait}");
    assert!(answer.header("ratelimit").unwrap().starts_with("\"address-1h\";r=0;t="));
    assert_eq!(upstream.seen().len(), seen, "the service had nothing of it");
    assert_eq!(get(&gateway, "192.0.2.2", None).status, 200, "another address");
    assert_eq!(
        gateway.client().get("/public/x").from("192.0.2.1".parse().unwrap()).send().status,
        200
    );
    // An IPv6 client may use any address of its /64.
    for (address, status) in [
        ("2001:db8::1", 200),
        ("2001:db8::2", 200),
        ("2001:db8::3", 200),
        ("2001:db8::4", 429),
        ("2001:db8:0:1::1", 200),
    ] {
        assert_eq!(get(&gateway, address, None).status, status, "{address}");
    }
    // Requests that the gate refuses count too, and get the same answer at the limit.
    let bad = |from| get(&gateway, from, Some("a.b.c"));
    let statuses: Vec<u16> = (0..5).map(|_| bad("192.0.2.3").status).collect();
    assert_eq!(statuses, [401, 401, 401, 429, 429]);
    let page =
        gateway.client().get("/limited/x").navigation().from("192.0.2.1".parse().unwrap()).send();
    assert_eq!(page.status, 429);
    assert!(page.text().contains("Too many requests"), "{}", page.text());
    let name = "doorwarden_refusals_total{code=\"rate_limited\",reason=\"rate_limited\"}";
    eventually("the count", || (gateway.metric(name) == Some(5.0)).then_some(()));
}

#[test]
fn users_and_sessions_are_limited_each_by_themselves_over_a_reload() {
    let upstream = Upstream::start();
    let limits = limit("user", 4, "1h") + &limit("session", 3, "2h");
    let gateway = Setup::new(upstream.address).behind_a_proxy().route(&route(&limits)).start();
    let kim = [0, 1].map(|_| token(&gateway, "kim", "correct horse battery"));
    let root = token(&gateway, "root", "toor toor toor");
    let status = |token: &str| get(&gateway, "192.0.2.1", Some(token)).status;
    assert_eq!([0; 4].map(|_| status(&kim[0])), [200, 200, 200, 429], "of one session");
    let path = gateway.folder().join("gateway.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("per = \"2h\"", "per = \"2h\"\nburst = 3")).unwrap();
    assert_eq!(gateway.operator("POST", "/reload").send().status, 200);
    assert_eq!(status(&kim[0]), 429, "it is not forgotten");
    assert_eq!([0; 2].map(|_| status(&kim[1])), [200, 429], "four of one user");
    assert_eq!(status(&root), 200);
    let answer = get(&gateway, "192.0.2.1", Some(&root));
    assert_eq!(
        answer.all("ratelimit-policy"),
        ["\"user-1h\";q=4;w=3600", "\"session-2h\";q=3;w=7200"]
    );
    for _ in 0..6 {
        let stranger = get(&gateway, "192.0.2.1", None);
        assert_eq!(
            (stranger.status, stranger.header("ratelimit")),
            (200, None),
            "nobody is no user"
        );
    }
}

#[test]
fn all_listeners_count_together() {
    let (upstream, certificate) = (Upstream::start(), Certificate::make());
    let gateway = Setup::new(upstream.address)
        .route(&route(&limit("address", 4, "1h")))
        .listen(
            "https = [\"127.0.0.1:0\"]\ncertificate_file = \"cert.pem\"\nprivate_key_file = \"key.pem\"",
        )
        .file("cert.pem", certificate.pem.as_bytes())
        .file("key.pem", certificate.key.as_bytes())
        .start();
    let mut h2 = H2::connect(gateway.https.unwrap(), certificate.client(&["h2"]));
    for status in [200, 200] {
        assert_eq!(gateway.client().get("/limited/x").send().status, status);
    }
    for status in [200, 200, 429] {
        let request = http::Request::get("https://app.test/limited/x").body(()).unwrap();
        assert_eq!(h2.send(request, &Body::default()).unwrap().status, status);
    }
    assert_eq!(gateway.client().get("/limited/x").send().status, 429);
}

#[test]
fn of_many_at_once_no_more_pass_than_may() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).route(&route(&limit("address", 20, "1h"))).start();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let client = gateway.client();
            std::thread::spawn(move || {
                (0..10).filter(|_| client.get("/limited/x").send().status == 200).count()
            })
        })
        .collect();
    let passed: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!((passed, upstream.seen().len()), (20, 20));
}
