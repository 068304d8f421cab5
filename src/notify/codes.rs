//! Codes that are mailed to stand for a second factor: asking for one.
//!
//! Whoever asks has proved the password, or has a session. The wish goes into the outbox; the worker makes the code when it mails it, so
//! that the store has a hash of it and no more ([`IssueCodes`]). **Three an hour** ([`requested`](super::requested)), for each browser that is
//! known and for all others together: whoever stole the password uses up none of its owner's.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::news::{News, Person};
use super::requested::{HOUR, RequestedMail};
use super::worker::Counting;
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::config::MAILED_CODES;
use crate::secret::{Digest, Secret};
use crate::store::StoreError;
use crate::store::outbox::Outbox;

/// Somebody asks for a code.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CodeAsked {
    /// Whose.
    pub user: Person,
    /// Whose wishes are counted together with it.
    pub counted_as: String,
    /// Where it is good: see [`IssueCodes::issue_code`].
    pub place: String,
    /// From where.
    pub client: IpAddr,
    /// The `User-Agent`.
    pub agent: String,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Until when it is good, in milliseconds since 1970.
    pub until: u64,
}

/// Makes codes, and remembers them in a form from which they cannot be read.
#[async_trait]
pub trait IssueCodes: Send + Sync {
    /// A code of this user's: good once, in this place (one sign-in, or one session), until then. The error is for the log.
    async fn issue_code(
        &self,
        user: &UserKey,
        place: &str,
        until: Timestamp,
    ) -> Result<Secret, String>;
}

/// See the head of this module. Cheap to clone.
#[derive(Clone)]
pub struct MailedCodes(RequestedMail);

impl MailedCodes {
    /// After this long one may ask again in any case.
    pub const WAIT: Duration = HOUR;

    /// Wishes go into this outbox.
    pub fn new(outbox: Arc<dyn Outbox>, counting: Arc<dyn Counting>) -> Self {
        Self(RequestedMail::new(MAILED_CODES, outbox, counting))
    }

    /// Asks for one; durable when this returns. `bound`: how many wishes wait at most. False: there were three within an hour.
    ///
    /// # Errors
    /// If the store cannot keep it.
    pub async fn ask(&self, asked: CodeAsked, bound: u32) -> Result<bool, StoreError> {
        let Person { directory, id } = asked.user.clone();
        let counted_as = asked.counted_as.clone();
        let key = |nth| {
            Digest::of(format!("mailed code {nth}\n{directory}\n{id}\n{counted_as}").as_bytes())
        };
        self.0.ask(&News::CodeAsked(asked), key, bound).await
    }
}
