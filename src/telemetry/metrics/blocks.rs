//! Metrics of blocks.

use prometheus::{IntCounter, IntGauge, Result};

use super::family::Families;
use super::labels::{Label as _, MetricsByLabel};
use crate::block::{Block, BlockSubject, BlockedBy};
use crate::store::blocks::BlockCounts;

#[derive(Debug)]
pub(super) struct BlockMetrics {
    addresses: BlockGauges,
    users: BlockGauges,
    sessions: BlockGauges,
}

/// The metrics of one kind of subject.
#[derive(Debug)]
struct BlockGauges {
    active: IntGauge,
    total: MetricsByLabel<BlockedBy, IntCounter>,
}

impl BlockMetrics {
    pub(super) fn new(families: &Families<'_>) -> Result<Self> {
        let active = families.gauges(
            "doorwarden_blocks_active",
            "Addresses and networks, users and sessions that are refused for a time.",
            &["subject"],
        )?;
        let total = families.counters(
            "doorwarden_blocks_total",
            "Blocks that were made, by who made them.",
            &["subject", "by"],
        )?;
        let made = |subject: &str| BlockGauges {
            active: active.with_label_values(&[subject]),
            total: MetricsByLabel::new(|by: BlockedBy| {
                total.with_label_values(&[subject, by.label()])
            }),
        };
        Ok(Self { addresses: made("address"), users: made("user"), sessions: made("session") })
    }

    pub(super) fn blocked(&self, block: &Block) {
        let made = match &block.subject {
            BlockSubject::Address(_) => &self.addresses,
            BlockSubject::User(_) => &self.users,
            BlockSubject::Session(_) => &self.sessions,
        };
        made.total.inc(block.by);
    }

    pub(super) fn active(&self, counts: BlockCounts) {
        let BlockCounts { addresses, users, sessions } = counts;
        for (made, count) in
            [(&self.addresses, addresses), (&self.users, users), (&self.sessions, sessions)]
        {
            made.active.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}
