//! Passes events to the detectors, and findings to those who act on them and count them.
//!
//! A bounded queue separates requests from the detectors. Sending an event never waits: an event that finds the queue full is
//! dropped and counted, because a slow detector must not slow down requests. One task reads the queue, so that detectors see
//! events in order and need no locks. When the last [`EventSink`] is dropped, the task finishes the queued events and ends.
//!
//! Both outputs are ports: [`Respond`] ends sessions, blocks and notifies, [`FindingSink`] receives each finding with the
//! actions taken. A finding is reported after its actions, so an audit line that says `end_session` is true when it is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::history::History;
use super::respond::{ResponseStep, TakenAction, steps};
use super::restraint::{Restraint, RestraintVerdict};
use super::silence::Silences;
use super::{Detectors, Finding, Subject, Surroundings};
use crate::block::{Block, BlockSubject, BlockedBy, Demand};
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::config;
use crate::event::Event;
use crate::geo::Places;
use crate::notify::Incident;
use crate::store::SessionSelection;
use crate::store::counters::Counters;
use crate::wire::client_ip::TrustedProxies;

/// Longer than any session lives: the block of a session is removed together with it.
const LONGER_THAN_A_SESSION: Duration = Duration::from_secs(366 * 86_400);

/// The sending half of the queue of events. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EventSink {
    queue: Sender<Event>,
    dropped: Arc<AtomicU64>,
}

/// The receiving half, for [`DetectionParts::run`].
#[derive(Debug)]
pub struct EventQueue(Receiver<Event>);

/// Performs the actions that a finding requires.
#[async_trait]
pub trait Respond: Send + Sync {
    /// Ends sessions, at once and for good, on behalf of a detector. Sessions that have already ended are no failure.
    async fn end(&self, which: &SessionSelection, at: Timestamp) -> Result<(), NotDone>;

    /// Blocks a subject for a time, or demands something of it. Returns false if there are too many blocks.
    async fn block(&self, block: Block) -> Result<bool, NotDone>;

    /// Returns the live sessions of a user, newest first; none if the store fails.
    async fn sessions(&self, user: &UserKey, at: Timestamp) -> Vec<SessionId>;

    /// Returns the groups of a user who is signed in; none if the user is not.
    async fn groups(&self, user: &UserKey, at: Timestamp) -> Vec<String>;

    /// Whether this user has a second factor that the gateway can ask for; false if that is unknown.
    async fn has_second_factor(&self, user: &UserKey, at: Timestamp) -> bool;

    /// Notifies those concerned. Never waits.
    fn notify(&self, incident: Incident);
}

/// An action failed. The text is for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a detector's action failed: {0}")]
pub struct NotDone(pub String);

/// Receives findings.
pub trait FindingSink: Send + Sync {
    /// Receives a finding, and at least one action taken. `failure` is present if an action is [`TakenAction::Failed`].
    fn finding(&self, finding: &Finding, taken: &[TakenAction], failure: Option<&NotDone>);
}

/// Passes each finding to all of them.
impl FindingSink for Vec<Arc<dyn FindingSink>> {
    fn finding(&self, finding: &Finding, taken: &[TakenAction], failure: Option<&NotDone>) {
        for one in self {
            one.finding(finding, taken, failure);
        }
    }
}

/// The rules of the detectors. They can be replaced at any time; the counters stay.
pub struct DetectorRules {
    /// The settings of the detectors, with the actions for findings.
    pub settings: config::Detect,
    /// The locations of addresses.
    pub places: Arc<dyn Places>,
    /// The proxies whose addresses are never blocked.
    pub trusted: TrustedProxies,
}

/// The detectors, with all that they depend on.
pub struct DetectionParts {
    /// The rules in force.
    pub rules: Arc<ArcSwap<DetectorRules>>,
    /// The silences.
    pub silences: Arc<Silences>,
    /// The history of users, which outlives a restart.
    pub history: Arc<History>,
    /// The counters of the detectors, and of how often each of them acts.
    pub counters: Arc<dyn Counters>,
    /// Performs the actions.
    pub respond: Arc<dyn Respond>,
    /// Receives the findings.
    pub report: Arc<dyn FindingSink>,
}

/// The running detectors, with their state.
pub struct Detection {
    watch: DetectionParts,
    detectors: Detectors,
    restraint: Restraint,
}

