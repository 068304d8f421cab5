//! Limits how often detectors act: not again on the same subject within the cool-down, and in an hour no more often than the
//! bound. So a faulty detector ends the sessions of some users, but never of all.
//!
//! Both are counted in the store's [`Counters`], so gateways that share a store share the counts: if one has acted on a
//! subject, the others do not. A cool-down is checked and begun in one step. Cool-downs and hourly counts have separate scopes,
//! so no number of subjects evicts the count of an hour.
//!
//! **If the store cannot count, the detector still acts, and this process counts the action itself**, by the same rules.
//! Without an action, an attack would go on because the store failed once, and its finding comes again only after its window
//! has passed; acting twice where once is enough does little harm. Acting without any count is no option: a faulty detector
//! would end everybody's sessions for as long as the store fails. So each process may exceed the bound by as much again, and no
//! more. Each finding that is counted in this way logs a warning.

use std::time::Duration;

use super::{DetectorName, Finding};
use crate::config;
use crate::store::StoreError;
use crate::store::counters::memory::CountersInMemory;
use crate::store::counters::span::CountInSpan;
use crate::store::counters::{
    CounterEntry, CounterKey, CounterScope, Counters, ENTRY_BYTES, changed_one,
};

const HOUR: Duration = Duration::from_secs(3600);

/// The most subjects that cool down. Beyond it, the one whose cool-down began longest ago is evicted.
const SUBJECTS: usize = 10_000;

/// The cool-downs: until when a detector does not act again on a subject. A value is one byte.
const COOL_DOWNS: CounterScope =
    CounterScope { name: "actions' cool-downs", most_bytes: SUBJECTS * (ENTRY_BYTES + 1) };

/// The hourly counts: how often each detector has acted within the hour.
const HOURS: CounterScope = CounterScope {
    name: "actions of an hour",
    most_bytes: DetectorName::ALL.len() * (ENTRY_BYTES + CountInSpan::BYTES),
};

/// The limit on actions, with the counts that the store could not take.
#[derive(Default)]
pub(super) struct Restraint {
    uncounted: CountersInMemory,
}

/// Whether a detector may act on a finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RestraintVerdict {
    /// The detector may act.
    Act,
    /// The detector has already acted on this subject within the cool-down.
    Cooling,
    /// The detector has acted too often within the hour.
    Bounded,
}

impl Restraint {
    /// Decides about a finding, and counts it if the detector may act.
    pub(super) async fn judge(
        &self,
        counters: &dyn Counters,
        finding: &Finding,
        settings: &config::DetectorSettings,
        most: u32,
    ) -> RestraintVerdict {
        let error = match judged(counters, finding, settings, most).await {
            Ok(verdict) => return verdict,
            Err(error) => error,
        };
        let detector = finding.detector.name();
        tracing::warn!(%error, detector, "an action could not be counted: this process counts it alone");
        // Counting in memory does not fail. If it did, the detector would not act.
        let own = judged(&self.uncounted, finding, settings, most).await;
        own.unwrap_or(RestraintVerdict::Bounded)
    }
}

