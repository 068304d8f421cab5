//! How often something is done: not again about the same subject within the cool-down, and in an hour no more often than the
//! bound says. A detector that goes wrong ends the sessions of some, and never of all.

use std::collections::HashMap;
use std::time::Duration;

use super::{DetectorName, Finding};
use crate::clock::Timestamp;
use crate::config;

const HOUR: Duration = Duration::from_secs(3600);

/// Subjects about which something was done lately. Beyond it, cool-downs are not remembered.
const SUBJECTS: usize = 10_000;

/// What was done lately.
#[derive(Debug, Default)]
pub(super) struct Restraint {
    /// The hour that is counted, and how often something was done in it.
    hours: HashMap<DetectorName, (Timestamp, u32)>,
    /// Until when nothing is done about a subject again.
    cooling: HashMap<(DetectorName, String), Timestamp>,
}

/// May something be done?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RestraintVerdict {
    /// It may.
    Act,
    /// Something was done about this subject a moment ago.
    Cooling,
    /// Too much was done within the hour.
    Bounded,
}

impl Restraint {
    /// Judges a finding, and counts it if something may be done about it.
    pub(super) fn judge(
        &mut self,
        finding: &Finding,
        settings: &config::DetectorSettings,
        most: u32,
    ) -> RestraintVerdict {
        let (at, name) = (finding.at, finding.detector);
        let subject = (name, finding.subject.to_string());
        if self.cooling.get(&subject).is_some_and(|until| at < *until) {
            return RestraintVerdict::Cooling;
        }
        let hour = self.hours.entry(name).or_insert((at, 0));
        if at.since(hour.0) >= HOUR {
            *hour = (at, 0);
        }
        if hour.1 >= most {
            return RestraintVerdict::Bounded;
        }
        hour.1 += 1;
        if self.cooling.len() >= SUBJECTS {
            self.cooling.retain(|_, until| at < *until);
        }
        if !settings.cooldown.is_zero() && self.cooling.len() < SUBJECTS {
            self.cooling.insert(subject, at.plus(settings.cooldown));
        }
        RestraintVerdict::Act
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, detector, event};
    use super::super::{Evidence, Subject};
    use super::*;
    use crate::event::EventKind;
    use crate::refusal::Refusal;

    fn finding(secs: u64, account: &str) -> Finding {
        let what = EventKind::Refused { refusal: Refusal::NoRoute, user: None };
        let event = event(at(secs), "1.1.1.1", what);
        let subject = Subject::Account(account.into());
        let evidence = Evidence::count(1, Duration::from_secs(1));
        Finding::new(DetectorName::PasswordGuessing, &event, subject, evidence)
    }

    #[test]
    fn a_subject_cools_down_and_another_does_not_wait_for_it() {
        let settings =
            config::DetectorSettings { cooldown: Duration::from_secs(60), ..detector(1) };
        let mut restraint = Restraint::default();
        for (secs, account, judged) in [
            (0, "ada", RestraintVerdict::Act),
            (59, "ada", RestraintVerdict::Cooling),
            (59, "bob", RestraintVerdict::Act),
            (60, "ada", RestraintVerdict::Act),
        ] {
            assert_eq!(restraint.judge(&finding(secs, account), &settings, 9), judged, "{secs}");
        }
    }

    #[test]
    fn within_an_hour_there_is_a_bound() {
        let settings = config::DetectorSettings { cooldown: Duration::ZERO, ..detector(1) };
        let mut restraint = Restraint::default();
        let judged =
            |restraint: &mut Restraint, secs| restraint.judge(&finding(secs, "ada"), &settings, 2);
        for (secs, expected) in [
            (0, RestraintVerdict::Act),
            (1, RestraintVerdict::Act),
            (3599, RestraintVerdict::Bounded),
            (3600, RestraintVerdict::Act),
        ] {
            assert_eq!(judged(&mut restraint, secs), expected, "{secs}");
        }
        assert!(restraint.cooling.is_empty());
    }

    #[test]
    fn however_many_subjects_there_are_few_are_remembered() {
        let settings = config::DetectorSettings { cooldown: HOUR, ..detector(1) };
        let mut restraint = Restraint::default();
        for n in 0..2 * SUBJECTS {
            restraint.judge(&finding(0, &n.to_string()), &settings, u32::MAX);
        }
        assert_eq!(restraint.cooling.len(), SUBJECTS);
    }
}
