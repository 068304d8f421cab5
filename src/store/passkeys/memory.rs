//! The passkeys of the store in memory, which are among its second factors.

use async_trait::async_trait;

use super::super::StoreError;
use super::super::factors::StoredFactor;
use super::super::memory::Memory;
use super::{PasskeyStore, PasskeyUse, PasskeyUsed, SpentChallenge};
use crate::caller::UserKey;

#[async_trait]
impl PasskeyStore for Memory {
    async fn owner_of(&self, id: &str) -> Result<Option<(UserKey, StoredFactor)>, StoreError> {
        Ok(self.factors.lock().owner_of(id))
    }

    async fn use_passkey(&self, used: PasskeyUse) -> Result<PasskeyUsed, StoreError> {
        Ok(self.factors.lock().use_passkey(&used))
    }

    async fn spend_challenge(&self, challenge: SpentChallenge) -> Result<bool, StoreError> {
        Ok(self.factors.lock().spend_challenge(challenge))
    }

    async fn passkeys_elsewhere(&self, rp_id: &str) -> Result<u64, StoreError> {
        Ok(self.factors.lock().passkeys_elsewhere(rp_id))
    }
}
