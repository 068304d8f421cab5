//! A read-only view of a store: reads are answered as by the real one, and writes are not passed on.
//!
//! It serves to explain what would happen. Sessions are returned as copies, so that even a noted use has no effect. Stamps that
//! are put are visible through this view alone. Operations that only make sense if they are durable fail.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::counters::{CounterChange, CounterEntry, CounterKey, CounterScope, Counters};
use super::{
    BeginOutcome, Keep, NewSession, NewStamp, RefreshState, RefreshTokens, Renewal, Rotate,
    RotationOutcome, Session, SessionBy, SessionSelection, Sessions, Stamps, StoreError, Upkeep,
};
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::event::EndReason;
use crate::secret::Digest;

/// A view that reads sessions and refresh tokens.
pub struct ReadOnlyStore<S: ?Sized>(Arc<S>);

/// A view that reads stamps, and holds new ones until it is dropped.
pub struct ReadOnlyStamps {
    real: Arc<dyn Stamps>,
    put: Mutex<HashMap<Digest, Timestamp>>,
}

impl<S: ?Sized> ReadOnlyStore<S> {
    /// Creates a view of this store.
    pub const fn new(real: Arc<S>) -> Self {
        Self(real)
    }
}

impl ReadOnlyStamps {
    /// Creates a view of these stamps.
    pub fn new(real: Arc<dyn Stamps>) -> Self {
        Self { real, put: Mutex::default() }
    }
}

/// Counters that count and store nothing.
pub struct ReadOnlyCounters;

#[async_trait]
impl Counters for ReadOnlyCounters {
    async fn change(
        &self,
        _: CounterScope,
        keys: &[CounterKey],
        _: Timestamp,
        change: &mut CounterChange<'_>,
    ) -> Result<(), StoreError> {
        change(&mut vec![CounterEntry::default(); keys.len()]);
        Ok(())
    }
}

fn not_here<T>() -> Result<T, StoreError> {
    Err(StoreError("the store is open for reading only".into()))
}

#[async_trait]
impl<S: Sessions + ?Sized> Sessions for ReadOnlyStore<S> {
    async fn create(&self, _: NewSession) -> Result<Arc<Session>, StoreError> {
        not_here()
    }

    async fn create_token(
        &self,
        _: NewSession,
        _: usize,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        not_here()
    }

    async fn create_once(&self, _: NewSession, _: NewStamp) -> Result<BeginOutcome, StoreError> {
        not_here()
    }

    async fn adopt(&self, new: NewSession) -> Result<BeginOutcome, StoreError> {
        let there = match &new.cookie {
            Some(cookie) => self.0.find(SessionBy::Cookie(cookie), new.at).await?,
            None => None,
        };
        // The session would begin, and exists only in the answer.
        Ok(there.map_or_else(
            || BeginOutcome::Begun(Session::begin(&new)),
            |session| BeginOutcome::Before(Some(session.copy())),
        ))
    }

    async fn renew(&self, _: Renewal) -> Result<Option<Arc<Session>>, StoreError> {
        not_here()
    }

    async fn find(
        &self,
        by: SessionBy<'_>,
        now: Timestamp,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        Ok(self.0.find(by, now).await?.map(|session| session.copy()))
    }

    async fn end(
        &self,
        _: &SessionSelection,
        _: EndReason,
        _: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        not_here()
    }

    async fn list(
        &self,
        user: Option<&UserKey>,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        let sessions = self.0.list(user, now).await?;
        Ok(sessions.iter().map(|session| session.copy()).collect())
    }

    async fn upkeep(&self, _: Timestamp) -> Result<Upkeep, StoreError> {
        not_here()
    }
}

#[async_trait]
impl<S: RefreshTokens + ?Sized> RefreshTokens for ReadOnlyStore<S> {
    async fn rotate(&self, _: Rotate) -> Result<RotationOutcome, StoreError> {
        not_here()
    }

    async fn look(
        &self,
        session: &SessionId,
        presented: &Digest,
        now: Timestamp,
    ) -> Result<RefreshState, StoreError> {
        Ok(match self.0.look(session, presented, now).await? {
            RefreshState::Fresh(session) => RefreshState::Fresh(session.copy()),
            RefreshState::Spent(session, at) => RefreshState::Spent(session.copy(), at),
            RefreshState::Expired => RefreshState::Expired,
            RefreshState::Unknown => RefreshState::Unknown,
        })
    }
}

#[async_trait]
impl Stamps for ReadOnlyStamps {
    fn stamp(&self, key: &Digest) -> Option<Timestamp> {
        self.put.lock().get(key).copied().or_else(|| self.real.stamp(key))
    }

    async fn put(&self, new: NewStamp) -> Result<Timestamp, StoreError> {
        let at = match (self.stamp(&new.key), new.keep) {
            (None, _) => new.at,
            (Some(old), Keep::First) => old,
            (Some(old), Keep::Latest) => old.max(new.at),
        };
        self.put.lock().insert(new.key, at);
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::contract::{T0 as NOW, new_session};
    use crate::store::memory::Memory;

    fn stamp(at: Timestamp, keep: Keep) -> NewStamp {
        NewStamp { key: Digest::of(b"k"), at, keep, kept_until: NOW.plus(Duration::from_secs(99)) }
    }

    #[tokio::test]
    async fn a_date_is_seen_here_and_nowhere_else() {
        let real = Memory::new();
        let key = Digest::of(b"k");
        let aside = ReadOnlyStamps::new(Arc::clone(&real) as Arc<dyn Stamps>);
        let later = NOW.plus(Duration::from_secs(5));
        assert_eq!(aside.put(stamp(later, Keep::First)).await, Ok(later));
        assert_eq!((aside.stamp(&key), real.stamp(&key)), (Some(later), None));
        Stamps::put(&*real, stamp(NOW, Keep::First)).await.unwrap();
        let aside = ReadOnlyStamps::new(Arc::clone(&real) as Arc<dyn Stamps>);
        assert_eq!(aside.put(stamp(later, Keep::First)).await, Ok(NOW), "the real one was first");
        assert_eq!(aside.put(stamp(later, Keep::Latest)).await, Ok(later));
        assert_eq!(real.stamp(&key), Some(NOW));
    }

    #[test]
    fn a_copy_is_used_and_ended_by_itself() {
        let session = Session::begin(&NewSession { at: NOW, ..new_session("s", "7") });
        let copy = session.copy();
        copy.touch(NOW.plus(Duration::from_secs(9)));
        assert!(copy.mark_ended());
        assert!(session.is_live(NOW) && session.last_used() == NOW);
        assert_eq!((&copy.id, copy.cookie), (&session.id, session.cookie));
    }
}
