//! The contract for blocks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{after, at, new_session};
use crate::block::{Block, BlockSubject, BlockedBy, Demand};
use crate::caller::{SessionId, UserKey};
use crate::event::EndReason;
use crate::store::blocks::MOST_BLOCKS;
use crate::store::{Blocked, Blocks, SessionSelection, Sessions};

fn subject(kind: &str, text: &str) -> BlockSubject {
    BlockSubject::parse(kind, text).unwrap()
}

fn block(kind: &str, text: &str, minutes: u64) -> Block {
    Block {
        subject: subject(kind, text),
        demand: Demand::StayAway,
        by: BlockedBy::Detector,
        reason: "scanning".into(),
        at: at(0),
        until: after(Duration::from_secs(60 * minutes)),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(in crate::store) async fn a_block_holds_until_its_end(store: &Arc<impl Blocks>) {
    let list = store.list();
    assert_eq!(list.of_address(ip("198.51.100.7"), at(0)), None);
    let new = block("address", "198.51.100.7", 10);
    let held = Arc::new(new.clone());
    assert_eq!(store.block(new).await, Ok(Blocked::Holds(Arc::clone(&held))));
    let last = after(Duration::from_millis(599_999));
    assert_eq!(list.of_address(ip("198.51.100.7"), last), Some(Arc::clone(&held)));
    assert_eq!(list.of_address(ip("::ffff:198.51.100.7"), last), Some(Arc::clone(&held)));
    assert_eq!(list.all(last), [held]);
    assert_eq!(list.of_address(ip("198.51.100.8"), at(1)), None);
    let over = after(Duration::from_secs(600));
    assert_eq!(list.of_address(ip("198.51.100.7"), over), None);
    assert_eq!(list.all(over), []);
}

pub(in crate::store) async fn a_network_holds_all_its_addresses(store: &Arc<impl Blocks>) {
    for network in ["203.0.113.0/24", "2001:db8:1::/48", "198.51.100.7"] {
        store.block(block("address", network, 10)).await.unwrap();
    }
    let list = store.list();
    let is_blocked = |address| list.of_address(ip(address), at(1)).is_some();
    for inside in ["203.0.113.0", "203.0.113.255", "2001:db8:1:ffff::9", "198.51.100.7"] {
        assert!(is_blocked(inside), "{inside}");
    }
    for outside in ["203.0.114.0", "2001:db8:2::1", "198.51.100.6", "::203.0.113.1"] {
        assert!(!is_blocked(outside), "{outside}");
    }
    assert_eq!(list.counts(at(1)).addresses, 3);
}

pub(in crate::store) async fn users_and_sessions_are_blocked_by_name(store: &Arc<impl Blocks>) {
    let list = store.list();
    let (kim, lee) = (UserKey::new("django", "7"), UserKey::new("django", "8"));
    let (one, two) = (SessionId::new("s-1"), SessionId::new("s-2"));
    let asked = Block { demand: Demand::SignIn, ..block("session", "s-1", 10) };
    store.block(asked.clone()).await.unwrap();
    store.block(block("user", "django/8", 10)).await.unwrap();
    assert_eq!(list.of_caller(&kim, None, at(1)), None);
    assert_eq!(list.of_caller(&kim, Some(&two), at(1)), None);
    assert_eq!(list.of_caller(&kim, Some(&one), at(1)).as_deref(), Some(&asked));
    // The user's block comes first, because signing in again would not help.
    let demand = |block: Arc<Block>| block.demand;
    assert_eq!(list.of_caller(&lee, Some(&one), at(1)).map(demand), Some(Demand::StayAway));
}

pub(in crate::store) async fn a_lifted_block_is_gone_at_once(store: &Arc<impl Blocks>) {
    store.block(block("user", "django/7", 10)).await.unwrap();
    let lifted = store.lift(&subject("user", "django/7")).await.unwrap();
    assert_eq!(lifted.as_deref(), Some(&block("user", "django/7", 10)));
    assert_eq!(store.lift(&subject("user", "django/7")).await, Ok(None));
    assert_eq!(store.list().of_caller(&UserKey::new("django", "7"), None, at(1)), None);
    assert_eq!(store.list().all(at(1)), []);
}

pub(in crate::store) async fn of_two_blocks_the_stronger_stands(store: &Arc<impl Blocks>) {
    let operator =
        Block { by: BlockedBy::Operator, reason: "abuse".into(), ..block("user", "d/1", 5) };
    store.block(block("user", "d/1", 10)).await.unwrap();
    let held = Ok(Blocked::Holds(Arc::new(operator.clone())));
    assert_eq!(store.block(operator.clone()).await, held);
    let stands = Ok(Blocked::Stands(Arc::new(operator.clone())));
    assert_eq!(store.block(block("user", "d/1", 60)).await, stands);
    assert_eq!(store.list().all(at(1)), [Arc::new(operator)]);
}

pub(in crate::store) async fn however_many_are_added_the_list_stays_bounded(
    store: &Arc<impl Blocks>,
) {
    let operator = Block { by: BlockedBy::Operator, ..block("address", "192.0.2.1", 1) };
    store.block(operator).await.unwrap();
    store.block(block("session", "s-1", 1)).await.unwrap();
    let of = |n: usize| format!("198.51.{}.{}", n / 250, n % 250);
    for n in 0..2 * MOST_BLOCKS {
        let minutes = 10 + u64::try_from(n).unwrap();
        let blocked = store.block(block("address", &of(n), minutes)).await.unwrap();
        assert!(matches!(blocked, Blocked::Holds(_)), "{blocked:?}");
    }
    let list = store.list();
    assert_eq!(list.all(at(1)).len(), MOST_BLOCKS);
    for stays in ["192.0.2.1", &*of(2 * MOST_BLOCKS - 1)] {
        assert!(list.of_address(ip(stays), at(1)).is_some(), "{stays}");
    }
    assert_eq!(list.of_address(ip(&of(0)), at(1)), None, "what ends first gives way");
    assert_eq!(list.counts(at(1)).sessions, 1);
    // If no block may be dropped, there is no room.
    for n in 0..MOST_BLOCKS {
        store.block(block("user", &format!("d/{n}"), 10)).await.unwrap();
    }
    let one_more = store.block(block("address", "192.0.2.9", 10)).await;
    assert_eq!(one_more, Ok(Blocked::NoRoom));
    assert_eq!(list.all(at(1)).len(), MOST_BLOCKS);
    // Ended blocks make room.
    let later = after(Duration::from_secs(60 * 60 * 24));
    let new =
        Block { at: later, until: later.plus(Duration::from_secs(60)), ..block("user", "d/x", 1) };
    assert!(matches!(store.block(new).await, Ok(Blocked::Holds(_))));
    assert_eq!(list.all(later).len(), 1);
}

pub(in crate::store) async fn upkeep_forgets_blocks_that_are_over(
    store: &Arc<impl Blocks + Sessions>,
) {
    for id in ["a", "b"] {
        store.create(new_session(id, "1")).await.unwrap();
        store.block(block("session", id, 60)).await.unwrap();
    }
    store.block(block("user", "django/1", 1)).await.unwrap();
    let which = SessionSelection::Session(SessionId::new("a"));
    store.end(&which, EndReason::SignedOut, at(1)).await.unwrap();
    store.upkeep(after(Duration::from_secs(59))).await.unwrap();
    let texts = |list: Vec<Arc<Block>>| -> Vec<String> {
        list.iter().map(|block| block.subject.to_string()).collect()
    };
    // As of the beginning, so that only dropped blocks are missing.
    assert_eq!(texts(Blocks::list(&**store).all(at(1))), ["django/1", "b"]);
    store.upkeep(after(Duration::from_secs(60))).await.unwrap();
    assert_eq!(texts(Blocks::list(&**store).all(at(1))), ["b"]);
}
