//! A store that reports every end of a session, whatever ended it: a sign-out, a spent token, a timeout.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    BeginOutcome, BlockList, Blocked, Blocks, NewSession, NewStamp, RefreshState, RefreshTokens,
    Renewal, Rotate, RotationOutcome, Session, SessionBy, SessionSelection, Sessions, StoreError,
    Upkeep,
};
use crate::block::{Block, BlockSubject, Demand};
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::event::EndReason;
use crate::secret::Digest;

/// A listener for ends of sessions, which removes what was created for them elsewhere. It must not wait.
pub trait SessionEnded: Send + Sync {
    /// Handles the durable end of a session.
    fn session_ended(&self, session: &Session);
}

/// Notifies all of the listeners.
impl SessionEnded for Vec<Arc<dyn SessionEnded>> {
    fn session_ended(&self, session: &Session) {
        for one in self {
            one.session_ended(session);
        }
    }
}

/// A listener for new blocks, which closes the open connections of whoever is blocked. It must not wait.
pub trait BlockListener: Send + Sync {
    /// Handles a durable block. `sessions` are those of the blocked user, or the blocked session.
    fn blocked(&self, block: &Block, sessions: &[SessionId]);
}

/// Wraps a store's blocks and reports new ones.
pub struct NotifyingBlocks {
    blocks: Arc<dyn Blocks>,
    sessions: Arc<dyn Sessions>,
    told: Arc<dyn BlockListener>,
}

impl NotifyingBlocks {
    /// Creates a wrapper that reports new blocks in `blocks` to `told`.
    pub fn new(
        blocks: Arc<dyn Blocks>,
        sessions: Arc<dyn Sessions>,
        told: Arc<dyn BlockListener>,
    ) -> Self {
        Self { blocks, sessions, told }
    }

    async fn sessions_of(&self, block: &Block) -> Vec<SessionId> {
        match &block.subject {
            BlockSubject::Address(_) => Vec::new(),
            BlockSubject::Session(session) => vec![session.clone()],
            BlockSubject::User(user) => {
                // The list is in memory; a store that could not return it would have failed to block.
                let listed = self.sessions.list(Some(user), block.at).await.unwrap_or_default();
                listed.iter().map(|session| session.id.clone()).collect()
            }
        }
    }
}

#[async_trait]
impl Blocks for NotifyingBlocks {
    fn list(&self) -> Arc<BlockList> {
        self.blocks.list()
    }

    async fn block(&self, new: Block) -> Result<Blocked, StoreError> {
        let blocked = self.blocks.block(new).await?;
        if let Blocked::Holds(block) = &blocked
            && block.demand != Demand::SlowDown
        {
            self.told.blocked(block, &self.sessions_of(block).await);
        }
        Ok(blocked)
    }

    async fn lift(&self, subject: &BlockSubject) -> Result<Option<Arc<Block>>, StoreError> {
        self.blocks.lift(subject).await
    }
}

/// Wraps a store and reports the ends of its sessions.
pub struct NotifyingStore<S: ?Sized> {
    store: Arc<S>,
    told: Arc<dyn SessionEnded>,
}

impl<S: ?Sized> NotifyingStore<S> {
    /// Creates a wrapper that reports the ends of sessions in `store` to `told`.
    pub fn new(store: Arc<S>, told: Arc<dyn SessionEnded>) -> Self {
        Self { store, told }
    }

    fn tell(&self, ended: &[Arc<Session>]) {
        for session in ended {
            self.told.session_ended(session);
        }
    }
}

#[async_trait]
impl<S: Sessions + ?Sized> Sessions for NotifyingStore<S> {
    async fn create(&self, new: NewSession) -> Result<Arc<Session>, StoreError> {
        self.store.create(new).await
    }

    async fn create_token(
        &self,
        new: NewSession,
        most: usize,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        self.store.create_token(new, most).await
    }

    async fn create_once(
        &self,
        new: NewSession,
        mark: NewStamp,
    ) -> Result<BeginOutcome, StoreError> {
        self.store.create_once(new, mark).await
    }

