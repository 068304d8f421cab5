//! What sessions ask of what others have issued.
//!
//! `issuer` stands above and knows sessions; a session that begins or ends asks it through these ports, which `app` wires.

use async_trait::async_trait;

use super::Mint;
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::store::{Session, StoreError};

/// Ends what others have issued, together with sessions.
#[async_trait]
pub trait EndIssued: Send + Sync {
    /// Everything that issuers have given this user is over; durable when this returns. A user of whose directory there is
    /// no issuer has nothing.
    async fn end_user(&self, user: &UserKey, at: Timestamp) -> Result<(), StoreError>;

    /// The tokens that belong to this session, which has just ended, are over. A store that fails is told there: in this
    /// process they are over all the same.
    async fn end_of_session(&self, session: &Session, at: Timestamp);
}

/// Makes tokens under issuers' keys for sessions that begin.
pub trait MintTokens: Send + Sync {
    /// Can a token be made for this user?
    ///
    /// # Errors
    /// [`Refusal::OtherDirectory`], because one of another directory would be somebody else by their id.
    fn can_mint(&self, mint: &Mint, user: &UserKey) -> Result<(), Refusal>;

    /// A token of the session's user, good for as long as was asked, and no longer than the session.
    ///
    /// # Errors
    /// [`Refusal::Internal`]
    fn mint(&self, mint: &Mint, session: &Session, at: Timestamp) -> Result<Secret, Refusal>;
}
