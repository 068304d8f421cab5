//! Detects anomalies: detectors judge events after the fact, off the request's path.
//!
//! A detector is one file with one function of an event and of its counts so far, which are in the store's [`Counters`]: it has
//! no state of its own, so several gateways can count together. It is registered with one line in one list, at
//! [`DetectorName`]; its settings are one field of [`config::Detect`]. Its result is a [`Finding`], which names the subject and
//! the evidence, and holds no secret. [`respond`] chooses from the settings the actions for a finding, [`watch`] passes events
//! to the detectors and findings to those who act and count.
//!
//! A finding never affects the request that caused it: what it changes (a session's end) is read by the gate at a later
//! request.
//!
//! A continuing attack is one finding per window, not one per event: after a finding, its subject is ignored until the window
//! has passed and the threshold is reached again. `refresh_reuse` alone reports every event, since each of its events ends a
//! session and so cannot repeat itself.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ipnet::IpNet;

use self::history::History;
use self::owners::Owners;
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::config;
use crate::event::{Event, EventKind};
use crate::geo::{Asn, Country, Places};
use crate::store::counters::Counters;

mod certainty;
mod client_change;
mod client_version;
mod distributed_guessing;
mod impossible_travel;
mod new_country;
mod new_device;
mod outside_binding;
mod password_guessing;
mod password_spraying;
mod refresh_burst;
mod refresh_reuse;
mod revoked_use;
mod scanning;
mod session_count;
mod shown;
mod token_countries;

pub mod history;
mod owners;
pub mod recent;
pub mod replay;
pub mod respond;
mod restraint;
pub mod silence;
pub mod watch;
mod window;

/// What detectors may query besides the event.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The locations of addresses.
    pub places: &'a dyn Places,
    /// The history of users beyond a window.
    pub history: &'a History,
    /// The counters of the detectors.
    pub counters: &'a dyn Counters,
    /// The live sessions of the user whose session the event begins, newest first; empty for every other event.
    pub sessions: &'a [SessionId],
}

/// One event, as it is presented to one detector.
#[derive(Clone, Copy)]
struct Scene<'a> {
    detector: DetectorName,
    event: &'a Event,
    around: &'a Surroundings<'a>,
    settings: &'a config::DetectorSettings,
}

macro_rules! detectors {
    ($($name:ident $module:ident $doc:literal)+) => {
        /// The detectors.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum DetectorName {
            $(#[doc = $doc] $name,)+
        }

        impl DetectorName {
            /// All detectors.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the stable name for the configuration, metrics and the audit trail.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($module),)+ }
            }

            /// Returns the settings in the detector's table of `[detect]`.
            pub const fn settings(self, detect: &config::Detect) -> &config::DetectorSettings {
                match self { $(Self::$name => &detect.$module,)+ }
            }

            /// Returns the detector's settings, mutably.
            #[cfg(test)]
            const fn settings_mut(self, detect: &mut config::Detect) -> &mut config::DetectorSettings {
                match self { $(Self::$name => &mut detect.$module,)+ }
            }

            /// Returns the detector with this name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().find(|one| one.name() == name).copied()
            }

            /// Passes one event to the detector, and returns its finding, if any.
            async fn observe(self, scene: Scene<'_>) -> Option<Finding> {
                match self { $(Self::$name => $module::observe(scene).await,)+ }
            }
        }
    };
}

detectors! {
    RefreshReuse refresh_reuse "A spent refresh token was presented again."
    RefreshBurst refresh_burst "Many tokens were issued for one session."
    PasswordGuessing password_guessing "Many sign-ins to one account failed."
    PasswordSpraying password_spraying "Sign-ins to many accounts failed from one address or network."
    TokenCountries token_countries "One session's tokens were used from several countries."
    RevokedUse revoked_use "One address keeps presenting tokens that do not verify."
    Scanning scanning "One address requests many paths that do not exist."
    DistributedGuessing distributed_guessing "Many networks try passwords on one account."
    OutsideBinding outside_binding "A session was used outside the country, network or address that it is bound to."
    ClientChange client_change "A session's requests come from another kind of client than before."
    ImpossibleTravel impossible_travel "One session was used in two places that are too far apart."
    NewCountry new_country "A user signed in from a country that is new for them."
    NewDevice new_device "A user signed in on a device that is new for them."
    SessionCount session_count "One user has more sessions than allowed."
}

