//! What the store's file has of a session, so that only differences are written.
//!
//! Only upkeep changes it, one round after the other, so its two parts need no lock: at worst, a copy made meanwhile has an
//! older value of one part, and the next round writes again what is already in the file.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::caller::Identity;
use crate::clock::Timestamp;

/// The last use and the identity of a session that are in the file. By default they are unknown.
#[derive(Debug, Default)]
pub(super) struct SavedUse {
    last_used: AtomicU64,
    identity: ArcSwapOption<Identity>,
}

impl SavedUse {
    /// Creates the value when both are in the file.
    pub(super) fn new(last_used: Timestamp, identity: Option<Arc<Identity>>) -> Self {
        Self {
            last_used: AtomicU64::new(last_used.as_millis()),
            identity: ArcSwapOption::new(identity),
        }
    }

    /// Returns a copy for a copy of the session's record.
    pub(super) fn copy(&self) -> Self {
        Self::new(self.last_used(), self.identity())
    }

    /// Returns the last use that is in the file, if an identity is.
    pub(super) fn last_used(&self) -> Timestamp {
        Timestamp::from_millis(self.last_used.load(Ordering::Relaxed))
    }

    /// Returns the identity that is in the file; `None` if it is unknown.
    pub(super) fn identity(&self) -> Option<Arc<Identity>> {
        self.identity.load_full()
    }

    /// Notes what was just written; without an identity, the one in the file was not changed.
    pub(super) fn note(&self, last_used: Timestamp, identity: Option<&Arc<Identity>>) {
        self.last_used.store(last_used.as_millis(), Ordering::Relaxed);
        if let Some(identity) = identity {
            self.identity.store(Some(Arc::clone(identity)));
        }
    }
}
