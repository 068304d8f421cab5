//! Answers of users to letters about incidents.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::mail::Question;
use super::news::IncidentReply;
use super::queue::NewsSink;
use super::tries_by_address::TriesByAddress;
use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::store::StoreError;
use crate::store::outbox::Questions;

/// Looks up questions, takes their answers, and reports them.
#[derive(Clone)]
pub struct IncidentQuestions {
    questions: Arc<dyn Questions>,
    news: NewsSink,
    wrong: Arc<TriesByAddress>,
}

impl IncidentQuestions {
    /// Creates it with these questions; answers are reported to `news`.
    pub fn new(questions: Arc<dyn Questions>, news: NewsSink) -> Self {
        Self { questions, news, wrong: Arc::default() }
    }

    /// Checks whether this client may try a link.
    ///
    /// # Errors
    /// The time to wait, after too many invalid links.
    pub fn admit(&self, client: IpAddr, now: Timestamp) -> Result<(), Duration> {
        self.wrong.admit(client, now)
    }

    /// Records that this client tried an invalid link.
    pub fn note_wrong(&self, client: IpAddr, now: Timestamp) {
        self.wrong.note(client, now);
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
