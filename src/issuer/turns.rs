//! Whose turn it is to change a session that was adopted.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard};

use crate::caller::SessionId;

/// Sessions that share a place wait for each other, for as long as the store writes once.
const PLACES: usize = 64;

/// A change of a session that reads it first has it alone until the store has the change.
#[derive(Clone)]
pub(super) struct SessionTurns(Arc<TurnPlaces>);

struct TurnPlaces {
    locks: [Mutex<()>; PLACES],
    hasher: RandomState,
}

impl SessionTurns {
    /// Nobody has one.
    pub(super) fn new() -> Self {
        let locks = std::array::from_fn(|_| Mutex::const_new(()));
        Self(Arc::new(TurnPlaces { locks, hasher: RandomState::new() }))
    }

    /// Waits for all who asked before. Tokio's lock is fair: they have it in the order in which they asked.
    #[expect(
        clippy::indexing_slicing,
        reason = "the remainder is smaller than the number of places"
    )]
    pub(super) async fn turn(&self, session: &SessionId) -> MutexGuard<'_, ()> {
        let [high, low, ..] = self.0.hasher.hash_one(session).to_be_bytes();
        self.0.locks[usize::from(u16::from_be_bytes([high, low])) % PLACES].lock().await
    }
}
