//! [`Counters`] of one process, in memory.
//!
//! One lock protects all entries, and is held only while a few of them are read or changed: sign-ins and detectors take it, and
//! no other request does.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use hashlink::LruCache;
use parking_lot::Mutex;

use super::{CounterChange, CounterEntry, CounterKey, CounterScope, Counters, ENTRY_BYTES};
use crate::clock::Timestamp;
use crate::store::StoreError;

/// The counters in memory; they do not outlive the process.
#[derive(Default)]
pub struct CountersInMemory(Mutex<HashMap<&'static str, ScopeTable>>);

/// The entries of one scope; the entry whose last change is longest ago comes first.
struct ScopeTable {
    entries: LruCache<CounterKey, (Box<[u8]>, Timestamp)>,
    bytes: usize,
}

impl CountersInMemory {
    /// Creates counters without entries.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Returns the number of entries of a scope, and the bytes they take.
    pub fn held(&self, scope: CounterScope) -> (usize, usize) {
        let scopes = self.0.lock();
        scopes.get(scope.name).map_or((0, 0), |table| (table.entries.len(), table.bytes))
    }
}

#[async_trait]
impl Counters for CountersInMemory {
    async fn change(
        &self,
        scope: CounterScope,
        keys: &[CounterKey],
        at: Timestamp,
        change: &mut CounterChange<'_>,
    ) -> Result<(), StoreError> {
        let mut scopes = self.0.lock();
        scopes.entry(scope.name).or_default().change(scope.most_bytes, keys, at, change);
        Ok(())
    }
}

impl Default for ScopeTable {
    fn default() -> Self {
        Self { entries: LruCache::new_unbounded(), bytes: 0 }
    }
}

impl ScopeTable {
    fn change(
        &mut self,
        most_bytes: usize,
        keys: &[CounterKey],
        at: Timestamp,
        change: &mut CounterChange<'_>,
    ) {
        self.forget_past(at);
        let before: Vec<CounterEntry> = keys.iter().map(|key| self.look(key, at)).collect();
        let mut after = before.clone();
        change(&mut after);
        for ((key, before), after) in keys.iter().zip(before).zip(after) {
            if before != after {
                self.keep(*key, after);
            }
        }
        while self.bytes > most_bytes && self.entries.len() > keys.len() {
            self.forget_oldest();
        }
    }

    fn look(&self, key: &CounterKey, at: Timestamp) -> CounterEntry {
        match self.entries.peek(key) {
            Some((value, until)) if at < *until => {
                CounterEntry { value: value.to_vec(), until: *until }
            }
            Some(_) | None => CounterEntry::default(),
        }
    }

    fn keep(&mut self, key: CounterKey, entry: CounterEntry) {
        let CounterEntry { value, until } = entry;
        let old = match value.is_empty() {
            true => self.entries.remove(&key),
            false => {
                self.bytes += ENTRY_BYTES + value.len();
                self.entries.insert(key, (value.into_boxed_slice(), until))
            }
        };
        self.forgot(old);
    }

    /// Removes expired entries from the front. Each is removed once, so the amortised cost is constant.
    fn forget_past(&mut self, at: Timestamp) {
        while let Some((_, (_, until))) = self.entries.iter().next()
            && *until <= at
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let oldest = self.entries.remove_lru();
        self.forgot(oldest.map(|(_, entry)| entry));
    }

    fn forgot(&mut self, entry: Option<(Box<[u8]>, Timestamp)>) {
        if let Some((value, _)) = entry {
            self.bytes -= ENTRY_BYTES + value.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> (Arc<CountersInMemory>, ()) {
        (CountersInMemory::new(), ())
    }

    crate::store::contract::mount!(fresh: counters);

    #[tokio::test]
    async fn what_an_entry_takes_is_what_is_said() {
        let counters = CountersInMemory::new();
        let scope = CounterScope { name: "test", most_bytes: 10_000 };
        for n in 0..1000 {
            let keys = [CounterKey::of(&format!("{n}"))];
            let leave = &mut |entries: &mut [CounterEntry]| {
                *entries.first_mut().unwrap() =
                    CounterEntry { value: vec![7; 12], until: Timestamp::from_secs(60) };
            };
            counters.change(scope, &keys, Timestamp::from_secs(0), leave).await.unwrap();
        }
        assert_eq!(counters.held(scope), (71, 71 * (ENTRY_BYTES + 12)));
    }
}
