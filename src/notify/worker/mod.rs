//! The worker: writes news to the outbox, and sends the messages that are due.
//!
//! ```text
//! NewsSink -> queue in memory -> outbox in the store -> one loop for each channel -> webhook, mail, ...
//! ```
//!
//! It has a thread and a runtime of its own, so that no receiver, however slow, takes time from requests. If the store fails,
//! the worker holds the news and retries; meanwhile the queue in memory fills, and what does not fit is dropped.
//!
//! A loop claims the messages that are due for longer than an attempt may take, tries to send them, and records the results. If
//! the process is killed in between, the claim expires: a message is delivered at least once, and a repetition has the same id.
//! While a channel fails, it tries one message at a time, so that a receiver that is down costs one attempt per backoff and not
//! one per message.

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

/// The most messages of one channel that are sent at a time.
const AT_A_TIME: u32 = 8;
/// How often a channel checks whether a message is due.
const TICK: Duration = Duration::from_secs(1);
/// How much longer than an attempt a claim lasts.
const MARGIN: Duration = Duration::from_secs(15);
/// How long the worker waits before it retries a failed store.
const STORE_RETRY: Duration = Duration::from_millis(500);
/// The most news in one write.
const BATCH: usize = 128;

/// What happened to a message, for the metrics.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DeliveryOutcome {
    /// The message was queued.
    Queued,
    /// An equal message was queued within the cool-down.
    Repeated,
    /// The message was dropped from a full queue, unsent.
    Dropped,
    /// The message was sent.
    Sent,
    /// An attempt failed, and will be repeated.
    Retried,
    /// The message waits because its recipient has reached the limit for now.
    Deferred,
    /// The message was given up.
    GivenUp,
    /// There is no recipient.
    NoAddress,
}

/// Counts messages.
pub trait Counting: Send + Sync {
    /// Counts one more message with this outcome in this channel.
    fn outcome(&self, channel: &str, outcome: DeliveryOutcome);
    /// Sets the number of messages that wait in this channel.
    fn waiting(&self, channel: &str, messages: u64);
}

/// The worker: see the head of this module.
pub struct Worker {
    /// The outbox, where messages wait.
    pub outbox: Arc<dyn Outbox>,
    /// The channels, which a reload replaces.
    pub channels: watch::Receiver<Arc<Channels>>,
    /// The metrics.
    pub counting: Arc<dyn Counting>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

impl DeliveryOutcome {
    /// All outcomes.
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

    /// Returns the stable name for metrics.
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
    /// Runs until `stop` is true, then writes what is queued to the outbox and finishes the attempts under way.
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
        // Both end by themselves; the panic hook has reported a panic in one.
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
                    // The store is down, and there is no time left to wait for it.
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

    /// Writes news to the outbox. Returns false if the store failed.
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
                tracing::error!(%error, "messages cannot be stored in the outbox; it is tried again");
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

    /// Returns a message for each channel that sends this kind of news.
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

    /// Sends the messages of one channel that are due, until the channel is no longer configured.
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

    /// Tries to send one message, and returns why the channel failed, if it did.
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
                    Err(_) => Delivery::Again("the delivery took too long".to_owned(), None),
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
                give_up(channel, &message, "its user reached the limit of mails for too long");
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
        // If the result cannot be stored, the message is sent again when the claim expires.
        if let Err(error) = self.outbox.settle_message(&message.id, settled).await {
            tracing::warn!(%error, channel = &*channel.name, "a result cannot be stored; the message may be sent again");
        }
        failed
    }
}

/// The result of a round.
enum Round {
    /// No message was due.
    Idle,
    /// All messages that were due were sent.
    Sent,
    /// An attempt failed; the receiver may have named the time of the next one.
    Failed(Option<Duration>),
}

fn give_up(channel: &Channel, message: &OutboxMessage, reason: &str) {
    let (channel, id, attempts) = (&*channel.name, message.id.as_str(), message.attempts);
    tracing::error!(channel, id, attempts, reason, "a message is given up");
}

#[cfg(test)]
mod tests;
