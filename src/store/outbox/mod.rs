//! The ports through which what is to be told waits, and through which a person's answer comes back.
//!
//! A message waits under its channel until it is delivered or given up. It is claimed for a time: whoever claims it and dies
//! leaves it to be claimed again, so a message arrives at least once, always with the same id. Each channel has a bound of
//! its own, and past it the oldest message goes, so that a channel that is down takes no room from the others.
//!
//! One incident is one message: while its key is known to a channel, a message with the same key is a repetition. The key
//! stays known while the message waits, and until the end of its cool-down.
//!
//! A [`Questions`] port keeps what a person was asked, under the hash of the secret in the link that they were sent.

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
    /// Its id, fresh and random; the same in each attempt, so that a receiver can see a repetition.
    pub id: String,
    /// The channel that is to send it.
    pub channel: Arc<str>,
    /// What it is about: another message with this key is a repetition.
    pub key: Digest,
    /// What the channel needs; opaque to the store.
    pub body: Vec<u8>,
    /// Now.
    pub at: Timestamp,
    /// From then on the same key is news again.
    pub quiet_until: Timestamp,
}

/// What became of a message that was put in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Queued {
    /// It waits.
    Waits,
    /// It waits, and the oldest message of its channel was dropped for it.
    InPlaceOfOldest,
    /// Its key was known: there is nothing new to tell.
    Repeats,
}

/// Which messages to claim.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The channel.
    pub channel: Arc<str>,
    /// How many at most.
    pub limit: u32,
    /// Now.
    pub now: Timestamp,
    /// Until then nobody else gets them.
    pub until: Timestamp,
}

/// A message that was claimed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutboxMessage {
    /// See [`NewMessage::id`].
    pub id: String,
    /// See [`NewMessage::body`].
    pub body: Vec<u8>,
    /// When it was put in.
    pub at: Timestamp,
    /// How often it was claimed, with this time.
    pub attempts: u32,
}

/// What becomes of a claimed message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// It waits no longer: it was delivered, or given up.
    Done,
    /// It is due again at that time.
    Again(Timestamp),
}

/// Keeps what is to be told. An adapter implements this port over the same data as the others.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Puts messages in, in order, and says what became of each; durable when this returns. `bound`: how many wait in one
    /// channel at most.
    async fn put_messages(
        &self,
        messages: Vec<NewMessage>,
        bound: u32,
    ) -> Result<Vec<Queued>, StoreError>;

    /// Claims messages that are due, oldest first; durable when this returns.
    async fn claim_messages(&self, claim: Claim) -> Result<Vec<OutboxMessage>, StoreError>;

    /// Says what becomes of a claimed message; one that is gone is no failure. Durable when this returns.
    async fn settle_message(&self, id: &str, settled: Settled) -> Result<(), StoreError>;

    /// How many messages wait in a channel, due or not.
    async fn waiting_messages(&self, channel: &str) -> Result<u64, StoreError>;
}

/// What a person is asked.
#[derive(Clone, Debug)]
pub struct NewQuestion {
    /// The hash of the secret that answers it.
    pub digest: Digest,
    /// What it is about. Each attempt to send a message has a secret of its own; an answer to one answers all.
    pub about: Digest,
    /// What the answer needs; opaque to the store.
    pub body: Vec<u8>,
    /// From then on it cannot be answered.
    pub expires_at: Timestamp,
}

/// Keeps questions that can be answered once. An adapter implements this port over the same data as the others.
#[async_trait]
pub trait Questions: Send + Sync {
    /// Keeps a question; durable when this returns.
    async fn ask(&self, question: NewQuestion) -> Result<(), StoreError>;

    /// Looks at a question without answering it. `None`: never asked, expired, or answered.
    async fn question(
        &self,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, StoreError>;

    /// Answers it, and with it all that are about the same: of many parallel calls exactly one gets the body. `None`: never
    /// asked, expired, or answered before. Durable when this returns.
    async fn answer(&self, digest: &Digest, now: Timestamp) -> Result<Option<Vec<u8>>, StoreError>;
}
