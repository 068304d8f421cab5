//! What is measured of an upstream's servers.
//!
//! A server is named as in the configuration; which addresses its name has is not a label. Counters of a server that a
//! reload takes away keep their last value, as everywhere; what stands now is told of those that there are, so their gauges
//! are forgotten with it.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Result};

use super::family::Families;
use super::labels::{Label, MetricsByLabel};
use crate::telemetry::record::Retried;

/// All of them.
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

/// What is measured of one.
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
                "Requests that were given to a server, each try by itself.",
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
                "Requests that were tried again after a server, by why.",
                &["upstream", "server", "reason"],
            )?,
            retries_denied: families.counters(
                "doorwarden_upstream_retries_denied_total",
                "Requests that were not tried again, because the budget for it was spent.",
                &["upstream"],
            )?,
            addresses: families.gauges(
                "doorwarden_upstream_server_addresses",
                "Addresses of a server, by where they stand.",
                &["upstream", "server", "state"],
            )?,
            in_flight: families.gauges(
                "doorwarden_upstream_server_in_flight",
                "Requests that a server has now.",
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

    /// Forgets what stands now; whoever is there says it again at each scrape.
    pub(super) fn forget(&self) {
        self.addresses.reset();
        self.in_flight.reset();
    }
}

impl ServerMetrics {
    /// It got a request.
    pub fn request(&self) {
        if let Some(of) = &self.0 {
            of.requests.inc();
        }
    }

    /// The request failed.
    pub fn failed(&self) {
        if let Some(of) = &self.0 {
            of.failures.inc();
        }
    }

    /// An address of it is left out.
    pub fn ejected(&self) {
        if let Some(of) = &self.0 {
            of.ejections.inc();
        }
    }

    /// A request goes to another one.
    pub fn retried(&self, why: Retried) {
        if let Some(of) = &self.0 {
            of.retries.inc(why);
        }
    }

    /// A request would have, but for the budget.
    pub fn retry_denied(&self) {
        if let Some(of) = &self.0 {
            of.retries_denied.inc();
        }
    }

    /// So many addresses of it stand there.
    pub fn stands(&self, state: &str, count: i64) {
        if let Some(of) = &self.0 {
            of.all.addresses.with_label_values(&[&*of.upstream, &*of.server, state]).set(count);
        }
    }

    /// So many requests are there.
    pub fn in_flight(&self, count: usize) {
        if let Some(of) = &self.0 {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            of.all.in_flight.with_label_values(&[&*of.upstream, &*of.server]).set(count);
        }
    }
}
