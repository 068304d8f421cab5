//! Measures what the page costs for a user with 200 sessions. Run it with `--nocapture`. On a machine with other work the
//! times mean little, so they are not asserted.

use std::time::Instant;

use serde_json::Value;

use super::{COOKIE, PASSWORD, enter, listed};
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;

const SESSIONS: usize = 200;
const TIMES: u32 = 20;

/// Returns how many reads for the page the store has done since the start.
fn reads(gateway: &Gateway) -> f64 {
    ["list", "factor", "record", "find"]
        .map(|operation| {
            let name = "doorwarden_store_operation_duration_seconds_count";
            let series = format!("{name}{{operation=\"{operation}\"}}");
            gateway.metric(&series).unwrap_or_default()
        })
        .iter()
        .sum()
}

#[test]
fn a_person_with_200_sessions_gets_a_page_of_bounded_size() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .with("[detect.session_count]\nthreshold = 1000")
        .with("[second_factor]\nmode = \"optional\"\n[login]\ntitle = \"Acme\"")
        .start();
    let client = gateway.client();
    let kim = enter(&client, "kim", PASSWORD);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..SESSIONS / 4 {
                    client.sign_in("kim", PASSWORD);
                }
            });
        }
    });
    let ask = |path: &str, is_page: bool| {
        let request = client.get(path).cookie(COOKIE, &kim.cookie);
        let request = if is_page { request.navigation() } else { request };
        let (before, began) = (reads(&gateway), Instant::now());
        let mut bytes = 0;
        for _ in 0..TIMES {
            let answer = request.send();
            assert_eq!(answer.status, 200, "{}", answer.text());
            bytes = answer.body.len();
        }
        let millis = began.elapsed().as_secs_f64() * 1000.0 / f64::from(TIMES);
        let reads = (reads(&gateway) - before) / f64::from(TIMES);
        eprintln!("{path}: {millis:.2} ms, {bytes} bytes, {reads} reads of the store");
        (bytes, reads)
    };
    let (page, of_page) = ask("/account", true);
    ask("/account", false);
    ask("/account/sessions", false);
    ask("/account/sessions?limit=1000", false);
    // The page shows ten of the other sessions, whatever their number, and fifty devices, without a read for each.
    assert!(page < 60_000, "{page} bytes");
    assert!(of_page <= 5.0, "{of_page} reads");
    let (mut seen, mut query) = (0, "?limit=100".to_owned());
    loop {
        let (answer, ids) = listed(&client, &kim, &query);
        seen += ids.len();
        let Value::String(next) = &answer["next"] else { break };
        query = format!("?limit=100&cursor={next}");
    }
    assert_eq!(seen, SESSIONS + 1);
}
