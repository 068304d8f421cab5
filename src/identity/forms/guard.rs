//! Detects sessions that the service discards as soon as it sees them.
//!
//! A form makes a session that the service is expected to accept. A service that does not (another `get_session_auth_hash`, a
//! middleware that expects what its own sign-in leaves there, another secret key) ends it in its answer to the very first
//! request. The gateway's session ends with it, and the browser is back at the login page, where the same begins again. So
//! these ends are counted for each user, and after a few in a short time no session is made for that user for a while: they
//! see an error with a code, and the log says what the service did.

use std::time::Duration;

use quick_cache::sync::Cache;

use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;

/// The number of first sessions in a row that must be discarded.
const TIMES: u32 = 3;

/// The time within which they must be discarded, and for which no session is made afterwards.
const WITHIN: Duration = Duration::from_secs(60);

const SESSIONS: usize = 16_384;
const USERS: usize = 4096;

/// Counts the discarded sessions of each user.
pub(super) struct Guard {
    seen: Cache<SessionId, ()>,
    thrown: Cache<UserKey, (u32, Timestamp)>,
}

impl Guard {
    pub(super) fn new() -> Self {
        Self { seen: Cache::new(SESSIONS), thrown: Cache::new(USERS) }
    }

    /// Whether this is the first time that this session's caller is given a session of the service.
    pub(super) fn is_first(&self, session: &SessionId) -> bool {
        let is_first = self.seen.get(session).is_none();
        if is_first {
            self.seen.insert(session.clone(), ());
        }
        is_first
    }

    /// Counts that the service has discarded a session when it first saw it. Returns whether that makes too many.
    pub(super) fn thrown_away(&self, user: &UserKey, at: Timestamp) -> bool {
        let times = match self.thrown.get(user) {
            Some((times, since)) if at.since(since) < WITHIN => times.saturating_add(1),
            Some(_) | None => 1,
        };
        self.thrown.insert(user.clone(), (times, at));
        times >= TIMES
    }

    /// Whether the service discards every session that is made for this user.
    pub(super) fn is_in_vain(&self, user: &UserKey, at: Timestamp) -> bool {
        self.thrown.get(user).is_some_and(|(times, last)| times >= TIMES && at.since(last) < WITHIN)
    }

    /// Records that the service has accepted a session.
    pub(super) fn kept(&self, user: &UserKey) {
        self.thrown.remove(user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_in_a_row_within_a_minute_are_too_many_and_one_that_is_kept_ends_the_row() {
        let (guard, user) = (Guard::new(), UserKey::new("django", "2"));
        let at = |secs: u64| Timestamp::from_secs(1000 + secs);
        for (secs, too_many) in [(0, false), (10, false), (20, true)] {
            assert_eq!(guard.thrown_away(&user, at(secs)), too_many, "{secs}");
            assert_eq!(guard.is_in_vain(&user, at(secs)), too_many, "{secs}");
        }
        assert!(!guard.is_in_vain(&UserKey::new("django", "3"), at(20)));
        assert!(guard.is_in_vain(&user, at(79)) && !guard.is_in_vain(&user, at(80)));
        assert!(!guard.thrown_away(&user, at(80)), "the row begins anew");
        guard.thrown_away(&user, at(81));
        guard.kept(&user);
        assert!(!guard.thrown_away(&user, at(82)));
    }

    #[test]
    fn a_session_is_first_once() {
        let guard = Guard::new();
        let session = SessionId::new("s");
        assert!(guard.is_first(&session) && !guard.is_first(&session));
    }
}
