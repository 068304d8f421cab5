//! Tests failures while the gateway runs: a full hashing pool, and a store that cannot be written. What does not need them
//! works on, and afterwards nothing has been lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::client::{Client, Response};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::mmdb::country_database;
use crate::support::upstream::Upstream;

const COOKIE: &str = "__Host-doorwarden";

fn kim() -> Value {
    json!({"username": "kim", "password": "correct horse battery"})
}

fn bearer(client: &Client, tokens: &Value) -> Response {
    client.get("/app").bearer(tokens["access"].as_str().unwrap()).send()
}

#[test]
fn a_full_hashing_pool_is_503_and_proxied_requests_do_not_notice() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .with("[login]\nhash_threads = 1\nhash_queue = 1\naccount_failures = 1000\naddress_failures = 1000\nnetwork_failures = 1000")
        .start();
    let client = gateway.client();
    let tokens = client.sign_in("kim", "correct horse battery");
    let over = AtomicBool::new(false);
    let (answers, proxied) = thread::scope(|scope| {
        let _over = crate::support::Over(&over);
        let sign_ins: Vec<_> = (0..24)
            .map(|_| {
                let client = client.clone();
                scope.spawn(move || client.post("/login").json(&kim()).send())
            })
            .collect();
        let (client, tokens, over) = (&client, &tokens, &over);
        let proxying = scope.spawn(move || {
            let mut count = 0;
            while !over.load(Ordering::SeqCst) || count == 0 {
                assert_eq!(bearer(client, tokens).status, 200);
                count += 1;
            }
            count
        });
        let answers: Vec<Response> =
            sign_ins.into_iter().map(|sign_in| sign_in.join().unwrap()).collect();
        over.store(true, Ordering::SeqCst);
        (answers, proxying.join().unwrap())
    });
    assert_eq!(upstream.seen().len(), proxied);
    let (fine, busy): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert!(!fine.is_empty() && !busy.is_empty(), "{} fine, {} busy", fine.len(), busy.len());
    for answer in &busy {
        assert_eq!((answer.status, answer.code().as_str()), (503, "busy"));
        let again: u32 = answer.header("retry-after").expect("Retry-After").parse().unwrap();
        assert!((1..=60).contains(&again), "{again}");
        assert_eq!(answer.header("set-cookie"), None);
    }
    let rejected = gateway.metric("doorwarden_hash_rejected_total").unwrap();
    assert_eq!(rejected, f64::from(u32::try_from(busy.len()).unwrap()));
    // A refusal because of a full pool counts as no failure of the account, and the pool recovers.
    assert_eq!(client.post("/login").json(&kim()).send().status, 200);
}

/// Locks the store for all other writers, as a broken disk or another program would.
fn lock(gateway: &Gateway) -> Connection {
    let connection = Connection::open(gateway.folder().join("state/store.db")).unwrap();
    connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
    connection
}

#[test]
fn a_store_that_cannot_be_written_stops_what_writes_and_nothing_else() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let signed_in = client.post("/login").json(&kim()).send();
    let (tokens, cookie) = (signed_in.json(), signed_in.set_cookie(COOKIE).unwrap());
    let refresh = json!({"refresh": tokens["refresh"]});

    let locked = lock(&gateway);
    thread::scope(|scope| {
        let writing = [
            scope.spawn(|| client.post("/refresh").json(&refresh).send()),
            scope.spawn(|| client.post("/login").json(&kim()).send()),
            scope.spawn(|| client.post("/logout").cookie(COOKIE, &cookie).send()),
        ];
        while !writing.iter().all(thread::ScopedJoinHandle::is_finished) {
            assert_eq!(bearer(&client, &tokens).status, 200);
            assert_eq!(client.get("/app").cookie(COOKIE, &cookie).send().status, 200);
            assert_eq!(client.get("/session").cookie(COOKIE, &cookie).send().status, 200);
        }
        for answer in writing.map(|request| request.join().unwrap()) {
            assert_eq!((answer.status, answer.code().as_str()), (503, "store_unavailable"));
            assert!(answer.all("set-cookie").is_empty(), "nothing was issued, nothing was ended");
        }
    });
    for operation in ["rotate", "create", "end"] {
        let name = format!("doorwarden_store_errors_total{{operation=\"{operation}\"}}");
        gateway.counts(&name, 1.0);
    }
    locked.execute_batch("ROLLBACK").unwrap();
    drop(locked);

    // The same refresh token is still unspent, and the same session still lives; now it can be ended.
    let next = client.post("/refresh").json(&refresh).send();
    assert_eq!(next.status, 200, "{}", next.text());
    assert_eq!(client.post("/login").json(&kim()).send().status, 200);
    assert_eq!(bearer(&client, &next.json()).status, 200);
    assert_eq!(client.post("/logout").cookie(COOKIE, &cookie).send().status, 204);
    assert_eq!(bearer(&client, &next.json()).status, 401);
}

#[test]
fn a_detectors_action_that_fails_is_told_as_failed() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .behind_a_proxy()
        .file("countries.mmdb", &country_database(&[("1.1.0.0/16", "AU"), ("2a00::/16", "KR")]))
        .with("[geo]\ncountry_database = \"countries.mmdb\"\n[detect.token_countries]\naction = \"end_session\"")
        .start();
    let client = gateway.client();
    let tokens = client.sign_in("kim", "correct horse battery");
    let locked = lock(&gateway);
    for place in ["1.1.1.1", "2a00::1"] {
        let request = client.get("/app").bearer(tokens["access"].as_str().unwrap());
        // Each request has a clearly different client.
        let request = request.header("User-Agent", &format!("Client/{place}"));
        assert_eq!(request.from(place.parse().unwrap()).send().status, 200);
    }
    let count = |action: &str| {
        let labels = format!("{{action=\"{action}\",detector=\"token_countries\"}}");
        gateway.metric(&format!("doorwarden_abnormal_access_total{labels}"))
    };
    eventually("the failure", || (count("failed") == Some(1.0)).then_some(()));
    assert_eq!(count("end_session"), Some(0.0), "what was not done is not counted as done");
    let audit = gateway.logged("the audit line", |line| line["event"] == "abnormal_access");
    assert_eq!(
        (&audit["action"], &audit["failure"]),
        (&json!("failed"), &json!("store_unavailable"))
    );
    drop(locked);
}
