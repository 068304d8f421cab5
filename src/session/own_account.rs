//! What users see of their own account and can remove from it: their sessions, their known devices, and the account activity.
//!
//! The device cookie in the browser is decisive. The store only has a list of devices for users to see; a device that is
//! missing there is voided together with all others. Forgetting a device stores a date under its id, and cookies issued before
//! that date are void.
//!
//! Sessions are looked up by the user of the session that asks, so the id of another user's session is treated like an unknown
//! id.

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

/// A user's own account: activity, devices and sessions.
#[derive(Clone, Copy)]
pub struct OwnAccount<'s>(pub(super) &'s SessionManager);

impl OwnAccount<'_> {
    /// Returns the activity of a user's account, the last entry first.
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

    /// Returns the known devices of a user's account.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn devices(self, user: &UserKey) -> Result<Vec<StoredDevice>, Refusal> {
        let mut listed = self.0.records.devices_of(user).await.map_err(store_failed)?;
        listed.retain(|one| !self.0.devices.is_void(user, &one.device, one.last_used));
        Ok(listed)
    }

    /// Returns the device of the browser that asks, if it is known.
    pub fn device_here(self, cookie: &str, session: &Session, at: Timestamp) -> Option<Digest> {
        self.0.device_of_session(cookie, session, at)
    }

    /// Forgets one device.
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
        // The stamp is decisive and comes first; if the list still has the device, a second try corrects it.
        self.0.devices.forget_one(device, at).await.map_err(store_failed)?;
        self.0.records.drop_devices(user, Some(device)).await.map_err(store_failed)?;
        events.note(EventKind::DevicesForgotten { user: user.clone(), all: false });
        Ok(())
    }

    /// Forgets all devices of a user, and returns how many were listed.
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

    /// Ends the trust in all browsers of this user: each sign-in asks for a code.
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

    /// Returns the live sessions of a user, newest first, without personal access tokens.
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

    /// Returns the live session with this id, if it belongs to this user.
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
