//! The account activity and devices that users see, in the file. None of them are in memory.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::super::StoreError;
use super::super::live::LiveSessions;
use super::super::records::{
    AccountRecords, DEVICE_LIFETIME, DeviceUse, MOST_DEVICES, MOST_ENTRIES, MOST_REFUSED, NewEntry,
    RecordNote, StoredDevice, StoredEntry,
};
use super::rows::{from_sql_time, time};
use super::writer::Op;
use super::{Embedded, blocking};
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::secret::Digest;

struct Note(Vec<RecordNote>);

struct DropDevices {
    user: UserKey,
    which: Option<Digest>,
}

/// Removes some expired rows, and returns their number.
pub(super) fn sweep(sql: &Connection, now: Timestamp, limit: u32) -> rusqlite::Result<usize> {
    sql.prepare_cached(
        "DELETE FROM known_devices WHERE id IN
             (SELECT id FROM known_devices WHERE last_used <= ?1 LIMIT ?2)",
    )?
    .execute((time(now.minus(DEVICE_LIFETIME)), limit))
}

/// Removes entries from before this time, and the places of devices that were last used before it.
pub(super) fn forget_places(sql: &Connection, before: i64, limit: u32) -> rusqlite::Result<usize> {
    let entries = sql
        .prepare_cached(
            "DELETE FROM activity WHERE key IN
                 (SELECT key FROM activity WHERE at < ?1 LIMIT ?2)",
        )?
        .execute((before, limit))?;
    let devices = sql
        .prepare_cached(
            "UPDATE known_devices SET network = NULL, agent = '' WHERE id IN
                 (SELECT id FROM known_devices
                  WHERE last_used < ?1 AND (network IS NOT NULL OR agent <> '') LIMIT ?2)",
        )?
        .execute((before, limit))?;
    Ok(entries + devices)
}

