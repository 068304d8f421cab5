//! Caches credentials of issuers that were verified recently.
//!
//! It is like the cache of the gateway's own credentials ([`credential_cache`](crate::session::credential_cache)), and
//! separate from it: a credential here has no session that shows whether it has ended, so whoever recalls it checks that
//! again.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::IssuedCredential;
use crate::secret::NoRandomness;
use crate::session::credential_cache::{CredentialHasher, Space};

/// A cache of verified credentials.
pub(super) struct IssuedCache {
    hasher: CredentialHasher,
    issued: Cache<(u128, Space), Arc<IssuedCredential>>,
}

impl IssuedCache {
    /// Makes a cache for so many credentials.
    pub(super) fn new(credentials: usize) -> Result<Self, NoRandomness> {
        Ok(Self { hasher: CredentialHasher::new()?, issued: Cache::new(credentials) })
    }

    /// Returns a credential that was verified. The caller checks whether it is still valid.
    pub(super) fn recall(&self, issuer: Space, credential: &str) -> Option<Arc<IssuedCredential>> {
        self.issued.get(&self.key_of(issuer, credential))
    }

    /// Returns the first of these issuers that has verified the credential before. It is hashed once, however many they are.
    pub(super) fn who_remembers(
        &self,
        issuers: impl Iterator<Item = (usize, Space)>,
        credential: &str,
    ) -> Option<usize> {
        let name = self.hasher.name_of(credential);
        let mut known = issuers.filter(|(_, space)| self.issued.contains_key(&(name, *space)));
        known.next().map(|(index, _)| index)
    }

    /// Stores a verified credential.
    pub(super) fn remember(&self, issuer: Space, credential: &str, issued: Arc<IssuedCredential>) {
        self.issued.insert(self.key_of(issuer, credential), issued);
    }

    /// Returns the cached credential, or else the result of `judge`, which runs once for concurrent calls.
    pub(super) async fn judge_once<E>(
        &self,
        issuer: Space,
        credential: &str,
        judge: impl Future<Output = Result<Arc<IssuedCredential>, E>>,
    ) -> Result<Arc<IssuedCredential>, E> {
        let key = self.key_of(issuer, credential);
        self.issued.get_or_insert_async(&key, judge).await
    }

    /// Removes a credential.
    pub(super) fn forget(&self, issuer: Space, credential: &str) {
        self.issued.remove(&self.key_of(issuer, credential));
    }

    fn key_of(&self, issuer: Space, credential: &str) -> (u128, Space) {
        (self.hasher.name_of(credential), issuer)
    }
}
