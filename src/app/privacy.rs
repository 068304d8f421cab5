//! Deletes addresses and clients when `[privacy] retention` has passed: in the store, and among the findings in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use crate::config::Privacy;
use crate::detect::recent::Recent;
use crate::store::StoredPlaces;

/// A deletion rewrites the store's file, so there is at most one a day; thirty within a shorter retention.
const LONGEST: Duration = Duration::from_secs(86_400);
const SHORTEST: Duration = Duration::from_millis(100);

/// How long places are stored according to the current configuration, in milliseconds.
#[derive(Debug)]
pub(super) struct Retention(AtomicU64);

impl Retention {
    pub(super) fn new(settings: &Privacy) -> Self {
        let retention = Self(AtomicU64::default());
        retention.set(settings);
        retention
    }

    /// Takes the retention of a new configuration.
    pub(super) fn set(&self, settings: &Privacy) {
        let millis = u64::try_from(settings.retention.as_millis()).unwrap_or(u64::MAX);
        self.0.store(millis, Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Deletes at regular intervals, until the process ends.
pub(super) async fn forget(
    places: Arc<dyn StoredPlaces>,
    recent: Arc<Recent>,
    retention: Arc<Retention>,
    clock: Arc<dyn Clock>,
) {
    loop {
        let keep = retention.get();
        let interval = (keep / 30).clamp(SHORTEST, LONGEST);
        // What would become too old before the next deletion is deleted now.
        let before = clock.now().minus(keep.saturating_sub(interval));
        recent.forget_before(before);
        match places.forget_places(before).await {
            Ok(true) => {}
            Ok(false) => tracing::debug!("the store cannot delete old addresses yet"),
            Err(error) => tracing::error!(%error, "old addresses could not be deleted"),
        }
        tokio::time::sleep(interval).await;
    }
}
