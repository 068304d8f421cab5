//! A store that forgets everything when the process ends, for tests and trials.
//!
//! One lock decides every change, so each is atomic by construction; reads do not take it. This is the simplest implementation
//! of the contract that the other adapters are tested against.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::blocks::{Admitted, BlockList, Blocked, Blocks};
use super::factors::FactorTables;
use super::live::LiveSessions;
use super::outbox::Outgoing;
use super::records::RecordTables;
use super::{
    Backup, BeginOutcome, Former, NewRefreshToken, NewSession, NewStamp, RefreshState,
    RefreshTokens, Renewal, Rotate, RotationOutcome, Session, SessionAttachments, SessionBy,
    SessionSelection, Sessions, Stamps, StoreError, StoredPlaces, Upkeep,
};
use crate::block::{Block, BlockSubject};
use crate::caller::{Identity, SessionId, UserKey};
use crate::clock::Timestamp;
use crate::event::EndReason;
use crate::secret::Digest;

/// The store in memory.
#[derive(Debug, Default)]
pub struct Memory {
    live: LiveSessions,
    /// The refresh tokens of live sessions; the lock on them decides every change.
    tokens: Mutex<HashMap<Digest, Token>>,
    pub(super) outgoing: Mutex<Outgoing>,
    pub(super) factors: Mutex<FactorTables>,
    pub(super) records: Mutex<RecordTables>,
}

#[derive(Debug)]
struct Token {
    session: SessionId,
    expires_at: Timestamp,
    spent: Option<Spent>,
}

#[derive(Debug)]
struct Spent {
    at: Timestamp,
    replay_until: Timestamp,
    sealed_answer: Vec<u8>,
}

impl Memory {
    /// Creates an empty store.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn begin(
        &self,
        tokens: &mut HashMap<Digest, Token>,
        new: &NewSession,
    ) -> Result<Arc<Session>, StoreError> {
        let taken = self.live.has_id(&new.id)
            || new.cookie.is_some_and(|cookie| self.live.has_cookie(&cookie))
            || new.refresh.as_ref().is_some_and(|token| tokens.contains_key(&token.digest));
        if taken {
            return Err(StoreError("the id, cookie or refresh token is taken".to_owned()));
        }
        let session = Session::begin(new);
        if let Some(token) = &new.refresh {
            tokens.insert(token.digest, Token::fresh(&new.id, token));
        }
        self.live.insert(&session);
        Ok(session)
    }

    fn end_one(&self, tokens: &mut HashMap<Digest, Token>, id: &SessionId) -> Option<Arc<Session>> {
        tokens.retain(|_, token| token.session != *id);
        self.live.end(id)
    }
}

impl Token {
    fn fresh(session: &SessionId, new: &NewRefreshToken) -> Self {
        Self { session: session.clone(), expires_at: new.expires_at, spent: None }
    }
}

#[async_trait]
impl Sessions for Memory {
    async fn create(&self, new: NewSession) -> Result<Arc<Session>, StoreError> {
        self.begin(&mut self.tokens.lock(), &new)
    }

    async fn create_token(
        &self,
        new: NewSession,
        most: usize,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        let mut tokens = self.tokens.lock();
        let theirs = self.live.list(Some(&new.identity.key), new.at);
        if theirs.iter().filter(|session| session.is_token()).count() >= most {
            return Ok(None);
        }
        self.begin(&mut tokens, &new).map(Some)
    }

    async fn create_once(
        &self,
        new: NewSession,
        mark: NewStamp,
    ) -> Result<BeginOutcome, StoreError> {
        let mut tokens = self.tokens.lock();
        if self.live.stamp(&mark.key).is_some() {
            return Ok(BeginOutcome::Before(self.live.find(SessionBy::Id(&new.id), new.at)));
        }
        let session = self.begin(&mut tokens, &new)?;
        self.live.put_stamp(mark.key, self.live.merged(&mark));
        Ok(BeginOutcome::Begun(session))
    }

