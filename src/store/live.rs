//! The live sessions, in memory: by id, by cookie and by user.
//!
//! Adapters answer reads from here, so a read does no I/O and does not depend on the disk. Only the one party that decides
//! changes (the embedded store's writer, the memory store's lock) inserts and removes sessions, after the change is durable and
//! before it is acknowledged. A session is marked as ended before it is removed, so that a reader between the two steps already
//! finds none.

use std::sync::Arc;

use dashmap::DashMap;

use super::{BlockList, Keep, NewStamp, Renewal, Session, SessionBy, SessionSelection};
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::secret::Digest;

/// The sessions that have not ended. Some may have passed their idle or absolute timeout and wait for upkeep.
#[derive(Debug, Default)]
pub(super) struct LiveSessions {
    by_id: DashMap<SessionId, HeldSessions>,
    by_cookie: DashMap<Digest, Arc<Session>>,
    by_user: DashMap<UserKey, Vec<Arc<Session>>>,
    stamps: DashMap<Digest, Stamp>,
    blocks: Arc<BlockList>,
}

/// A stamp: a date, and how long it must be stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub(super) at: Timestamp,
    pub(super) kept_until: Timestamp,
}

#[derive(Debug)]
struct HeldSessions {
    session: Arc<Session>,
    /// The user under whom the session was filed in `by_user`; the session's own identity can be replaced meanwhile.
    user: UserKey,
}

impl LiveSessions {
    /// Inserts a session.
    pub(super) fn insert(&self, session: &Arc<Session>) {
        let user = session.identity.load().key.clone();
        self.by_user.entry(user.clone()).or_default().push(Arc::clone(session));
        if let Some(cookie) = session.cookie {
            self.by_cookie.insert(cookie, Arc::clone(session));
        }
        self.by_id.insert(session.id.clone(), HeldSessions { session: Arc::clone(session), user });
    }

    /// Marks a session as ended and removes it. `None` if it had ended before or was never here.
    pub(super) fn end(&self, id: &SessionId) -> Option<Arc<Session>> {
        let session = Arc::clone(&self.by_id.get(id)?.session);
        let first = session.mark_ended();
        let (_, held) = self.by_id.remove(id)?;
        if let Some(cookie) = session.cookie {
            self.by_cookie.remove(&cookie);
        }
        if let Some(mut sessions) = self.by_user.get_mut(&held.user) {
            sessions.retain(|other| other.id != *id);
        }
        self.by_user.remove_if(&held.user, |_, sessions| sessions.is_empty());
        first.then_some(session)
    }

    /// Replaces a session's record by its renewed one. `None` if the session has ended.
    pub(super) fn renew(&self, renewal: &Renewal) -> Option<Arc<Session>> {
        self.replace(&renewal.session, |old| old.renewed(renewal))
    }

    /// Erases the places of sessions that began before this time.
    pub(super) fn forget_places(&self, before: Timestamp) {
        for session in self.all().iter().filter(|session| session.has_place_before(before)) {
            self.replace(&session.id, Session::without_place);
        }
    }

    /// Replaces a session's record. The new record is inserted before the old one is marked as ended.
    fn replace(
        &self,
        id: &SessionId,
        make: impl FnOnce(&Session) -> Arc<Session>,
    ) -> Option<Arc<Session>> {
        let mut held = self.by_id.get_mut(id)?;
        let old = Arc::clone(&held.session);
        let new = make(&old);
        held.session = Arc::clone(&new);
        let user = held.user.clone();
        drop(held);
        if let Some(cookie) = new.cookie {
            self.by_cookie.insert(cookie, Arc::clone(&new));
        }
        if let Some(cookie) = old.cookie.filter(|_| old.cookie != new.cookie) {
            self.by_cookie.remove(&cookie);
        }
        if let Some(mut sessions) = self.by_user.get_mut(&user) {
            for session in sessions.iter_mut().filter(|session| session.id == new.id) {
                *session = Arc::clone(&new);
            }
        }
        // The old record may have been used meanwhile.
        new.touch(old.last_used());
        old.mark_ended();
        Some(new)
    }

    /// Returns the session with this id, timed out or not.
    pub(super) fn with_id(&self, id: &SessionId) -> Option<Arc<Session>> {
        self.by_id.get(id).map(|held| Arc::clone(&held.session))
    }

    /// Returns the session that has this cookie, timed out or not.
    pub(super) fn with_cookie(&self, cookie: &Digest) -> Option<Arc<Session>> {
        self.by_cookie.get(cookie).map(|session| Arc::clone(&session))
    }

