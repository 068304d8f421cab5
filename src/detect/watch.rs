//! Carries events to the detectors, and findings to whoever acts on them and counts them.
//!
//! Between a request and the detectors lies a bounded queue. Telling it an event never waits: what finds it full is
//! dropped and counted, because a slow detector must not become a slow request. One task reads it, so that detectors see
//! events in order and need no locks. When the last [`EventSink`] is gone, the task finishes what is queued and ends.
//!
//! Both ways out are ports: [`Respond`] ends sessions, [`Report`] is told each finding with what came of it. A finding is
//! reported after its action, so an audit line that says `end_session` is true when it is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::respond::{Response, Taken, respond};
use super::{Detectors, Finding};
use crate::caller::SessionId;
use crate::clock::Timestamp;
use crate::config;
use crate::event::Event;
use crate::geo::Countries;

/// Where events are told. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EventSink {
    queue: Sender<Event>,
    dropped: Arc<AtomicU64>,
}

/// The other end, for [`Watch::run`].
#[derive(Debug)]
pub struct EventQueue(Receiver<Event>);

/// Does what a finding asks for.
#[async_trait]
pub trait Respond: Send + Sync {
    /// Ends a session, at once and for good, because a detector says so. A session that has ended already is no failure.
    async fn end_session(&self, session: &SessionId, at: Timestamp) -> Result<(), NotDone>;
}

/// The action could not be taken. The text is for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a detector's action failed: {0}")]
pub struct NotDone(pub String);

/// Is told what was found.
pub trait Report: Send + Sync {
    /// A finding, and what came of it. `failure` is there if that is [`Taken::Failed`].
    fn finding(&self, finding: &Finding, taken: Taken, failure: Option<&NotDone>);
}

/// By what the detectors judge. Others may take their place at any time; what the detectors remember stays.
pub struct Rules {
    /// Their settings, and what is done about a finding.
    pub settings: config::Detect,
    /// Where addresses are.
    pub countries: Arc<dyn Countries>,
}

/// The detectors with everything around them.
pub struct Watch {
    /// By what they judge now.
    pub rules: Arc<ArcSwap<Rules>>,
    /// Does it.
    pub respond: Arc<dyn Respond>,
    /// Hears of it.
    pub report: Arc<dyn Report>,
}

/// A queue for `capacity` events, one at least.
pub fn queue(capacity: usize) -> (EventSink, EventQueue) {
    let (sender, receiver) = mpsc::channel(capacity.clamp(1, Semaphore::MAX_PERMITS));
    (EventSink { queue: sender, dropped: Arc::default() }, EventQueue(receiver))
}

impl EventSink {
    /// Tells an event. Never waits: an event that finds no room is dropped and counted.
    pub fn tell(&self, event: Event) {
        if self.queue.try_send(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many events were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Watch {
    /// Shows the detectors what is told, until nobody is left to tell anything.
    pub async fn run(self, mut queue: EventQueue) {
        let mut rules = self.rules.load_full();
        let mut detectors = Detectors::new(&rules.settings);
        while let Some(event) = queue.0.recv().await {
            let now = self.rules.load_full();
            if !Arc::ptr_eq(&now, &rules) {
                detectors.judge_by(&now.settings);
                rules = now;
            }
            for finding in detectors.observe(&event, &*rules.countries) {
                self.handle(&finding, &rules.settings).await;
            }
        }
    }

    async fn handle(&self, finding: &Finding, settings: &config::Detect) {
        let (taken, failure) = match respond(finding, settings) {
            Response::Observe => (Taken::Observe, None),
            Response::DryRun => (Taken::DryRun, None),
            Response::EndSession(session) => {
                match self.respond.end_session(&session, finding.at).await {
                    Ok(()) => (Taken::EndSession, None),
                    Err(failure) => (Taken::Failed, Some(failure)),
                }
            }
        };
        self.report.finding(finding, taken, failure.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::super::testing::{FewCountries, at, event, session, settings};
    use super::super::{DetectorName, Subject};
    use super::*;
    use crate::config::Action;
    use crate::event::What;

    /// Ends sessions and hears of findings, in one list, in order.
    #[derive(Default)]
    struct Outside {
        happened: Mutex<Vec<String>>,
        down: bool,
    }

    #[async_trait]
    impl Respond for Outside {
        async fn end_session(&self, session: &SessionId, _: Timestamp) -> Result<(), NotDone> {
            if self.down {
                return Err(NotDone("disk full".into()));
            }
            self.happened.lock().push(format!("end {session}"));
            Ok(())
        }
    }

    impl Report for Outside {
        fn finding(&self, finding: &Finding, taken: Taken, failure: Option<&NotDone>) {
            assert!(matches!(finding.subject, Subject::Session(_)));
            let failure = failure.map(|failure| format!(": {failure}")).unwrap_or_default();
            let (detector, taken) = (finding.detector.name(), taken.name());
            self.happened.lock().push(format!("{detector} {taken}{failure}"));
        }
    }

    fn reuse(name: &str) -> Event {
        let (session, user) = session(name);
        event(at(0), "192.0.2.1", What::RefreshReused { session, user })
    }

    /// What happened outside when one refresh token was reused.
    async fn scene(down: bool, set: impl FnOnce(&mut config::Detector)) -> Vec<String> {
        let mut settings = settings(1);
        set(&mut settings.refresh_reuse);
        let outside = Arc::new(Outside { down, ..Outside::default() });
        let (sink, queue) = queue(settings.queue);
        sink.tell(reuse("a"));
        drop(sink);
        let watch = Watch {
            rules: Arc::new(ArcSwap::from_pointee(Rules {
                settings,
                countries: Arc::new(FewCountries),
            })),
            respond: outside.clone(),
            report: outside.clone(),
        };
        watch.run(queue).await;
        std::mem::take(&mut *outside.happened.lock())
    }

    #[tokio::test]
    async fn a_finding_is_acted_on_and_then_reported() {
        let end = |detector: &mut config::Detector| detector.action = Action::EndSession;
        assert_eq!(scene(false, end).await, ["end a", "refresh_reuse end_session"]);
        assert_eq!(scene(false, |_| {}).await, ["refresh_reuse observe"]);
    }

    #[tokio::test]
    async fn a_dry_run_only_tells() {
        let dry = |detector: &mut config::Detector| {
            detector.action = Action::EndSession;
            detector.dry_run = true;
        };
        assert_eq!(scene(false, dry).await, ["refresh_reuse dry_run"]);
    }

    #[tokio::test]
    async fn an_action_that_fails_is_told_as_such() {
        let end = |detector: &mut config::Detector| detector.action = Action::EndSession;
        let told = "refresh_reuse failed: a detector's action failed: disk full";
        assert_eq!(scene(true, end).await, [told]);
    }

    #[tokio::test]
    async fn below_the_threshold_nothing_is_told() {
        assert_eq!(scene(false, |detector| detector.threshold = 2).await, [""; 0]);
    }

    #[test]
    fn telling_never_waits_and_counts_what_it_drops() {
        let (sink, queue) = queue(2);
        for _ in 0..5 {
            sink.tell(reuse("a"));
        }
        assert_eq!((sink.dropped(), queue.0.len()), (3, 2));
        drop(queue);
        sink.clone().tell(reuse("a"));
        assert_eq!(sink.dropped(), 4);
    }

    #[test]
    fn the_register_and_the_settings_agree_on_names() {
        let settings = settings(7);
        assert!(DetectorName::ALL.iter().all(|name| name.settings(&settings).threshold == 7));
    }
}