    async fn adopt(&self, new: NewSession) -> Result<BeginOutcome, StoreError> {
        let mut tokens = self.tokens.lock();
        if let Some(cookie) = &new.cookie {
            if self.live.stamp(cookie).is_some() {
                return Ok(BeginOutcome::Before(None));
            }
            if let Some(there) = self.live.with_cookie(cookie) {
                if there.is_live(new.at) {
                    return Ok(BeginOutcome::Before(Some(there)));
                }
                // The session has timed out, but upkeep has not removed it yet.
                self.end_one(&mut tokens, &there.id);
            }
        }
        self.begin(&mut tokens, &new).map(BeginOutcome::Begun)
    }

    async fn renew(&self, renewal: Renewal) -> Result<Option<Arc<Session>>, StoreError> {
        let _decides = self.tokens.lock();
        let by = SessionBy::Id(&renewal.session);
        let Some(old) = self.live.find(by, renewal.at) else { return Ok(None) };
        let taken = renewal.cookie.filter(|cookie| old.cookie.as_ref() != Some(cookie));
        if taken.is_some_and(|cookie| self.live.has_cookie(&cookie)) {
            return Err(StoreError("the cookie is taken".to_owned()));
        }
        Ok(self.live.renew(&renewal))
    }

    async fn find(
        &self,
        by: SessionBy<'_>,
        now: Timestamp,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        Ok(self.live.find(by, now))
    }

    async fn end(
        &self,
        which: &SessionSelection,
        _why: EndReason,
        at: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        let mut tokens = self.tokens.lock();
        let selected = self.live.selected(which);
        for stamp in selected.iter().filter_map(|session| session.end_of_credential(at)) {
            self.live.put_stamp(stamp.key, self.live.merged(&stamp));
        }
        Ok(selected.iter().filter_map(|session| self.end_one(&mut tokens, &session.id)).collect())
    }

    async fn list(
        &self,
        user: Option<&UserKey>,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        Ok(self.live.list(user, now))
    }

    async fn upkeep(&self, now: Timestamp) -> Result<Upkeep, StoreError> {
        let mut tokens = self.tokens.lock();
        tokens.retain(|_, token| now < token.expires_at);
        self.live.forget_stamps(now);
        self.outgoing.lock().forget(now);
        self.factors.lock().forget(now);
        self.records.lock().forget(now);
        let mut upkeep = Upkeep::default();
        for session in self.live.all() {
            if session.is_live(now) {
                match session.is_token() {
                    true => upkeep.tokens += 1,
                    false => upkeep.active += 1,
                }
            } else {
                upkeep.expired.extend(self.end_one(&mut tokens, &session.id));
            }
        }
        self.live.blocks().forget(now, |session| !self.live.has_id(session));
        Ok(upkeep)
    }
}

#[async_trait]
impl Stamps for Memory {
    fn stamp(&self, key: &Digest) -> Option<Timestamp> {
        self.live.stamp(key)
    }

    async fn put(&self, new: NewStamp) -> Result<Timestamp, StoreError> {
        let _decides = self.tokens.lock();
        let merged = self.live.merged(&new);
        self.live.put_stamp(new.key, merged);
        Ok(merged.at)
    }
}

#[async_trait]
impl SessionAttachments for Memory {
    async fn keep(&self, session: &SessionId, kept: Arc<Vec<u8>>) -> Result<bool, StoreError> {
        let _decides = self.tokens.lock();
        Ok(self.live.keep(session, kept))
    }
}

#[async_trait]
impl Blocks for Memory {
    fn list(&self) -> Arc<BlockList> {
        Arc::clone(self.live.blocks())
    }

    async fn block(&self, new: Block) -> Result<Blocked, StoreError> {
        let _decides = self.tokens.lock();
        let blocks = self.live.blocks();
        Ok(match blocks.admit(&new) {
            Admitted::InPlaceOf(other) => Blocked::Holds(blocks.put(new, other.as_ref())),
            Admitted::Not(blocked) => blocked,
        })
    }

    async fn lift(&self, subject: &BlockSubject) -> Result<Option<Arc<Block>>, StoreError> {
        let _decides = self.tokens.lock();
        Ok(self.live.blocks().remove(subject))
    }
}

