//! Metrics of the servers of an upstream.
//!
//! A server is named as in the configuration; the addresses of its name are no label. Counters of a server that a reload
//! removes keep their last value, as everywhere; its gauges are removed, because gauges describe only existing servers.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Result};

use super::family::Families;
use super::labels::{Label, MetricsByLabel};
use crate::telemetry::record::Retried;

/// The metrics of all servers.
#[derive(Clone, Debug)]
pub(super) struct Servers {
    requests: IntCounterVec,
    failures: IntCounterVec,
    ejections: IntCounterVec,
    retries: IntCounterVec,
    retries_denied: IntCounterVec,
    addresses: IntGaugeVec,
    in_flight: IntGaugeVec,
}

/// The metrics of one server.
#[derive(Clone, Debug, Default)]
pub struct ServerMetrics(Option<Arc<ServerCounters>>);

#[derive(Debug)]
struct ServerCounters {
    upstream: String,
    server: String,
    requests: IntCounter,
    failures: IntCounter,
    ejections: IntCounter,
    retries: MetricsByLabel<Retried, IntCounter>,
    retries_denied: IntCounter,
    all: Servers,
}

impl Servers {
    pub(super) fn new(families: &Families<'_>) -> Result<Self> {
        const LABELS: &[&str] = &["upstream", "server"];
        Ok(Self {
            requests: families.counters(
                "doorwarden_upstream_server_requests_total",
                "Requests sent to a server; each try counts.",
                LABELS,
            )?,
            failures: families.counters(
                "doorwarden_upstream_server_failures_total",
                "Tries that failed: no connection, no answer, or 502, 503 or 504.",
                LABELS,
            )?,
            ejections: families.counters(
                "doorwarden_upstream_server_ejections_total",
                "How often an address of a server was left out because it failed.",
                LABELS,
            )?,
            retries: families.counters(
                "doorwarden_upstream_retries_total",
                "Requests that were tried again after a server failed, by reason.",
                &["upstream", "server", "reason"],
            )?,
            retries_denied: families.counters(
                "doorwarden_upstream_retries_denied_total",
                "Requests that were not tried again, because the budget for it was spent.",
                &["upstream"],
            )?,
            addresses: families.gauges(
                "doorwarden_upstream_server_addresses",
                "Addresses of a server, by state.",
                &["upstream", "server", "state"],
            )?,
            in_flight: families.gauges(
                "doorwarden_upstream_server_in_flight",
                "Requests in progress at a server.",
                LABELS,
            )?,
        })
    }

    pub(super) fn server(&self, upstream: &str, server: &str) -> ServerMetrics {
        let labels = [upstream, server];
        ServerMetrics(Some(Arc::new(ServerCounters {
            upstream: upstream.to_owned(),
            server: server.to_owned(),
            requests: self.requests.with_label_values(&labels),
            failures: self.failures.with_label_values(&labels),
            ejections: self.ejections.with_label_values(&labels),
            retries: MetricsByLabel::new(|why: Retried| {
                self.retries.with_label_values(&[upstream, server, why.label()])
            }),
            retries_denied: self.retries_denied.with_label_values(&[upstream]),
            all: self.clone(),
        })))
    }

    /// Removes the gauges; each scrape sets those of the existing servers again.
    pub(super) fn forget(&self) {
        self.addresses.reset();
        self.in_flight.reset();
    }
}

impl ServerMetrics {
    /// Counts a request to the server.
    pub fn request(&self) {
        if let Some(of) = &self.0 {
            of.requests.inc();
        }
    }

    /// Counts a failed request.
    pub fn failed(&self) {
        if let Some(of) = &self.0 {
            of.failures.inc();
        }
    }

    /// Counts an ejection of one of its addresses.
    pub fn ejected(&self) {
        if let Some(of) = &self.0 {
            of.ejections.inc();
        }
    }

    /// Counts a retry at another server.
    pub fn retried(&self, why: Retried) {
        if let Some(of) = &self.0 {
            of.retries.inc(why);
        }
    }

    /// Counts a retry that the budget did not allow.
    pub fn retry_denied(&self) {
        if let Some(of) = &self.0 {
            of.retries_denied.inc();
        }
    }

    /// Sets how many of its addresses are in this state.
    pub fn stands(&self, state: &str, count: i64) {
        if let Some(of) = &self.0 {
            of.all.addresses.with_label_values(&[&*of.upstream, &*of.server, state]).set(count);
        }
    }

    /// Sets how many of its requests are in flight.
    pub fn in_flight(&self, count: usize) {
        if let Some(of) = &self.0 {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            of.all.in_flight.with_label_values(&[&*of.upstream, &*of.server]).set(count);
        }
    }
}