    async fn adopt(&self, new: NewSession) -> Result<BeginOutcome, StoreError> {
        self.store.adopt(new).await
    }

    async fn renew(&self, renewal: Renewal) -> Result<Option<Arc<Session>>, StoreError> {
        self.store.renew(renewal).await
    }

    async fn find(
        &self,
        by: SessionBy<'_>,
        now: Timestamp,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        self.store.find(by, now).await
    }

    async fn end(
        &self,
        which: &SessionSelection,
        why: EndReason,
        at: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        let ended = self.store.end(which, why, at).await?;
        self.tell(&ended);
        Ok(ended)
    }

    async fn list(
        &self,
        user: Option<&UserKey>,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        self.store.list(user, now).await
    }

    async fn upkeep(&self, now: Timestamp) -> Result<Upkeep, StoreError> {
        let upkeep = self.store.upkeep(now).await?;
        self.tell(&upkeep.expired);
        Ok(upkeep)
    }
}

#[async_trait]
impl<S: RefreshTokens + ?Sized> RefreshTokens for NotifyingStore<S> {
    async fn rotate(&self, rotate: Rotate) -> Result<RotationOutcome, StoreError> {
        let rotation = self.store.rotate(rotate).await?;
        if let RotationOutcome::Reused(session) = &rotation {
            self.told.session_ended(session);
        }
        Ok(rotation)
    }

    async fn look(
        &self,
        session: &SessionId,
        presented: &Digest,
        now: Timestamp,
    ) -> Result<RefreshState, StoreError> {
        self.store.look(session, presented, now).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use parking_lot::Mutex;

    use super::*;
    use crate::caller::Identity;
    use crate::store::memory::Memory;
    use crate::store::{NewRefreshToken, Sessions};

    const NOW: Timestamp = Timestamp::from_secs(1000);

    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl SessionEnded for Told {
        fn session_ended(&self, session: &Session) {
            self.0.lock().push(session.id.as_str().to_owned());
        }
    }

    fn session(id: &str, refresh: Option<NewRefreshToken>) -> NewSession {
        NewSession {
            id: SessionId::new(id),
            identity: Arc::new(Identity {
                key: UserKey::new("d", "1"),
                name: "kim".into(),
                groups: vec![],
                staff: false,
                superuser: false,
                attributes: BTreeMap::new(),
            }),
            password_mark: Digest::of(b""),
            cookie: None,
            issuer: None,
            at: NOW,
            expires_at: NOW.plus(Duration::from_secs(100)),
            idle_timeout: Duration::from_secs(100),
            client: None,
            agent: String::new(),
            assurance: crate::caller::Assurance::default(),
            grant: None,
            refresh,
            kept: None,
        }
    }

    #[tokio::test]
    async fn each_end_is_told_once() {
        let told = Arc::<Told>::default();
        let memory = Memory::new();
        let store = NotifyingStore::new(memory, Arc::<Told>::clone(&told) as Arc<dyn SessionEnded>);
        let token = |name: &[u8]| NewRefreshToken {
            digest: Digest::of(name),
            expires_at: NOW.plus(Duration::from_secs(90)),
        };
        store.create(session("ended", None)).await.unwrap();
        store.create(session("expired", None)).await.unwrap();
        store.create(session("reused", Some(token(b"1")))).await.unwrap();
        for _ in 0..2 {
            let which = SessionSelection::Session(SessionId::new("ended"));
            store.end(&which, EndReason::SignedOut, NOW).await.unwrap();
        }
        for (successor, at) in [(b"2", NOW), (b"3", NOW.plus(Duration::from_secs(60)))] {
            let rotate = Rotate {
                session: SessionId::new("reused"),
                presented: Digest::of(b"1"),
                successor: token(successor),
                sealed_answer: vec![],
                grace: Duration::from_secs(10),
                at,
            };
            store.rotate(rotate).await.unwrap();
        }
        store.upkeep(NOW.plus(Duration::from_secs(101))).await.unwrap();
        assert_eq!(*told.0.lock(), ["ended", "reused", "expired"]);
    }
}
