//! The worker: puts news into the outbox, and sends what is due.
//!
//! ```text
//! NewsSink -> queue in memory -> outbox in the store -> one loop for each channel -> webhook, mail, ...
//! ```
//!
//! It has a thread and a runtime of its own, so that no receiver, however slow, takes time from requests. News that the store
//! does not take are held and tried again; meanwhile the queue in memory fills, and drops what finds it full.
//!
//! A loop claims what is due for longer than an attempt may take, tries it, and says what came of it. Whoever is killed in
//! between leaves a claim that runs out: a message arrives at least once, and a repetition has the same id. While a channel
//! fails, one message at a time is its probe, so that a receiver that is down costs one attempt a wait and not one for each
//! message.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::channel::{Channel, Channels, Delivery, Pace, Parcel};
use super::news::News;
use super::queue::NewsQueue;
use crate::clock::Clock;
use crate::secret::random_id;
use crate::store::outbox::{Claim, NewMessage, Outbox, OutboxMessage, Queued, Settled};

/// How many messages of one channel are under way at a time.
const AT_A_TIME: u32 = 8;
/// How often a channel looks whether something is due.
const TICK: Duration = Duration::from_secs(1);
/// How much longer than an attempt a claim lasts.
const MARGIN: Duration = Duration::from_secs(15);
/// How long the worker holds news before it asks a store that failed again.
const STORE_RETRY: Duration = Duration::from_millis(500);
/// How much news shares one write.
const BATCH: usize = 128;

/// What happened to messages, for the metrics.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DeliveryOutcome {
    /// It waits.
    Queued,
    /// The same was told within the cool-down.
    Repeated,
    /// It was dropped from a full queue, untold.
    Dropped,
    /// It was sent.
    Sent,
    /// An attempt failed; it is tried again.
    Retried,
    /// It waits because its receiver has had enough for now.
    Deferred,
    /// It was given up.
    GivenUp,
    /// There is nobody to send it to.
    NoAddress,
}

/// Counts messages.
pub trait Counting: Send + Sync {
    /// One more in this channel.
    fn outcome(&self, channel: &str, outcome: DeliveryOutcome);
    /// So many wait in this channel now.
    fn waiting(&self, channel: &str, messages: u64);
}

/// See the head of this module.
pub struct Worker {
    /// Where messages wait.
    pub outbox: Arc<dyn Outbox>,
    /// The channels, which a reload replaces.
    pub channels: watch::Receiver<Arc<Channels>>,
    /// Counts.
    pub counting: Arc<dyn Counting>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl DeliveryOutcome {
    /// Every one.
    pub const ALL: &'static [Self] = &[
        Self::Queued,
        Self::Repeated,
        Self::Dropped,
        Self::Sent,
        Self::Retried,
        Self::Deferred,
        Self::GivenUp,
        Self::NoAddress,
    ];

    /// Stable name for metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Repeated => "repeated",
            Self::Dropped => "dropped",
            Self::Sent => "sent",
            Self::Retried => "retried",
            Self::Deferred => "deferred",
            Self::GivenUp => "given_up",
            Self::NoAddress => "no_address",
        }
    }
}

