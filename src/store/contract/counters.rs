//! The contract for temporary counters.

use std::sync::Arc;

use super::at;
use crate::store::counters::{
    CounterEntry, CounterKey, CounterScope, Counters, ENTRY_BYTES, changed,
};

const ROOM: CounterScope = CounterScope { name: "room", most_bytes: 1 << 20 };
const OTHER: CounterScope = CounterScope { name: "other", most_bytes: 1 << 20 };
/// A scope with room for four entries of one byte.
const NARROW: CounterScope = CounterScope { name: "narrow", most_bytes: 4 * (ENTRY_BYTES + 1) };

fn key(name: &str) -> CounterKey {
    CounterKey::of(name)
}

/// Returns the value under a key.
async fn look(store: &impl Counters, scope: CounterScope, name: &str, millis: u64) -> Vec<u8> {
    let read = |entries: &mut [CounterEntry]| entries[0].value.clone();
    changed(store, scope, &[key(name)], at(millis), read).await.unwrap()
}

/// Stores these bytes under a key for a second.
async fn leave(store: &impl Counters, scope: CounterScope, name: &str, millis: u64, value: &[u8]) {
    let leave = |entries: &mut [CounterEntry]| {
        entries[0] = CounterEntry { value: value.to_vec(), until: at(millis + 1000) };
    };
    changed(store, scope, &[key(name)], at(millis), leave).await.unwrap();
}

/// Adds one to the first byte, and returns its earlier value.
async fn add(store: &impl Counters, scope: CounterScope, name: &str, millis: u64) -> u8 {
    let add = |entries: &mut [CounterEntry]| {
        let before = entries[0].value.first().copied().unwrap_or_default();
        entries[0] = CounterEntry { value: vec![before + 1], until: at(millis + 1000) };
        before
    };
    changed(store, scope, &[key(name)], at(millis), add).await.unwrap()
}

pub(in crate::store) async fn what_is_left_is_kept_until_its_time(store: &Arc<impl Counters>) {
    assert_eq!(look(&**store, ROOM, "a", 0).await, [0; 0]);
    leave(&**store, ROOM, "a", 0, b"one").await;
    for (millis, value) in [(0, &b"one"[..]), (999, b"one"), (1000, b""), (5000, b"")] {
        assert_eq!(look(&**store, ROOM, "a", millis).await, value, "{millis}");
    }
    leave(&**store, ROOM, "a", 5000, b"two").await;
    assert_eq!(look(&**store, ROOM, "a", 5001).await, b"two");
    leave(&**store, ROOM, "a", 5002, b"").await;
    assert_eq!(look(&**store, ROOM, "a", 5003).await, b"", "nothing is nothing");
}

pub(in crate::store) async fn scopes_are_counted_apart(store: &Arc<impl Counters>) {
    leave(&**store, ROOM, "a", 0, b"one").await;
    leave(&**store, OTHER, "a", 0, b"two").await;
    assert_eq!(look(&**store, ROOM, "a", 1).await, b"one");
    assert_eq!(look(&**store, OTHER, "a", 1).await, b"two");
    assert_eq!(look(&**store, ROOM, "b", 1).await, b"");
    for n in 0..100 {
        leave(&**store, NARROW, &n.to_string(), 1, b"x").await;
    }
    assert_eq!(look(&**store, ROOM, "a", 2).await, b"one", "no flood of others pushes it out");
}

pub(in crate::store) async fn what_is_only_looked_at_stays_as_it_was(store: &Arc<impl Counters>) {
    for name in ["a", "b", "c", "d"] {
        leave(&**store, NARROW, name, 0, b"x").await;
    }
    for _ in 0..9 {
        assert_eq!(look(&**store, NARROW, "a", 1).await, b"x");
    }
    for name in ["e", "f"] {
        assert_eq!(look(&**store, NARROW, name, 1).await, b"", "and it makes no entry");
    }
    leave(&**store, NARROW, "g", 1, b"x").await;
    assert_eq!(look(&**store, NARROW, "a", 1).await, b"", "it is still the oldest");
    assert_eq!(look(&**store, NARROW, "b", 1).await, b"x");
}

pub(in crate::store) async fn of_parallel_changes_each_sees_those_before(
    store: &Arc<impl Counters + 'static>,
) {
    let tasks = (0..20).map(|_| {
        let store = Arc::clone(store);
        tokio::spawn(async move { add(&*store, ROOM, "a", 0).await })
    });
    let mut seen: Vec<u8> = futures_util::future::try_join_all(tasks).await.unwrap();
    seen.sort_unstable();
    assert_eq!(seen, (0..20).collect::<Vec<u8>>());
}

pub(in crate::store) async fn several_keys_change_in_one_step(
    store: &Arc<impl Counters + 'static>,
) {
    // Each call moves one from a full account to another; nobody ever sees one missing or one too many.
    leave(&**store, ROOM, "a", 0, &[100]).await;
    leave(&**store, ROOM, "b", 0, &[100]).await;
    let tasks = (0..50).map(|n| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let names = if n % 2 == 0 { ["a", "b"] } else { ["b", "a"] };
            let pass_on = |entries: &mut [CounterEntry]| {
                let sum = u32::from(entries[0].value[0]) + u32::from(entries[1].value[0]);
                entries[0].value[0] -= 1;
                entries[1].value[0] += 1;
                sum
            };
            changed(&*store, ROOM, &names.map(key), at(0), pass_on).await.unwrap()
        })
    });
    let sums = futures_util::future::try_join_all(tasks).await.unwrap();
    assert!(sums.iter().all(|sum| *sum == 200), "{sums:?}");
    assert_eq!(look(&**store, ROOM, "a", 1).await, [100]);
}

pub(in crate::store) async fn what_was_not_changed_for_longest_gives_way(
    store: &Arc<impl Counters>,
) {
    for name in ["a", "b", "a", "c", "d"] {
        add(&**store, NARROW, name, 0).await;
    }
    add(&**store, NARROW, "e", 1).await;
    for (name, value) in [("a", &[2][..]), ("b", &[]), ("c", &[1]), ("d", &[1]), ("e", &[1])] {
        assert_eq!(look(&**store, NARROW, name, 2).await, value, "{name}");
    }
    // A removed entry makes room.
    leave(&**store, NARROW, "c", 2, b"").await;
    add(&**store, NARROW, "f", 2).await;
    for name in ["a", "d", "e", "f"] {
        assert!(!look(&**store, NARROW, name, 3).await.is_empty(), "{name}");
    }
}

pub(in crate::store) async fn what_is_just_being_changed_stays_however_large(
    store: &Arc<impl Counters>,
) {
    leave(&**store, NARROW, "small", 0, b"x").await;
    let large = [7; 10_000];
    leave(&**store, NARROW, "large", 0, &large).await;
    assert_eq!(look(&**store, NARROW, "large", 1).await, large);
    assert_eq!(look(&**store, NARROW, "small", 1).await, b"");
    leave(&**store, NARROW, "small", 1, b"x").await;
    assert_eq!(look(&**store, NARROW, "large", 2).await, b"");
}

pub(in crate::store) async fn however_many_keys_are_invented_a_scope_stays_within_its_bound(
    store: &Arc<impl Counters>,
) {
    for n in 0..1000 {
        add(&**store, NARROW, &format!("invented {n}"), 0).await;
    }
    let mut held = 0;
    for n in 0..1000 {
        held += look(&**store, NARROW, &format!("invented {n}"), 1).await.len();
    }
    assert_eq!(held, 4, "the last four");
}
