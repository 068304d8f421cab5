//! Credentials of issuers' that were verified a moment ago.
//!
//! As the memory of our own ([`credential_cache`](crate::session::credential_cache)), and apart from it: what is remembered
//! here has no session to say that it is over, so whoever recalls it asks that anew.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::IssuedCredential;
use crate::secret::NoRandomness;
use crate::session::credential_cache::{CredentialHasher, Space};

/// Remembers them.
pub(super) struct IssuedCache {
    hasher: CredentialHasher,
    issued: Cache<(u128, Space), Arc<IssuedCredential>>,
}

impl IssuedCache {
    /// For so many.
    pub(super) fn new(credentials: usize) -> Result<Self, NoRandomness> {
        Ok(Self { hasher: CredentialHasher::new()?, issued: Cache::new(credentials) })
    }

    /// One that was verified. Whether it still counts is for the caller to ask.
    pub(super) fn recall(&self, issuer: Space, credential: &str) -> Option<Arc<IssuedCredential>> {
        self.issued.get(&self.key_of(issuer, credential))
    }

    /// The first of these who has verified it before. The credential is read once, however many they are.
    pub(super) fn who_remembers(
        &self,
        issuers: impl Iterator<Item = (usize, Space)>,
        credential: &str,
    ) -> Option<usize> {
        let name = self.hasher.name_of(credential);
        let mut known = issuers.filter(|(_, space)| self.issued.contains_key(&(name, *space)));
        known.next().map(|(index, _)| index)
    }

    /// Remembers one.
    pub(super) fn remember(&self, issuer: Space, credential: &str, issued: Arc<IssuedCredential>) {
        self.issued.insert(self.key_of(issuer, credential), issued);
    }

    /// The one that is remembered, or else what `judge` gives; of many at once one is judged.
    pub(super) async fn judge_once<E>(
        &self,
        issuer: Space,
        credential: &str,
        judge: impl Future<Output = Result<Arc<IssuedCredential>, E>>,
    ) -> Result<Arc<IssuedCredential>, E> {
        let key = self.key_of(issuer, credential);
        self.issued.get_or_insert_async(&key, judge).await
    }

    /// Forgets one.
    pub(super) fn forget(&self, issuer: Space, credential: &str) {
        self.issued.remove(&self.key_of(issuer, credential));
    }

    fn key_of(&self, issuer: Space, credential: &str) -> (u128, Space) {
        (self.hasher.name_of(credential), issuer)
    }
}
