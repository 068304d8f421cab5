//! Evaluates a request without side effects, to explain what would happen.
//!
//! `Issuers::read_only` has the keys, issuers, directories and sessions of the instance that decides, and runs the same code,
//! so it cannot come to another result. Whatever that code writes is discarded: the ports to the store are [`ReadOnlyStore`],
//! sessions are copies, caches and counters are new, and no password is ever hashed (`Refusal::Busy` stands for a password that
//! would be checked). Nothing that handles a real request depends on this.
//!
//! It evaluates every credential as if it were seen for the first time.

use std::sync::Arc;

use super::credential_cache::CredentialCache;
use super::{EndIssued, SessionManager, WatchedDirectory};
use crate::caller::SessionId;
use crate::clock::Timestamp;
use crate::directory::password::PasswordPool;
use crate::secret::NoRandomness;
use crate::store::read_only::ReadOnlyStore;
use crate::store::{Session, SessionBy};

/// The most credentials that one explanation can involve.
const FEW: usize = 64;

impl SessionManager {
    /// Returns a manager that decides as this one does and changes nothing.
    ///
    /// # Errors
    /// [`NoRandomness`]
    pub fn read_only(&self, ends: Arc<dyn EndIssued>) -> Result<Self, NoRandomness> {
        Ok(Self {
            blocks: Arc::clone(&self.blocks),
            kept_blocks: Arc::clone(&self.kept_blocks),
            store: Arc::new(ReadOnlyStore::new(Arc::clone(&self.store))),
            paced: Arc::clone(&self.paced),
            devices: Arc::new(self.devices.read_only()),
            places: Arc::clone(&self.places),
            refresh_tokens: Arc::new(ReadOnlyStore::new(Arc::clone(&self.refresh_tokens))),
            directories: self.directories.iter().map(WatchedDirectory::beside).collect(),
            passwords: PasswordPool::always_busy(),
            keys: Arc::clone(&self.keys),
            refresh_key: Arc::clone(&self.refresh_key),
            tokens: self.tokens.clone(),
            settings: self.settings.clone(),
            personal_tokens: self.personal_tokens.clone(),
            cookies: self.cookies.clone(),
            lockout: self.lockout.read_only(),
            ends,
            kept: Arc::clone(&self.kept),
            mints: Arc::clone(&self.mints),
            factors: Arc::clone(&self.factors),
            records: Arc::clone(&self.records),
            // Nobody reads this queue.
            account_notes: super::account_notes::account_notes().0,
            verified: Arc::new(CredentialCache::new(FEW)?),
            ended_by_password: self.ended_by_password.clone(),
            tokens_space: self.tokens_space,
            under_way: super::under_way::RequestsUnderWay::default(),
            has_rechecked: std::sync::atomic::AtomicBool::new(true),
        })
    }

    /// Returns a session as it is in the store now, if it is live.
    pub async fn session(&self, id: &SessionId, at: Timestamp) -> Option<Arc<Session>> {
        self.store.find(SessionBy::Id(id), at).await.ok().flatten()
    }
}
