//! Counts of the last hour in steps, for the plots of the operator's page.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

/// The time between two samples.
pub const STEP: Duration = Duration::from_secs(15);

/// The most samples: those of an hour, and the one before.
const MOST: usize = 241;

/// The counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that were decided.
    pub requests: u64,
    /// Requests that were refused or failed.
    pub refused: u64,
    /// Sign-ins that succeeded.
    pub sign_ins: u64,
    /// Sign-ins that failed.
    pub failed_sign_ins: u64,
    /// Refresh tokens that were presented.
    pub refreshes: u64,
    /// Findings of the detectors.
    pub findings: u64,
}

/// Stores the samples.
#[derive(Debug, Default)]
pub struct Rates(Mutex<VecDeque<Totals>>);

impl Rates {
    /// Adds a sample of the counts.
    pub fn sample(&self, totals: Totals) {
        let mut samples = self.0.lock();
        if samples.len() >= MOST {
            samples.pop_front();
        }
        samples.push_back(totals);
    }

    /// Describes how much each count grew in each step, oldest first.
    pub(super) fn describe(&self) -> Value {
        let samples = self.0.lock();
        let series = |of: fn(&Totals) -> u64| -> Vec<u64> {
            let pairs = samples.iter().zip(samples.iter().skip(1));
            pairs.map(|(before, after)| of(after).saturating_sub(of(before))).collect()
        };
        json!({
            "step_seconds": STEP.as_secs(),
            "requests": series(|totals| totals.requests),
            "refused": series(|totals| totals.refused),
            "sign_ins": series(|totals| totals.sign_ins),
            "failed_sign_ins": series(|totals| totals.failed_sign_ins),
            "refreshes": series(|totals| totals.refreshes),
            "findings": series(|totals| totals.findings),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_differences_is_kept() {
        let rates = Rates::default();
        assert_eq!(rates.describe()["requests"], json!([]));
        for n in 0..1000 {
            rates.sample(Totals { requests: n * n, findings: 7, ..Totals::default() });
        }
        let described = rates.describe();
        let requests = described["requests"].as_array().unwrap();
        assert_eq!((requests.len(), &requests[239]), (240, &json!(999 * 999 - 998 * 998)));
        assert_eq!(described["findings"][0], 0);
    }
}
