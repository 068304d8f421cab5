//! What is known of sessions from requests, and outlives the configuration by which they were decided.
//!
//! Another configuration has another [`SessionManager`](super::SessionManager) and the same [`SessionState`]: who is signed in
//! stays so, a counted failure stays counted, and a credential that was verified need not be verified again, if nothing has
//! changed by which it was ([`Space`](super::credential_cache::Space)).

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::credential_cache::{CREDENTIALS, CredentialCache};
use super::ended_by_password::EndedByPassword;
use super::under_way::RequestsUnderWay;
use crate::clock::Timestamp;
use crate::secret::{Digest, NoRandomness};
use crate::store::counters::Counters;

/// How many who are to be slower are remembered.
const PACED: usize = 16_384;

/// Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct SessionState {
    /// Credentials that were verified.
    pub(super) verified: Arc<CredentialCache>,
    /// Failed attempts to sign in.
    pub(super) counters: Arc<dyn Counters>,
    /// When those who are to be slower were last let do it.
    pub(super) paced: Arc<Cache<Digest, Timestamp>>,
    /// Sessions whose user has another password.
    pub(super) ended_by_password: EndedByPassword,
    /// Requests that upstreams have.
    pub(super) under_way: RequestsUnderWay,
}

impl SessionState {
    /// Nothing is known but what is counted there.
    ///
    /// # Errors
    /// [`NoRandomness`]: the memory of credentials has a key of its own.
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
