//! What is counted for a time: failed attempts, and what detectors have seen of late.
//!
//! The port is one step: it shows what is kept under some keys to whoever asks, and keeps what they leave. What it means is
//! theirs (`session::lockout`, `detect::window`), so a store that several gateways share has to know nothing of it: it reads the
//! keys, lets `change` decide, and writes if nobody else wrote meanwhile, else begins anew.
//!
//! **Keys are hashes.** Names and addresses can be guessed from a plain hash, so a store that others can read puts them
//! under a key of its own once more.
//!
//! **Memory is bounded, whoever fills it.** What clients choose (names, addresses, paths) makes entries, so each
//! [`CounterScope`] says how many bytes its entries may take, [`ENTRY_BYTES`] each and their values. Beyond it the entry that was
//! not changed for longest gives way, but never one of those that are just being changed. Looking at an entry is no change. What
//! is past its time is nothing, and goes.
//!
//! It need not be durable: after a restart nothing is counted, or what was counted before.

use async_trait::async_trait;

use super::StoreError;
use crate::clock::Timestamp;
use crate::secret::Digest;

pub mod memory;

/// What an entry takes beside its value: two times, its key, and its place in two tables.
pub const ENTRY_BYTES: usize = 128;

/// Entries of one kind, with a bound of their own: no flood of others pushes them out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CounterScope {
    /// Its name; no other has it.
    pub name: &'static str,
    /// The most bytes that all its entries take.
    pub most_bytes: usize,
}

/// What an entry is found by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CounterKey([u8; 16]);

/// What is kept under a key; an empty value: nothing is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CounterEntry {
    /// Of some dozens of bytes, or some for each thing that is counted.
    pub value: Vec<u8>,
    /// From then on it is nothing.
    pub until: Timestamp,
}

/// Decides what becomes of entries, in the order of their keys. It may be called again, with others.
pub type CounterChange<'c> = dyn FnMut(&mut [CounterEntry]) + Send + 'c;

/// Keeps what is counted.
#[async_trait]
pub trait Counters: Send + Sync {
    /// Shows what is kept under these keys, each of which is there once, and keeps what is left of it, in one step: of parallel
    /// calls each sees what those before it left. A failure says that nothing has changed.
    async fn change(
        &self,
        scope: CounterScope,
        keys: &[CounterKey],
        at: Timestamp,
        change: &mut CounterChange<'_>,
    ) -> Result<(), StoreError>;
}

/// The same, and says what came of it.
///
/// # Errors
/// The store's.
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

impl CounterKey {
    /// Of a text that is one thing's alone within its scope.
    pub fn of(text: &str) -> Self {
        Self::from(&Digest::of(text.as_bytes()))
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// As it was.
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

/// Nothing is kept.
impl Default for CounterEntry {
    fn default() -> Self {
        Self { value: Vec::new(), until: Timestamp::from_secs(0) }
    }
}
