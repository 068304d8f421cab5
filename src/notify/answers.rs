//! Answers of users to letters about incidents.

use std::net::IpAddr;
use std::sync::Arc;

use super::mail::Question;
use super::news::IncidentReply;
use super::queue::NewsSink;
use super::tries_by_address::{TriesByAddress, TryRefused};
use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::store::StoreError;
use crate::store::counters::Counters;
use crate::store::outbox::Questions;

/// Looks up questions, takes their answers, and reports them.
#[derive(Clone)]
pub struct IncidentQuestions {
    questions: Arc<dyn Questions>,
    news: NewsSink,
    wrong: TriesByAddress,
}

impl IncidentQuestions {
    /// Creates it with these questions; answers are reported to `news`, and tries of links are counted in `counters`.
    pub fn new(questions: Arc<dyn Questions>, news: NewsSink, counters: Arc<dyn Counters>) -> Self {
        let wrong = TriesByAddress::of_wrong_links(counters, "wrong links of letters");
        Self { questions, news, wrong }
    }

    /// Checks whether this client may try a link.
    ///
    /// # Errors
    /// [`TryRefused`] after too many invalid links, or if they cannot be counted.
    pub async fn admit(&self, client: IpAddr, now: Timestamp) -> Result<(), TryRefused> {
        self.wrong.admit(client, now).await
    }

    /// Records that this client tried an invalid link.
    ///
    /// # Errors
    /// If it cannot be counted.
    pub async fn note_wrong(&self, client: IpAddr, now: Timestamp) -> Result<(), StoreError> {
        self.wrong.note(client, now).await
    }

    /// Returns the question for the holder of this secret; `None` if the secret belongs to no letter, has expired, or was used
    /// to answer.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn question(
        &self,
        secret: &Secret,
        now: Timestamp,
    ) -> Result<Option<Question>, StoreError> {
        let body = self.questions.question(&secret.digest(), now).await?;
        Ok(body.and_then(|body| serde_json::from_slice(&body).ok()))
    }

    /// Stores the answer, which was acted on, and reports it. Returns false if another answer was first.
    ///
    /// # Errors
    /// If the store cannot write it.
    pub async fn take(&self, secret: &Secret, answered: IncidentReply) -> Result<bool, StoreError> {
        let now = Timestamp::from_millis(answered.at);
        let is_first = self.questions.answer(&secret.digest(), now).await?.is_some();
        if is_first {
            self.news.answered(answered);
        }
        Ok(is_first)
    }
}
