//! What is known of issuers' credentials from requests, and outlives the configuration by which they were judged.

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

/// Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct IssuerState {
    /// Credentials that were verified.
    pub(super) verified: Arc<IssuedCache>,
    pub(super) seen: SeenCredentials,
}

/// Whom and whose credentials were. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub(super) struct SeenCredentials {
    /// Users whom credentials name.
    pub(super) users: UserCache,
    /// Credentials that adopted sessions had before, and whose they were.
    pub(super) former: Arc<Cache<Digest, SessionId>>,
    /// Tokens that answers of services gave, and whose they are.
    pub(super) given: Arc<GivenTokens>,
    /// One rotation of a session after the other.
    pub(super) rotating: SessionTurns,
}

impl IssuerState {
    /// Nothing is known.
    ///
    /// # Errors
    /// [`NoRandomness`]: the memory of credentials has a key of its own.
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
    /// What is found out of users from there on is known there alone.
    pub(super) fn read_only(&self) -> Self {
        Self { users: self.users.read_only(), ..self.clone() }
    }
}
