//! Stores what requests have shown about issuers' credentials. It outlives the configuration with which they were checked.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::adopt::FORMER;
use super::answer_tokens::GivenTokens;
use super::cache::IssuedCache;
use super::turns::SessionTurns;
use super::users::UserCache;
use crate::caller::SessionId;
use crate::secret::{Digest, NoRandomness};
use crate::session::credential_cache::CREDENTIALS;

/// The state of all issuers. Cheap to clone; all clones share it.
#[derive(Clone)]
pub struct IssuerState {
    /// The credentials that were verified.
    pub(super) verified: Arc<IssuedCache>,
    pub(super) seen: SeenCredentials,
}

/// The users and sessions that credentials belong to. Cheap to clone; all clones share them.
#[derive(Clone)]
pub(super) struct SeenCredentials {
    /// The users that credentials name.
    pub(super) users: UserCache,
    /// The former credentials of adopted sessions, with their session.
    pub(super) former: Arc<Cache<Digest, SessionId>>,
    /// The tokens in answers of services, with their session.
    pub(super) given: Arc<GivenTokens>,
    /// The locks by which rotations of one session wait for each other.
    pub(super) rotating: SessionTurns,
}

impl IssuerState {
    /// Makes an empty state.
    ///
    /// # Errors
    /// [`NoRandomness`]: the cache of credentials has its own random key.
    pub fn new() -> Result<Self, NoRandomness> {
        Ok(Self {
            verified: Arc::new(IssuedCache::new(CREDENTIALS)?),
            seen: SeenCredentials {
                users: UserCache::new(),
                former: Arc::new(Cache::new(FORMER)),
                given: Arc::new(Cache::new(FORMER)),
                rotating: SessionTurns::new(),
            },
        })
    }
}

impl SeenCredentials {
    /// Returns a copy; what it learns about users stays in the copy.
    pub(super) fn read_only(&self) -> Self {
        Self { users: self.users.read_only(), ..self.clone() }
    }
}
