//! Passkeys in the file: each use is decided in SQL.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _};

use super::super::StoreError;
use super::super::factors::StoredFactor;
use super::super::live::LiveSessions;
use super::super::passkeys::{PasskeyStore, PasskeyUse, PasskeyUsed, SpentChallenge, goes_on};
use super::writer::Op;
use super::{Embedded, Tuning, blocking, factors, file, rows};
use crate::caller::UserKey;
use crate::clock::Timestamp;

struct UsePasskey(PasskeyUse);

struct SpendChallenge(SpentChallenge);

/// Removes some expired challenges, and returns their number.
pub(super) fn sweep(sql: &Connection, now: Timestamp, limit: u32) -> rusqlite::Result<usize> {
    sql.prepare_cached(
        "DELETE FROM challenges WHERE digest IN
             (SELECT digest FROM challenges WHERE kept_until <= ?1 LIMIT ?2)",
    )?
    .execute((rows::time(now), limit))
}

fn spend(sql: &Connection, challenge: &SpentChallenge) -> rusqlite::Result<bool> {
    let spent = sql
        .prepare_cached("INSERT OR IGNORE INTO challenges (digest, kept_until) VALUES (?1, ?2)")?
        .execute((challenge.digest.as_bytes(), rows::time(challenge.kept_until)))?;
    Ok(spent > 0)
}

fn owner_of(sql: &Connection, id: &str) -> rusqlite::Result<Option<(UserKey, StoredFactor)>> {
    sql.prepare_cached(&format!(
        "SELECT directory, user_id, {} FROM factors WHERE id = ?1",
        factors::COLUMNS
    ))?
    .query_row([id], |row| {
        let (directory, user): (String, String) = (row.get("directory")?, row.get("user_id")?);
        Ok((UserKey::new(&directory, &user), factors::stored(row)?))
    })
    .optional()
}

fn passkeys_elsewhere(sql: &Connection, rp_id: &str) -> rusqlite::Result<u64> {
    sql.prepare_cached("SELECT count(*) FROM factors WHERE rp_id IS NOT NULL AND rp_id <> ?1")?
        .query_row([rp_id], |row| row.get::<_, i64>(0))
        .map(|count| u64::try_from(count).unwrap_or_default())
}

/// Returns how many passkeys in this file, which another process may have open, belong to another RP ID. `None` if it cannot be
/// read.
pub fn passkeys_elsewhere_in(path: &Path, rp_id: &str) -> Option<u64> {
    let sql = file::connect_read_only(path, Tuning::default()).ok()?;
    passkeys_elsewhere(&sql, rp_id).ok()
}

impl Op for UsePasskey {
    type Found = PasskeyUsed;
    type Answer = PasskeyUsed;

    fn run(&self, sql: &Connection, _live: &LiveSessions) -> rusqlite::Result<PasskeyUsed> {
        let Self(used) = self;
        if !spend(sql, &used.challenge)? {
            return Ok(PasskeyUsed::Replayed);
        }
        let whose = (&used.id, &*used.user.directory, &*used.user.id);
        let before: Option<i64> = sql
            .prepare_cached(
                "SELECT last_step FROM factors
                 WHERE id = ?1 AND directory = ?2 AND user_id = ?3 AND rp_id IS NOT NULL",
            )?
            .query_row(whose, |row| row.get(0))
            .optional()?;
        let Some(before) = before else { return Ok(PasskeyUsed::Gone) };
        if !goes_on(u64::try_from(before).unwrap_or_default(), used.counter) {
            return Ok(PasskeyUsed::CounterBehind);
        }
        sql.prepare_cached(
            "UPDATE factors SET last_step = ?2, last_used = ?3, backed_up = ?4 WHERE id = ?1",
        )?
        .execute((&used.id, used.counter, rows::time(used.at), used.backed_up))?;
        sql.prepare_cached("DELETE FROM factor_attempts WHERE source = ?1")?
            .execute([used.source.as_bytes()])?;
        Ok(PasskeyUsed::Yes)
    }

    fn apply(self, used: PasskeyUsed, _live: &LiveSessions) -> PasskeyUsed {
        used
    }
}

impl Op for SpendChallenge {
    type Found = bool;
    type Answer = bool;

    fn run(&self, sql: &Connection, _live: &LiveSessions) -> rusqlite::Result<bool> {
        spend(sql, &self.0)
    }

    fn apply(self, spent: bool, _live: &LiveSessions) -> bool {
        spent
    }
}

#[async_trait]
impl PasskeyStore for Embedded {
    async fn owner_of(&self, id: &str) -> Result<Option<(UserKey, StoredFactor)>, StoreError> {
        let (reader, id) = (Arc::clone(&self.reader), id.to_owned());
        blocking(move || Ok(owner_of(&reader.lock(), &id)?)).await
    }

    async fn use_passkey(&self, used: PasskeyUse) -> Result<PasskeyUsed, StoreError> {
        self.writer.submit(UsePasskey(used)).await
    }

    async fn spend_challenge(&self, challenge: SpentChallenge) -> Result<bool, StoreError> {
        self.writer.submit(SpendChallenge(challenge)).await
    }

    async fn passkeys_elsewhere(&self, rp_id: &str) -> Result<u64, StoreError> {
        let (reader, rp_id) = (Arc::clone(&self.reader), rp_id.to_owned());
        blocking(move || Ok(passkeys_elsewhere(&reader.lock(), &rp_id)?)).await
    }
}