/// An anomaly that a detector found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The detector.
    pub detector: DetectorName,
    /// The time of the event that reached the threshold.
    pub at: Timestamp,
    /// The request of that event.
    pub request_id: Option<Arc<str>>,
    /// The client of that event.
    pub client: Option<IpAddr>,
    /// Its `User-Agent`.
    pub agent: Option<Arc<str>>,
    /// The subject: a session, user, account, address or network.
    pub subject: Subject,
    /// The session concerned, if it is a single one; `end_session` ends it.
    pub session: Option<SessionId>,
    /// The user concerned, if known.
    pub user: Option<UserKey>,
    /// Whether it may well be the same person. Such a finding is reported, and nothing else is done.
    pub is_doubtful: bool,
    /// The evidence.
    pub evidence: Evidence,
}

/// The subject of a finding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// A session.
    Session(SessionId),
    /// A user, with everything of theirs.
    User(UserKey),
    /// The name given at sign-in, folded; such a user need not exist.
    Account(Arc<str>),
    /// A client: one IPv4 address, or the /64 that one IPv6 client has.
    Address(IpNet),
    /// The neighborhood of a client: /24 or /48.
    Network(IpNet),
}

/// The evidence of a finding, in numbers and names that are no secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence {
    /// The number of events, accounts or countries.
    pub count: usize,
    /// The time within which they were seen.
    pub window: Duration,
    /// The countries, in the order of their last use.
    pub countries: Vec<Country>,
}

/// All detectors, in the order in which they see an event.
#[derive(Debug, Default)]
pub struct Detectors {
    owners: Owners,
}

impl Detectors {
    /// Passes one event to all detectors except those that exempt its client. The detectors judge by these settings; events
    /// that they saw under other settings still count.
    pub async fn observe(
        &mut self,
        event: &Event,
        around: &Surroundings<'_>,
        settings: &config::Detect,
    ) -> Vec<Finding> {
        if let EventKind::IncidentAnswered { user, was_me: false, .. } = &event.what {
            around.history.void(user, event.at);
        }
        self.owners.learn(&event.what);
        let (client, agent) = (event.client, event.agent.as_deref());
        let asked = OnceLock::new();
        let asn = || {
            let ask = || around.places.asn(client?).map(|Asn(number)| number);
            *asked.get_or_init(ask)
        };
        let mut found = Vec::new();
        for detector in DetectorName::ALL {
            let settings = detector.settings(settings);
            if !settings.exempts_client(client, agent, asn) {
                let scene = Scene { detector: *detector, event, around, settings };
                found.extend(detector.observe(scene).await);
            }
        }
        for finding in &mut found {
            if let (Subject::Account(account), None) = (&finding.subject, &finding.user) {
                finding.user = self.owners.of(account);
            }
        }
        found
    }
}

impl<'a> Scene<'a> {
    /// Returns the number of marks that make a finding; 0 means 1.
    fn threshold(&self) -> usize {
        usize::try_from(self.settings.threshold).unwrap_or(usize::MAX).max(1)
    }

    /// Returns the session that was used or refreshed, and its user.
    const fn session_in_use(&self) -> Option<(&'a SessionId, &'a UserKey)> {
        match &self.event.what {
            EventKind::SessionUsed { session, user, .. }
            | EventKind::Refreshed { session, user, .. } => Some((session, user)),
            _ => None,
        }
    }

    /// Creates a finding about `subject` with this count within the window.
    fn finding(&self, subject: Subject, count: usize) -> Finding {
        let evidence = Evidence::count(count, self.settings.window);
        Finding::new(self.detector, self.event, subject, evidence)
    }
}

impl Finding {
    /// Creates a finding at `event` about `subject`.
    fn new(detector: DetectorName, event: &Event, subject: Subject, evidence: Evidence) -> Self {
        let session = match &subject {
            Subject::Session(session) => Some(session.clone()),
            Subject::User(_) | Subject::Account(_) | Subject::Address(_) | Subject::Network(_) => {
                None
            }
        };
        Self {
            detector,
            at: event.at,
            request_id: event.request_id.clone(),
            client: event.client,
            agent: event.agent.clone(),
            subject,
            session,
            user: None,
            is_doubtful: false,
            evidence,
        }
    }

    fn of_user(self, user: &UserKey) -> Self {
        Self { user: Some(user.clone()), ..self }
    }

    fn in_countries(mut self, countries: Vec<Country>) -> Self {
        self.evidence.countries = countries;
        self
    }
}

impl Subject {
    /// Returns the stable name of the kind, for the audit trail.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Session(_) => "session",
            Self::User(_) => "user",
            Self::Account(_) => "account",
            Self::Address(_) => "address",
            Self::Network(_) => "network",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(session) => session.fmt(f),
            Self::User(user) => user.fmt(f),
            Self::Account(account) => account.fmt(f),
            Self::Address(network) if network.prefix_len() == network.max_prefix_len() => {
                network.addr().fmt(f)
            }
            Self::Address(network) | Self::Network(network) => network.fmt(f),
        }
    }
}

