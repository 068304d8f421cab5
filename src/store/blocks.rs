//! The blocks that hold, in memory, for each request to look at.
//!
//! Reading takes no lock and waits for nothing: a list that is empty costs one load, and one that is not a load and a
//! look-up for each length of prefix in it. A change copies the list, which is bounded, and puts the copy in its place; only
//! the one party that decides changes does that (see `live`), after the change is durable.

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

/// So many blocks are kept at most. A detector's block of an address gives way to a new one before there are more.
pub const MOST_BLOCKS: usize = if cfg!(test) { 64 } else { 10_000 };

/// Keeps blocks. An adapter implements this port over the same data as the others.
#[async_trait]
pub trait Blocks: Send + Sync {
    /// What is blocked now and from now on, in memory: the same list each time, which the adapter changes.
    fn list(&self) -> Arc<BlockList>;

    /// Blocks somebody; durable when this returns, and seen by every reader.
    async fn block(&self, new: Block) -> Result<Blocked, StoreError>;

    /// Lifts a block; durable when this returns. `None`: there was none.
    async fn lift(&self, subject: &BlockSubject) -> Result<Option<Arc<Block>>, StoreError>;
}

/// What came of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Blocked {
    /// It holds.
    Holds(Arc<Block>),
    /// Another one of the same subject holds, and does not give way to it.
    Stands(Arc<Block>),
    /// There are too many, and none of them may be forgotten.
    NoRoom,
}

/// How many subjects of each kind are blocked.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct BlockCounts {
    /// Addresses and networks.
    pub addresses: usize,
    /// Users.
    pub users: usize,
    /// Sessions.
    pub sessions: usize,
}

/// See the head of this module.
#[derive(Debug, Default)]
pub struct BlockList {
    /// False: nothing is in `held`.
    is_any: AtomicBool,
    held: ArcSwap<HeldBlocks>,
}

#[derive(Clone, Debug, Default)]
struct HeldBlocks {
    all: HashMap<BlockSubject, Arc<Block>>,
    /// The lengths of prefixes among them, of IPv4 and of IPv6.
    lengths: [BTreeSet<u8>; 2],
}

impl BlockList {
    /// The block that keeps a client's address out, if there is one.
    pub fn of_address(&self, address: IpAddr, now: Timestamp) -> Option<Arc<Block>> {
        self.find_address(address, now, |block| block.demand == Demand::StayAway)
    }

    /// The block that keeps a known caller out, if there is one of the user or of the session.
    pub fn of_caller(
        &self,
        user: &UserKey,
        session: Option<&SessionId>,
        now: Timestamp,
    ) -> Option<Arc<Block>> {
        self.find_caller(user, session, now, |block| block.demand != Demand::SlowDown)
    }

    /// Is this session to be slower?
    pub fn is_slowed(&self, user: &UserKey, session: &SessionId, now: Timestamp) -> bool {
        let slows = |block: &Block| block.demand == Demand::SlowDown;
        self.find_caller(user, Some(session), now, slows).is_some()
    }

    /// Is this address to be slower?
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

    /// Every block that holds, those that end first before the others.
    pub fn all(&self, now: Timestamp) -> Vec<Arc<Block>> {
        let held = self.held.load();
        let mut all: Vec<_> =
            held.all.values().filter(|block| !block.is_over(now)).map(Arc::clone).collect();
        all.sort_by_cached_key(|block| (block.until, block.subject.to_string()));
        all
    }

    /// How many there are.
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

    /// What becomes of a new block, by what is in memory. For a store whose memory is the truth.
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

    /// Shows a new block, in place of one of another subject if there was no room.
    pub(super) fn put(&self, new: Block, in_place_of: Option<&BlockSubject>) -> Arc<Block> {
        let new = Arc::new(new);
        self.change(|all| {
            all.retain(|subject, old| !old.is_over(new.at) && Some(subject) != in_place_of);
            all.insert(new.subject.clone(), Arc::clone(&new));
        });
        new
    }

    /// Shows blocks that were read from disk.
    pub(super) fn fill(&self, blocks: Vec<Block>) {
        self.change(|all| {
            all.extend(blocks.into_iter().map(|block| (block.subject.clone(), Arc::new(block))));
        });
    }

    /// Takes a block away.
    pub(super) fn remove(&self, subject: &BlockSubject) -> Option<Arc<Block>> {
        let mut removed = None;
        self.change(|all| removed = all.remove(subject));
        removed
    }

    /// Drops what is over, and the blocks of sessions that are gone.
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

/// What becomes of a new block.
pub(super) enum Admitted {
    /// It holds; this one is forgotten for it.
    InPlaceOf(Option<BlockSubject>),
    /// It does not.
    Not(Blocked),
}

impl HeldBlocks {
    fn find(&self, subject: &BlockSubject, now: Timestamp) -> Option<Arc<Block>> {
        self.all.get(subject).filter(|block| !block.is_over(now)).map(Arc::clone)
    }
}