async fn judged(
    counters: &dyn Counters,
    finding: &Finding,
    settings: &config::DetectorSettings,
    most: u32,
) -> Result<RestraintVerdict, StoreError> {
    let (at, name) = (finding.at, finding.detector.name());
    let subject = CounterKey::of(&format!("{name}\0{}", finding.subject));
    let begin = |entry: &mut CounterEntry| {
        let is_cooling = !entry.value.is_empty();
        if !is_cooling && !settings.cooldown.is_zero() {
            *entry = CounterEntry { value: vec![1], until: at.plus(settings.cooldown) };
        }
        is_cooling
    };
    if changed_one(counters, COOL_DOWNS, subject, at, begin).await? {
        return Ok(RestraintVerdict::Cooling);
    }
    let count = |entry: &mut CounterEntry| {
        let hour = CountInSpan::read(entry, HOUR, at);
        let is_within = hour.count < most;
        if is_within {
            *entry = hour.with_one_more(HOUR);
        }
        is_within
    };
    if changed_one(counters, HOURS, CounterKey::of(name), at, count).await? {
        return Ok(RestraintVerdict::Act);
    }
    // Without an action the subject must not cool down. If taking this back fails, it only cools down for no reason.
    let take_back = |entry: &mut CounterEntry| *entry = CounterEntry::default();
    if let Err(error) = changed_one(counters, COOL_DOWNS, subject, at, take_back).await {
        tracing::warn!(%error, detector = name, "a cool-down without an action stays");
    }
    Ok(RestraintVerdict::Bounded)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;

    use super::super::testing::{at, detector, event};
    use super::super::{Evidence, Subject};
    use super::RestraintVerdict::{Act, Bounded, Cooling};
    use super::*;
    use crate::event::EventKind;
    use crate::refusal::Refusal;
    use crate::store::counters::testing::FailingCounters;

    fn finding(secs: u64, account: &str) -> Finding {
        let what = EventKind::Refused { refusal: Refusal::NoRoute, user: None };
        let event = event(at(secs), "1.1.1.1", what);
        let subject = Subject::Account(account.into());
        let evidence = Evidence::count(1, Duration::from_secs(1));
        Finding::new(DetectorName::PasswordGuessing, &event, subject, evidence)
    }

    fn cooling(secs: u64) -> config::DetectorSettings {
        config::DetectorSettings { cooldown: Duration::from_secs(secs), ..detector(1) }
    }

    /// One gateway with these counters, which answer at once.
    struct Gateway(Restraint, Arc<dyn Counters>);

    impl Gateway {
        fn new(counters: Arc<dyn Counters>) -> Self {
            Self(Restraint::default(), counters)
        }

        fn judge(
            &self,
            finding: &Finding,
            settings: &config::DetectorSettings,
            most: u32,
        ) -> RestraintVerdict {
            let judged = self.0.judge(&*self.1, finding, settings, most);
            judged.now_or_never().expect("it waits for nothing")
        }
    }

    #[test]
    fn a_subject_cools_down_and_another_does_not_wait_for_it() {
        let gateway = Gateway::new(CountersInMemory::new());
        for (secs, account, judged) in
            [(0, "ada", Act), (59, "ada", Cooling), (59, "bob", Act), (60, "ada", Act)]
        {
            assert_eq!(gateway.judge(&finding(secs, account), &cooling(60), 9), judged, "{secs}");
        }
    }

    #[test]
    fn within_an_hour_there_is_a_bound() {
        let counters = CountersInMemory::new();
        let gateway = Gateway::new(Arc::<CountersInMemory>::clone(&counters));
        for (secs, expected) in [(0, Act), (1, Act), (3599, Bounded), (3600, Act)] {
            assert_eq!(gateway.judge(&finding(secs, "ada"), &cooling(0), 2), expected, "{secs}");
        }
        assert_eq!(counters.held(COOL_DOWNS), (0, 0));
    }

    #[test]
    fn nothing_cools_down_about_which_nothing_was_done() {
        let gateway = Gateway::new(CountersInMemory::new());
        for (secs, account, judged) in
            [(0, "ada", Act), (3599, "bob", Bounded), (3599, "bob", Bounded), (3600, "bob", Act)]
        {
            assert_eq!(gateway.judge(&finding(secs, account), &cooling(60), 1), judged, "{secs}");
        }
    }

    #[test]
    fn gateways_with_one_store_count_together() {
        let counters = CountersInMemory::new();
        let [one, other] =
            [(); 2].map(|()| Gateway::new(Arc::<CountersInMemory>::clone(&counters)));
        for (gateway, account, judged) in [
            (&one, "ada", Act),
            (&other, "ada", Cooling),
            (&other, "bob", Act),
            (&one, "eve", Bounded),
        ] {
            assert_eq!(gateway.judge(&finding(0, account), &cooling(60), 2), judged, "{account}");
        }
    }

    /// If the store fails for all counts or for one kind, the action is taken once, and within the hourly bound.
    #[test]
    fn a_store_that_cannot_count_stops_no_action_and_lifts_no_bound() {
        let fails: [fn(CounterScope) -> bool; 3] =
            [|_| true, |scope| scope == HOURS, |scope| scope == COOL_DOWNS];
        for fails in fails {
            let gateway = Gateway::new(FailingCounters::where_it(fails));
            for (secs, account, judged) in [
                (0, "ada", Act),
                (1, "ada", Cooling),
                (1, "bob", Act),
                (2, "eve", Bounded),
                (3600, "eve", Act),
            ] {
                let settings = cooling(60);
                assert_eq!(gateway.judge(&finding(secs, account), &settings, 2), judged, "{secs}");
            }
        }
    }

    #[test]
    fn however_many_subjects_there_are_few_are_remembered() {
        let counters = CountersInMemory::new();
        let gateway = Gateway::new(Arc::<CountersInMemory>::clone(&counters));
        let settings = config::DetectorSettings { cooldown: HOUR, ..detector(1) };
        for n in 0..2 * SUBJECTS {
            gateway.judge(&finding(0, &n.to_string()), &settings, u32::MAX);
        }
        assert_eq!(counters.held(COOL_DOWNS).0, SUBJECTS);
        assert_eq!(counters.held(HOURS).0, 1);
    }
}
