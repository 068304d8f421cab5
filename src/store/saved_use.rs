//! What a store's file says of a session, so that only differences are written.
//!
//! Only upkeep changes it, one round after the other, so its two parts need no lock: a copy that is made meanwhile has one of them
//! older at worst, and then the next round writes once more what the file says already.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::caller::Identity;
use crate::clock::Timestamp;

/// A session's last use and identity, as far as they are in the file. By default nobody knows what the file says.
#[derive(Debug, Default)]
pub(super) struct SavedUse {
    last_used: AtomicU64,
    identity: ArcSwapOption<Identity>,
}

impl SavedUse {
    /// Both are in the file.
    pub(super) fn new(last_used: Timestamp, identity: Option<Arc<Identity>>) -> Self {
        Self {
            last_used: AtomicU64::new(last_used.as_millis()),
            identity: ArcSwapOption::new(identity),
        }
    }

    /// The same for a copy of the session's record.
    pub(super) fn copy(&self) -> Self {
        Self::new(self.last_used(), self.identity())
    }

    /// The last use that is in the file, if an identity is.
    pub(super) fn last_used(&self) -> Timestamp {
        Timestamp::from_millis(self.last_used.load(Ordering::Relaxed))
    }

    /// The identity that is in the file; `None` if nobody knows.
    pub(super) fn identity(&self) -> Option<Arc<Identity>> {
        self.identity.load_full()
    }

    /// This was just written; without an identity, that in the file stayed.
    pub(super) fn note(&self, last_used: Timestamp, identity: Option<&Arc<Identity>>) {
        self.last_used.store(last_used.as_millis(), Ordering::Relaxed);
        if let Some(identity) = identity {
            self.identity.store(Some(Arc::clone(identity)));
        }
    }
}
