//! Who is sent back to the login page although they are signed in.
//!
//! A service that has the page as its login URL sends there whoever lacks a permission, too. The page leads whoever is
//! signed in to where they wanted to go, and so the two would send a browser to and fro for ever. So what the page has done
//! for a session is remembered for a moment: who comes back for the same place sees that their account is not enough, and
//! can sign in with another one. It is remembered in this process alone: a browser that is sent to and fro between several
//! gateways meets one of them twice soon enough.

use std::time::Duration;

use quick_cache::sync::Cache;

use crate::caller::SessionId;
use crate::clock::Timestamp;
use crate::wire::next::Next;

/// A redirect to and fro takes milliseconds. A person who asks for the same place again takes longer.
const SOON: Duration = Duration::from_secs(5);

/// More sessions than are sent somewhere within [`SOON`]; of the eldest it is forgotten.
const REMEMBERED: usize = 10_000;

/// Where sessions were sent last.
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

    /// Was this session sent there a moment ago? It is remembered that it asked now.
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
