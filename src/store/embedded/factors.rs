//! Second factors in the file: each change is decided in SQL. None of them are in memory.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::super::StoreError;
use super::super::factors::{
    FactorAttempt, FactorChange, FactorChanged, FactorStore, FactorUse, MOST_FACTORS, StoredFactor,
    StoredFactors, UsedCode,
};
use super::super::live::LiveSessions;
use super::super::passkeys::StoredPasskey;
use super::writer::Op;
use super::{Embedded, blocking, rows};
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::secret::Digest;

struct ChangeFactors {
    user: UserKey,
    change: FactorChange,
}

struct CountFactorAttempt(FactorAttempt);

struct UseFactor(FactorUse);

/// Removes some expired rows, and returns their number.
pub(super) fn sweep(sql: &Connection, now: Timestamp, limit: u32) -> rusqlite::Result<usize> {
    sql.prepare_cached(
        "DELETE FROM factor_attempts WHERE source IN
             (SELECT source FROM factor_attempts WHERE kept_until <= ?1 LIMIT ?2)",
    )?
    .execute((rows::time(now), limit))
}

/// Integers of SQLite are signed; a time step or a count never comes near the limit of either type.
fn number(step: u64) -> i64 {
    i64::try_from(step).unwrap_or(i64::MAX)
}

/// The columns that [`stored`] reads.
pub(super) const COLUMNS: &str =
    "id, kind, name, sealed, last_step, created_at, last_used, rp_id, backed_up, discoverable";

pub(super) fn stored(row: &Row<'_>) -> rusqlite::Result<StoredFactor> {
    let (backed_up, is_discoverable) = (row.get("backed_up")?, row.get("discoverable")?);
    let rp_id: Option<String> = row.get("rp_id")?;
    Ok(StoredFactor {
        id: row.get("id")?,
        kind: row.get("kind")?,
        name: row.get("name")?,
        sealed: row.get("sealed")?,
        last_step: u64::try_from(row.get::<_, i64>("last_step")?).unwrap_or_default(),
        created_at: rows::from_sql_time(row.get("created_at")?),
        last_used: row.get::<_, Option<i64>>("last_used")?.map(rows::from_sql_time),
        passkey: rp_id.map(|rp_id| StoredPasskey { rp_id, backed_up, is_discoverable }),
    })
}

fn factors_of(sql: &Connection, user: &UserKey) -> rusqlite::Result<StoredFactors> {
    let whose = (&*user.directory, &*user.id);
    let factors = sql
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM factors
             WHERE directory = ?1 AND user_id = ?2 ORDER BY created_at, id"
        ))?
        .query_map(whose, stored)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let duty = sql
        .prepare_cached(
            "SELECT asked_at, reset_at FROM factor_duties WHERE directory = ?1 AND user_id = ?2",
        )?
        .query_row(whose, |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (asked_at, reset_at): (Option<i64>, Option<i64>) = duty.unwrap_or_default();
    Ok(StoredFactors {
        factors,
        recovery_left: recovery_left(sql, user)?,
        asked_at: asked_at.map(rows::from_sql_time),
        reset_at: reset_at.map(rows::from_sql_time),
    })
}

fn recovery_left(sql: &Connection, user: &UserKey) -> rusqlite::Result<u32> {
    sql.prepare_cached(
        "SELECT count(*) FROM recovery_codes
         WHERE directory = ?1 AND user_id = ?2 AND used_at IS NULL",
    )?
    .query_row((&*user.directory, &*user.id), |row| row.get(0))
}

fn factor_count(sql: &Connection, user: &UserKey) -> rusqlite::Result<u32> {
    sql.prepare_cached("SELECT count(*) FROM factors WHERE directory = ?1 AND user_id = ?2")?
        .query_row((&*user.directory, &*user.id), |row| row.get(0))
}

fn forget_recovery(sql: &Connection, user: &UserKey) -> rusqlite::Result<()> {
    sql.prepare_cached("DELETE FROM recovery_codes WHERE directory = ?1 AND user_id = ?2")?
        .execute((&*user.directory, &*user.id))?;
    Ok(())
}

