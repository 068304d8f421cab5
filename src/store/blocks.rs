//! The blocks that currently apply, in memory, for each request to check.
//!
//! Reading takes no lock and never waits: an empty list costs one load, and any other costs a load and a lookup for each prefix
//! length in it. A change copies the list, which is bounded, and replaces it by the copy. Only the one party that decides
//! changes does this (see `live`), after the change is durable.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use ipnet::IpNet;

use super::StoreError;
use crate::block::{Block, BlockSubject, Demand};
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;

/// The most blocks that are stored. Beyond this number, a detector's block of an address gives way to a new block.
pub const MOST_BLOCKS: usize = if cfg!(test) { 64 } else { 10_000 };

/// The port that stores blocks. An adapter implements it over the same data as the other ports.
#[async_trait]
pub trait Blocks: Send + Sync {
    /// Returns the current blocks, in memory: the same list each time, which the adapter changes.
    fn list(&self) -> Arc<BlockList>;

    /// Adds a block; durable when this returns, and visible to every reader.
    async fn block(&self, new: Block) -> Result<Blocked, StoreError>;

    /// Lifts a block; durable when this returns. `None` if there was none.
    async fn lift(&self, subject: &BlockSubject) -> Result<Option<Arc<Block>>, StoreError>;
}

/// The result of adding a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Blocked {
    /// The new block applies.
    Holds(Arc<Block>),
    /// Another block of the same subject applies and does not give way to the new one.
    Stands(Arc<Block>),
    /// The list is full, and none of its blocks may be dropped.
    NoRoom,
}

/// The number of blocked subjects of each kind.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct BlockCounts {
    /// Addresses and networks.
    pub addresses: usize,
    /// Users.
    pub users: usize,
    /// Sessions.
    pub sessions: usize,
}

/// The blocks in memory, as described at the head of this module.
#[derive(Debug, Default)]
pub struct BlockList {
    /// Whether there are any blocks in `held`.
    is_any: AtomicBool,
    held: ArcSwap<HeldBlocks>,
}

#[derive(Clone, Debug, Default)]
struct HeldBlocks {
    all: HashMap<BlockSubject, Arc<Block>>,
    /// The prefix lengths of the blocked networks, of IPv4 and of IPv6.
    lengths: [BTreeSet<u8>; 2],
}

impl BlockList {
    /// Returns the block that keeps a client's address out, if there is one.
    pub fn of_address(&self, address: IpAddr, now: Timestamp) -> Option<Arc<Block>> {
        self.find_address(address, now, |block| block.demand == Demand::StayAway)
    }

    /// Returns the block of a known caller's user or session that does more than slow them down, if there is one.
    pub fn of_caller(
        &self,
        user: &UserKey,
        session: Option<&SessionId>,
        now: Timestamp,
    ) -> Option<Arc<Block>> {
        self.find_caller(user, session, now, |block| block.demand != Demand::SlowDown)
    }

    /// Whether this session is slowed down.
    pub fn is_slowed(&self, user: &UserKey, session: &SessionId, now: Timestamp) -> bool {
        let slows = |block: &Block| block.demand == Demand::SlowDown;
        self.find_caller(user, Some(session), now, slows).is_some()
    }

    /// Whether this address is slowed down.
    pub fn is_slowed_address(&self, address: IpAddr, now: Timestamp) -> bool {
        self.find_address(address, now, |block| block.demand == Demand::SlowDown).is_some()
    }

    fn find_address(
        &self,
        address: IpAddr,
        now: Timestamp,
        is_meant: impl Fn(&Block) -> bool,
    ) -> Option<Arc<Block>> {
        if !self.is_any.load(Ordering::Acquire) {
            return None;
        }
        let held = self.held.load();
        let address = address.to_canonical();
        let [v4, v6] = &held.lengths;
        let lengths = if address.is_ipv4() { v4 } else { v6 };
        lengths.iter().find_map(|length| {
            let network = IpNet::new(address, *length).ok()?.trunc();
            held.find(&BlockSubject::Address(network), now).filter(|block| is_meant(block))
        })
    }

    fn find_caller(
        &self,
        user: &UserKey,
        session: Option<&SessionId>,
        now: Timestamp,
        is_meant: impl Fn(&Block) -> bool,
    ) -> Option<Arc<Block>> {
        if !self.is_any.load(Ordering::Acquire) {
            return None;
        }
        let held = self.held.load();
        let of_user = BlockSubject::User(user.clone());
        let of_session = session.map(|session| BlockSubject::Session(session.clone()));
        let mut subjects = std::iter::once(of_user).chain(of_session);
        subjects.find_map(|subject| held.find(&subject, now).filter(|block| is_meant(block)))
    }

