//! Erases where users were, from the file too.
//!
//! With `secure_delete`, SQLite overwrites deleted or changed data. If a page was split, a copy of a row can remain in unused
//! space, so the file is rewritten (`VACUUM`) after something was erased; and older pages remain in the write-ahead log until
//! it is checkpointed and truncated. Both need a separate connection, because the writer's is always inside a transaction.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use rusqlite::Connection;

use super::super::live::LiveSessions;
use super::super::{Former, StoreError, StoredPlaces};
use super::rows::{self, time};
use super::writer::Op;
use super::{Embedded, Tuning, blocking, file, records};
use crate::caller::{Identity, UserKey};
use crate::clock::Timestamp;

/// The most rows erased in one transaction, so that other changes do not wait for all of them.
const CHUNK: u32 = 2000;

/// Erases places from before this time, and returns the number of rows.
struct ForgetPlaces(Timestamp);

impl Op for ForgetPlaces {
    type Found = usize;
    type Answer = usize;

    fn run(&self, sql: &Connection, _live: &LiveSessions) -> rusqlite::Result<usize> {
        let before = time(self.0);
        let sessions = sql
            .prepare_cached(
                "UPDATE sessions SET client = NULL, agent = '' WHERE key IN
                     (SELECT key FROM sessions
                      WHERE signed_in_at < ?1 AND (client IS NOT NULL OR agent <> '') LIMIT ?2)",
            )?
            .execute((before, CHUNK))?;
        let messages = sql
            .prepare_cached(
                "DELETE FROM outbox WHERE key IN
                     (SELECT key FROM outbox WHERE at < ?1 AND NOT done LIMIT ?2)",
            )?
            .execute((before, CHUNK))?;
        let shown = records::forget_places(sql, before, CHUNK)?;
        Ok(sessions + messages + shown)
    }

    fn apply(self, found: usize, live: &LiveSessions) -> usize {
        if found > 0 {
            live.forget_places(self.0);
        }
        found
    }
}

#[async_trait]
impl StoredPlaces for Embedded {
    async fn forget_places(&self, before: Timestamp) -> Result<bool, StoreError> {
        while self.writer.submit(ForgetPlaces(before)).await? > 0 {
            self.has_copies.store(true, Ordering::SeqCst);
        }
        let (path, has_copies) = (self.path.clone(), Arc::clone(&self.has_copies));
        blocking(move || {
            let connection = file::connect(&path, Tuning::default())?;
            // Until this succeeds, the next call tries again.
            if has_copies.load(Ordering::SeqCst) {
                connection.execute_batch("VACUUM")?;
                has_copies.store(false, Ordering::SeqCst);
            }
            // 0: the log was truncated; 1: somebody is reading from it.
            let busy: i64 =
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            Ok(busy == 0)
        })
        .await
    }
}

#[async_trait]
impl Former for Embedded {
    async fn last_identity(
        &self,
        user: &UserKey,
        since: Timestamp,
    ) -> Result<Option<Identity>, StoreError> {
        let (reader, user) = (Arc::clone(&self.reader), user.clone());
        blocking(move || Ok(rows::last_identity(&reader.lock(), &user, since)?)).await
    }
}
