//! Provides what tests start and connect to: the gateway's process, a recording upstream, Django, its databases and cache,
//! a strict client, a browser.

pub(crate) mod apps;
pub(crate) mod browser;
pub(crate) mod client;
pub(crate) mod database;
pub(crate) mod distance;
pub(crate) mod django;
pub(crate) mod gateway;
pub(crate) mod load;
pub(crate) mod mmdb;
pub(crate) mod receivers;
pub(crate) mod redis;
pub(crate) mod scripted;
pub(crate) mod soak;
pub(crate) mod tls;
pub(crate) mod upstream;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The cookie that identifies a browser that somebody has signed in with. It outlives a session.
pub(crate) const DEVICE_COOKIE: &str = "__Host-doorwarden-device";

/// The time after which a test gives up. It is generous, since it only passes when something is wrong.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Sets the flag when it is dropped, even if an assertion has failed: scoped threads that wait for the flag would otherwise
/// block the whole run.
pub(crate) struct Over<'a>(pub(crate) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Asks repeatedly until there is an answer.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
