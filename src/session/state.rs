//! What is known from requests, and outlives the configuration by which they were decided.
//!
//! Another configuration has another [`Auth`](super::Auth) and the same [`State`]: who is signed in stays so, a counted
//! failure stays counted, and a credential that was verified need not be verified again, if nothing has changed by which it
//! was ([`Space`](super::credential_cache::Space)).

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::credential_cache::{CREDENTIALS, Memory};
use super::lockout::Counts;
use super::under_way::RequestsUnderWay;
use crate::caller::SessionId;
use crate::issuer::{FORMER, GivenTokens, Users};
use crate::secret::{Digest, NoRandomness};

/// Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct State {
    /// Credentials that were verified.
    pub(crate) memory: Arc<Memory>,
    /// Failed attempts to sign in.
    pub(crate) counts: Counts,
    /// Users whom issuers' credentials name.
    pub(crate) users: Users,
    /// Credentials that adopted sessions had before, and whose they were.
    pub(crate) former: Arc<Cache<Digest, SessionId>>,
    /// Tokens that answers of services gave, and whose they are.
    pub(crate) given: Arc<GivenTokens>,
    /// Sessions that ended a moment ago because their user has another password.
    pub(crate) ended_by_password: Arc<Cache<SessionId, ()>>,
    /// Requests that upstreams have.
    pub(super) under_way: RequestsUnderWay,
}

impl State {
    /// Nothing is known.
    ///
    /// # Errors
    /// [`NoRandomness`]: the memory of credentials has a key of its own.
    pub fn new() -> Result<Self, NoRandomness> {
        Ok(Self {
            memory: Arc::new(Memory::new(CREDENTIALS)?),
            counts: Counts::new(),
            users: Users::new(),
            former: Arc::new(Cache::new(FORMER)),
            given: Arc::new(Cache::new(FORMER)),
            ended_by_password: Arc::new(Cache::new(FORMER)),
            under_way: RequestsUnderWay::default(),
        })
    }
}