    /// Returns the session, if it is live at `now`.
    pub(super) fn find(&self, by: SessionBy<'_>, now: Timestamp) -> Option<Arc<Session>> {
        let session = match by {
            SessionBy::Id(id) => Arc::clone(&self.by_id.get(id)?.session),
            SessionBy::Cookie(digest) => Arc::clone(&*self.by_cookie.get(digest)?),
        };
        session.is_live(now).then_some(session)
    }

    /// Replaces the attachment of a session. Returns `false` if the session has ended.
    pub(super) fn keep(&self, session: &SessionId, kept: Arc<Vec<u8>>) -> bool {
        let held = self.by_id.get(session);
        held.is_some_and(|held| {
            held.session.kept.store(Some(kept));
            true
        })
    }

    /// Returns the stamp's date under a key.
    pub(super) fn stamp(&self, key: &Digest) -> Option<Timestamp> {
        self.stamps.get(key).map(|stamp| stamp.at)
    }

    /// Stores a stamp in memory.
    pub(super) fn put_stamp(&self, key: Digest, stamp: Stamp) {
        self.stamps.insert(key, stamp);
    }

    /// Returns the stamp to store: the new one, merged with the one that exists.
    pub(super) fn merged(&self, new: &NewStamp) -> Stamp {
        let Some(old) = self.stamps.get(&new.key).map(|stamp| *stamp) else {
            return Stamp { at: new.at, kept_until: new.kept_until };
        };
        Stamp {
            at: match new.keep {
                Keep::First => old.at,
                Keep::Latest => old.at.max(new.at),
            },
            kept_until: old.kept_until.max(new.kept_until),
        }
    }

    /// Drops the stamps that need not be stored any longer.
    pub(super) fn forget_stamps(&self, now: Timestamp) {
        self.stamps.retain(|_, stamp| now < stamp.kept_until);
    }

    /// Returns the blocks.
    pub(super) fn blocks(&self) -> &Arc<BlockList> {
        &self.blocks
    }

    /// Whether a session has this id, timed out or not.
    pub(super) fn has_id(&self, id: &SessionId) -> bool {
        self.by_id.contains_key(id)
    }

    /// Whether a session has this cookie, timed out or not.
    pub(super) fn has_cookie(&self, cookie: &Digest) -> bool {
        self.by_cookie.contains_key(cookie)
    }

    /// Returns all sessions of a user, timed out or not.
    pub(super) fn of_user(&self, user: &UserKey) -> Vec<Arc<Session>> {
        self.by_user.get(user).map(|sessions| sessions.clone()).unwrap_or_default()
    }

    /// Returns the selected sessions, timed out or not.
    pub(super) fn selected(&self, which: &SessionSelection) -> Vec<Arc<Session>> {
        match which {
            SessionSelection::Session(id) => self.with_id(id).into_iter().collect(),
            SessionSelection::User(user) => self.of_user(user),
            SessionSelection::OthersOf { user, kept } => {
                let mut sessions = self.of_user(user);
                sessions.retain(|session| session.id != *kept);
                sessions
            }
            SessionSelection::SignIns { user, kept } => {
                let mut sessions = self.of_user(user);
                sessions
                    .retain(|session| !session.is_token() && Some(&session.id) != kept.as_ref());
                sessions
            }
        }
    }

    /// Returns all sessions, timed out or not, in no particular order.
    pub(super) fn all(&self) -> Vec<Arc<Session>> {
        self.by_id.iter().map(|held| Arc::clone(&held.session)).collect()
    }

    /// Returns the sessions that are live at `now`, of one user or of all, newest first (then by id, so that the order is
    /// unique).
    pub(super) fn list(&self, user: Option<&UserKey>, now: Timestamp) -> Vec<Arc<Session>> {
        let mut sessions = user.map_or_else(|| self.all(), |user| self.of_user(user));
        sessions.retain(|session| session.is_live(now));
        sessions.sort_by(|a, b| b.signed_in_at.cmp(&a.signed_in_at).then_with(|| a.id.cmp(&b.id)));
        sessions
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::new_session;
    use super::*;

    #[test]
    fn nothing_is_left_of_a_session_that_ended() {
        let live = LiveSessions::default();
        let session = Session::begin(&new_session("a", "1"));
        live.insert(&session);
        assert!(live.end(&session.id).is_some());
        assert!(live.by_id.is_empty() && live.by_cookie.is_empty() && live.by_user.is_empty());
    }
}
