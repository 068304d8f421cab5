//! The account activity and devices that users see, in memory.

use std::collections::HashMap;

use async_trait::async_trait;

use super::super::StoreError;
use super::super::memory::Memory;
use super::{
    AccountRecords, DEVICE_LIFETIME, DeviceUse, MOST_DEVICES, MOST_ENTRIES, MOST_REFUSED, NewEntry,
    RecordNote, StoredDevice, StoredEntry,
};
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::secret::Digest;

/// All users' records, behind one lock.
#[derive(Debug, Default)]
pub(in crate::store) struct RecordTables {
    last_key: u64,
    users: HashMap<UserKey, AccountRows>,
}

#[derive(Debug, Default)]
struct AccountRows {
    /// Entries that anybody can cause, and the others; the oldest first.
    refused: Vec<StoredEntry>,
    others: Vec<StoredEntry>,
    devices: Vec<StoredDevice>,
}

impl RecordTables {
    /// Removes expired data.
    pub(in crate::store) fn forget(&mut self, now: Timestamp) {
        for account in self.users.values_mut() {
            account.devices.retain(|one| now.since(one.last_used) < DEVICE_LIFETIME);
        }
    }

    /// Removes entries from before this time, and the places of devices that were last used before it.
    pub(in crate::store) fn forget_before(&mut self, before: Timestamp) {
        for account in self.users.values_mut() {
            account.refused.retain(|one| before <= one.at);
            account.others.retain(|one| before <= one.at);
            for device in account.devices.iter_mut().filter(|one| one.last_used < before) {
                (device.network, device.agent) = (None, String::new());
            }
        }
    }

    fn happened(&mut self, new: NewEntry) {
        let key = self.last_key + 1;
        let account = self.users.entry(new.user).or_default();
        let (entries, most) = match new.is_refused {
            true => (&mut account.refused, MOST_REFUSED),
            false => (&mut account.others, MOST_ENTRIES),
        };
        let is_same = |one: &&mut StoredEntry| {
            one.what == new.what
                && one.detail == new.detail
                && new.at.since(one.first_at) < new.merges
        };
        if let Some(same) = entries.iter_mut().rev().find(is_same) {
            same.at = same.at.max(new.at);
            same.count += 1;
            (same.network, same.agent) = (new.network, new.agent);
            return;
        }
        self.last_key = key;
        entries.push(StoredEntry {
            key,
            what: new.what.to_owned(),
            detail: new.detail.to_owned(),
            first_at: new.at,
            at: new.at,
            count: 1,
            network: new.network,
            agent: new.agent,
        });
        entries.sort_by_key(|one| (one.at, one.key));
        entries.drain(..entries.len().saturating_sub(most));
    }

    fn used(&mut self, used: DeviceUse) {
        let devices = &mut self.users.entry(used.user).or_default().devices;
        let DeviceUse { device, at, network, agent, .. } = used;
        match devices.iter_mut().find(|one| one.device == device) {
            Some(known) => {
                known.last_used = known.last_used.max(at);
                (known.network, known.agent) = (network, agent);
            }
            None => {
                devices.push(StoredDevice { device, first_used: at, last_used: at, network, agent })
            }
        }
        devices.sort_by_key(|one| std::cmp::Reverse(one.last_used));
        devices.truncate(MOST_DEVICES);
    }
}

#[async_trait]
impl AccountRecords for Memory {
    async fn note(&self, notes: Vec<RecordNote>) -> Result<(), StoreError> {
        let mut tables = self.records.lock();
        for note in notes {
            match note {
                RecordNote::Happened(entry) => tables.happened(entry),
                RecordNote::DeviceUsed(used) => tables.used(used),
            }
        }
        Ok(())
    }

    async fn entries_of(
        &self,
        user: &UserKey,
        before: Option<(Timestamp, u64)>,
        limit: usize,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let tables = self.records.lock();
        let Some(account) = tables.users.get(user) else { return Ok(Vec::new()) };
        let mut entries: Vec<_> = account.refused.iter().chain(&account.others).cloned().collect();
        entries.retain(|one| before.is_none_or(|before| (one.at, one.key) < before));
        entries.sort_by_key(|one| std::cmp::Reverse((one.at, one.key)));
        entries.truncate(limit);
        Ok(entries)
    }

    async fn devices_of(&self, user: &UserKey) -> Result<Vec<StoredDevice>, StoreError> {
        let tables = self.records.lock();
        Ok(tables.users.get(user).map(|account| account.devices.clone()).unwrap_or_default())
    }

    async fn drop_devices(
        &self,
        user: &UserKey,
        which: Option<&Digest>,
    ) -> Result<usize, StoreError> {
        let mut tables = self.records.lock();
        let Some(account) = tables.users.get_mut(user) else { return Ok(0) };
        let before = account.devices.len();
        account.devices.retain(|one| which.is_some_and(|which| one.device != *which));
        Ok(before - account.devices.len())
    }
}