#[async_trait]
impl StoredPlaces for Memory {
    async fn forget_places(&self, before: Timestamp) -> Result<bool, StoreError> {
        let _decides = self.tokens.lock();
        self.live.forget_places(before);
        self.outgoing.lock().forget_before(before);
        self.records.lock().forget_before(before);
        Ok(true)
    }
}

#[async_trait]
impl Former for Memory {
    /// Sessions that have ended are forgotten, so only live ones are searched.
    async fn last_identity(
        &self,
        user: &UserKey,
        since: Timestamp,
    ) -> Result<Option<Identity>, StoreError> {
        let sessions = self.live.of_user(user);
        let newest = sessions.iter().filter(|session| session.signed_in_at >= since);
        let newest = newest.max_by_key(|session| session.signed_in_at);
        Ok(newest.map(|session| Identity::clone(&session.identity.load())))
    }
}

#[async_trait]
impl RefreshTokens for Memory {
    async fn rotate(&self, rotate: Rotate) -> Result<RotationOutcome, StoreError> {
        let mut tokens = self.tokens.lock();
        let Some(session) = self.live.find(SessionBy::Id(&rotate.session), rotate.at) else {
            return Ok(RotationOutcome::Unknown);
        };
        let successor_is_taken = tokens.contains_key(&rotate.successor.digest);
        let Some(token) = tokens.get_mut(&rotate.presented) else {
            return Ok(RotationOutcome::Unknown);
        };
        if token.session != rotate.session {
            return Ok(RotationOutcome::Unknown);
        }
        if token.expires_at <= rotate.at {
            return Ok(RotationOutcome::Expired);
        }
        match &token.spent {
            None if successor_is_taken => {
                Err(StoreError("the successor's digest is taken".to_owned()))
            }
            None => {
                token.spent = Some(Spent {
                    at: rotate.at,
                    replay_until: rotate.at.plus(rotate.grace),
                    sealed_answer: rotate.sealed_answer,
                });
                let successor = Token::fresh(&rotate.session, &rotate.successor);
                tokens.insert(rotate.successor.digest, successor);
                Ok(RotationOutcome::Rotated(session))
            }
            Some(spent) if rotate.at < spent.replay_until => {
                Ok(RotationOutcome::Replayed(session, spent.sealed_answer.clone()))
            }
            Some(_) => {
                self.end_one(&mut tokens, &rotate.session);
                Ok(RotationOutcome::Reused(session))
            }
        }
    }

    async fn look(
        &self,
        session: &SessionId,
        presented: &Digest,
        now: Timestamp,
    ) -> Result<RefreshState, StoreError> {
        let tokens = self.tokens.lock();
        let Some(live) = self.live.find(SessionBy::Id(session), now) else {
            return Ok(RefreshState::Unknown);
        };
        Ok(match tokens.get(presented) {
            Some(token) if token.session != *session => RefreshState::Unknown,
            Some(token) if token.expires_at <= now => RefreshState::Expired,
            Some(Token { spent: Some(spent), .. }) => RefreshState::Spent(live, spent.at),
            Some(_) => RefreshState::Fresh(live),
            None => RefreshState::Unknown,
        })
    }
}

#[async_trait]
impl Backup for Memory {
    async fn backup(&self, _to: &Path) -> Result<(), StoreError> {
        Err(StoreError("sessions are kept in memory only: there is nothing to back up".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::new_session;
    use super::*;

    fn fresh() -> (Arc<Memory>, ()) {
        (Memory::new(), ())
    }

    crate::store::contract::mount!(fresh);

    #[tokio::test]
    async fn says_that_it_has_nothing_to_back_up() {
        assert!(Memory::new().backup(Path::new("/nowhere")).await.is_err());
    }

    #[tokio::test]
    async fn the_tokens_of_a_session_go_with_it() {
        let store = Memory::new();
        let session = store.create(new_session("a", "1")).await.unwrap();
        let which = SessionSelection::Session(session.id.clone());
        store.end(&which, EndReason::SignedOut, session.signed_in_at).await.unwrap();
        assert!(store.tokens.lock().is_empty());
    }
}
