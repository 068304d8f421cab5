//! Detects signed-in users whom a service sends back to the login page.
//!
//! A service whose login URL is that page also sends users there who lack a permission. The page redirects signed-in users
//! to where they wanted to go, so the two would send a browser back and forth for ever. Therefore the page remembers for a
//! moment where it sent a session: a user who comes back for the same place is told that their account does not suffice, and
//! can sign in with another one. Only this process remembers it: a browser that is sent back and forth between several
//! gateways soon meets one of them twice.

use std::time::Duration;

use quick_cache::sync::Cache;

use crate::caller::SessionId;
use crate::clock::Timestamp;
use crate::wire::next::Next;

/// The longest time of a redirect back and forth, which takes milliseconds. A person who asks again takes longer.
const SOON: Duration = Duration::from_secs(5);

/// The most sessions that are remembered, more than are redirected within [`SOON`]; the oldest are forgotten.
const REMEMBERED: usize = 10_000;

/// Where sessions were redirected last.
pub(super) struct SentBack(Cache<SessionId, SentLogin>);

#[derive(Clone)]
struct SentLogin {
    to: Next,
    at: Timestamp,
}

impl SentBack {
    pub(super) fn new() -> Self {
        Self(Cache::new(REMEMBERED))
    }

    /// Whether this session was redirected there a moment ago. Records that it asks now.
    pub(super) fn is_back(&self, session: &SessionId, to: &Next, at: Timestamp) -> bool {
        let is_back =
            self.0.get(session).is_some_and(|sent| sent.to == *to && at.since(sent.at) <= SOON);
        self.0.insert(session.clone(), SentLogin { to: to.clone(), at });
        is_back
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_for_the_same_place_at_once_is_back() {
        let sent = SentBack::new();
        let (kim, lee) = (SessionId::new("a"), SessionId::new("b"));
        let (here, there) = (Next::parse("/here?a=1").unwrap(), Next::parse("/there").unwrap());
        for (session, to, millis, is_back) in [
            (&kim, &here, 0, false),
            (&lee, &here, 10, false),
            (&kim, &here, 20, true),
            (&kim, &here, 30, true),
            (&kim, &there, 40, false),
            (&kim, &there, 5040, true),
            (&kim, &there, 10_041, false),
        ] {
            let at = Timestamp::from_millis(1_795_000_000_000 + millis);
            assert_eq!(sent.is_back(session, to, at), is_back, "{millis}");
        }
    }
}
