use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::super::testing::{PACE, incident};
use super::super::{
    Deliver, Incident, IncidentReply, NewsKind, NewsSink, Notices, ToldIncident, queue,
};
use super::*;
use crate::clock::SystemClock;
use crate::store::StoreError;
use crate::store::memory::Memory;

/// A receiver that answers as configured, and stores what it got.
#[derive(Default)]
struct Receiver {
    got: Mutex<Vec<Parcel>>,
    /// The number of attempts that fail first.
    fails: AtomicUsize,
    /// The answer after that; `None` means sent.
    says: Mutex<Option<Delivery>>,
}

#[async_trait::async_trait]
impl Deliver for Receiver {
    async fn deliver(&self, parcel: &Parcel) -> Delivery {
        self.got.lock().push(parcel.clone());
        let less = |fails: usize| fails.checked_sub(1);
        if self.fails.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            return Delivery::Again("down".into(), None);
        }
        self.says.lock().clone().unwrap_or(Delivery::Sent)
    }
}

impl Receiver {
    fn sessions(&self) -> Vec<String> {
        let session = |parcel: &Parcel| match &parcel.news {
            News::Incident(told) => told.session.clone().unwrap_or_default(),
            other => other.kind().name().to_owned(),
        };
        self.got.lock().iter().map(session).collect()
    }
}

