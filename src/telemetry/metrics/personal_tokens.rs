//! Metrics of personal access tokens: created, ended, refused, and how many are valid.

use prometheus::{IntCounter, IntGauge, Result};

use super::family::Families;
use super::labels::MetricsByLabel;
use crate::event::{EndReason, TokenRefusal};

/// The metrics of personal access tokens.
#[derive(Debug)]
pub(super) struct PersonalTokenMetrics {
    made: IntCounter,
    ended: MetricsByLabel<EndReason, IntCounter>,
    refusals: MetricsByLabel<TokenRefusal, IntCounter>,
    active: IntGauge,
}

impl PersonalTokenMetrics {
    pub(super) fn new(families: &Families<'_>) -> Result<Self> {
        Ok(Self {
            made: families.counter(
                "doorwarden_personal_tokens_made_total",
                "Personal access tokens that were made.",
            )?,
            ended: families.each_counter(
                "doorwarden_personal_tokens_ended_total",
                "Personal access tokens that ended.",
                "reason",
            )?,
            refusals: families.each_counter(
                "doorwarden_personal_token_refusals_total",
                "Personal access tokens that were refused.",
                "reason",
            )?,
            active: families
                .gauge("doorwarden_personal_tokens_active", "Valid personal access tokens.")?,
        })
    }

    pub(super) fn made(&self) {
        self.made.inc();
        self.active.inc();
    }

    pub(super) fn ended(&self, why: EndReason) {
        self.ended.inc(why);
        // Upkeep's own number already excludes the tokens that it found expired.
        if why != EndReason::Expired {
            self.active.dec();
        }
    }

    pub(super) fn refused(&self, why: TokenRefusal) {
        self.refusals.inc(why);
    }

    pub(super) fn active(&self, active: u64) {
        self.active.set(i64::try_from(active).unwrap_or(i64::MAX));
    }
}
