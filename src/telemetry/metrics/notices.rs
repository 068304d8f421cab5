//! Metrics of notifications, by channel. Channels are named as in the configuration.

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Result};

use super::Metrics;
use super::family::Families;
use crate::notify::{Counting, DeliveryOutcome};

#[derive(Debug)]
pub(super) struct NoticeMetrics {
    notices: IntCounterVec,
    waiting: IntGaugeVec,
    pub(super) lost: IntCounter,
    records_lost: IntCounter,
    me: IntCounter,
    not_me: IntCounter,
}

impl NoticeMetrics {
    pub(super) fn new(families: &Families<'_>) -> Result<Self> {
        let answers = families.counters(
            "doorwarden_incident_answers_total",
            "Answers to mails about an incident.",
            &["answer"],
        )?;
        Ok(Self {
            me: answers.with_label_values(&["me"]),
            not_me: answers.with_label_values(&["not_me"]),
            notices: families.counters(
                "doorwarden_notices_total",
                "Messages to people and other systems, by result.",
                &["channel", "result"],
            )?,
            waiting: families.gauges(
                "doorwarden_notices_waiting",
                "Messages that wait to be sent on a channel.",
                &["channel"],
            )?,
            lost: families.counter(
                "doorwarden_notices_lost_total",
                "Messages lost because the queue in memory was full.",
            )?,
            records_lost: families.counter(
                "doorwarden_account_records_lost_total",
                "Entries of the account records that were lost.",
            )?,
        })
    }

    pub(super) fn answered(&self, was_me: bool) {
        if was_me { self.me.inc() } else { self.not_me.inc() }
    }
}

impl Metrics {
    /// Creates the counters of these channels, so that they exist at 0 before anything happened.
    pub fn channels<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            for outcome in DeliveryOutcome::ALL {
                self.notices.notices.with_label_values(&[name, outcome.name()]);
            }
            self.notices.waiting.with_label_values(&[name]);
        }
    }

    /// Sets how much news was lost since the start.
    pub fn news_lost(&self, total: u64) {
        self.raise(&self.notices.lost, total);
    }

    /// Sets how many records for users' account pages were lost since the start.
    pub fn account_records_lost(&self, total: u64) {
        self.raise(&self.notices.records_lost, total);
    }
}

impl Counting for Metrics {
    fn outcome(&self, channel: &str, outcome: DeliveryOutcome) {
        self.notices.notices.with_label_values(&[channel, outcome.name()]).inc();
    }

    fn waiting(&self, channel: &str, messages: u64) {
        let messages = i64::try_from(messages).unwrap_or(i64::MAX);
        self.notices.waiting.with_label_values(&[channel]).set(messages);
    }
}