fn replace_recovery(sql: &Connection, user: &UserKey, digests: &[Digest]) -> rusqlite::Result<()> {
    forget_recovery(sql, user)?;
    let mut insert = sql.prepare_cached(
        "INSERT INTO recovery_codes (directory, user_id, digest) VALUES (?1, ?2, ?3)",
    )?;
    for digest in digests {
        insert.execute((&*user.directory, &*user.id, digest.as_bytes()))?;
    }
    Ok(())
}

fn add(
    sql: &Connection,
    user: &UserKey,
    factor: &StoredFactor,
    recovery: &[Digest],
) -> rusqlite::Result<FactorChanged> {
    if factor_count(sql, user)? as usize >= MOST_FACTORS {
        return Ok(FactorChanged::Not);
    }
    let passkey = factor.passkey.as_ref();
    let added = sql
        .prepare_cached(
            "INSERT INTO factors
                 (id, directory, user_id, kind, name, sealed, last_step, created_at, last_used,
                  rp_id, backed_up, discoverable)
             VALUES
                 (:id, :directory, :user, :kind, :name, :sealed, :step, :created_at, :last_used,
                  :rp_id, :backed_up, :discoverable)
             ON CONFLICT (id) DO NOTHING",
        )?
        .execute(named_params! {
            ":id": factor.id,
            ":directory": &*user.directory,
            ":user": &*user.id,
            ":kind": factor.kind,
            ":name": factor.name,
            ":sealed": factor.sealed,
            ":step": number(factor.last_step),
            ":created_at": rows::time(factor.created_at),
            ":last_used": factor.last_used.map(rows::time),
            ":rp_id": passkey.map(|passkey| &passkey.rp_id),
            ":backed_up": passkey.is_some_and(|passkey| passkey.backed_up),
            ":discoverable": passkey.is_some_and(|passkey| passkey.is_discoverable),
        })?;
    if added == 0 {
        return Ok(FactorChanged::Not);
    }
    sql.prepare_cached("DELETE FROM factor_duties WHERE directory = ?1 AND user_id = ?2")?
        .execute((&*user.directory, &*user.id))?;
    if recovery.is_empty() || recovery_left(sql, user)? > 0 {
        return Ok(FactorChanged::Made);
    }
    replace_recovery(sql, user, recovery)?;
    Ok(FactorChanged::MadeWithRecovery)
}

const fn made(rows: usize) -> FactorChanged {
    if rows > 0 { FactorChanged::Made } else { FactorChanged::Not }
}

impl Op for ChangeFactors {
    type Found = FactorChanged;
    type Answer = FactorChanged;

    fn run(&self, sql: &Connection, _live: &LiveSessions) -> rusqlite::Result<FactorChanged> {
        let Self { user, change } = self;
        let (directory, id_of_user) = (&*user.directory, &*user.id);
        match change {
            FactorChange::Add { factor, recovery } => add(sql, user, factor, recovery),
            FactorChange::Remove { id } => {
                let removed = sql
                    .prepare_cached(
                        "DELETE FROM factors WHERE id = ?1 AND directory = ?2 AND user_id = ?3",
                    )?
                    .execute((id, directory, id_of_user))?;
                if factor_count(sql, user)? == 0 {
                    forget_recovery(sql, user)?;
                }
                Ok(made(removed))
            }
            FactorChange::Rename { id, name } => sql
                .prepare_cached(
                    "UPDATE factors SET name = ?4
                     WHERE id = ?1 AND directory = ?2 AND user_id = ?3",
                )?
                .execute((id, directory, id_of_user, name))
                .map(made),
            FactorChange::Recovery(digests) => {
                replace_recovery(sql, user, digests)?;
                Ok(FactorChanged::MadeWithRecovery)
            }
            FactorChange::Asked(at) => {
                sql.prepare_cached(
                    "INSERT INTO factor_duties (directory, user_id, asked_at) VALUES (?1, ?2, ?3)
                     ON CONFLICT (directory, user_id) DO UPDATE
                     SET asked_at = coalesce(asked_at, excluded.asked_at)",
                )?
                .execute((directory, id_of_user, rows::time(*at)))?;
                Ok(FactorChanged::Made)
            }
            FactorChange::Reset(at) => {
                forget_recovery(sql, user)?;
                sql.prepare_cached("DELETE FROM factors WHERE directory = ?1 AND user_id = ?2")?
                    .execute((directory, id_of_user))?;
                sql.prepare_cached(
                    "INSERT OR REPLACE INTO factor_duties (directory, user_id, reset_at)
                     VALUES (?1, ?2, ?3)",
                )?
                .execute((directory, id_of_user, rows::time(*at)))?;
                Ok(FactorChanged::Made)
            }
        }
    }

