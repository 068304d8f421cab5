//! The port for temporary counters: failed attempts, tries of links, and what detectors have seen and done recently.
//!
//! The port has one operation: it passes the entries under some keys to the caller's function, and stores them as the function
//! leaves them. Their meaning belongs to the callers (`session::lockout`, `detect::window`, `detect::restraint`,
//! `notify::tries_by_address`), so a store shared by several gateways needs to know nothing of it: it reads the keys, calls
//! `change`, and writes if nobody else wrote in the meantime, or else starts again.
//!
//! The callers also decide what happens while the store cannot count: nobody may try a password or a link, a detector sees
//! nothing, and the actions of detectors are counted in the process instead.
//!
//! **Keys are hashes.** Names and addresses can be guessed from a plain hash, so a store that others can read hashes the keys
//! once more under a secret key of its own.
//!
//! **Memory is bounded, whoever fills it.** Clients choose the names, addresses and paths for which entries are made, so each
//! [`CounterScope`] limits the bytes of its entries: [`ENTRY_BYTES`] each, and their values. Beyond the limit, the entry whose
//! last change is longest ago is evicted, but never one that is just being changed. Reading an entry is no change. An expired
//! entry counts as empty and is removed.
//!
//! Counters need not be durable: after a restart they may be empty, or as they were before.

use async_trait::async_trait;

use super::StoreError;
use crate::clock::Timestamp;
use crate::secret::Digest;

pub mod memory;
pub mod span;

#[cfg(test)]
pub(crate) mod testing;

/// The bytes that an entry takes in addition to its value: two times, its key, and its place in two tables.
pub const ENTRY_BYTES: usize = 128;

/// The entries of one kind, with a limit of their own, so that a flood of others cannot evict them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CounterScope {
    /// The name of the scope, which is unique.
    pub name: &'static str,
    /// The most bytes that all its entries take.
    pub most_bytes: usize,
}

/// The key of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CounterKey([u8; 16]);

/// The entry under a key. An empty value means that there is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CounterEntry {
    /// The value: some dozens of bytes, or some for each thing that is counted.
    pub value: Vec<u8>,
    /// When the entry expires.
    pub until: Timestamp,
}

/// Changes entries, in the order of their keys. It may be called again, with other entries.
pub type CounterChange<'c> = dyn FnMut(&mut [CounterEntry]) + Send + 'c;

/// The port that stores counters.
#[async_trait]
pub trait Counters: Send + Sync {
    /// Passes the entries under these keys, which must all differ, to `change`, and stores what it leaves, in one step: each of
    /// several parallel calls sees what the calls before it left. On an error, nothing has changed.
    async fn change(
        &self,
        scope: CounterScope,
        keys: &[CounterKey],
        at: Timestamp,
        change: &mut CounterChange<'_>,
    ) -> Result<(), StoreError>;
}

/// Does the same as [`Counters::change`], and returns the result of the function.
///
/// # Errors
/// The store's error.
pub async fn changed<R: Send>(
    counters: &dyn Counters,
    scope: CounterScope,
    keys: &[CounterKey],
    at: Timestamp,
    mut change: impl FnMut(&mut [CounterEntry]) -> R + Send,
) -> Result<R, StoreError> {
    let mut made = None;
    counters.change(scope, keys, at, &mut |entries| made = Some(change(entries))).await?;
    made.ok_or_else(|| StoreError("the counters were not asked".to_owned()))
}

/// Changes the entry under one key, and returns what `change` returned.
///
/// # Errors
/// The store's.
pub async fn changed_one<R: Send>(
    counters: &dyn Counters,
    scope: CounterScope,
    key: CounterKey,
    at: Timestamp,
    mut change: impl FnMut(&mut CounterEntry) -> R + Send,
) -> Result<R, StoreError> {
    let one = |entries: &mut [CounterEntry]| entries.first_mut().map(&mut change);
    let made = changed(counters, scope, &[key], at, one).await?;
    made.ok_or_else(|| StoreError("the counters showed nothing".to_owned()))
}

impl CounterKey {
    /// Returns the key for a text that is unique within its scope.
    pub fn of(text: &str) -> Self {
        Self::from(&Digest::of(text.as_bytes()))
    }

    /// Returns the bytes of the key.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns the key with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl From<&Digest> for CounterKey {
    fn from(digest: &Digest) -> Self {
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
        Self(bytes)
    }
}

/// The default is an empty entry.
impl Default for CounterEntry {
    fn default() -> Self {
        Self { value: Vec::new(), until: Timestamp::from_secs(0) }
    }
}
