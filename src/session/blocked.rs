//! Checks whether the caller is blocked. The blocks are read from memory at each use of a credential.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::SessionManager;
use crate::block::{Block, BlockSubject, Demand};
use crate::caller::{Known, SessionId, UserKey};
use crate::clock::Timestamp;
use crate::refusal::Refusal;
use crate::secret::Digest;
use crate::store::{BlockList, Session};
use crate::wire::client_ip::network_32_or_64;

/// The least time between two refreshes, or two attempts to sign in, of a caller who is slowed down.
pub(super) const PACE: Duration = Duration::from_secs(60);

/// The blocks, and what a blocked caller may still do.
#[derive(Clone, Copy)]
pub struct CallerBlocks<'s>(pub(super) &'s SessionManager);

impl<'s> CallerBlocks<'s> {
    /// Returns the list of blocks.
    pub fn list(self) -> &'s BlockList {
        &self.0.blocks
    }

    /// Returns the refusal for a user or one of their sessions, if a block applies.
    pub fn refusal_for(
        self,
        user: &UserKey,
        session: Option<&SessionId>,
        at: Timestamp,
    ) -> Option<Refusal> {
        self.0.blocks.of_caller(user, session, at).map(|block| refusal_of(&block))
    }

    /// Returns the block of a caller, if there is one.
    pub fn of(self, known: &Known, at: Timestamp) -> Option<Arc<Block>> {
        self.0.blocks.of_caller(&known.identity.key, known.session.as_ref(), at)
    }

    /// Checks that a session may refresh now: one that is slowed down may refresh once a minute.
    ///
    /// # Errors
    /// [`Refusal::SlowDown`]
    pub(super) fn may_refresh(self, session: &Session, at: Timestamp) -> Result<(), Refusal> {
        let identity = session.identity.load();
        if !self.0.blocks.is_slowed(&identity.key, &session.id, at) {
            return Ok(());
        }
        self.paced(Digest::of(session.id.as_str().as_bytes()), at)
    }

    /// Checks that this address may try to sign in now: one that is slowed down may try once a minute.
    ///
    /// # Errors
    /// [`Refusal::SlowDown`]
    pub(super) fn may_sign_in(self, client: IpAddr, at: Timestamp) -> Result<(), Refusal> {
        if !self.0.blocks.is_slowed_address(client, at) {
            return Ok(());
        }
        self.paced(Digest::of(network_32_or_64(client).to_string().as_bytes()), at)
    }

    fn paced(self, who: Digest, at: Timestamp) -> Result<(), Refusal> {
        let last = self.0.paced.get(&who);
        if last.is_some_and(|last| at.since(last) < PACE) {
            return Err(Refusal::SlowDown);
        }
        self.0.paced.insert(who, at);
        Ok(())
    }

    /// Returns the block that demands a confirmation before this session may go on, if a detector asked for one.
    pub(super) fn to_confirm(self, session: &Session, at: Timestamp) -> Option<Arc<Block>> {
        let user = session.identity.load().key.clone();
        let block = self.0.blocks.of_caller(&user, Some(&session.id), at)?;
        (block.demand == Demand::Confirm).then_some(block)
    }

    /// Checks that no block keeps a session from being used.
    ///
    /// # Errors
    /// The [`Refusal`] of its block.
    pub fn may_use(self, session: &Session, at: Timestamp) -> Result<(), Refusal> {
        let identity = session.identity.load();
        self.refusal_for(&identity.key, Some(&session.id), at).map_or(Ok(()), Err)
    }
}

fn refusal_of(block: &Block) -> Refusal {
    match (&block.subject, block.demand) {
        (_, Demand::SignIn) => Refusal::SignInAgain,
        (_, Demand::Confirm) => Refusal::InsufficientAuthentication,
        (_, Demand::SlowDown) => Refusal::SlowDown,
        (BlockSubject::User(_), Demand::StayAway) => Refusal::UserBlocked,
        (BlockSubject::Session(_), Demand::StayAway) => Refusal::SessionBlocked,
        (BlockSubject::Address(_), Demand::StayAway) => Refusal::AddressBlocked,
    }
}