/// Returns both halves of a queue for `capacity` events, at least one.
pub fn queue(capacity: usize) -> (EventSink, EventQueue) {
    let (sender, receiver) = mpsc::channel(capacity.clamp(1, Semaphore::MAX_PERMITS));
    (EventSink { queue: sender, dropped: Arc::default() }, EventQueue(receiver))
}

impl EventSink {
    /// Sends an event. Never waits: if the queue is full, the event is dropped and counted.
    pub fn tell(&self, event: Event) {
        if self.queue.try_send(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the number of events that were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Detection {
    /// Creates detectors that have seen nothing yet.
    pub fn new(watch: DetectionParts) -> Self {
        Self { watch, detectors: Detectors::default(), restraint: Restraint::default() }
    }

    /// Passes one event to the detectors, and acts on their findings.
    pub async fn show(&mut self, event: &Event) {
        let rules = self.watch.rules.load_full();
        let sessions = match event.what.began() {
            Some(user) => self.watch.respond.sessions(user, event.at).await,
            None => Vec::new(),
        };
        let (history, places) = (&*self.watch.history, &*rules.places);
        let counters = &*self.watch.counters;
        let around = Surroundings { places, history, counters, sessions: &sessions };
        for finding in self.detectors.observe(event, &around, &rules.settings).await {
            self.watch.handle(&finding, &rules, &self.restraint).await;
        }
        if let Err(error) = history.keep().await {
            tracing::warn!(%error, "the detectors' history of users could not be stored yet; it is tried again");
        }
    }
}

impl DetectionParts {
    /// Passes events to the detectors until all senders are gone.
    pub async fn run(self, mut queue: EventQueue) {
        let mut watching = Detection::new(self);
        while let Some(event) = queue.0.recv().await {
            watching.show(&event).await;
        }
    }

    async fn handle(&self, finding: &Finding, rules: &DetectorRules, restraint: &Restraint) {
        let settings = finding.detector.settings(&rules.settings);
        let mut steps = steps(finding, settings, &rules.trusted);
        let mut taken = Vec::with_capacity(steps.len());
        let mut failure = None;
        if self.is_exempt(finding, settings).await {
            (taken, steps) = (vec![TakenAction::Exempt], Vec::new());
        } else if self.silences.cover(finding) {
            (taken, steps) = (vec![TakenAction::Silenced], Vec::new());
        } else if settings.dry_run {
            (taken, steps) = (vec![TakenAction::DryRun], Vec::new());
        } else if steps.iter().any(|step| *step != ResponseStep::Notify) {
            // The channels, not the restraint, prevent that a recipient is notified of the same thing again.
            let most = rules.settings.actions_per_hour;
            match restraint.judge(&*self.counters, finding, settings, most).await {
                RestraintVerdict::Act => {}
                RestraintVerdict::Cooling => steps.retain(|step| *step == ResponseStep::Notify),
                RestraintVerdict::Bounded => {
                    steps.retain(|step| *step == ResponseStep::Notify);
                    taken.push(TakenAction::Bounded);
                }
            }
        }
        for step in steps {
            match self.act(finding, settings, &step, &taken, &*rules.places).await {
                Ok(()) => taken.push(step.taken()),
                Err(not_done) => {
                    taken.push(TakenAction::Failed);
                    failure = Some(not_done);
                }
            }
        }
        if taken.is_empty() {
            taken.push(TakenAction::Observe);
        }
        self.report.finding(finding, &taken, failure.as_ref());
    }

    async fn is_exempt(&self, finding: &Finding, settings: &config::DetectorSettings) -> bool {
        let Some(user) = &finding.user else { return false };
        if settings.exempts_user(&user.to_string()) {
            return true;
        }
        settings.exempts_groups()
            && self
                .respond
                .groups(user, finding.at)
                .await
                .iter()
                .any(|group| settings.exempts_group(group))
    }

    /// Performs one action. `before`: the actions already taken.
    async fn act(
        &self,
        finding: &Finding,
        settings: &config::DetectorSettings,
        step: &ResponseStep,
        before: &[TakenAction],
        places: &dyn Places,
    ) -> Result<(), NotDone> {
        match step {
            ResponseStep::Notify => {
                self.respond.notify(incident(finding, before, places));
                Ok(())
            }
            ResponseStep::EndSession(session) => {
                self.respond.end(&SessionSelection::Session(session.clone()), finding.at).await
            }
            ResponseStep::EndUserSessions(user) => {
                self.respond.end(&SessionSelection::User(user.clone()), finding.at).await
            }
            ResponseStep::StepUp(session) => self.step_up(finding, session).await,
            ResponseStep::Limit(subject) => {
                let demand = Demand::SlowDown;
                self.block(block(finding, subject.clone(), demand, settings.duration)).await
            }
            ResponseStep::BlockAddress(network) => {
                let subject = BlockSubject::address(*network);
                self.block(block(finding, subject, Demand::StayAway, settings.duration)).await
            }
        }
    }

    async fn block(&self, block: Block) -> Result<(), NotDone> {
        match self.respond.block(block).await? {
            true => Ok(()),
            false => Err(NotDone("there are too many blocks".into())),
        }
    }

    /// A user with a second factor has to confirm it and continues; all others sign in again. The demand holds as long as the
    /// session. If there are too many blocks, the session ends instead, which is no weaker.
    async fn step_up(&self, finding: &Finding, session: &SessionId) -> Result<(), NotDone> {
        let subject = BlockSubject::Session(session.clone());
        let has_factor = match &finding.user {
            Some(user) => self.respond.has_second_factor(user, finding.at).await,
            None => false,
        };
        let demand = if has_factor { Demand::Confirm } else { Demand::SignIn };
        match self.respond.block(block(finding, subject, demand, LONGER_THAN_A_SESSION)).await? {
            true => Ok(()),
            false => {
                self.respond.end(&SessionSelection::Session(session.clone()), finding.at).await
            }
        }
    }
}

fn block(finding: &Finding, subject: BlockSubject, demand: Demand, duration: Duration) -> Block {
    Block {
        subject,
        demand,
        by: BlockedBy::Detector,
        reason: finding.detector.name().into(),
        at: finding.at,
        until: finding.at.plus(duration),
    }
}

fn incident(finding: &Finding, taken: &[TakenAction], places: &dyn Places) -> Incident {
    Incident {
        detector: finding.detector.name(),
        at: finding.at,
        user: finding.user.clone(),
        // A finding about several sessions of one user is one incident.
        session: finding.session.clone().filter(|_| !matches!(finding.subject, Subject::User(_))),
        about: match &finding.subject {
            Subject::Session(_) | Subject::User(_) => None,
            other => Some(other.to_string().into()),
        },
        client: finding.client,
        country: finding.client.and_then(|client| places.country(client)),
        agent: finding.agent.clone().unwrap_or_default(),
        actions: taken
            .iter()
            .map(|taken| taken.name())
            .chain([TakenAction::Notify.name()])
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::super::DetectorName;
    use super::super::testing::{FewCountries, at, event, history, session, settings};
    use super::*;
    use crate::config::{Action, Exempt};
    use crate::event::EventKind;
    use crate::store::counters::memory::CountersInMemory;
    use crate::store::counters::testing::FailingCounters;

    /// Records the actions and findings in one list, in order.
    #[derive(Default)]
    struct Outside {
        happened: Mutex<Vec<String>>,
        down: bool,
        full: bool,
        has_factor: bool,
    }

    impl Outside {
        fn note(&self, text: String) -> Result<(), NotDone> {
            if self.down {
                return Err(NotDone("disk full".into()));
            }
            self.happened.lock().push(text);
            Ok(())
        }
    }

    #[async_trait]
    impl Respond for Outside {
        async fn end(&self, which: &SessionSelection, _: Timestamp) -> Result<(), NotDone> {
            self.note(match which {
                SessionSelection::Session(session) => format!("end {session}"),
                SessionSelection::User(user) => format!("end all of {user}"),
                SessionSelection::OthersOf { user, kept } => {
                    format!("end all of {user} but {kept}")
                }
                SessionSelection::SignIns { user, kept } => {
                    format!("end the sign-ins of {user} but {kept:?}")
                }
            })
        }

        async fn block(&self, block: Block) -> Result<bool, NotDone> {
            let (subject, demand) = (&block.subject, block.demand.name());
            let seconds = block.until.since(block.at).as_secs();
            if self.full {
                return Ok(false);
            }
            self.note(format!("{demand} {subject} {seconds} {}", block.reason)).map(|()| true)
        }

        async fn sessions(&self, _: &UserKey, _: Timestamp) -> Vec<SessionId> {
            Vec::new()
        }

        async fn groups(&self, _: &UserKey, _: Timestamp) -> Vec<String> {
            vec!["robots".into()]
        }

        async fn has_second_factor(&self, _: &UserKey, _: Timestamp) -> bool {
            self.has_factor
        }

        fn notify(&self, incident: Incident) {
            let what = format!("tell {} {}", incident.detector, incident.actions.join("+"));
            self.happened.lock().push(what);
        }
    }

    impl FindingSink for Outside {
        fn finding(&self, finding: &Finding, taken: &[TakenAction], failure: Option<&NotDone>) {
            assert!(matches!(finding.subject, Subject::Session(_)));
            let failure = failure.map(|failure| format!(": {failure}")).unwrap_or_default();
            let taken: Vec<&str> = taken.iter().map(|taken| taken.name()).collect();
            let (detector, taken) = (finding.detector.name(), taken.join(","));
            self.happened.lock().push(format!("{detector} {taken}{failure}"));
        }
    }

    fn reuse(name: &str) -> Event {
        let (session, user) = session(name);
        event(at(0), "1.1.1.1", EventKind::RefreshReused { session, user })
    }

    /// Returns what happened outside when one refresh token was reused.
    async fn scene(
        outside: Outside,
        set: impl FnOnce(&mut config::DetectorSettings),
    ) -> Vec<String> {
        played(outside, set, &[reuse("a")]).await
    }

    async fn played(
        outside: Outside,
        set: impl FnOnce(&mut config::DetectorSettings),
        events: &[Event],
    ) -> Vec<String> {
        counted(CountersInMemory::new(), outside, set, events).await
    }

    async fn counted(
        counters: Arc<dyn Counters>,
        outside: Outside,
        set: impl FnOnce(&mut config::DetectorSettings),
        events: &[Event],
    ) -> Vec<String> {
        let mut settings = settings(1);
        settings.actions_per_hour = 3;
        set(&mut settings.refresh_reuse);
        let outside = Arc::new(outside);
        let (sink, queue) = queue(settings.queue);
        events.iter().cloned().for_each(|event| sink.tell(event));
        drop(sink);
        let watch = DetectionParts {
            rules: Arc::new(ArcSwap::from_pointee(DetectorRules {
                settings,
                places: Arc::new(FewCountries),
                trusted: TrustedProxies::default(),
            })),
            silences: Arc::default(),
            history: Arc::new(history()),
            counters,
            respond: outside.clone(),
            report: outside.clone(),
        };
        watch.run(queue).await;
        std::mem::take(&mut *outside.happened.lock())
    }

    fn doing(actions: &[Action]) -> impl FnOnce(&mut config::DetectorSettings) + use<> {
        let actions = actions.to_vec();
        |detector: &mut config::DetectorSettings| detector.actions = actions
    }

    #[tokio::test]
    async fn a_finding_is_acted_on_and_then_reported() {
        use Action::*;
        let year = 366 * 86_400;
        for (actions, happened) in [
            (&[Observe][..], vec!["refresh_reuse observe".to_owned()]),
            (&[EndSession], vec!["end a".into(), "refresh_reuse end_session".into()]),
            (
                &[EndUserSessions],
                vec!["end all of django/1".into(), "refresh_reuse end_user_sessions".into()],
            ),
            (
                &[StepUp],
                vec![format!("sign_in a {year} refresh_reuse"), "refresh_reuse step_up".into()],
            ),
            (&[Limit], vec!["slow_down a 600 refresh_reuse".into(), "refresh_reuse limit".into()]),
            (
                &[Notify, BlockAddress],
                vec![
                    "stay_away 1.1.1.1 600 refresh_reuse".into(),
                    "tell refresh_reuse block_address+notify".into(),
                    "refresh_reuse block_address,notify".into(),
                ],
            ),
        ] {
            assert_eq!(scene(Outside::default(), doing(actions)).await, happened);
        }
    }

    #[tokio::test]
    async fn whoever_has_a_second_factor_is_asked_for_that_alone() {
        let outside = Outside { has_factor: true, ..Outside::default() };
        let told = scene(outside, doing(&[Action::StepUp])).await;
        let asked = format!("confirm a {} refresh_reuse", 366 * 86_400);
        assert_eq!(told, [asked.as_str(), "refresh_reuse step_up"]);
    }

    #[tokio::test]
    async fn a_dry_run_only_tells() {
        let dry = |detector: &mut config::DetectorSettings| {
            detector.actions = vec![Action::EndSession, Action::Notify];
            detector.dry_run = true;
        };
        assert_eq!(scene(Outside::default(), dry).await, ["refresh_reuse dry_run"]);
    }

    #[tokio::test]
    async fn an_action_that_fails_is_told_as_such_and_the_others_are_taken() {
        let down = Outside { down: true, ..Outside::default() };
        let told = scene(down, doing(&[Action::EndSession, Action::Notify])).await;
        assert_eq!(
            told,
            [
                "tell refresh_reuse failed+notify",
                "refresh_reuse failed,notify: a detector's action failed: disk full"
            ]
        );
    }

    #[tokio::test]
    async fn without_room_a_session_ends_rather_than_being_left_alone() {
        let full = || Outside { full: true, ..Outside::default() };
        let told = scene(full(), doing(&[Action::StepUp])).await;
        assert_eq!(told, ["end a", "refresh_reuse step_up"]);
        let told = scene(full(), doing(&[Action::BlockAddress])).await;
        let why = "refresh_reuse failed: a detector's action failed: there are too many blocks";
        assert_eq!(told, [why]);
    }

    #[tokio::test]
    async fn below_the_threshold_nothing_is_told() {
        let told = scene(Outside::default(), |detector| detector.threshold = 2).await;
        assert_eq!(told, [""; 0]);
    }

    #[tokio::test]
    async fn who_is_exempt_is_left_alone() {
        let network = Exempt::Network("1.1.1.0/24".parse().unwrap());
        for (exempt, told) in [
            (Exempt::User("django/1".into()), "refresh_reuse exempt"),
            (Exempt::User("django/2".into()), "refresh_reuse observe"),
            (Exempt::Group("robots".into()), "refresh_reuse exempt"),
            (Exempt::Group("people".into()), "refresh_reuse observe"),
            (Exempt::Network("9.9.9.9/32".parse().unwrap()), "refresh_reuse observe"),
            (Exempt::Agent("curl".into()), "refresh_reuse observe"),
        ] {
            let set = |detector: &mut config::DetectorSettings| detector.exempt = vec![exempt];
            assert_eq!(scene(Outside::default(), set).await, [told]);
        }
        // The detector ignores these events.
        for exempt in [network, Exempt::Agent("Monitor".into())] {
            let set = |detector: &mut config::DetectorSettings| detector.exempt = vec![exempt];
            assert_eq!(scene(Outside::default(), set).await, [""; 0]);
        }
    }

    #[tokio::test]
    async fn within_the_cool_down_nothing_is_done_again() {
        let set = |detector: &mut config::DetectorSettings| {
            detector.actions = vec![Action::EndSession];
            detector.cooldown = Duration::from_secs(60);
        };
        let events = [reuse("a"), reuse("b"), reuse("a")];
        let told = played(Outside::default(), set, &events).await;
        let (end, observe) = ("refresh_reuse end_session", "refresh_reuse observe");
        assert_eq!(told, ["end a", end, "end b", end, observe]);
    }

    #[tokio::test]
    async fn where_actions_cannot_be_counted_each_is_taken_once_and_not_all_are() {
        let set = |detector: &mut config::DetectorSettings| {
            detector.actions = vec![Action::EndSession];
            detector.cooldown = Duration::from_secs(60);
        };
        let cannot = FailingCounters::where_it(|scope| scope.name.starts_with("actions"));
        let events = ["a", "b", "a", "c", "d"].map(reuse);
        let told = counted(cannot, Outside::default(), set, &events).await;
        let (end, observe) = ("refresh_reuse end_session", "refresh_reuse observe");
        let bounded = "refresh_reuse bounded";
        assert_eq!(told, ["end a", end, "end b", end, observe, "end c", end, bounded]);
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
