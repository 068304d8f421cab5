//! Events and scenes for the detectors' tests.

use std::net::IpAddr;
use std::time::Duration;

use super::{Detector, Finding};
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::config;
use crate::event::{Event, SignInFailure, What};
use crate::geo::{Countries, Country};

/// The window of [`settings`].
pub(crate) const WINDOW: Duration = Duration::from_secs(60);

/// What [`fires_at`] gives for a detector that found nothing.
pub(crate) const NEVER: [usize; 0] = [];

/// Some moment, and seconds after it.
pub(crate) fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + secs)
}

/// Every detector with this threshold, a window of [`WINDOW`], observing.
pub(crate) fn settings(threshold: u32) -> config::Detect {
    let one = detector(threshold);
    config::Detect {
        refresh_reuse: one.clone(),
        refresh_burst: one.clone(),
        password_guessing: one.clone(),
        password_spraying: one.clone(),
        token_countries: one.clone(),
        revoked_use: one.clone(),
        scanning: one.clone(),
        distributed_guessing: one.clone(),
        outside_binding: one.clone(),
        client_change: one,
        queue: 16,
        actions_per_hour: 1000,
    }
}

/// One detector's settings.
pub(crate) fn detector(threshold: u32) -> config::Detector {
    config::Detector {
        threshold,
        window: WINDOW,
        actions: Vec::new(),
        duration: Duration::from_secs(600),
        cooldown: Duration::ZERO,
        exempt: Vec::new(),
        dry_run: false,
    }
}

/// `what` at a time, by a client.
pub(crate) fn event(at: Timestamp, client: &str, what: What) -> Event {
    let agent = Some("Monitor/1.0".into());
    Event { at, request_id: Some("r1".into()), client: Some(ip(client)), agent, what }
}

/// A failed sign-in.
pub(crate) fn failed(account: &str, why: SignInFailure) -> What {
    What::SignInFailed { account: account.into(), why }
}

/// The session's name, and its user.
pub(crate) fn session(name: &str) -> (SessionId, UserKey) {
    (SessionId::new(name), UserKey::new("django", "1"))
}

/// An address.
pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Knows countries by the first byte of an IPv4 address: 1 Korea, 2 the United States, 3 Germany; 4 again Korea.
pub(crate) struct FewCountries;

impl Countries for FewCountries {
    fn country(&self, address: IpAddr) -> Option<Country> {
        let IpAddr::V4(address) = address else { return None };
        Country::new(match address.octets()[0] {
            1 | 4 => "KR",
            2 => "US",
            3 => "DE",
            _ => return None,
        })
    }
}

/// Shows a detector events and says at which of them it found something, counted from 1.
pub(crate) fn findings(
    detector: &mut dyn Detector,
    events: impl IntoIterator<Item = Event>,
) -> Vec<(usize, Finding)> {
    let found = |(n, event): (usize, Event)| {
        detector.observe(&event, &FewCountries).map(|finding| (n + 1, finding))
    };
    events.into_iter().enumerate().filter_map(found).collect()
}

/// Only at which of them.
pub(crate) fn fires_at(
    detector: &mut dyn Detector,
    events: impl IntoIterator<Item = Event>,
) -> Vec<usize> {
    findings(detector, events).into_iter().map(|(n, _)| n).collect()
}
