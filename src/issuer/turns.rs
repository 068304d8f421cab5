//! Serializes changes to a session that was adopted.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard};

use crate::caller::SessionId;

/// The number of locks. Sessions that share one wait for each other, for as long as one write of the store takes.
const PLACES: usize = 64;

/// The locks: a change that first reads a session holds its lock until the store has written the change.
#[derive(Clone)]
pub(super) struct SessionTurns(Arc<TurnPlaces>);

struct TurnPlaces {
    locks: [Mutex<()>; PLACES],
    hasher: RandomState,
}

impl SessionTurns {
    /// Makes the locks.
    pub(super) fn new() -> Self {
        let locks = std::array::from_fn(|_| Mutex::const_new(()));
        Self(Arc::new(TurnPlaces { locks, hasher: RandomState::new() }))
    }

    /// Waits for all earlier callers. Tokio's lock is fair: it serves them in the order in which they asked.
    #[expect(
        clippy::indexing_slicing,
        reason = "the remainder is smaller than the number of places"
    )]
    pub(super) async fn turn(&self, session: &SessionId) -> MutexGuard<'_, ()> {
        let [high, low, ..] = self.0.hasher.hash_one(session).to_be_bytes();
        self.0.locks[usize::from(u16::from_be_bytes([high, low])) % PLACES].lock().await
    }
}
