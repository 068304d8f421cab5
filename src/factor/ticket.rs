//! Implements tickets: a ticket stands for the sealed state with which an interrupted step, such as a sign-in, goes on.
//!
//! A ticket is a random secret; the store has its hash, and the state sealed for that hash. A ticket can be read as often as it
//! takes to enter a code, and spent once. It survives a restart.

use std::time::Duration;

use super::{Factors, Wiped, failed};
use crate::clock::Timestamp;
use crate::refusal::Refusal;
use crate::secret::{Digest, Secret};
use crate::store::outbox::NewQuestion;

/// How long a ticket works, where nothing has to be waited for.
pub const TICKET: Duration = Duration::from_secs(300);

/// The most bytes of a ticket.
const LONGEST: usize = 64;

/// Creates tickets, reads them and spends them.
#[derive(Clone, Copy)]
pub struct SealedTickets<'f>(pub(super) &'f Factors);

impl SealedTickets<'_> {
    /// Creates a ticket for these bytes and this purpose, with this lifetime.
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

    /// Returns the bytes of a ticket. `None` if it is not for this purpose, has expired, or was spent.
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

    /// Spends a ticket: `true` once.
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
