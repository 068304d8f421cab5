//! What somebody sees of their own sessions, and ends of them. Everything is looked up by the user of the session that
//! asks: an id that is somebody else's is as one that is nobody's.

use std::sync::Arc;

use super::{SessionManager, store_failed};
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::refusal::Refusal;
use crate::store::{Session, SessionBy};

impl SessionManager {
    /// The live sessions of a user, newest first; personal access tokens are none.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn sessions_of(
        &self,
        user: &UserKey,
        at: Timestamp,
    ) -> Result<Vec<Arc<Session>>, Refusal> {
        let mut sessions = self.store.list(Some(user), at).await.map_err(store_failed)?;
        sessions.retain(|session| !session.is_token());
        Ok(sessions)
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
        let is_own =
            |session: &Arc<Session>| !session.is_token() && session.identity.load().key == *user;
        found.filter(is_own).ok_or(Refusal::NotOnAccount)
    }
}
