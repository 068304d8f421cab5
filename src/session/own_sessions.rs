//! What somebody sees of their own sessions, and ends of them. Everything is looked up by the user of the session that
//! asks: an id that is somebody else's is as one that is nobody's.

use std::sync::Arc;

use super::{SessionManager, store_failed};
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::refusal::Refusal;
use crate::store::{Session, SessionBy};

impl SessionManager {
    /// The live sessions of a user, newest first.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn sessions_of(
        &self,
        user: &UserKey,
        at: Timestamp,
    ) -> Result<Vec<Arc<Session>>, Refusal> {
        self.store.list(Some(user), at).await.map_err(store_failed)
    }

    /// The live session of this id, if it is this user's.
    ///
    /// # Errors
    /// [`Refusal::NotOnAccount`], [`Refusal::StoreUnavailable`]
    pub async fn own_session(
        &self,
        user: &UserKey,
        id: &SessionId,
        at: Timestamp,
    ) -> Result<Arc<Session>, Refusal> {
        let found = self.store.find(SessionBy::Id(id), at).await.map_err(store_failed)?;
        found.filter(|session| session.identity.load().key == *user).ok_or(Refusal::NotOnAccount)
    }
}