/// Converts a count, because integers of SQLite are signed.
fn bound(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn address(text: Option<String>) -> Option<IpAddr> {
    text.and_then(|text| text.parse().ok())
}

fn happened(sql: &Connection, new: &NewEntry) -> rusqlite::Result<()> {
    let (directory, user) = (&*new.user.directory, &*new.user.id);
    let network = new.network.map(|network| network.to_string());
    let same: Option<i64> = sql
        .prepare_cached(
            "SELECT key FROM activity
             WHERE directory = :directory AND user_id = :user AND what = :what
               AND detail = :detail AND first_at > :since
             ORDER BY first_at DESC, key DESC LIMIT 1",
        )?
        .query_row(
            named_params! {
                ":directory": directory,
                ":user": user,
                ":what": new.what,
                ":detail": new.detail,
                ":since": time(new.at.minus(new.merges)),
            },
            |row| row.get(0),
        )
        .optional()?;
    if let Some(key) = same.filter(|_| !new.merges.is_zero()) {
        sql.prepare_cached(
            "UPDATE activity SET at = max(at, ?2), count = count + 1, network = ?3, agent = ?4
             WHERE key = ?1",
        )?
        .execute((key, time(new.at), network, &new.agent))?;
        return Ok(());
    }
    sql.prepare_cached(
        "INSERT INTO activity
             (directory, user_id, what, detail, refused, first_at, at, count, network, agent)
         VALUES (:directory, :user, :what, :detail, :refused, :at, :at, 1, :network, :agent)",
    )?
    .execute(named_params! {
        ":directory": directory,
        ":user": user,
        ":what": new.what,
        ":detail": new.detail,
        ":refused": new.is_refused,
        ":at": time(new.at),
        ":network": network,
        ":agent": new.agent,
    })?;
    let most = if new.is_refused { MOST_REFUSED } else { MOST_ENTRIES };
    sql.prepare_cached(
        "DELETE FROM activity WHERE key IN
             (SELECT key FROM activity
              WHERE directory = ?1 AND user_id = ?2 AND refused = ?3
              ORDER BY at DESC, key DESC LIMIT -1 OFFSET ?4)",
    )?
    .execute((directory, user, new.is_refused, bound(most)))?;
    Ok(())
}

fn used(sql: &Connection, used: &DeviceUse) -> rusqlite::Result<()> {
    let (directory, user) = (&*used.user.directory, &*used.user.id);
    sql.prepare_cached(
        "INSERT INTO known_devices (id, directory, user_id, first_used, last_used, network, agent)
         VALUES (:id, :directory, :user, :at, :at, :network, :agent)
         ON CONFLICT (id) DO UPDATE
         SET last_used = max(last_used, excluded.last_used), network = excluded.network,
             agent = excluded.agent
         WHERE directory = excluded.directory AND user_id = excluded.user_id",
    )?
    .execute(named_params! {
        ":id": used.device.as_bytes(),
        ":directory": directory,
        ":user": user,
        ":at": time(used.at),
        ":network": used.network.map(|network| network.to_string()),
        ":agent": used.agent,
    })?;
    sql.prepare_cached(
        "DELETE FROM known_devices WHERE id IN
             (SELECT id FROM known_devices WHERE directory = ?1 AND user_id = ?2
              ORDER BY last_used DESC LIMIT -1 OFFSET ?3)",
    )?
    .execute((directory, user, bound(MOST_DEVICES)))?;
    Ok(())
}

fn entry(row: &Row<'_>) -> rusqlite::Result<StoredEntry> {
    Ok(StoredEntry {
        key: u64::try_from(row.get::<_, i64>("key")?).unwrap_or_default(),
        what: row.get("what")?,
        detail: row.get("detail")?,
        first_at: from_sql_time(row.get("first_at")?),
        at: from_sql_time(row.get("at")?),
        count: u64::try_from(row.get::<_, i64>("count")?).unwrap_or_default(),
        network: address(row.get("network")?),
        agent: row.get("agent")?,
    })
}

fn device(row: &Row<'_>) -> rusqlite::Result<StoredDevice> {
    Ok(StoredDevice {
        device: Digest::from_bytes(row.get("id")?),
        first_used: from_sql_time(row.get("first_used")?),
        last_used: from_sql_time(row.get("last_used")?),
        network: address(row.get("network")?),
        agent: row.get("agent")?,
    })
}

impl Op for Note {
    type Found = ();
    type Answer = ();

    fn run(&self, sql: &Connection, _live: &LiveSessions) -> rusqlite::Result<()> {
        for note in &self.0 {
            match note {
                RecordNote::Happened(new) => happened(sql, new)?,
                RecordNote::DeviceUsed(one) => used(sql, one)?,
            }
        }
        Ok(())
    }

    fn apply(self, (): (), _live: &LiveSessions) {}
}

impl Op for DropDevices {
    type Found = usize;
    type Answer = usize;

    fn run(&self, sql: &Connection, _live: &LiveSessions) -> rusqlite::Result<usize> {
        sql.prepare_cached(
            "DELETE FROM known_devices
             WHERE directory = ?1 AND user_id = ?2 AND (?3 IS NULL OR id = ?3)",
        )?
        .execute((
            &*self.user.directory,
            &*self.user.id,
            self.which.as_ref().map(Digest::as_bytes),
        ))
    }

    fn apply(self, dropped: usize, _live: &LiveSessions) -> usize {
        dropped
    }
}

#[async_trait]
impl AccountRecords for Embedded {
    async fn note(&self, notes: Vec<RecordNote>) -> Result<(), StoreError> {
        self.writer.submit(Note(notes)).await
    }

    async fn entries_of(
        &self,
        user: &UserKey,
        before: Option<(Timestamp, u64)>,
        limit: usize,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let (reader, user) = (Arc::clone(&self.reader), user.clone());
        let (at, key) = before.unwrap_or((Timestamp::from_millis(i64::MAX.unsigned_abs()), 0));
        let key = i64::try_from(key).unwrap_or(i64::MAX);
        let limit = bound(limit);
        blocking(move || {
            let sql = reader.lock();
            let mut select = sql.prepare_cached(
                "SELECT key, what, detail, first_at, at, count, network, agent FROM activity
                 WHERE directory = ?1 AND user_id = ?2 AND (at < ?3 OR (at = ?3 AND key < ?4))
                 ORDER BY at DESC, key DESC LIMIT ?5",
            )?;
            let whose = (&*user.directory, &*user.id, time(at), key, limit);
            let entries = select.query_map(whose, entry)?;
            Ok(entries.collect::<rusqlite::Result<Vec<_>>>()?)
        })
        .await
    }

    async fn devices_of(&self, user: &UserKey) -> Result<Vec<StoredDevice>, StoreError> {
        let (reader, user) = (Arc::clone(&self.reader), user.clone());
        blocking(move || {
            let sql = reader.lock();
            let mut select = sql.prepare_cached(
                "SELECT id, first_used, last_used, network, agent FROM known_devices
                 WHERE directory = ?1 AND user_id = ?2 ORDER BY last_used DESC, id",
            )?;
            let devices = select.query_map((&*user.directory, &*user.id), device)?;
            Ok(devices.collect::<rusqlite::Result<Vec<_>>>()?)
        })
        .await
    }

    async fn drop_devices(
        &self,
        user: &UserKey,
        which: Option<&Digest>,
    ) -> Result<usize, StoreError> {
        self.writer.submit(DropDevices { user: user.clone(), which: which.copied() }).await
    }
}
