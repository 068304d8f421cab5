//! Tests which server gets a request: slow start, hashing by session, limits on connections, one address family first.

use std::thread;
use std::time::{Duration, Instant};

use super::switched::{Mode, Switched};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};

fn behind(servers: &[Switched], more: &str) -> Setup {
    let written: Vec<String> = servers.iter().map(|one| format!("\"{}\"", one.address)).collect();
    Setup::new(servers[0].address).servers(&written.join(", ")).upstream(more)
}

/// Returns how many of `requests` requests the server of this name answers.
fn share(gateway: &Gateway, requests: usize, name: &str) -> usize {
    (0..requests).filter(|_| gateway.client().get("/public/x").send().text() == name).count()
}

#[test]
fn whoever_comes_back_gets_a_growing_share() {
    let servers = ["a", "b"].map(Switched::start);
    let gateway = behind(&servers, "slow_start = \"8s\"").start();
    assert_eq!(share(&gateway, 20, "a"), 10, "at the start all have their whole share");
    let change = |what: &str| {
        let server = servers[0].address.to_string();
        let body = serde_json::json!({"upstream": "app", "server": server});
        assert_eq!(
            gateway.operator("POST", &format!("/upstreams/{what}")).json(&body).send().status,
            200
        );
    };
    change("drain");
    assert_eq!(share(&gateway, 10, "a"), 0);
    let begun = Instant::now();
    change("undrain");
    let early = share(&gateway, 30, "a");
    assert!(begun.elapsed() < Duration::from_secs(4), "the machine is too slow for this test");
    assert!(early < 10, "{early} of 30 at once");
    eventually("its whole share", || (share(&gateway, 20, "a") == 10).then_some(()));
    assert!(begun.elapsed() > Duration::from_secs(2), "after {:?}", begun.elapsed());
    eprintln!(
        "slow start of 8s: {early} of the first 30 requests, half of them after {:.1?}",
        begun.elapsed()
    );
}

#[test]
fn a_session_stays_with_a_server_and_comes_back_with_it() {
    let mut servers = ["a", "b", "c"].map(Switched::start);
    let gateway = behind(
        &servers,
        "balance = \"hash-session\"\nconnect_timeout = \"200ms\"\n[upstream.ejection]\nafter = 1\ntime = \"300ms\"\nlongest = \"300ms\"",
    )
    .start();
    let at = |token: &str| gateway.client().get("/x").bearer(token).send().text();
    // Enough sessions for each server to be the home of one.
    let (mut tokens, mut homes) = (Vec::new(), Vec::new());
    while !["a", "b", "c"].iter().all(|name| homes.contains(&(*name).to_owned())) {
        let signed_in = gateway.client().sign_in("kim", "correct horse battery");
        let token = signed_in["access"].as_str().unwrap().to_owned();
        homes.push(at(&token));
        tokens.push(token);
        assert!(homes.len() < 200, "{homes:?}");
    }
    for _ in 0..3 {
        let again: Vec<String> = tokens.iter().map(|token| at(token)).collect();
        assert_eq!(again, homes, "sessions of one user, each with a server of its own");
    }
    servers[0].kill();
    let moved: Vec<String> = tokens.iter().map(|token| at(token)).collect();
    for (home, now) in homes.iter().zip(&moved) {
        assert!(if home == "a" { now != "a" } else { now == home }, "{homes:?} {moved:?}");
    }
    servers[0].revive();
    eventually("all at home", || {
        (tokens.iter().map(|token| at(token)).collect::<Vec<_>>() == homes).then_some(())
    });
}

#[test]
fn connections_to_a_server_are_limited_by_themselves() {
    let server = Switched::start("a");
    server.switch(Mode::Slow(Duration::from_millis(400)));
    let limits = "[upstream.limits]\nrequests = 100\nconnections = 3\n";
    let gateway = behind(std::slice::from_ref(&server), limits).start();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let client = gateway.client();
            thread::spawn(move || client.get("/public/x").send())
        })
        .collect();
    let answers: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((passed, server.count()), (3, 3));
    let busy = answers.iter().find(|answer| answer.status == 503).unwrap();
    assert_eq!((busy.code().as_str(), busy.header("retry-after")), ("upstream_busy", Some("1")));
}
