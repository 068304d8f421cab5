//! The port that stores what users see of their account: its recent activity, and its known devices.
//!
//! Both are bounded for each user. Refused sign-ins, which anybody can cause, have a limit of their own, so that they displace
//! nothing else; and what happens repeatedly within a while is one entry with a count. Of an address, only its network is
//! stored.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::secret::Digest;

mod memory;

pub(super) use memory::RecordTables;

/// The most entries of one user that anybody can cause.
pub const MOST_REFUSED: usize = 50;

/// The most other entries of one user.
pub const MOST_ENTRIES: usize = 100;

/// The most devices of one user; beyond it, the device that was unused for the longest time is dropped.
pub const MOST_DEVICES: usize = 50;

/// How long a device is listed after its last use: as long as its cookie is valid.
pub const DEVICE_LIFETIME: Duration = Duration::from_secs(365 * 86_400);

/// Something to record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecordNote {
    /// Something happened to an account.
    Happened(NewEntry),
    /// A known device was used to sign in.
    DeviceUsed(DeviceUse),
}

/// Something that happened to an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewEntry {
    /// The user that the account belongs to.
    pub user: UserKey,
    /// The stable name of what happened.
    pub what: &'static str,
    /// The stable name of its details.
    pub detail: &'static str,
    /// When it happened.
    pub at: Timestamp,
    /// The network that it came from.
    pub network: Option<IpAddr>,
    /// The `User-Agent`.
    pub agent: String,
    /// Whether anybody can cause it.
    pub is_refused: bool,
    /// A repetition within this time after the first is counted in the same entry.
    pub merges: Duration,
}

/// An entry in its stored form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredEntry {
    /// The entry's number.
    pub key: u64,
    /// See [`NewEntry::what`].
    pub what: String,
    /// See [`NewEntry::detail`].
    pub detail: String,
    /// When it first happened.
    pub first_at: Timestamp,
    /// When it last happened.
    pub at: Timestamp,
    /// How often it happened.
    pub count: u64,
    /// The network that it last came from.
    pub network: Option<IpAddr>,
    /// The `User-Agent` that it last came from.
    pub agent: String,
}

/// The use of a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceUse {
    /// The user who used the device.
    pub user: UserKey,
    /// The id of the device.
    pub device: Digest,
    /// When the device was used.
    pub at: Timestamp,
    /// The network from which it was used.
    pub network: Option<IpAddr>,
    /// The `User-Agent`.
    pub agent: String,
}

/// A device in its stored form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredDevice {
    /// The id of the device.
    pub device: Digest,
    /// When the device was first used.
    pub first_used: Timestamp,
    /// When the device was last used.
    pub last_used: Timestamp,
    /// The network from which it was last used.
    pub network: Option<IpAddr>,
    /// The `User-Agent` with which it was last used.
    pub agent: String,
}

/// The port that stores what users see of their account. An adapter implements it over the same data as the other ports;
/// [`StoredPlaces`](super::StoredPlaces) erases the places in it.
#[async_trait]
pub trait AccountRecords: Send + Sync {
    /// Records these notes, in their order.
    async fn note(&self, notes: Vec<RecordNote>) -> Result<(), StoreError>;

    /// Returns the activity of a user's account, the last entry first; if an entry is named by its time and number, what came
    /// before it.
    async fn entries_of(
        &self,
        user: &UserKey,
        before: Option<(Timestamp, u64)>,
        limit: usize,
    ) -> Result<Vec<StoredEntry>, StoreError>;

    /// Returns the devices of a user, the most recently used first.
    async fn devices_of(&self, user: &UserKey) -> Result<Vec<StoredDevice>, StoreError>;

    /// Removes these devices of a user from the list, or all of them, and returns their number.
    async fn drop_devices(
        &self,
        user: &UserKey,
        which: Option<&Digest>,
    ) -> Result<usize, StoreError>;
}