impl Evidence {
    const fn count(count: usize, window: Duration) -> Self {
        Self { count, window, countries: Vec::new() }
    }
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use super::testing::{around, at, event, settings};
    use super::*;
    use crate::event::{Refresh, SignInFailure};

    #[test]
    fn every_detector_has_its_name_once() {
        let names: Vec<_> = DetectorName::ALL.iter().map(|name| name.name()).collect();
        assert_eq!(
            names,
            [
                "refresh_reuse",
                "refresh_burst",
                "password_guessing",
                "password_spraying",
                "token_countries",
                "revoked_use",
                "scanning",
                "distributed_guessing",
                "outside_binding",
                "client_change",
                "impossible_travel",
                "new_country",
                "new_device",
                "session_count"
            ]
        );
    }

    #[tokio::test]
    async fn an_event_that_concerns_nobody_is_no_finding() {
        let mut detectors = Detectors::default();
        let refused = EventKind::Refused { refusal: crate::refusal::Refusal::NoRoute, user: None };
        let event = event(at(0), "192.0.2.1", refused);
        assert_eq!(detectors.observe(&event, &around(), &settings(1)).await, []);
    }

    #[tokio::test]
    async fn each_detector_has_its_own_settings() {
        let mut settings = settings(100);
        settings.refresh_burst.threshold = 1;
        let what = EventKind::Refreshed {
            session: SessionId::new("s"),
            user: UserKey::new("django", "1"),
            how: Refresh::Rotated,
        };
        let event = event(at(0), "192.0.2.1", what);
        let found = Detectors::default().observe(&event, &around(), &settings).await;
        assert_eq!(
            found.iter().map(|f| f.detector).collect::<Vec<_>>(),
            [DetectorName::RefreshBurst]
        );
    }

    #[tokio::test]
    async fn what_was_seen_stays_seen_under_other_settings() {
        let refreshed = |secs| {
            let (session, user) = (SessionId::new("s"), UserKey::new("django", "1"));
            event(
                at(secs),
                "192.0.2.1",
                EventKind::Refreshed { session, user, how: Refresh::Rotated },
            )
        };
        let (mut detectors, around) = (Detectors::default(), around());
        for secs in 0..3 {
            assert_eq!(detectors.observe(&refreshed(secs), &around, &settings(10)).await, []);
        }
        let mut stricter = settings(10);
        stricter.refresh_burst.threshold = 4;
        let found = detectors.observe(&refreshed(3), &around, &stricter).await;
        assert_eq!(found.iter().map(|one| one.evidence.count).collect::<Vec<_>>(), [4]);
    }

    #[tokio::test]
    async fn a_finding_about_an_account_names_its_owner_once_a_directory_did() {
        let miss = |user: Option<&str>, why| {
            let user = user.map(|id| UserKey::new("django", id));
            event(at(0), "192.0.2.1", EventKind::SignInFailed { account: "ada".into(), user, why })
        };
        use SignInFailure::{LockedOut, UnknownUser, WrongPassword};
        for (events, owner) in [
            ([miss(Some("7"), WrongPassword), miss(None, LockedOut)], Some("7")),
            ([miss(None, UnknownUser), miss(None, UnknownUser)], None),
        ] {
            let mut settings = settings(100);
            settings.password_guessing.threshold = 2;
            let (mut detectors, around, mut found) = (Detectors::default(), around(), Vec::new());
            for event in &events {
                found.extend(detectors.observe(event, &around, &settings).await);
            }
            let [finding] = &found[..] else { panic!("{found:?}") };
            assert_eq!(finding.user, owner.map(|id| UserKey::new("django", id)));
            assert_eq!(finding.session, None);
        }
    }

    #[test]
    fn a_subject_is_written_as_an_operator_looks_for_it() {
        for (subject, kind, text) in [
            (Subject::Session(SessionId::new("s1")), "session", "s1"),
            (Subject::User(UserKey::new("django", "7")), "user", "django/7"),
            (Subject::Account("ada".into()), "account", "ada"),
            (Subject::Address("192.0.2.1/32".parse().unwrap()), "address", "192.0.2.1"),
            (Subject::Address("2001:db8::/64".parse().unwrap()), "address", "2001:db8::/64"),
            (Subject::Network("192.0.2.0/24".parse().unwrap()), "network", "192.0.2.0/24"),
        ] {
            assert_eq!((subject.kind(), subject.to_string().as_str()), (kind, text));
        }
    }
}
