//! Sessions that ended a moment ago because their user has another password.
//!
//! The service's answer to the request that changed it may come afterwards and begin the session anew (`issuer::follow`).

use std::sync::Arc;

use quick_cache::sync::Cache;

use crate::caller::SessionId;

/// How many are remembered.
const MOST: usize = 16_384;

/// Cheap to clone; all clones are the same.
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
