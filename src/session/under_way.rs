//! Tracks requests of sessions that were sent to an upstream, because they may be changing the caller's own password.
//!
//! A service stores the new password first, and its answer brings the rotated session afterwards. If the directory is checked
//! between the two, its password differs from the one of the caller's session. That session is then **held**: its end waits
//! until the answer arrives, which either proves the new password for it (`SessionManager::password_proved`, `issuer::follow`),
//! or shows that the request had nothing to do with it. Then the directory is asked once more.
//!
//! Only requests that began before that check are waited for, none with a safe method (RFC 9110 section 9.2.1), and never
//! longer than [`LONGEST`], so that an open request keeps nobody signed in. All other sessions of the user end at once.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use http::Method;
use parking_lot::Mutex;

use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;

/// The longest time for which a session's end is held.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

/// All requests that upstreams are answering.
#[derive(Clone, Default)]
pub(super) struct RequestsUnderWay {
    begun: Arc<DashMap<SessionId, Vec<Timestamp>>>,
    held: Arc<Mutex<Vec<HeldSession>>>,
}

/// A request that an upstream is answering; dropping the value marks it as answered.
pub struct UnderWay {
    of: Arc<DashMap<SessionId, Vec<Timestamp>>>,
    session: SessionId,
    begun: Timestamp,
}

/// A session whose user has a new password, and whose end is held.
pub(super) struct HeldSession {
    pub(super) session: SessionId,
    pub(super) user: UserKey,
    since: Timestamp,
}

impl RequestsUnderWay {
    /// Marks that a request with this method is being sent to its upstream.
    pub(super) fn begin(
        &self,
        session: &SessionId,
        method: &Method,
        at: Timestamp,
    ) -> Option<UnderWay> {
        if method.is_safe() {
            return None;
        }
        self.begun.entry(session.clone()).or_default().push(at);
        Some(UnderWay { of: Arc::clone(&self.begun), session: session.clone(), begun: at })
    }

    /// Holds the end of a session if one of its requests is unanswered. Returns whether it is held.
    pub(super) fn hold(&self, session: &SessionId, user: &UserKey, now: Timestamp) -> bool {
        let mut held = self.held.lock();
        if held.iter().any(|one| one.session == *session) {
            return true;
        }
        let one = HeldSession { session: session.clone(), user: user.clone(), since: now };
        let waits = self.is_waited_for(&one, now);
        if waits {
            held.push(one);
        }
        waits
    }

    /// Removes and returns the held sessions that are no longer waited for.
    pub(super) fn due(&self, now: Timestamp) -> Vec<HeldSession> {
        let mut held = self.held.lock();
        let (wait, due) = held.drain(..).partition(|one| self.is_waited_for(one, now));
        *held = wait;
        due
    }

    fn is_waited_for(&self, one: &HeldSession, now: Timestamp) -> bool {
        let began_before = || {
            let begun = self.begun.get(&one.session);
            begun.is_some_and(|begun| begun.iter().any(|begun| *begun <= one.since))
        };
        now.since(one.since) < LONGEST && began_before()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(mut begun) = self.of.get_mut(&self.session)
            && let Some(at) = begun.iter().position(|begun| *begun == self.begun)
        {
            begun.swap_remove(at);
        }
        self.of.remove_if(&self.session, |_, begun| begun.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::testkit::NOW;

    #[test]
    fn a_session_is_held_for_what_began_before_and_for_a_while() {
        let later = |millis| NOW.plus(Duration::from_millis(millis));
        let (kim, user) = (SessionId::new("kim"), UserKey::new("django", "7"));
        let all = RequestsUnderWay::default();
        assert!(!all.hold(&kim, &user, NOW), "nothing is under way");
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            assert!(all.begin(&kim, &method, NOW).is_none(), "{method}");
        }
        let other = all.begin(&SessionId::new("other"), &Method::POST, NOW);
        assert!(!all.hold(&kim, &user, NOW), "another session's");
        let late = all.begin(&kim, &Method::POST, later(5));
        assert!(!all.hold(&kim, &user, later(4)), "it began after the look");
        let first = all.begin(&kim, &Method::PUT, later(3));
        assert!(all.hold(&kim, &user, later(4)) && all.hold(&kim, &user, later(4)));
        assert!(all.due(later(9_000)).is_empty());
        drop(first);
        assert_eq!(
            all.due(later(9_000)).len(),
            1,
            "its answer is here, and nobody else is waited for"
        );
        assert!(all.due(later(9_000)).is_empty(), "it is due once");
        assert!(all.hold(&kim, &user, later(9_001)));
        assert!(all.due(later(19_000)).is_empty());
        assert_eq!(all.due(later(19_001)).len(), 1, "not longer than that");
        drop((late, other));
        assert!(all.begun.is_empty(), "nothing is left behind");
    }
}
