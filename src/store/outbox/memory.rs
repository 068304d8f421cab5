//! The outbox of the store in memory.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::super::StoreError;
use super::super::memory::Memory;
use super::{Claim, NewMessage, NewQuestion, Outbox, OutboxMessage, Questions, Queued, Settled};
use crate::clock::Timestamp;
use crate::secret::Digest;

/// Messages and questions, behind one lock.
#[derive(Debug, Default)]
pub(in crate::store) struct Outgoing {
    /// The messages, in the order in which they came.
    messages: Vec<MemoryRow>,
    questions: HashMap<Digest, MemoryQuestion>,
}

#[derive(Debug)]
struct MemoryRow {
    message: OutboxMessage,
    channel: Arc<str>,
    key: Digest,
    due_at: Timestamp,
    quiet_until: Timestamp,
    done: bool,
}

#[derive(Debug)]
struct MemoryQuestion {
    about: Digest,
    body: Vec<u8>,
    expires_at: Timestamp,
    answered: bool,
}

impl Outgoing {
    /// Removes expired data.
    pub(in crate::store) fn forget(&mut self, now: Timestamp) {
        self.messages.retain(|row| !row.done || now < row.quiet_until);
        self.questions.retain(|_, asked| now < asked.expires_at);
    }

    /// Removes waiting messages from before this time.
    pub(in crate::store) fn forget_before(&mut self, before: Timestamp) {
        self.messages.retain(|row| before <= row.message.at);
    }

    fn put(&mut self, new: NewMessage, bound: u32) -> Queued {
        let is_quiet = |row: &MemoryRow| !row.done || new.at < row.quiet_until;
        let same = |row: &MemoryRow| row.channel == new.channel && row.key == new.key;
        if self.messages.iter().any(|row| same(row) && is_quiet(row)) {
            return Queued::Repeats;
        }
        self.messages.retain(|row| !same(row));
        let waits = |row: &MemoryRow| !row.done && row.channel == new.channel;
        let waiting = self.messages.iter().filter(|row| waits(row)).count();
        let queued = if waiting >= usize::try_from(bound).unwrap_or(usize::MAX) {
            if let Some(oldest) = self.messages.iter().position(waits) {
                self.messages.remove(oldest);
            }
            Queued::InPlaceOfOldest
        } else {
            Queued::Waits
        };
        let message = OutboxMessage { id: new.id, body: new.body, at: new.at, attempts: 0 };
        self.messages.push(MemoryRow {
            message,
            channel: new.channel,
            key: new.key,
            due_at: new.at,
            quiet_until: new.quiet_until,
            done: false,
        });
        queued
    }

    fn can_be_answered(&self, digest: &Digest, now: Timestamp) -> Option<&MemoryQuestion> {
        self.questions.get(digest).filter(|asked| !asked.answered && now < asked.expires_at)
    }
}

#[async_trait]
impl Outbox for Memory {
    async fn put_messages(
        &self,
        messages: Vec<NewMessage>,
        bound: u32,
    ) -> Result<Vec<Queued>, StoreError> {
        let mut outgoing = self.outgoing.lock();
        Ok(messages.into_iter().map(|new| outgoing.put(new, bound)).collect())
    }

    async fn claim_messages(&self, claim: Claim) -> Result<Vec<OutboxMessage>, StoreError> {
        let mut outgoing = self.outgoing.lock();
        let is_due = |row: &&mut MemoryRow| {
            !row.done && row.channel == claim.channel && row.due_at <= claim.now
        };
        let due = outgoing.messages.iter_mut().filter(is_due);
        let limit = usize::try_from(claim.limit).unwrap_or(usize::MAX);
        Ok(due
            .take(limit)
            .map(|row| {
                row.due_at = claim.until;
                row.message.attempts += 1;
                row.message.clone()
            })
            .collect())
    }

    async fn settle_message(&self, id: &str, settled: Settled) -> Result<(), StoreError> {
        let mut outgoing = self.outgoing.lock();
        if let Some(row) = outgoing.messages.iter_mut().find(|row| row.message.id == id) {
            match settled {
                Settled::Done => {
                    row.done = true;
                    row.message.body = Vec::new();
                }
                Settled::Again(at) => row.due_at = at,
            }
        }
        Ok(())
    }

    async fn waiting_messages(&self, channel: &str) -> Result<u64, StoreError> {
        let outgoing = self.outgoing.lock();
        let waits = |row: &&MemoryRow| !row.done && &*row.channel == channel;
        Ok(outgoing.messages.iter().filter(waits).count() as u64)
    }
}

#[async_trait]
impl Questions for Memory {
    async fn ask(&self, new: NewQuestion) -> Result<(), StoreError> {
        let NewQuestion { digest, about, body, expires_at } = new;
        let asked = MemoryQuestion { about, body, expires_at, answered: false };
        self.outgoing.lock().questions.insert(digest, asked);
        Ok(())
    }

    async fn question(
        &self,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.outgoing.lock().can_be_answered(digest, now).map(|asked| asked.body.clone()))
    }

    async fn answer(&self, digest: &Digest, now: Timestamp) -> Result<Option<Vec<u8>>, StoreError> {
        let mut outgoing = self.outgoing.lock();
        let Some(asked) = outgoing.can_be_answered(digest, now) else { return Ok(None) };
        let (about, body) = (asked.about, asked.body.clone());
        for other in outgoing.questions.values_mut().filter(|other| other.about == about) {
            other.answered = true;
        }
        Ok(Some(body))
    }
}
