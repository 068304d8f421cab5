//! The ports for messages that wait to be sent, and for the questions that users answer.
//!
//! A message waits under its channel until it is delivered or given up. It is claimed for a limited time: if the process that
//! claimed it dies, the message can be claimed again, so it arrives at least once, always with the same id. Each channel has a
//! limit of its own, beyond which its oldest message is dropped, so that a failing channel takes no room from the others.
//!
//! One incident is one message: while its key is known to a channel, a message with the same key is a repetition. The key stays
//! known while the message waits, and until the end of its cool-down.
//!
//! The [`Questions`] port stores what a user was asked, under the hash of the secret in the link that they were sent.

use std::sync::Arc;

use async_trait::async_trait;

use super::StoreError;
use crate::clock::Timestamp;
use crate::secret::Digest;

mod memory;

pub(super) use memory::Outgoing;

/// A message to send.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// The message's id, new and random; the same in each attempt, so that a receiver can detect a repetition.
    pub id: String,
    /// The channel that sends it.
    pub channel: Arc<str>,
    /// The key of the incident: another message with this key is a repetition.
    pub key: Digest,
    /// The data for the channel; opaque to the store.
    pub body: Vec<u8>,
    /// The current time.
    pub at: Timestamp,
    /// When a message with the same key is no longer a repetition.
    pub quiet_until: Timestamp,
}

/// The result of queuing a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Queued {
    /// The message waits.
    Waits,
    /// The message waits, and the oldest message of its channel was dropped for it.
    InPlaceOfOldest,
    /// The message repeats one whose key is known, and was not queued.
    Repeats,
}

/// A request to claim messages.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The channel whose messages are claimed.
    pub channel: Arc<str>,
    /// The most messages to claim.
    pub limit: u32,
    /// The current time.
    pub now: Timestamp,
    /// When the claim ends; nobody else gets the messages before.
    pub until: Timestamp,
}

/// A message that was claimed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutboxMessage {
    /// See [`NewMessage::id`].
    pub id: String,
    /// See [`NewMessage::body`].
    pub body: Vec<u8>,
    /// When the message was queued.
    pub at: Timestamp,
    /// How often the message was claimed, including this time.
    pub attempts: u32,
}

/// The outcome for a claimed message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// The message no longer waits: it was delivered or given up.
    Done,
    /// The message is due again at this time.
    Again(Timestamp),
}

/// The port that stores messages to send. An adapter implements it over the same data as the other ports.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Queues messages in order, and returns the result for each; durable when this returns. `bound` is the most messages that
    /// wait in one channel.
    async fn put_messages(
        &self,
        messages: Vec<NewMessage>,
        bound: u32,
    ) -> Result<Vec<Queued>, StoreError>;

    /// Claims messages that are due, oldest first; durable when this returns.
    async fn claim_messages(&self, claim: Claim) -> Result<Vec<OutboxMessage>, StoreError>;

    /// Settles a claimed message; a message that is gone is no error. Durable when this returns.
    async fn settle_message(&self, id: &str, settled: Settled) -> Result<(), StoreError>;

    /// Returns the number of messages that wait in a channel, due or not.
    async fn waiting_messages(&self, channel: &str) -> Result<u64, StoreError>;
}

/// A question to a user.
#[derive(Clone, Debug)]
pub struct NewQuestion {
    /// The hash of the secret with which the question is answered.
    pub digest: Digest,
    /// The hash of what the question is about. Each attempt to send a message has a new secret; an answer to one answers all.
    pub about: Digest,
    /// The data for the answer; opaque to the store.
    pub body: Vec<u8>,
    /// When the question expires.
    pub expires_at: Timestamp,
}

/// The port that stores questions that can be answered once. An adapter implements it over the same data as the other ports.
#[async_trait]
pub trait Questions: Send + Sync {
    /// Stores a question; durable when this returns.
    async fn ask(&self, question: NewQuestion) -> Result<(), StoreError>;

    /// Returns a question without answering it. `None` if it was never asked, has expired, or was answered.
    async fn question(
        &self,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, StoreError>;

    /// Answers a question, and all others about the same: of many parallel calls exactly one gets the body. `None` if it was
    /// never asked, has expired, or was answered before. Durable when this returns.
    async fn answer(&self, digest: &Digest, now: Timestamp) -> Result<Option<Vec<u8>>, StoreError>;
}
