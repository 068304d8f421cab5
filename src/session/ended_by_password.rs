//! Sessions that ended a moment ago because their user has a new password.
//!
//! The service's answer to the request that changed the password may arrive later and renew the session (`issuer::follow`).

use std::sync::Arc;

use quick_cache::sync::Cache;

use crate::caller::SessionId;

/// The most sessions that are remembered.
const MOST: usize = 16_384;

/// The sessions that ended because of a new password. Cheap to clone; all clones share their content.
#[derive(Clone)]
pub(super) struct EndedByPassword(Arc<Cache<SessionId, ()>>);

impl EndedByPassword {
    pub(super) fn new() -> Self {
        Self(Arc::new(Cache::new(MOST)))
    }

    pub(super) fn note(&self, session: &SessionId) {
        self.0.insert(session.clone(), ());
    }

    pub(super) fn has(&self, session: &SessionId) -> bool {
        self.0.get(session).is_some()
    }
}
