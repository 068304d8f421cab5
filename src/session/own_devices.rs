//! What somebody sees of the browsers that their account knows, and forgets of them; and what happened to their account.
//!
//! The device cookie is what counts, and it is with the browser. The store has a list beside it, for people to look at: a
//! device that is missing there is voided with all others. To forget one puts a date under its id, and what was given before
//! it counts no more.

use super::{SessionManager, store_failed};
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::context::Events;
use crate::event::EventKind;
use crate::refusal::Refusal;
use crate::secret::Digest;
use crate::store::Session;
use crate::store::records::{StoredDevice, StoredEntry};

impl SessionManager {
    /// What happened to a user's account, the last first.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn entries_of(
        &self,
        user: &UserKey,
        before: Option<(Timestamp, u64)>,
        limit: usize,
    ) -> Result<Vec<StoredEntry>, Refusal> {
        self.records.entries_of(user, before, limit).await.map_err(store_failed)
    }

    /// The browsers that a user's account knows.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn devices_of(&self, user: &UserKey) -> Result<Vec<StoredDevice>, Refusal> {
        let mut listed = self.records.devices_of(user).await.map_err(store_failed)?;
        listed.retain(|one| !self.devices.is_void(user, &one.device, one.last_used));
        Ok(listed)
    }

    /// The device of the browser that asks, if it is known.
    pub fn device_here(&self, cookie: &str, session: &Session, at: Timestamp) -> Option<Digest> {
        self.device_of_session(cookie, session, at)
    }

    /// Knows one device no more.
    ///
    /// # Errors
    /// [`Refusal::NotOnAccount`], [`Refusal::StoreUnavailable`]
    pub async fn forget_device(
        &self,
        user: &UserKey,
        device: &Digest,
        at: Timestamp,
        events: &Events,
    ) -> Result<(), Refusal> {
        let listed = self.devices_of(user).await?;
        if !listed.iter().any(|one| one.device == *device) {
            return Err(Refusal::NotOnAccount);
        }
        // First what counts: a list that still has it is mended by a second try.
        self.devices.forget_one(device, at).await.map_err(store_failed)?;
        self.records.drop_devices(user, Some(device)).await.map_err(store_failed)?;
        events.note(EventKind::DevicesForgotten { user: user.clone(), all: false });
        Ok(())
    }

    /// Knows none of a user's devices any more; how many were listed.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn forget_all_devices(
        &self,
        user: &UserKey,
        at: Timestamp,
        events: &Events,
    ) -> Result<usize, Refusal> {
        self.devices.forget(user, at).await.map_err(store_failed)?;
        let dropped = self.records.drop_devices(user, None).await.map_err(store_failed)?;
        events.note(EventKind::DevicesForgotten { user: user.clone(), all: true });
        Ok(dropped)
    }
}
