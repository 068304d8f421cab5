//! Creates and registers families of metrics. Each name is written in full where it is created, so that it can be searched for.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, Result,
};

use super::labels::{Label, MetricsByLabel};

/// Buckets for requests as clients see them: from a cached answer to the longest usual read timeout, denser below a second,
/// where users notice.
pub(super) const REQUEST: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Buckets for the gateway's own share: microseconds for a remembered verdict, up to a second for hashing a password.
pub(super) const OWN_SHARE: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05,
    0.1, 0.25, 1.0,
];

/// Buckets for store and directory: a memory look-up, a committed write, a query over the network, a timeout.
pub(super) const BACKEND: &[f64] = &[
    0.000_01, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0,
    5.0,
];

/// A registry to which families are added.
pub(super) struct Families<'a>(pub(super) &'a Registry);

impl Families<'_> {
    pub(super) fn counter(&self, name: &str, help: &str) -> Result<IntCounter> {
        self.register(IntCounter::new(name, help)?)
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge> {
        self.register(IntGauge::new(name, help)?)
    }

    pub(super) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(Histogram::with_opts(options)?)
    }

    pub(super) fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        label: &str,
        buckets: &[f64],
    ) -> Result<HistogramVec> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(HistogramVec::new(options, &[label])?)
    }

    /// Creates one counter for each value of a closed set.
    pub(super) fn each_counter<L: Label>(
        &self,
        name: &str,
        help: &str,
        label: &str,
    ) -> Result<MetricsByLabel<L, IntCounter>> {
        let family = self.counters(name, help, &[label])?;
        Ok(MetricsByLabel::new(|value: L| family.with_label_values(&[value.label()])))
    }

    /// Creates one histogram for each value of a closed set.
    pub(super) fn each_histogram<L: Label>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        buckets: &[f64],
    ) -> Result<MetricsByLabel<L, Histogram>> {
        let family = self.histograms(name, help, label, buckets)?;
        Ok(MetricsByLabel::new(|value: L| family.with_label_values(&[value.label()])))
    }

    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}
