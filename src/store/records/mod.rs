//! The port through which is kept what people are shown of their account: what happened to it lately, and the browsers that
//! it knows.
//!
//! Both are bounded for each user, whatever happens. Refused sign-ins, which anybody can cause, have room of their own, so
//! that they push out nothing else; and what happens again and again within a while is one entry with a count. No address is
//! kept, only its network.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::secret::Digest;

mod memory;

pub(super) use memory::RecordTables;

/// The most entries of one user that others can cause.
pub const MOST_REFUSED: usize = 50;

/// The most other entries of one user.
pub const MOST_ENTRIES: usize = 100;

/// The most devices of one user; past it the one goes that was not used for the longest time.
pub const MOST_DEVICES: usize = 50;

/// For how long a device is listed after its last use: as long as its cookie counts.
pub const DEVICE_LIFETIME: Duration = Duration::from_secs(365 * 86_400);

/// Something to keep.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecordNote {
    /// It happened.
    Happened(NewEntry),
    /// A known browser was used to sign in.
    DeviceUsed(DeviceUse),
}

/// Something that happened to an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewEntry {
    /// Whose account.
    pub user: UserKey,
    /// What, by its stable name.
    pub what: &'static str,
    /// Which of its kind, by its stable name.
    pub detail: &'static str,
    /// When.
    pub at: Timestamp,
    /// A network from where.
    pub network: Option<IpAddr>,
    /// The `User-Agent`.
    pub agent: String,
    /// May anybody cause it?
    pub is_refused: bool,
    /// Within this time after the first it is the same entry, seen once more.
    pub merges: Duration,
}

/// An entry, as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredEntry {
    /// Its number.
    pub key: u64,
    /// See [`NewEntry::what`].
    pub what: String,
    /// See [`NewEntry::detail`].
    pub detail: String,
    /// When it first happened.
    pub first_at: Timestamp,
    /// When it last did.
    pub at: Timestamp,
    /// How often it did.
    pub count: u64,
    /// Where it last did.
    pub network: Option<IpAddr>,
    /// By what it last did.
    pub agent: String,
}

/// The use of a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceUse {
    /// Whose.
    pub user: UserKey,
    /// Which.
    pub device: Digest,
    /// When.
    pub at: Timestamp,
    /// A network from where.
    pub network: Option<IpAddr>,
    /// The `User-Agent`.
    pub agent: String,
}

/// A device, as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredDevice {
    /// Which.
    pub device: Digest,
    /// When it was first used.
    pub first_used: Timestamp,
    /// When it was last used.
    pub last_used: Timestamp,
    /// Where it was last used.
    pub network: Option<IpAddr>,
    /// By what it was last used.
    pub agent: String,
}

/// Keeps what people are shown. An adapter implements this port over the same data as the others; where people were goes with
/// [`StoredPlaces`](super::StoredPlaces).
#[async_trait]
pub trait AccountRecords: Send + Sync {
    /// Keeps these, in their order.
    async fn note(&self, notes: Vec<RecordNote>) -> Result<(), StoreError>;

    /// What happened to a user's account, the last first; before this entry, by its time and its number, if one is named.
    async fn entries_of(
        &self,
        user: &UserKey,
        before: Option<(Timestamp, u64)>,
        limit: usize,
    ) -> Result<Vec<StoredEntry>, StoreError>;

    /// The devices of a user, the one that was used last first.
    async fn devices_of(&self, user: &UserKey) -> Result<Vec<StoredDevice>, StoreError>;

    /// Lists these devices of a user no more, or all of them; how many those were.
    async fn drop_devices(
        &self,
        user: &UserKey,
        which: Option<&Digest>,
    ) -> Result<usize, StoreError>;
}
