//! Incidents for tests, and rules with waits of seconds.

use std::time::Duration;

use super::{Incident, Pace};
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::geo::Country;

/// Installs the cryptography as the program does at its start: a client with TLS support needs it, even without TLS.
pub(super) fn install_crypto() {
    // It fails only if one is already installed, which is then the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Ten messages, a cool-down of ten minutes, backoff from one second to eight, given up after a day.
pub(super) const PACE: Pace = Pace {
    queue: 10,
    cool_down: Duration::from_secs(600),
    first_retry: Duration::from_secs(1),
    longest_retry: Duration::from_secs(8),
    give_up_after: Duration::from_secs(86_400),
};

/// Returns an incident about a session and a user of the directory `django`, from 192.0.2.1.
pub(super) fn incident(
    detector: &'static str,
    session: Option<&str>,
    user: Option<&str>,
) -> Incident {
    Incident {
        detector,
        at: Timestamp::from_secs(1_000),
        user: user.map(|id| UserKey::new("django", id)),
        session: session.map(SessionId::new),
        about: None,
        client: Some("192.0.2.1".parse().unwrap()),
        country: Country::new("KR"),
        agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".into(),
        actions: vec!["end_session", "notify"],
    }
}