    /// Returns all current blocks, those that end first before the others.
    pub fn all(&self, now: Timestamp) -> Vec<Arc<Block>> {
        let held = self.held.load();
        let mut all: Vec<_> =
            held.all.values().filter(|block| !block.is_over(now)).map(Arc::clone).collect();
        all.sort_by_cached_key(|block| (block.until, block.subject.to_string()));
        all
    }

    /// Returns the number of current blocks of each kind.
    pub fn counts(&self, now: Timestamp) -> BlockCounts {
        let held = self.held.load();
        let mut counts = BlockCounts::default();
        for block in held.all.values().filter(|block| !block.is_over(now)) {
            match &block.subject {
                BlockSubject::Address(_) => counts.addresses += 1,
                BlockSubject::User(_) => counts.users += 1,
                BlockSubject::Session(_) => counts.sessions += 1,
            }
        }
        counts
    }

    /// Decides whether a new block is added, from the blocks in memory. For a store that has nothing but memory.
    pub(super) fn admit(&self, new: &Block) -> Admitted {
        let held = self.held.load();
        if let Some(old) = held.all.get(&new.subject) {
            return match old.gives_way_to(new) {
                true => Admitted::InPlaceOf(None),
                false => Admitted::Not(Blocked::Stands(Arc::clone(old))),
            };
        }
        let those_that_hold = || held.all.values().filter(|block| !block.is_over(new.at));
        if those_that_hold().count() < MOST_BLOCKS {
            return Admitted::InPlaceOf(None);
        }
        let first = those_that_hold().filter(|block| block.is_expendable());
        match first.min_by_key(|block| block.until) {
            Some(block) => Admitted::InPlaceOf(Some(block.subject.clone())),
            None => Admitted::Not(Blocked::NoRoom),
        }
    }

    /// Adds a block in memory, in place of one of another subject if the list was full.
    pub(super) fn put(&self, new: Block, in_place_of: Option<&BlockSubject>) -> Arc<Block> {
        let new = Arc::new(new);
        self.change(|all| {
            all.retain(|subject, old| !old.is_over(new.at) && Some(subject) != in_place_of);
            all.insert(new.subject.clone(), Arc::clone(&new));
        });
        new
    }

    /// Adds blocks that were read from disk.
    pub(super) fn fill(&self, blocks: Vec<Block>) {
        self.change(|all| {
            all.extend(blocks.into_iter().map(|block| (block.subject.clone(), Arc::new(block))));
        });
    }

    /// Removes a block from memory.
    pub(super) fn remove(&self, subject: &BlockSubject) -> Option<Arc<Block>> {
        let mut removed = None;
        self.change(|all| removed = all.remove(subject));
        removed
    }

    /// Drops blocks that have ended, and blocks of sessions that are gone.
    pub(super) fn forget(&self, now: Timestamp, is_gone: impl Fn(&SessionId) -> bool) {
        let is_past_use = |block: &Block| {
            let of_no_session =
                matches!(&block.subject, BlockSubject::Session(session) if is_gone(session));
            block.is_over(now) || of_no_session
        };
        if self.held.load().all.values().any(|block| is_past_use(block)) {
            self.change(|all| all.retain(|_, block| !is_past_use(block)));
        }
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<BlockSubject, Arc<Block>>)) {
        let mut all = self.held.load().all.clone();
        change(&mut all);
        let mut lengths: [BTreeSet<u8>; 2] = Default::default();
        for subject in all.keys() {
            if let BlockSubject::Address(network) = subject {
                let [v4, v6] = &mut lengths;
                let of_its_kind = if network.addr().is_ipv4() { v4 } else { v6 };
                of_its_kind.insert(network.prefix_len());
            }
        }
        let is_any = !all.is_empty();
        self.held.store(Arc::new(HeldBlocks { all, lengths }));
        self.is_any.store(is_any, Ordering::Release);
    }
}

/// Whether a new block is added.
pub(super) enum Admitted {
    /// The block is added, and this other one is dropped for it.
    InPlaceOf(Option<BlockSubject>),
    /// The block is not added.
    Not(Blocked),
}

impl HeldBlocks {
    fn find(&self, subject: &BlockSubject, now: Timestamp) -> Option<Arc<Block>> {
        self.all.get(subject).filter(|block| !block.is_over(now)).map(Arc::clone)
    }
}