#[derive(Default)]
struct Counts(Mutex<BTreeMap<(String, &'static str), u64>>);

impl Counting for Counts {
    fn outcome(&self, channel: &str, outcome: DeliveryOutcome) {
        *self.0.lock().entry((channel.to_owned(), outcome.name())).or_default() += 1;
    }

    fn waiting(&self, _: &str, _: u64) {}
}

impl Counts {
    fn of(&self, channel: &str, outcome: DeliveryOutcome) -> u64 {
        *self.0.lock().get(&(channel.to_owned(), outcome.name())).unwrap_or(&0)
    }
}

/// A worker with a receiver for each name, and a store in memory.
struct Scene {
    sink: NewsSink,
    store: Arc<Memory>,
    receivers: Vec<Arc<Receiver>>,
    channels: watch::Sender<Arc<Channels>>,
    counts: Arc<Counts>,
    stop: watch::Sender<bool>,
    running: tokio::task::JoinHandle<()>,
}

/// Backoff in milliseconds, so that no test takes long.
const QUICK: Pace = Pace {
    first_retry: Duration::from_millis(5),
    longest_retry: Duration::from_millis(20),
    ..PACE
};

fn channels(names: &[&str], receivers: &[Arc<Receiver>], pace: Pace) -> Arc<Channels> {
    let all = names.iter().zip(receivers).map(|(name, receiver)| {
        let kinds = vec![NewsKind::Incident, NewsKind::Answered];
        let timeout = Duration::from_millis(200);
        Channel::new(name, kinds, timeout, Arc::clone(receiver) as Arc<dyn Deliver>)
    });
    Arc::new(Channels { all: all.collect(), pace })
}

fn scene(names: &[&str], pace: Pace) -> Scene {
    on(Memory::new(), names, pace)
}

fn on(store: Arc<Memory>, names: &[&str], pace: Pace) -> Scene {
    let receivers: Vec<_> = names.iter().map(|_| Arc::<Receiver>::default()).collect();
    let (channels, watched) = watch::channel(channels(names, &receivers, pace));
    let (stop, stopped) = watch::channel(false);
    let (sink, queue) = queue();
    let counts = Arc::<Counts>::default();
    let worker = Worker {
        outbox: Arc::clone(&store) as Arc<dyn Outbox>,
        channels: watched,
        counting: Arc::clone(&counts) as Arc<dyn Counting>,
        clock: Arc::new(SystemClock),
    };
    let running = tokio::spawn(worker.run(queue, stopped));
    Scene { sink, store, receivers, channels, counts, stop, running }
}

impl Scene {
    fn tell(&self, sessions: &[&str]) {
        for session in sessions {
            let incident = incident("refresh_reuse", Some(session), Some("7"));
            self.sink.tell(Incident { at: SystemClock.now(), ..incident });
        }
    }

    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..2_000 {
            if is_so(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it never was: {:?}", self.counts.0.lock());
    }

    async fn stopped(self) -> Arc<Memory> {
        self.stop.send_replace(true);
        self.running.await.unwrap();
        self.store
    }
}

#[tokio::test]
async fn every_channel_is_told_once_with_an_id_of_its_own() {
    let scene = scene(&["a", "b"], QUICK);
    scene.tell(&["s1", "s2"]);
    scene.until(|scene| scene.receivers.iter().all(|one| one.got.lock().len() == 2)).await;
    let mut ids = std::collections::BTreeSet::new();
    let mut incidents = std::collections::BTreeSet::new();
    for receiver in &scene.receivers {
        for parcel in receiver.got.lock().iter() {
            ids.insert(parcel.id.clone());
            if let News::Incident(told) = &parcel.news {
                incidents.insert(told.id.clone());
            }
        }
    }
    assert_eq!((ids.len(), incidents.len()), (4, 2), "an incident has one id in all channels");
    scene.until(|scene| scene.counts.of("a", DeliveryOutcome::Sent) == 2).await;
}

#[tokio::test]
async fn a_hundred_of_the_same_are_one_message() {
    let scene = scene(&["a"], QUICK);
    scene.tell(&["s1"; 100]);
    scene.tell(&["s2"]);
    scene.until(|scene| scene.counts.of("a", DeliveryOutcome::Sent) == 2).await;
    assert_eq!(scene.counts.of("a", DeliveryOutcome::Repeated), 99);
    assert_eq!(scene.receivers[0].sessions(), ["s1", "s2"]);
}

#[tokio::test]
async fn a_receiver_that_fails_is_tried_again_with_the_same_id_and_stops_no_other() {
    let scene = scene(&["bad", "good"], QUICK);
    scene.receivers[0].fails.store(4, Ordering::SeqCst);
    scene.tell(&["s1"]);
    scene.until(|scene| scene.counts.of("good", DeliveryOutcome::Sent) == 1).await;
    scene.until(|scene| scene.counts.of("bad", DeliveryOutcome::Sent) == 1).await;
    assert_eq!(scene.counts.of("bad", DeliveryOutcome::Retried), 4);
    let got = scene.receivers[0].got.lock();
    assert_eq!(got.len(), 5);
    assert!(got.iter().all(|parcel| parcel.id == got[0].id));
}

#[tokio::test]
async fn while_a_channel_fails_one_message_is_its_probe() {
    let scene = scene(&["bad"], QUICK);
    scene.receivers[0].fails.store(20, Ordering::SeqCst);
    scene.tell(&["s1", "s2", "s3", "s4", "s5", "s6"]);
    scene.until(|scene| scene.counts.of("bad", DeliveryOutcome::Sent) == 6).await;
    // The first round may try all six; each later one tries one until one succeeds.
    assert_eq!(scene.counts.of("bad", DeliveryOutcome::Retried), 20);
    assert_eq!(scene.receivers[0].got.lock().len(), 26);
}

#[tokio::test]
async fn what_is_too_old_or_can_never_be_sent_is_given_up() {
    let pace = Pace { give_up_after: Duration::from_millis(30), ..QUICK };
    let scene = scene(&["down", "gone", "nobody"], pace);
    scene.receivers[0].fails.store(usize::MAX, Ordering::SeqCst);
    *scene.receivers[1].says.lock() = Some(Delivery::Never("410 Gone".into()));
    *scene.receivers[2].says.lock() = Some(Delivery::NoAddress);
    scene.tell(&["s1"]);
    for (channel, outcome) in [
        ("down", DeliveryOutcome::GivenUp),
        ("gone", DeliveryOutcome::GivenUp),
        ("nobody", DeliveryOutcome::NoAddress),
    ] {
        scene.until(|scene| scene.counts.of(channel, outcome) == 1).await;
    }
    assert_eq!(scene.receivers[1].got.lock().len(), 1);
    let store = scene.stopped().await;
    for channel in ["down", "gone", "nobody"] {
        assert_eq!(store.waiting_messages(channel).await, Ok(0), "{channel}");
    }
}

#[tokio::test]
async fn past_its_bound_the_oldest_is_dropped_and_counted() {
    let pace = Pace { queue: 3, first_retry: Duration::from_secs(600), ..PACE };
    let pace = Pace { longest_retry: Duration::from_secs(600), ..pace };
    let scene = scene(&["down"], pace);
    scene.receivers[0].fails.store(usize::MAX, Ordering::SeqCst);
    scene.tell(&["s1"]);
    scene.until(|scene| scene.counts.of("down", DeliveryOutcome::Retried) == 1).await;
    scene.tell(&["s2", "s3", "s4", "s5"]);
    scene.until(|scene| scene.counts.of("down", DeliveryOutcome::Queued) == 5).await;
    assert_eq!(scene.counts.of("down", DeliveryOutcome::Dropped), 2);
    assert_eq!(scene.store.waiting_messages("down").await, Ok(3));
}

#[tokio::test]
async fn what_waits_is_sent_by_the_next_worker() {
    let pace = Pace { first_retry: Duration::from_secs(600), ..PACE };
    let first = scene(&["a"], Pace { longest_retry: Duration::from_secs(600), ..pace });
    first.receivers[0].fails.store(usize::MAX, Ordering::SeqCst);
    first.tell(&["s1"]);
    first.until(|scene| scene.counts.of("a", DeliveryOutcome::Retried) == 1).await;
    // Queued behind the failing one, and never tried.
    first.tell(&["s2", "s3"]);
    let store = first.stopped().await;
    assert_eq!(store.waiting_messages("a").await, Ok(3), "what was in memory is in the store");

    let second = on(store, &["a"], QUICK);
    second.until(|scene| scene.counts.of("a", DeliveryOutcome::Sent) == 2).await;
    assert_eq!(second.receivers[0].sessions(), ["s2", "s3"]);
}

#[tokio::test]
async fn another_configuration_takes_the_place_of_the_one_before() {
    let scene = scene(&["a"], QUICK);
    scene.tell(&["s1"]);
    scene.until(|scene| scene.counts.of("a", DeliveryOutcome::Sent) == 1).await;
    let receivers: Vec<_> = (0..2).map(|_| Arc::<Receiver>::default()).collect();
    scene.channels.send_replace(channels(&["a", "b"], &receivers, QUICK));
    scene.tell(&["s2"]);
    scene.until(|scene| scene.counts.of("a", DeliveryOutcome::Sent) == 2).await;
    scene.until(|scene| scene.counts.of("b", DeliveryOutcome::Sent) == 1).await;
    assert_eq!(scene.receivers[0].sessions(), ["s1"]);
    assert!(receivers.iter().all(|receiver| receiver.sessions() == ["s2"]));
}

#[tokio::test]
async fn a_channel_hears_only_what_it_asked_for() {
    let scene = scene(&["a"], QUICK);
    let user = crate::caller::UserKey::new("django", "7");
    scene.sink.password_changed(&user, SystemClock.now());
    let told = ToldIncident::new("i".into(), &incident("refresh_reuse", Some("s1"), Some("7")));
    let at = SystemClock.now().as_millis();
    for _ in 0..2 {
        let answered = IncidentReply { incident: told.clone(), was_me: false, ended: 1, at };
        scene.sink.answered(answered);
    }
    scene.tell(&["s1"]);
    scene.until(|scene| scene.receivers[0].got.lock().len() >= 2).await;
    assert_eq!(scene.receivers[0].sessions()[0], "incident.answered");
    assert_eq!(scene.receivers[0].sessions().last().unwrap(), "s1");
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_one_that_failed() {
    struct Silent;

    #[async_trait::async_trait]
    impl Deliver for Silent {
        async fn deliver(&self, _: &Parcel) -> Delivery {
            std::future::pending().await
        }
    }

    let scene = scene(&[], QUICK);
    let timeout = Duration::from_millis(20);
    let silent = Channel::new("silent", vec![NewsKind::Incident], timeout, Arc::new(Silent));
    scene.channels.send_replace(Arc::new(Channels { all: vec![silent], pace: QUICK }));
    scene.tell(&["s1"]);
    scene.until(|scene| scene.counts.of("silent", DeliveryOutcome::Retried) >= 2).await;
}

/// An outbox that fails for a while.
struct Flaky {
    store: Arc<Memory>,
    fails: AtomicUsize,
}

#[async_trait::async_trait]
impl Outbox for Flaky {
    async fn put_messages(
        &self,
        messages: Vec<NewMessage>,
        bound: u32,
    ) -> Result<Vec<Queued>, StoreError> {
        let less = |fails: usize| fails.checked_sub(1);
        if self.fails.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            return Err(StoreError("disk full".into()));
        }
        self.store.put_messages(messages, bound).await
    }

    async fn claim_messages(&self, claim: Claim) -> Result<Vec<OutboxMessage>, StoreError> {
        self.store.claim_messages(claim).await
    }

    async fn settle_message(&self, id: &str, settled: Settled) -> Result<(), StoreError> {
        self.store.settle_message(id, settled).await
    }

    async fn waiting_messages(&self, channel: &str) -> Result<u64, StoreError> {
        self.store.waiting_messages(channel).await
    }
}

#[tokio::test]
async fn news_outlives_a_store_that_is_down() {
    let flaky = Arc::new(Flaky { store: Memory::new(), fails: AtomicUsize::new(2) });
    let receiver = Arc::<Receiver>::default();
    let (_channels, watched) =
        watch::channel(channels(&["a"], std::slice::from_ref(&receiver), QUICK));
    let (_stop, stopped) = watch::channel(false);
    let (sink, queue) = queue();
    let worker = Worker {
        outbox: Arc::clone(&flaky) as Arc<dyn Outbox>,
        channels: watched,
        counting: Arc::<Counts>::default(),
        clock: Arc::new(SystemClock),
    };
    tokio::spawn(worker.run(queue, stopped));
    sink.tell(incident("refresh_reuse", Some("s1"), None));
    for _ in 0..2_000 {
        if receiver.got.lock().len() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it was lost");
}
