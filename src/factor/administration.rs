//! Changes stored second factors, for their owner and for operators.

use std::time::Duration;

use super::{FIRST_APP, Factors, failed, name_of, recovery_codes, written};
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::store::factors::{FactorChange, FactorChanged};
use crate::store::outbox::NewQuestion;

/// How long an operator's invitation works, the code with which a user may set up a factor.
pub const INVITATION: Duration = Duration::from_secs(86_400);

/// Changes the second factors of a user.
#[derive(Clone, Copy)]
pub struct FactorAdministration<'f>(pub(super) &'f Factors);

impl FactorAdministration<'_> {
    /// Removes a factor. `false` if the user has no such factor.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn remove(self, user: &UserKey, id: &str) -> Result<bool, Refusal> {
        let changed = self.0.change(user, FactorChange::Remove { id: id.to_owned() }).await?;
        Ok(changed != FactorChanged::Not)
    }

    /// Renames a factor. `false` if the user has no such factor.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn rename(self, user: &UserKey, id: &str, name: &str) -> Result<bool, Refusal> {
        let name = name_of(name, FIRST_APP);
        let change = FactorChange::Rename { id: id.to_owned(), name };
        Ok(self.0.change(user, change).await? != FactorChanged::Not)
    }

    /// Creates recovery codes, which replace the user's previous ones.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`], [`Refusal::Internal`]
    pub async fn renew_recovery(self, user: &UserKey) -> Result<Vec<Secret>, Refusal> {
        let codes = recovery_codes()?;
        self.0.change(user, FactorChange::Recovery(self.0.recovery_hashes(user, &codes))).await?;
        Ok(codes)
    }

    /// Removes all second factors of a user, for an operator. The user sets up another one at the next sign-in.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn reset(self, user: &UserKey, at: Timestamp) -> Result<(), Refusal> {
        self.0.change(user, FactorChange::Reset(at)).await.map(drop)
    }

    /// Creates an invitation: a code with which a user may set up a first factor in a browser that is not a known device of
    /// theirs. It works once, for [`INVITATION`].
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`], [`Refusal::Internal`]
    pub async fn invite(self, user: &UserKey, at: Timestamp) -> Result<Secret, Refusal> {
        let code = written::random().map_err(|_| Refusal::Internal)?;
        let read = written::read(code.expose()).ok_or(Refusal::Internal)?;
        let owner = user.to_string();
        let new = NewQuestion {
            digest: self.0.key.hash("invitation", &owner, read.expose().as_bytes()),
            // Using one invitation also uses up the user's others.
            about: self.0.key.hash("invitations", &owner, b""),
            body: Vec::new(),
            expires_at: at.plus(INVITATION),
        };
        self.0.questions.ask(new).await.map_err(failed)?;
        Ok(code)
    }

    /// Uses an operator's invitation. `false` if it is not valid or was used before.
    pub(super) async fn take_invitation(
        self,
        user: &UserKey,
        code: &Secret,
        at: Timestamp,
    ) -> Result<bool, Refusal> {
        let Some(read) = written::read(code.expose()) else { return Ok(false) };
        let digest = self.0.key.hash("invitation", &user.to_string(), read.expose().as_bytes());
        Ok(self.0.questions.answer(&digest, at).await.map_err(failed)?.is_some())
    }
}
