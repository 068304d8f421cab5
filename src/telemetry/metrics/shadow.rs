//! How the gate's opinions and services' answers compare on shadowed routes.

use prometheus::{IntCounter, Result};

use super::Names;
use super::family::Families;
use super::labels::{Each, Label};
use crate::gate::shadow::Verdict;
use crate::telemetry::record::{Place, Record};

/// By route; none for a route that is not shadowed.
#[derive(Debug)]
pub(super) struct ShadowMetrics(Vec<Option<Each<Verdict, IntCounter>>>);

impl ShadowMetrics {
    pub(super) fn new(families: &Families<'_>, names: &Names) -> Result<Self> {
        families
            .gauge(
                "doorwarden_shadow_routes",
                "Routes on which everything is let through and only compared.",
            )?
            .set(i64::try_from(names.shadowed.len()).unwrap_or(i64::MAX));
        let total = families.counters(
            "doorwarden_shadow_total",
            "Requests of shadowed routes, by how the gate's decision and the service's answer compare.",
            &["route", "verdict"],
        )?;
        let of_route = |(index, name): (usize, &String)| {
            names.shadowed.contains(&index).then(|| {
                Each::new(|verdict: Verdict| total.with_label_values(&[name, verdict.label()]))
            })
        };
        Ok(Self(names.routes.iter().enumerate().map(of_route).collect()))
    }

    pub(super) fn observe(&self, record: &Record) {
        if let (Some(shadow), Place::Route(route)) = (&record.shadow, record.place)
            && let Some(Some(verdicts)) = self.0.get(route)
        {
            verdicts.inc(shadow.verdict);
        }
    }
}
