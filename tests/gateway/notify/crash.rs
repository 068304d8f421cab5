//! Receivers that are stopped for a while, and a gateway that is killed meanwhile.

use std::collections::BTreeMap;

use super::*;
use crate::support::eventually;

const INCIDENTS: usize = 30;

/// How often each id came.
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

    // A third with everybody there, a third with receivers away, a kill, and a third after the restart.
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
