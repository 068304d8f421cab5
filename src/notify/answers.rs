//! What a person answers to a letter.

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

/// Looks questions up, takes their answers, and tells of them.
#[derive(Clone)]
pub struct IncidentQuestions {
    questions: Arc<dyn Questions>,
    news: NewsSink,
    wrong: Arc<TriesByAddress>,
}

impl IncidentQuestions {
    /// Of these questions; told there.
    pub fn new(questions: Arc<dyn Questions>, news: NewsSink) -> Self {
        Self { questions, news, wrong: Arc::default() }
    }

    /// May this client try a link?
    ///
    /// # Errors
    /// How long it has to wait: it tried too many that were none.
    pub fn admit(&self, client: IpAddr, now: Timestamp) -> Result<(), Duration> {
        self.wrong.admit(client, now)
    }

    /// This client tried one that is none.
    pub fn note_wrong(&self, client: IpAddr, now: Timestamp) {
        self.wrong.note(client, now);
    }

    /// What the holder of this secret is asked. `None`: nothing, because it is no secret of a letter, or too old, or it was
    /// answered.
    ///
    /// # Errors
    /// If the store cannot say.
    pub async fn question(
        &self,
        secret: &Secret,
        now: Timestamp,
    ) -> Result<Option<Question>, StoreError> {
        let body = self.questions.question(&secret.digest(), now).await?;
        Ok(body.and_then(|body| serde_json::from_slice(&body).ok()))
    }

    /// Takes the answer, which was acted on, and tells of it. False: another one was first.
    ///
    /// # Errors
    /// If the store cannot take it.
    pub async fn take(&self, secret: &Secret, answered: IncidentReply) -> Result<bool, StoreError> {
        let now = Timestamp::from_millis(answered.at);
        let is_first = self.questions.answer(&secret.digest(), now).await?.is_some();
        if is_first {
            self.news.answered(answered);
        }
        Ok(is_first)
    }
}
