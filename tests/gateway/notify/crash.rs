//! Tests receivers that are down for a while, and a gateway that is killed in the meantime.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::support::{DEADLINE, eventually, soak};

const INCIDENTS: usize = 30;

/// Returns how often each id came.
fn by_id(received: &[Value], id: impl Fn(&Value) -> String) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for one in received {
        *counts.entry(id(one)).or_default() += 1;
    }
    counts
}

#[test]
fn nothing_is_lost_while_receivers_are_away_and_the_gateway_is_killed() {
    let (upstream, mut server, mut hook) =
        (Upstream::start(), Receiver::smtp(&[]), Receiver::http(SECRET));
    let channels = format!(
        "{}{}",
        webhook(&hook, "/hook"),
        mail(&server, &format!("{PLAIN}\nper_address = 1000\n"))
    );
    let mut gateway = setup(&upstream).with(&notify(&channels)).start();

    // A third comes while all are up, a third while the receivers are down, then a kill, and a third after the restart.
    let some = INCIDENTS / 3;
    (0..some).for_each(|_| drop(kim(&gateway.client())));
    hook.wait_for(some);
    server.wait_for(some);
    server.stop();
    hook.stop();
    (0..some).for_each(|_| drop(kim(&gateway.client())));
    let queued = |gateway: &Gateway| {
        ["hook", "mail"]
            .iter()
            .all(|channel| notices(gateway, channel, "queued") == (2 * some) as f64)
    };
    eventually("all of them in the outbox", || queued(&gateway).then_some(()));
    gateway.kill();
    gateway.spawn();
    (0..some).for_each(|_| drop(kim(&gateway.client())));
    eventually("attempts that fail", || {
        let failed = |channel| notices(&gateway, channel, "retried") > 0.0;
        (failed("hook") && failed("mail")).then_some(())
    });
    server.start_again();
    hook.start_again();

    let hooks = eventually("every webhook", || {
        let ids = by_id(&hook.received(), |one| one["verified"]["data"]["id"].to_string());
        (ids.len() >= INCIDENTS).then_some(ids)
    });
    let letters = eventually("every letter", || {
        let ids = by_id(&server.received(), |one| one["headers"]["Message-ID"].to_string());
        (ids.len() >= INCIDENTS).then_some(ids)
    });
    for channel in ["hook", "mail"] {
        let waiting = format!("doorwarden_notices_waiting{{channel=\"{channel}\"}}");
        eventually("nothing to wait", || (gateway.metric(&waiting) == Some(0.0)).then_some(()));
    }
    let twice =
        |counts: &BTreeMap<String, usize>| counts.values().filter(|times| **times > 1).count();
    println!(
        "{INCIDENTS} incidents, receivers away for a third of them, one kill -9: webhooks {} (twice: {}), letters {} \
         (twice: {}), lost 0",
        hooks.len(),
        twice(&hooks),
        letters.len(),
        twice(&letters)
    );
    assert_eq!((hooks.len(), letters.len()), (INCIDENTS, INCIDENTS));
    let refused = hook.received().iter().filter(|one| one.get("refused").is_some()).count();
    assert_eq!(refused, 0, "every signature verifies, also that of a later attempt");
}

/// An incident that a client knows of: its session, and when the gateway answered.
type Known = (String, Instant);

/// Makes incidents until it is stopped, or the gateway is gone.
fn load(client: &Client, stop: &AtomicBool) -> Vec<Known> {
    let mut known = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let Some(session) = try_incident(client) else { break };
        known.push((session, Instant::now()));
    }
    known
}

fn try_incident(client: &Client) -> Option<String> {
    let credentials = json!({"username": "kim", "password": "correct horse battery"});
    let first = client.post("/login").json(&credentials).try_send()?;
    assert_eq!(first.status, 200, "{}", first.text());
    let refresh = json!({"refresh": first.json()["refresh"]});
    assert_eq!(client.post("/refresh").json(&refresh).try_send()?.status, 200);
    assert_eq!(client.post("/refresh").json(&refresh).try_send()?.status, 401);
    let access = first.json()["access"].as_str()?.to_owned();
    let payload = URL_SAFE_NO_PAD.decode(access.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    Some(claims["sid"].as_str()?.to_owned())
}

#[test]
fn under_load_a_kill_costs_no_more_than_what_was_in_memory() {
    let (upstream, mut server, mut hook) =
        (Upstream::start(), Receiver::smtp(&[]), Receiver::http(SECRET));
    let channels = format!(
        "{}{}",
        webhook(&hook, "/hook"),
        mail(&server, &format!("{PLAIN}\nper_address = 10000\n"))
    );
    let notify = notify(&channels).replace("[notify]\n", "[notify]\nqueue = 100000\n");
    let mut gateway = setup(&upstream).with(&notify).start();
    let (rounds, away) = soak::times((1, Duration::from_secs(3)), (2, Duration::from_secs(60)));
    let mut known: Vec<Known> = Vec::new();
    let mut kills = Vec::new();
    for _ in 0..rounds {
        server.stop();
        hook.stop();
        // Once in the middle of the time, and once at its end.
        for _ in 0..2 {
            let stop = AtomicBool::new(false);
            let told = std::thread::scope(|threads| {
                let _over = crate::support::Over(&stop);
                let client = gateway.client();
                let tasks: Vec<_> = (0..3)
                    .map(|_| {
                        let (client, stop) = (client.clone(), &stop);
                        threads.spawn(move || load(&client, stop))
                    })
                    .collect();
                let began = Instant::now();
                while began.elapsed() < away / 2 {
                    std::thread::sleep(Duration::from_millis(5));
                }
                kills.push(Instant::now());
                gateway.kill();
                stop.store(true, Ordering::SeqCst);
                tasks.into_iter().flat_map(|task| task.join().unwrap()).collect::<Vec<_>>()
            });
            known.extend(told);
            gateway.spawn();
        }
        server.start_again();
        hook.start_again();
    }
    for channel in ["hook", "mail"] {
        let waiting = format!("doorwarden_notices_waiting{{channel=\"{channel}\"}}");
        let sent = || notices(&gateway, channel, "sent") > 0.0;
        let is_done = || (gateway.metric(&waiting) == Some(0.0) && sent()).then_some(());
        let began = Instant::now();
        while is_done().is_none() {
            assert!(began.elapsed() < 6 * DEADLINE, "{channel} still has messages");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let hooks = by_id(&hook.received(), |one| {
        one["verified"]["data"]["session"].as_str().unwrap_or_default().to_owned()
    });
    let letters = by_id(&server.received(), |one| one["headers"]["Message-ID"].to_string());
    let lost: Vec<&Known> = known.iter().filter(|(id, _)| !hooks.contains_key(id)).collect();
    let twice =
        |counts: &BTreeMap<String, usize>| counts.values().filter(|times| **times > 1).count();
    println!(
        "{} incidents answered, {} kill -9 under load with both receivers away for {away:?}: webhooks {} (twice: {}), letters {} \
         (twice: {}), answered in the last moment and not told: {}",
        known.len(),
        kills.len(),
        hooks.len(),
        twice(&hooks),
        letters.len(),
        twice(&letters),
        lost.len()
    );
    let second = Duration::from_secs(1);
    let was_in_memory =
        |at: Instant| kills.iter().any(|kill| at <= *kill + second && at + second > *kill);
    assert!(known.len() >= 3, "{known:?}");
    assert!(lost.iter().all(|(_, at)| was_in_memory(*at)), "{lost:?}");
}
