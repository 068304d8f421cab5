//! Tickets: what is to be gone on with, kept sealed in the store until it is.
//!
//! A ticket is a random secret; the store has its hash and what it stands for, sealed for that hash. It can be looked at as
//! often as it takes to type a code, and spent once. A restart does not matter to it.

use std::time::Duration;

use super::{Factors, Wiped, failed};
use crate::clock::Timestamp;
use crate::refusal::Refusal;
use crate::secret::{Digest, Secret};
use crate::store::outbox::NewQuestion;

/// How long a ticket works, where nothing has to be waited for.
pub const TICKET: Duration = Duration::from_secs(300);

/// Longer is no ticket.
const LONGEST: usize = 64;

/// Gives tickets, looks at them and spends them.
#[derive(Clone, Copy)]
pub struct SealedTickets<'f>(pub(super) &'f Factors);

impl SealedTickets<'_> {
    /// A ticket for these bytes, for this purpose, that works for so long.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`], [`Refusal::Internal`]
    pub async fn give(
        self,
        purpose: &str,
        bytes: &[u8],
        lifetime: Duration,
        at: Timestamp,
    ) -> Result<Secret, Refusal> {
        let ticket = Secret::random().map_err(|_| Refusal::Internal)?;
        let (digest, owner) = named(&ticket);
        let body = self.0.key.seal(purpose, &owner, bytes)?;
        let expires_at = at.plus(lifetime);
        let new = NewQuestion { digest, about: digest, body, expires_at };
        self.0.questions.ask(new).await.map_err(failed)?;
        Ok(ticket)
    }

    /// What a ticket stands for. `None`: it is none of this purpose, too old, or spent.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn look_at(
        self,
        purpose: &str,
        ticket: &Secret,
        at: Timestamp,
    ) -> Result<Option<Wiped>, Refusal> {
        if ticket.expose().len() > LONGEST {
            return Ok(None);
        }
        let (digest, owner) = named(ticket);
        let body = self.0.questions.question(&digest, at).await.map_err(failed)?;
        Ok(body.and_then(|body| self.0.key.open(purpose, &owner, &body)))
    }

    /// Spends a ticket: true once.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn spend(self, ticket: &Secret, at: Timestamp) -> Result<bool, Refusal> {
        let (digest, _) = named(ticket);
        Ok(self.0.questions.answer(&digest, at).await.map_err(failed)?.is_some())
    }
}

fn named(ticket: &Secret) -> (Digest, String) {
    let digest = ticket.digest();
    let owner = digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    (digest, owner)
}
