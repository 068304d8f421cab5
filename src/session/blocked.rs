//! Is the caller refused for a time? From memory, at each use of a credential.

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

/// How often somebody refreshes, or tries to sign in, who is to be slower.
pub(super) const PACE: Duration = Duration::from_secs(60);

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

    /// Whether a session may refresh now: one that is to be slower does it once a minute.
    ///
    /// # Errors
    /// [`Refusal::SlowDown`]
    pub(super) fn may_refresh(&self, session: &Session, at: Timestamp) -> Result<(), Refusal> {
        let identity = session.identity.load();
        if !self.blocks.is_slowed(&identity.key, &session.id, at) {
            return Ok(());
        }
        self.paced(Digest::of(session.id.as_str().as_bytes()), at)
    }

    /// Whether this address may try to sign in now: one that is to be slower does it once a minute.
    ///
    /// # Errors
    /// [`Refusal::SlowDown`]
    pub(super) fn may_sign_in(&self, client: IpAddr, at: Timestamp) -> Result<(), Refusal> {
        if !self.blocks.is_slowed_address(client, at) {
            return Ok(());
        }
        self.paced(Digest::of(network_32_or_64(client).to_string().as_bytes()), at)
    }

    fn paced(&self, who: Digest, at: Timestamp) -> Result<(), Refusal> {
        let last = self.paced.get(&who);
        if last.is_some_and(|last| at.since(last) < PACE) {
            return Err(Refusal::SlowDown);
        }
        self.paced.insert(who, at);
        Ok(())
    }

    /// What has to be proved before this session goes on, if a detector asks for it.
    pub(super) fn to_confirm(&self, session: &Session, at: Timestamp) -> Option<Arc<Block>> {
        let user = session.identity.load().key.clone();
        let block = self.blocks.of_caller(&user, Some(&session.id), at)?;
        (block.demand == Demand::Confirm).then_some(block)
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
        (_, Demand::Confirm) => Refusal::InsufficientAuthentication,
        (_, Demand::SlowDown) => Refusal::SlowDown,
        (BlockSubject::User(_), Demand::StayAway) => Refusal::UserBlocked,
        (BlockSubject::Session(_), Demand::StayAway) => Refusal::SessionBlocked,
        (BlockSubject::Address(_), Demand::StayAway) => Refusal::AddressBlocked,
    }
}
