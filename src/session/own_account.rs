//! What somebody sees of their own account, and takes away from it: their sessions, the browsers that it knows, and what
//! happened to it.
//!
//! The device cookie is what counts, and it is with the browser. The store has a list beside it, for people to look at: a
//! device that is missing there is voided with all others. To forget one puts a date under its id, and what was given before
//! it counts no more.
//!
//! Sessions are looked up by the user of the session that asks: an id that is somebody else's is as one that is nobody's.

use std::sync::Arc;

use super::{SessionManager, store_failed};
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::context::{Events, RequestContext};
use crate::event::{EventKind, FactorEvent};
use crate::refusal::Refusal;
use crate::secret::Digest;
use crate::store::records::{StoredDevice, StoredEntry};
use crate::store::{Session, SessionBy};

/// What somebody's own pages show of their account: activity, devices and sessions.
#[derive(Clone, Copy)]
pub struct OwnAccount<'s>(pub(super) &'s SessionManager);

impl OwnAccount<'_> {
    /// What happened to a user's account, the last first.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn entries(
        self,
        user: &UserKey,
        before: Option<(Timestamp, u64)>,
        limit: usize,
    ) -> Result<Vec<StoredEntry>, Refusal> {
        self.0.records.entries_of(user, before, limit).await.map_err(store_failed)
    }

    /// The browsers that a user's account knows.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn devices(self, user: &UserKey) -> Result<Vec<StoredDevice>, Refusal> {
        let mut listed = self.0.records.devices_of(user).await.map_err(store_failed)?;
        listed.retain(|one| !self.0.devices.is_void(user, &one.device, one.last_used));
        Ok(listed)
    }

    /// The device of the browser that asks, if it is known.
    pub fn device_here(self, cookie: &str, session: &Session, at: Timestamp) -> Option<Digest> {
        self.0.device_of_session(cookie, session, at)
    }

    /// Knows one device no more.
    ///
    /// # Errors
    /// [`Refusal::NotOnAccount`], [`Refusal::StoreUnavailable`]
    pub async fn forget_device(
        self,
        user: &UserKey,
        device: &Digest,
        at: Timestamp,
        events: &Events,
    ) -> Result<(), Refusal> {
        let listed = self.devices(user).await?;
        if !listed.iter().any(|one| one.device == *device) {
            return Err(Refusal::NotOnAccount);
        }
        // First what counts: a list that still has it is mended by a second try.
        self.0.devices.forget_one(device, at).await.map_err(store_failed)?;
        self.0.records.drop_devices(user, Some(device)).await.map_err(store_failed)?;
        events.note(EventKind::DevicesForgotten { user: user.clone(), all: false });
        Ok(())
    }

    /// Knows none of a user's devices any more; how many were listed.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn forget_devices(
        self,
        user: &UserKey,
        at: Timestamp,
        events: &Events,
    ) -> Result<usize, Refusal> {
        self.0.devices.forget(user, at).await.map_err(store_failed)?;
        let dropped = self.0.records.drop_devices(user, None).await.map_err(store_failed)?;
        events.note(EventKind::DevicesForgotten { user: user.clone(), all: true });
        Ok(dropped)
    }

    /// Trusts no browser of this user's any more: each sign-in asks for a code.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn distrust_devices(
        self,
        user: &UserKey,
        context: &RequestContext<'_>,
    ) -> Result<(), Refusal> {
        self.0.devices.distrust(user, context.at).await.map_err(store_failed)?;
        let change = FactorEvent::DevicesDistrusted;
        context.note(EventKind::FactorChanged { user: user.clone(), change });
        Ok(())
    }

    /// The live sessions of a user, newest first; personal access tokens are none.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn sessions(
        self,
        user: &UserKey,
        at: Timestamp,
    ) -> Result<Vec<Arc<Session>>, Refusal> {
        let mut sessions = self.0.store.list(Some(user), at).await.map_err(store_failed)?;
        sessions.retain(|session| !session.is_token());
        Ok(sessions)
    }

    /// The live session of this id, if it is this user's.
    ///
    /// # Errors
    /// [`Refusal::NotOnAccount`], [`Refusal::StoreUnavailable`]
    pub async fn session(
        self,
        user: &UserKey,
        id: &SessionId,
        at: Timestamp,
    ) -> Result<Arc<Session>, Refusal> {
        let found = self.0.store.find(SessionBy::Id(id), at).await.map_err(store_failed)?;
        let is_own =
            |session: &Arc<Session>| !session.is_token() && session.identity.load().key == *user;
        found.filter(is_own).ok_or(Refusal::NotOnAccount)
    }
}
