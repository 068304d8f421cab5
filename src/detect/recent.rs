//! Holds the newest few thousand findings in memory, for the operator's API. The audit trail has all of them.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::Finding;
use super::respond::TakenAction;
use super::watch::{FindingSink, NotDone};
use crate::clock::Timestamp;

/// The most findings that are stored.
const MOST: usize = if cfg!(test) { 10 } else { 5000 };

/// The most recent findings.
#[derive(Debug, Default)]
pub struct Recent(Mutex<KeptFindings>);

#[derive(Debug, Default)]
struct KeptFindings {
    /// The number of findings since the start.
    told: u64,
    /// The findings, oldest first.
    findings: VecDeque<ToldFinding>,
}

/// A finding, and the actions taken.
#[derive(Clone, Debug)]
pub struct ToldFinding {
    /// The number of the finding, counted from 1 since the start.
    pub number: u64,
    /// The finding.
    pub finding: Finding,
    /// The actions taken.
    pub taken: Vec<TakenAction>,
}

impl Recent {
    /// Returns the number of findings since the start.
    pub fn told(&self) -> u64 {
        self.0.lock().told
    }

    /// Returns at most `limit` findings with lower numbers than `before`, or the newest; newest first.
    pub fn page(&self, before: Option<u64>, limit: usize) -> Vec<ToldFinding> {
        let kept = self.0.lock();
        let is_before = |told: &&ToldFinding| before.is_none_or(|before| told.number < before);
        kept.findings.iter().rev().filter(is_before).take(limit).cloned().collect()
    }
}

impl Recent {
    /// Forgets the findings before this time.
    pub fn forget_before(&self, before: Timestamp) {
        self.0.lock().findings.retain(|told| before <= told.finding.at);
    }
}

impl FindingSink for Recent {
    fn finding(&self, finding: &Finding, taken: &[TakenAction], _: Option<&NotDone>) {
        let mut kept = self.0.lock();
        kept.told += 1;
        let told =
            ToldFinding { number: kept.told, finding: finding.clone(), taken: taken.to_vec() };
        if kept.findings.len() >= MOST {
            kept.findings.pop_front();
        }
        kept.findings.push_back(told);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, event};
    use super::super::{DetectorName, Evidence, Subject};
    use super::*;
    use crate::event::EventKind;
    use crate::refusal::Refusal;

    #[test]
    fn the_newest_are_kept_and_read_in_pages() {
        let recent = Recent::default();
        for n in 1..=13 {
            let what = EventKind::Refused { refusal: Refusal::NoRoute, user: None };
            let subject = Subject::Account(format!("name-{n}").into());
            let evidence = Evidence::count(1, std::time::Duration::from_secs(1));
            let event = event(at(n), "1.1.1.1", what);
            let finding = Finding::new(DetectorName::PasswordGuessing, &event, subject, evidence);
            recent.finding(&finding, &[TakenAction::Observe], None);
        }
        let numbers = |before, limit| -> Vec<u64> {
            recent.page(before, limit).iter().map(|told| told.number).collect()
        };
        assert_eq!(numbers(None, 3), [13, 12, 11]);
        assert_eq!(numbers(Some(11), 3), [10, 9, 8]);
        assert_eq!(numbers(Some(6), 100), [5, 4], "older ones are gone");
        assert_eq!(numbers(Some(4), 100), [0; 0]);
        recent.forget_before(at(12));
        assert_eq!(numbers(None, 100), [13, 12]);
        assert_eq!(recent.page(None, 1)[0].finding.subject.to_string(), "name-13");
    }
}
