//! Events and scenes for the detectors' tests.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::history::History;
use super::{DetectorName, Finding, Scene, Surroundings};
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::config;
use crate::event::{Event, EventKind, SignInFailure};
use crate::geo::{Country, Location, Places};
use crate::store::counters::memory::CountersInMemory;
use crate::store::memory::Memory;

/// The window of [`settings`].
pub(crate) const WINDOW: Duration = Duration::from_secs(60);

/// The result of [`fires_at`] for a detector without findings.
pub(crate) const NEVER: [usize; 0] = [];

/// Returns a fixed time plus `secs` seconds.
pub(crate) fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + secs)
}

/// Returns settings in which every detector has this threshold, a window of [`WINDOW`] and the action `observe`.
pub(crate) fn settings(threshold: u32) -> config::Detect {
    let default = config::Detect::default();
    let mut all = config::Detect { queue: 16, actions_per_hour: 1000, ..default };
    for name in DetectorName::ALL {
        let one = name.settings_mut(&mut all);
        *one = config::DetectorSettings { speed: one.speed, ..detector(threshold) };
    }
    all
}

/// Returns the settings of one detector.
pub(crate) fn detector(threshold: u32) -> config::DetectorSettings {
    config::DetectorSettings {
        threshold,
        window: WINDOW,
        actions: Vec::new(),
        duration: Duration::from_secs(600),
        cooldown: Duration::ZERO,
        exempt: Vec::new(),
        dry_run: false,
        speed: 0,
    }
}

/// Returns an event at a time, by a client.
pub(crate) fn event(at: Timestamp, client: &str, what: EventKind) -> Event {
    let agent = Some("Monitor/1.0".into());
    Event { at, request_id: Some("r1".into()), client: Some(ip(client)), agent, what }
}

/// Returns a failed sign-in.
pub(crate) fn failed(account: &str, why: SignInFailure) -> EventKind {
    EventKind::SignInFailed { account: account.into(), user: None, why }
}

/// Returns a sign-in of a user, on a known or an unknown device.
pub(crate) fn signed_in(at: Timestamp, user: &str, client: &str, known_device: bool) -> Event {
    let session = SessionId::new(&format!("{user} {}", at.as_secs()));
    let what = EventKind::SignedIn {
        session,
        user: UserKey::new("django", user),
        account: user.into(),
        tokens: true,
        cookie: true,
        known_device,
        methods: crate::caller::AuthMethods::default(),
    };
    event(at, client, what)
}

/// Returns surroundings without history or sessions, where [`FewCountries`] locates addresses.
pub(crate) fn around() -> Surroundings<'static> {
    Surroundings {
        places: &FewCountries,
        history: Box::leak(Box::new(history())),
        counters: Box::leak(Box::new(CountersInMemory::default())),
        sessions: &[],
    }
}

/// Returns an empty history.
pub(crate) fn history() -> History {
    History::new(Memory::new())
}

/// Returns the session with this name, and its user.
pub(crate) fn session(name: &str) -> (SessionId, UserKey) {
    (SessionId::new(name), UserKey::new("django", "1"))
}

/// Parses an address.
pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Locates addresses by the first byte of an IPv4 address: 1 Korea (Seoul), 2 the United States, 3 Germany (Berlin), 4 Korea at
/// an unknown place, 5 Japan (Tokyo).
pub(crate) struct FewCountries;

impl Places for FewCountries {
    fn country(&self, address: IpAddr) -> Option<Country> {
        let IpAddr::V4(address) = address else { return None };
        Country::new(match address.octets()[0] {
            1 | 4 => "KR",
            2 => "US",
            3 => "DE",
            5 => "JP",
            _ => return None,
        })
    }

    fn location(&self, address: IpAddr) -> Option<Location> {
        let IpAddr::V4(address) = address else { return None };
        let (latitude, longitude, radius) = match address.octets()[0] {
            1 => (37.57, 126.98, 20.0),
            2 => (37.77, -122.42, 20.0),
            3 => (52.52, 13.40, 20.0),
            4 => (36.0, 128.0, 1000.0),
            5 => (35.68, 139.69, 20.0),
            _ => return None,
        };
        Some(Location { latitude, longitude, radius })
    }
}

/// A single detector, with its counters.
pub(crate) struct ShownDetector {
    name: DetectorName,
    settings: config::DetectorSettings,
    counters: Arc<CountersInMemory>,
}

/// Returns the detector with this name, with empty counters.
pub(crate) fn shown(name: DetectorName, settings: &config::DetectorSettings) -> ShownDetector {
    ShownDetector { name, settings: settings.clone(), counters: CountersInMemory::new() }
}

impl ShownDetector {
    /// Passes one event to the detector.
    pub(crate) fn observe(&self, event: &Event, around: &Surroundings<'_>) -> Option<Finding> {
        let around = Surroundings { counters: &*self.counters, ..*around };
        let scene = Scene { detector: self.name, event, around: &around, settings: &self.settings };
        self.name.observe(scene).now_or_never().expect("it waits for nothing")
    }
}

/// Passes events to a detector, and returns its findings with the numbers of their events, counted from 1.
pub(crate) fn findings(
    detector: &ShownDetector,
    events: impl IntoIterator<Item = Event>,
) -> Vec<(usize, Finding)> {
    let history = history();
    let around = Surroundings { history: &history, ..around() };
    let found = |(n, event): (usize, Event)| {
        detector.observe(&event, &around).map(|finding| (n + 1, finding))
    };
    events.into_iter().enumerate().filter_map(found).collect()
}

/// Returns only the numbers of the events with findings.
pub(crate) fn fires_at(
    detector: &ShownDetector,
    events: impl IntoIterator<Item = Event>,
) -> Vec<usize> {
    findings(detector, events).into_iter().map(|(n, _)| n).collect()
}
