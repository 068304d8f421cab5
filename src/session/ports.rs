//! The ports through which sessions call what issuers have issued.
//!
//! `issuer` is a higher layer that depends on sessions; a session that begins or ends calls it through these ports, which `app`
//! connects.

use async_trait::async_trait;

use super::Mint;
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::store::{Session, StoreError};

/// Ends what issuers have issued, together with sessions.
#[async_trait]
pub trait EndIssued: Send + Sync {
    /// Ends everything that issuers have issued to this user; durable when this returns. Does nothing for a user whose
    /// directory has no issuer.
    async fn end_user(&self, user: &UserKey, at: Timestamp) -> Result<(), StoreError>;

    /// Ends the tokens that belong to this session, which has just ended. A store failure is logged by the implementation; in
    /// this process the tokens have ended in any case.
    async fn end_of_session(&self, session: &Session, at: Timestamp);
}

/// Issues tokens under issuers' keys for new sessions.
pub trait MintTokens: Send + Sync {
    /// Checks that a token can be issued for this user.
    ///
    /// # Errors
    /// [`Refusal::OtherDirectory`], because the same id in another directory would be another user.
    fn can_mint(&self, mint: &Mint, user: &UserKey) -> Result<(), Refusal>;

    /// Issues a token for the session's user, which is valid for the requested time but no longer than the session.
    ///
    /// # Errors
    /// [`Refusal::Internal`]
    fn mint(&self, mint: &Mint, session: &Session, at: Timestamp) -> Result<Secret, Refusal>;
}
