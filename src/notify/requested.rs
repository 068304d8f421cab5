//! Letters that people ask for: so many an hour for one person.
//!
//! Each wish takes one of [`AN_HOUR`] keys of the outbox, which stay known for an hour. So the bound survives a restart, and is the same
//! for names that nobody has.

use std::sync::Arc;
use std::time::Duration;

use super::codes::MailedCodes;
use super::links::MailedLinks;
use super::news::News;
use super::worker::{Counting, DeliveryOutcome};
use crate::clock::Timestamp;
use crate::secret::{Digest, random_id};
use crate::store::StoreError;
use crate::store::outbox::{NewMessage, Outbox, Questions, Queued};

/// So many are mailed for one person in [`HOUR`].
const AN_HOUR: u32 = 3;

/// How long a wish counts.
pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// What people can ask to have mailed. Cheap to clone.
#[derive(Clone)]
pub struct RequestedLetters {
    /// Links that let somebody in.
    pub links: MailedLinks,
    /// Codes that stand for a second factor.
    pub codes: MailedCodes,
}

impl RequestedLetters {
    /// Wishes go into this outbox; links are questions until they are opened.
    pub fn new(
        outbox: &Arc<dyn Outbox>,
        questions: Arc<dyn Questions>,
        counting: Arc<dyn Counting>,
    ) -> Self {
        let links = MailedLinks::new(Arc::clone(outbox), questions, Arc::clone(&counting));
        Self { links, codes: MailedCodes::new(Arc::clone(outbox), counting) }
    }
}

/// Takes wishes for one channel. Cheap to clone.
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

    /// Asks for one; durable when this returns. `key` says for each that may be mailed in an hour under what it is counted; `bound`:
    /// how many wishes wait at most. False: there were so many within an hour.
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
        let id = random_id().map_err(|_| StoreError("there is no randomness".to_owned()))?;
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
