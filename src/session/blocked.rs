//! Is the caller refused for a time? From memory, at each use of a credential.

use std::sync::Arc;

use super::SessionManager;
use crate::block::{Block, BlockSubject, Demand};
use crate::caller::{Known, SessionId, UserKey};
use crate::clock::Timestamp;
use crate::refusal::Refusal;
use crate::store::{BlockList, Session};

impl SessionManager {
    /// Who is refused for a time.
    pub fn blocks(&self) -> &BlockList {
        &self.blocks
    }

    /// The refusal of a user, or of one of their sessions, if there is a block.
    pub fn blocked_caller(
        &self,
        user: &UserKey,
        session: Option<&SessionId>,
        at: Timestamp,
    ) -> Option<Refusal> {
        self.blocks.of_caller(user, session, at).map(|block| refusal_of(&block))
    }

    /// The block of a caller, if there is one.
    pub fn block_of(&self, known: &Known, at: Timestamp) -> Option<Arc<Block>> {
        self.blocks.of_caller(&known.identity.key, known.session.as_ref(), at)
    }

    /// Whether a session may be used.
    ///
    /// # Errors
    /// The [`Refusal`] of its block.
    pub fn is_not_blocked(&self, session: &Session, at: Timestamp) -> Result<(), Refusal> {
        let identity = session.identity.load();
        self.blocked_caller(&identity.key, Some(&session.id), at).map_or(Ok(()), Err)
    }
}

fn refusal_of(block: &Block) -> Refusal {
    match (&block.subject, block.demand) {
        (_, Demand::SignIn) => Refusal::SignInAgain,
        (BlockSubject::User(_), Demand::StayAway) => Refusal::UserBlocked,
        (BlockSubject::Session(_), Demand::StayAway) => Refusal::SessionBlocked,
        (BlockSubject::Address(_), Demand::StayAway) => Refusal::AddressBlocked,
    }
}
