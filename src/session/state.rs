//! The state of sessions that is learned from requests and outlives a configuration.
//!
//! A new configuration has a new [`SessionManager`](super::SessionManager) and the same [`SessionState`]: users stay signed in,
//! counted failures stay counted, and a verified credential need not be verified again if the settings by which it was verified
//! have not changed ([`Space`](super::credential_cache::Space)).

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::credential_cache::{CREDENTIALS, CredentialCache};
use super::ended_by_password::EndedByPassword;
use super::under_way::RequestsUnderWay;
use crate::clock::Timestamp;
use crate::secret::{Digest, NoRandomness};
use crate::store::counters::Counters;

/// The most callers who are slowed down that are remembered.
const PACED: usize = 16_384;

/// The state of sessions. Cheap to clone; all clones share their content.
#[derive(Clone)]
pub struct SessionState {
    /// The cache of verified credentials.
    pub(super) verified: Arc<CredentialCache>,
    /// The counters of failed attempts to sign in.
    pub(super) counters: Arc<dyn Counters>,
    /// When callers who are slowed down were last let through.
    pub(super) paced: Arc<Cache<Digest, Timestamp>>,
    /// Sessions that ended because their user has a new password.
    pub(super) ended_by_password: EndedByPassword,
    /// Requests that were sent to upstreams.
    pub(super) under_way: RequestsUnderWay,
}

impl SessionState {
    /// Creates a state in which only what these counters hold is known.
    ///
    /// # Errors
    /// [`NoRandomness`], because the credential cache needs a random key.
    pub fn new(counters: Arc<dyn Counters>) -> Result<Self, NoRandomness> {
        Ok(Self {
            verified: Arc::new(CredentialCache::new(CREDENTIALS)?),
            counters,
            paced: Arc::new(Cache::new(PACED)),
            ended_by_password: EndedByPassword::new(),
            under_way: RequestsUnderWay::default(),
        })
    }
}
