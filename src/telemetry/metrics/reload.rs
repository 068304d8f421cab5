//! Metrics of the served configuration and of reloads. The last two have the names and the meaning that Prometheus gives its
//! own (`prometheus_config_last_reload_successful`).

use prometheus::{IntGauge, Result};

use super::family::Families;
use crate::clock::Timestamp;

#[derive(Debug)]
pub(super) struct ReloadMetrics {
    generation: IntGauge,
    successful: IntGauge,
    success_timestamp: IntGauge,
}

impl ReloadMetrics {
    pub(super) fn new(families: &Families<'_>) -> Result<Self> {
        Ok(Self {
            generation: families.gauge(
                "doorwarden_config_generation",
                "The number of the configuration in use: 1 at the start, and one more after each successful reload.",
            )?,
            successful: families.gauge(
                "doorwarden_config_last_reload_successful",
                "1 if the configuration that was read last is in use, 0 if it was refused.",
            )?,
            success_timestamp: families.gauge(
                "doorwarden_config_last_reload_success_timestamp_seconds",
                "When the configuration in use was read.",
            )?,
        })
    }

    pub(super) fn serves(&self, generation: u64) {
        self.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
    }

    pub(super) fn reloaded(&self, successful: bool, at: Timestamp) {
        self.successful.set(i64::from(successful));
        if successful {
            self.success_timestamp.set(i64::try_from(at.as_secs()).unwrap_or(i64::MAX));
        }
    }
}
