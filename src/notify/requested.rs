//! Letters that users request: a limited number in an hour for one user.
//!
//! Each request takes one of [`AN_HOUR`] keys of the outbox, which are remembered for an hour. So the limit survives a restart,
//! and is the same for names that no user has.

use std::sync::Arc;
use std::time::Duration;

use super::codes::MailedCodes;
use super::links::MailedLinks;
use super::news::News;
use super::worker::{Counting, DeliveryOutcome};
use crate::clock::Timestamp;
use crate::secret::{Digest, random_id};
use crate::store::StoreError;
use crate::store::counters::Counters;
use crate::store::outbox::{NewMessage, Outbox, Questions, Queued};

/// The most letters for one user in [`HOUR`].
const AN_HOUR: u32 = 3;

/// How long a request counts.
pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// The letters that users can request. Cheap to clone.
#[derive(Clone)]
pub struct RequestedLetters {
    /// Sign-in links.
    pub links: MailedLinks,
    /// Codes that replace a second factor.
    pub codes: MailedCodes,
}

impl RequestedLetters {
    /// Creates both with the outbox for requests, the store of links, and the counters of tries.
    pub fn new(
        outbox: &Arc<dyn Outbox>,
        questions: Arc<dyn Questions>,
        counting: Arc<dyn Counting>,
        counters: Arc<dyn Counters>,
    ) -> Self {
        let links =
            MailedLinks::new(Arc::clone(outbox), questions, Arc::clone(&counting), counters);
        Self { links, codes: MailedCodes::new(Arc::clone(outbox), counting) }
    }
}

/// Takes requests for one channel. Cheap to clone.
#[derive(Clone)]
pub(super) struct RequestedMail {
    channel: &'static str,
    outbox: Arc<dyn Outbox>,
    counting: Arc<dyn Counting>,
}

impl RequestedMail {
    pub(super) fn new(
        channel: &'static str,
        outbox: Arc<dyn Outbox>,
        counting: Arc<dyn Counting>,
    ) -> Self {
        Self { channel, outbox, counting }
    }

    /// Requests a letter, durably when this returns. `key` returns the key under which the nth letter of an hour is counted;
    /// `bound`: the most requests that wait. Returns false if the limit of the hour is reached.
    pub(super) async fn ask(
        &self,
        news: &News,
        key: impl Fn(u32) -> Digest + Send,
        bound: u32,
    ) -> Result<bool, StoreError> {
        let (at, body) = (news.at(), news.to_body());
        for nth in 0..AN_HOUR {
            let message = self.message(key(nth), body.clone(), at)?;
            match self.outbox.put_messages(vec![message], bound).await?.first() {
                Some(Queued::Repeats) | None => continue,
                Some(Queued::Waits) => {}
                Some(Queued::InPlaceOfOldest) => {
                    self.counting.outcome(self.channel, DeliveryOutcome::Dropped);
                }
            }
            self.counting.outcome(self.channel, DeliveryOutcome::Queued);
            return Ok(true);
        }
        Ok(false)
    }

    fn message(&self, key: Digest, body: Vec<u8>, at: Timestamp) -> Result<NewMessage, StoreError> {
        let id =
            random_id().map_err(|_| StoreError("the system's random source failed".to_owned()))?;
        Ok(NewMessage {
            id,
            channel: self.channel.into(),
            key,
            body,
            at,
            quiet_until: at.plus(HOUR),
        })
    }
}