    fn apply(self, found: FactorChanged, _live: &LiveSessions) -> FactorChanged {
        found
    }
}

impl Op for CountFactorAttempt {
    type Found = Option<Duration>;
    type Answer = Option<Duration>;

    fn run(&self, sql: &Connection, _live: &LiveSessions) -> rusqlite::Result<Self::Found> {
        let Self(attempt) = self;
        let before: Option<(u32, i64)> = sql
            .prepare_cached(
                "SELECT failures, next_at FROM factor_attempts
                 WHERE source = ?1 AND kept_until > ?2",
            )?
            .query_row((attempt.source.as_bytes(), rows::time(attempt.at)), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let (failures, next_at) = before.unwrap_or_default();
        let next_at = rows::from_sql_time(next_at);
        if attempt.at < next_at {
            return Ok(Some(next_at.since(attempt.at)));
        }
        let failures = failures.saturating_add(1);
        sql.prepare_cached(
            "INSERT OR REPLACE INTO factor_attempts (source, failures, next_at, kept_until)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((
            attempt.source.as_bytes(),
            failures,
            rows::time(attempt.next_after(failures)),
            rows::time(attempt.at.plus(attempt.remembered)),
        ))?;
        Ok(None)
    }

    fn apply(self, found: Self::Found, _live: &LiveSessions) -> Self::Answer {
        found
    }
}

impl Op for UseFactor {
    type Found = bool;
    type Answer = bool;

    fn run(&self, sql: &Connection, _live: &LiveSessions) -> rusqlite::Result<bool> {
        let Self(used) = self;
        let (directory, user) = (&*used.user.directory, &*used.user.id);
        let at = rows::time(used.at);
        let changed = match &used.what {
            UsedCode::Step { id, step } => sql
                .prepare_cached(
                    "UPDATE factors SET last_step = ?4, last_used = ?5
                     WHERE id = ?1 AND directory = ?2 AND user_id = ?3 AND last_step < ?4",
                )?
                .execute((id, directory, user, number(*step), at))?,
            UsedCode::Recovery(digest) => sql
                .prepare_cached(
                    "UPDATE recovery_codes SET used_at = ?4
                     WHERE directory = ?1 AND user_id = ?2 AND digest = ?3 AND used_at IS NULL",
                )?
                .execute((directory, user, digest.as_bytes(), at))?,
            UsedCode::Elsewhere => 1,
        };
        if changed > 0 {
            sql.prepare_cached("DELETE FROM factor_attempts WHERE source = ?1")?
                .execute([used.source.as_bytes()])?;
        }
        Ok(changed > 0)
    }

    fn apply(self, is_used: bool, _live: &LiveSessions) -> bool {
        is_used
    }
}

#[async_trait]
impl FactorStore for Embedded {
    async fn factors_of(&self, user: &UserKey) -> Result<StoredFactors, StoreError> {
        let (reader, user) = (Arc::clone(&self.reader), user.clone());
        blocking(move || Ok(factors_of(&reader.lock(), &user)?)).await
    }

    async fn change_factors(
        &self,
        user: &UserKey,
        change: FactorChange,
    ) -> Result<FactorChanged, StoreError> {
        self.writer.submit(ChangeFactors { user: user.clone(), change }).await
    }

    async fn count_factor_attempt(
        &self,
        attempt: FactorAttempt,
    ) -> Result<Option<Duration>, StoreError> {
        self.writer.submit(CountFactorAttempt(attempt)).await
    }

    async fn use_factor(&self, used: FactorUse) -> Result<bool, StoreError> {
        self.writer.submit(UseFactor(used)).await
    }
}
