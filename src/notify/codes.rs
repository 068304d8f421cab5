//! Requests for one-time codes by mail, which replace a second factor.
//!
//! The requester has proved the password, or has a session. The request goes into the outbox; the worker creates the code when
//! it mails it, so that the store holds only its hash ([`IssueCodes`]). **Three an hour** ([`requested`](super::requested)),
//! for each known browser and for all others together: whoever stole the password cannot use up the owner's requests.

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

/// A request for a code by mail.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CodeAsked {
    /// The user.
    pub user: Person,
    /// What is counted together: a known browser, or all others.
    pub counted_as: String,
    /// Where the code is valid: see [`IssueCodes::issue_code`].
    pub place: String,
    /// The client's address.
    pub client: IpAddr,
    /// The `User-Agent`.
    pub agent: String,
    /// The time of the request, in milliseconds since 1970.
    pub at: u64,
    /// The time at which the code expires, in milliseconds since 1970.
    pub until: u64,
}

/// Creates codes, and stores them in a form from which they cannot be read.
#[async_trait]
pub trait IssueCodes: Send + Sync {
    /// Returns a code of this user: valid once, in this place (one sign-in, or one session), until then. The error is for the
    /// log.
    async fn issue_code(
        &self,
        user: &UserKey,
        place: &str,
        until: Timestamp,
    ) -> Result<Secret, String>;
}

/// Takes requests for codes: see the head of this module. Cheap to clone.
#[derive(Clone)]
pub struct MailedCodes(RequestedMail);

impl MailedCodes {
    /// The time after which a user may request again in any case.
    pub const WAIT: Duration = HOUR;

    /// Creates it with the outbox that stores the requests.
    pub fn new(outbox: Arc<dyn Outbox>, counting: Arc<dyn Counting>) -> Self {
        Self(RequestedMail::new(MAILED_CODES, outbox, counting))
    }

    /// Requests a code, durably when this returns. `bound`: the most requests that wait. Returns false after three within an
    /// hour.
    ///
    /// # Errors
    /// If the store cannot write it.
    pub async fn ask(&self, asked: CodeAsked, bound: u32) -> Result<bool, StoreError> {
        let Person { directory, id } = asked.user.clone();
        let counted_as = asked.counted_as.clone();
        let key = |nth| {
            Digest::of(format!("mailed code {nth}\n{directory}\n{id}\n{counted_as}").as_bytes())
        };
        self.0.ask(&News::CodeAsked(asked), key, bound).await
    }
}