impl Worker {
    /// Works until `stop` says true, and then puts what is queued into the outbox and ends the attempts that are under way.
    pub async fn run(self, queue: NewsQueue, mut stop: watch::Receiver<bool>) {
        let worker = Arc::new(self);
        let mut loops = JoinSet::new();
        let mut channels = worker.channels.clone();
        let taking = tokio::spawn(Arc::clone(&worker).take_in(queue, stop.clone()));
        let mut served: Vec<Arc<Channel>> = Vec::new();
        loop {
            let now = Arc::clone(&channels.borrow_and_update());
            let is_served =
                |channel: &Arc<Channel>| served.iter().any(|one| Arc::ptr_eq(one, channel));
            for channel in now.all.iter().filter(|channel| !is_served(channel)) {
                loops.spawn(Arc::clone(&worker).serve(Arc::clone(channel), stop.clone()));
            }
            served.clone_from(&now.all);
            tokio::select! {
                changed = channels.changed() => if changed.is_err() { break },
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        // Both end by themselves; a panic in one has been reported by its own hook.
        let _ = taking.await;
        while loops.join_next().await.is_some() {}
    }

    async fn take_in(self: Arc<Self>, mut queue: NewsQueue, mut stop: watch::Receiver<bool>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let is_stopping = tokio::select! {
                biased;
                received = queue.0.recv_many(&mut batch, BATCH) => received == 0,
                _ = stop.wait_for(|stop| *stop) => true,
            };
            while !self.put(&batch).await {
                if *stop.borrow() {
                    // The store is gone, and so is the time to wait for it.
                    return;
                }
                tokio::time::sleep(STORE_RETRY).await;
            }
            batch.clear();
            if is_stopping && queue.0.is_empty() {
                return;
            }
        }
    }

    /// Puts news into the outbox. False: the store failed.
    async fn put(&self, batch: &[News]) -> bool {
        let channels = Arc::clone(&self.channels.borrow());
        let mut messages = Vec::new();
        for news in batch {
            messages.extend(self.messages(news, &channels));
        }
        if messages.is_empty() {
            return true;
        }
        let names: Vec<Arc<str>> = messages.iter().map(|new| Arc::clone(&new.channel)).collect();
        let queued = match self.outbox.put_messages(messages, channels.pace.queue).await {
            Ok(queued) => queued,
            Err(error) => {
                tracing::error!(%error, "what is to be told cannot be kept; it is tried again");
                return false;
            }
        };
        for (name, queued) in names.iter().zip(queued) {
            match queued {
                Queued::Waits => self.counting.outcome(name, DeliveryOutcome::Queued),
                Queued::Repeats => self.counting.outcome(name, DeliveryOutcome::Repeated),
                Queued::InPlaceOfOldest => {
                    self.counting.outcome(name, DeliveryOutcome::Queued);
                    self.counting.outcome(name, DeliveryOutcome::Dropped);
                }
            }
        }
        for channel in &channels.all {
            channel.wake.notify_one();
        }
        true
    }

    /// A message for each channel that is told this.
    fn messages(&self, news: &News, channels: &Channels) -> Vec<NewMessage> {
        let mut news = news.clone();
        let Ok(id) = random_id() else { return Vec::new() };
        if let News::Incident(told) = &mut news {
            told.id = id;
        }
        let now = self.clock.now();
        let cool_down = if news.has_cool_down() { channels.pace.cool_down } else { Duration::ZERO };
        let wants = |channel: &&Arc<Channel>| channel.kinds.contains(&news.kind());
        let message = |channel: &Arc<Channel>| {
            Some(NewMessage {
                id: random_id().ok()?,
                channel: Arc::clone(&channel.name),
                key: news.key(),
                body: news.to_body(),
                at: now,
                quiet_until: now.plus(cool_down),
            })
        };
        channels.all.iter().filter(wants).filter_map(message).collect()
    }

    /// Sends what is due in one channel, until it is configured no more.
    async fn serve(self: Arc<Self>, channel: Arc<Channel>, mut stop: watch::Receiver<bool>) {
        let mut failures = 0;
        loop {
            let pace = {
                let channels = self.channels.borrow();
                if !channels.all.iter().any(|one| Arc::ptr_eq(one, &channel)) {
                    return;
                }
                channels.pace
            };
            let pause = match self.round(&channel, pace, failures).await {
                Round::Idle => TICK,
                Round::Sent => {
                    failures = 0;
                    Duration::ZERO
                }
                Round::Failed(after) => {
                    failures += 1;
                    after.unwrap_or_else(|| pace.wait(failures)).min(pace.longest_retry)
                }
            };
            let wake = async {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = channel.wake.notified(), if failures == 0 => {}
                }
            };
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = wake => {}
            }
        }
    }

    async fn round(&self, channel: &Channel, pace: Pace, failures: u32) -> Round {
        let now = self.clock.now();
        let claim = Claim {
            channel: Arc::clone(&channel.name),
            limit: if failures == 0 { AT_A_TIME } else { 1 },
            now,
            until: now.plus(channel.timeout).plus(MARGIN),
        };
        let claimed = match self.outbox.claim_messages(claim).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(%error, channel = &*channel.name, "the outbox cannot be read");
                return Round::Failed(None);
            }
        };
        let is_empty = claimed.is_empty();
        let attempts = claimed.into_iter().map(|message| self.attempt(channel, pace, message));
        let outcomes = join_all(attempts).await;
        if let Ok(waiting) = self.outbox.waiting_messages(&channel.name).await {
            self.counting.waiting(&channel.name, waiting);
        }
        let mut failed =
            outcomes.iter().filter_map(|(reason, after)| Some((reason.as_ref()?, after)));
        match failed.next() {
            Some((reason, after)) => {
                if failures == 0 {
                    let (channel, reason) = (&*channel.name, reason.as_str());
                    tracing::warn!(channel, reason, "a channel fails; its messages wait");
                }
                Round::Failed(*after)
            }
            None if is_empty => Round::Idle,
            None => {
                if failures > 0 {
                    tracing::info!(channel = &*channel.name, "the channel works again");
                }
                Round::Sent
            }
        }
    }

    /// Tries one message, and says why the channel failed, if it did.
    async fn attempt(
        &self,
        channel: &Channel,
        pace: Pace,
        message: OutboxMessage,
    ) -> (Option<String>, Option<Duration>) {
        let now = self.clock.now();
        let delivery = match News::of_body(&message.body) {
            Some(news) => {
                let parcel = Parcel { id: message.id.clone(), news, now };
                let sending = channel.deliver.deliver(&parcel);
                match tokio::time::timeout(channel.timeout, sending).await {
                    Ok(delivery) => delivery,
                    Err(_) => Delivery::Again("it takes too long".to_owned(), None),
                }
            }
            None => Delivery::Never("the message cannot be read".to_owned()),
        };
        let now = self.clock.now();
        let is_old = now.since(message.at) >= pace.give_up_after;
        let (outcome, settled, failed) = match delivery {
            Delivery::Sent => (DeliveryOutcome::Sent, Settled::Done, (None, None)),
            Delivery::NoAddress => (DeliveryOutcome::NoAddress, Settled::Done, (None, None)),
            Delivery::Later(wait) if !is_old => {
                (DeliveryOutcome::Deferred, Settled::Again(now.plus(wait)), (None, None))
            }
            Delivery::Later(_) => {
                give_up(channel, &message, "its receiver had enough for too long");
                (DeliveryOutcome::GivenUp, Settled::Done, (None, None))
            }
            Delivery::Again(reason, after) if !is_old => {
                let wait = pace.wait(message.attempts).max(after.unwrap_or_default());
                let at = now.plus(wait.min(pace.longest_retry));
                (DeliveryOutcome::Retried, Settled::Again(at), (Some(reason), after))
            }
            Delivery::Again(reason, after) => {
                give_up(channel, &message, &reason);
                (DeliveryOutcome::GivenUp, Settled::Done, (Some(reason), after))
            }
            Delivery::Never(reason) => {
                give_up(channel, &message, &reason);
                (DeliveryOutcome::GivenUp, Settled::Done, (None, None))
            }
        };
        self.counting.outcome(&channel.name, outcome);
        // Whoever cannot say so sends it again when the claim has run out.
        if let Err(error) = self.outbox.settle_message(&message.id, settled).await {
            tracing::warn!(%error, channel = &*channel.name, "a message may be sent again");
        }
        failed
    }
}

/// What a round did.
enum Round {
    /// Nothing was due.
    Idle,
    /// Everything that was due.
    Sent,
    /// Something failed; the receiver may have said when to come again.
    Failed(Option<Duration>),
}

fn give_up(channel: &Channel, message: &OutboxMessage, reason: &str) {
    let (channel, id, attempts) = (&*channel.name, message.id.as_str(), message.attempts);
    tracing::error!(channel, id, attempts, reason, "a message is given up");
}

#[cfg(test)]
mod tests;
