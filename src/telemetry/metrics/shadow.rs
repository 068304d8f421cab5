//! Metrics that compare the gate's decisions with the services' answers on shadowed routes.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Result};

use super::Names;
use super::family::Families;
use super::labels::{Label, MetricsByLabel};
use crate::gate::shadow::ShadowVerdict;
use crate::telemetry::record::{Destination, Record};

#[derive(Debug)]
pub(super) struct ShadowMetrics {
    routes: IntGauge,
    total: IntCounterVec,
}

/// The counters by route; `None` for a route that is not shadowed.
#[derive(Debug)]
pub(super) struct RouteVerdicts(Vec<Option<MetricsByLabel<ShadowVerdict, IntCounter>>>);

impl ShadowMetrics {
    pub(super) fn new(families: &Families<'_>) -> Result<Self> {
        Ok(Self {
            routes: families.gauge(
                "doorwarden_shadow_routes",
                "Routes on which everything is let through and only compared.",
            )?,
            total: families.counters(
                "doorwarden_shadow_total",
                "Requests of shadowed routes, by how the gate's decision and the service's answer compare.",
                &["route", "verdict"],
            )?,
        })
    }

    /// Sets the number of routes that are shadowed from now on.
    pub(super) fn serves(&self, names: &Names) {
        self.routes.set(i64::try_from(names.shadowed.len()).unwrap_or(i64::MAX));
    }

    pub(super) fn of_routes(&self, names: &Names) -> RouteVerdicts {
        let of_route = |(index, name): (usize, &String)| {
            names.shadowed.contains(&index).then(|| {
                MetricsByLabel::new(|verdict: ShadowVerdict| {
                    self.total.with_label_values(&[name, verdict.label()])
                })
            })
        };
        RouteVerdicts(names.routes.iter().enumerate().map(of_route).collect())
    }
}

impl RouteVerdicts {
    pub(super) fn observe(&self, record: &Record<'_>) {
        if let (Some(shadow), Destination::Route(route)) = (&record.shadow, record.place)
            && let Some(Some(verdicts)) = self.0.get(route)
        {
            verdicts.inc(shadow.verdict);
        }
    }
}
