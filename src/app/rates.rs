//! Samples the counters for the plots of the operator's page.

use std::sync::Arc;

use crate::admin::rates::{Rates, STEP, Totals};
use crate::detect::recent::Recent;
use crate::telemetry::Telemetry;

/// Samples until the process ends.
pub(super) async fn sample(rates: Arc<Rates>, telemetry: Arc<Telemetry>, recent: Arc<Recent>) {
    let mut steps = tokio::time::interval(STEP);
    loop {
        steps.tick().await;
        rates.sample(Totals { findings: recent.told(), ..telemetry.totals() });
    }
}
