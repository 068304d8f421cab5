//! The service's table of sessions.
//!
//! The only statements of the gateway that write to a service's database, and all of them name one row by its key. A
//! connection is opened for reading and writing, never makes the file, and is given up after trouble or when the file
//! was replaced.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};
use tokio::sync::Semaphore;

use crate::clock::Timestamp;

/// How long a statement waits for a lock. Django holds one for the length of a write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub(super) struct Rows(Arc<Inner>);

struct Inner {
    path: PathBuf,
    select: String,
    insert: String,
    renew: String,
    delete: String,
    opened: Mutex<Option<Opened>>,
    /// Who waits for the connection waits here, and not on one of the few threads that may block.
    at_once: Semaphore,
}

struct Opened {
    connection: Connection,
    file: (u64, u64),
}

/// One row to have.
pub(super) struct Row {
    pub(super) key: String,
    pub(super) data: String,
    pub(super) expires_at: Timestamp,
}

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kept {
    /// It is there.
    There,
    /// It should have been there and was not: the service has ended that session.
    Gone,
}

impl Rows {
    pub(super) fn new(path: PathBuf, table: &str) -> Self {
        // Only characters of an identifier are in a checked name; the quotes keep words like `order` apart.
        let table = format!("\"{}\"", table.replace('"', "\"\""));
        Self(Arc::new(Inner {
            path,
            select: format!("SELECT session_data FROM {table} WHERE session_key = ?1"),
            insert: format!(
                "INSERT INTO {table} (session_key, session_data, expire_date) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (session_key) DO UPDATE SET session_data = ?2, expire_date = ?3"
            ),
            renew: format!("UPDATE {table} SET expire_date = ?2 WHERE session_key = ?1"),
            delete: format!("DELETE FROM {table} WHERE session_key = ?1"),
            opened: Mutex::new(None),
            at_once: Semaphore::new(1),
        }))
    }

    /// Has the row there until it expires. What the application has put into it stays, if `fits` takes its data.
    pub(super) async fn keep(
        &self,
        row: Row,
        must_exist: bool,
        fits: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<Kept, String> {
        self.run(move |inner, connection| {
            let expires_at = date(row.expires_at);
            let write = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let found: Option<String> =
                write.query_row(&inner.select, [&row.key], |row| row.get(0)).optional()?;
            match found {
                None if must_exist => return Ok(Kept::Gone),
                Some(data) if fits(&data) => {
                    write.execute(&inner.renew, [&row.key, &expires_at])?;
                }
                _ => {
                    write.execute(&inner.insert, [&row.key, &row.data, &expires_at])?;
                }
            }
            write.commit()?;
            Ok(Kept::There)
        })
        .await
    }

    /// The data of a row.
    pub(super) async fn read(&self, key: String) -> Result<Option<String>, String> {
        self.run(move |inner, connection| {
            connection.query_row(&inner.select, [&key], |row| row.get(0)).optional()
        })
        .await
    }

    /// Has it gone.
    pub(super) async fn delete(&self, key: String) -> Result<(), String> {
        self.run(move |inner, connection| connection.execute(&inner.delete, [&key]).map(|_| ()))
            .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner, &mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, String> {
        let _permit = self.0.at_once.acquire().await.map_err(|_| "it is closed")?;
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || {
            let mut slot = inner.opened.lock();
            let failed =
                |error: &dyn std::fmt::Display| format!("{}: {error}", inner.path.display());
            let mut opened = inner.open(slot.take()).map_err(|error| failed(&error))?;
            let done = work(&inner, &mut opened.connection).map_err(|error| failed(&error))?;
            *slot = Some(opened);
            Ok(done)
        })
        .await
        .map_err(|_| "the work broke off".to_owned())?
    }
}

impl Inner {
    /// A connection to the file that is there now.
    fn open(&self, before: Option<Opened>) -> Result<Opened, String> {
        let metadata = std::fs::metadata(&self.path).map_err(|error| error.to_string())?;
        let file = (metadata.dev(), metadata.ino());
        if let Some(opened) = before.filter(|opened| opened.file == file) {
            return Ok(opened);
        }
        let open = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&self.path, flags)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            // The file is somebody else's: what its schema defines may not do more than compute.
            connection.pragma_update(None, "trusted_schema", false)?;
            Ok::<_, rusqlite::Error>(connection)
        };
        Ok(Opened { connection: open().map_err(|error| error.to_string())?, file })
    }
}

/// As Django writes times to SQLite: UTC, without saying so (`USE_TZ`, its default).
fn date(at: Timestamp) -> String {
    let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    at.strftime("%Y-%m-%d %H:%M:%S.000000").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_database_takes_one_thread_and_leaves_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db.sqlite3");
        let lock = Connection::open(&path).unwrap();
        lock.execute_batch("CREATE TABLE s (session_key, session_data, expire_date)").unwrap();
        lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.max_blocking_threads(4).enable_all().build().unwrap();
        let first = runtime.block_on(async {
            let rows = Rows::new(path, "s");
            let mut waiting = tokio::task::JoinSet::new();
            for key in 0..8 {
                let rows = rows.clone();
                waiting.spawn(async move { rows.delete(key.to_string()).await });
            }
            // All eight have had their turn when the first has the connection.
            while rows.0.opened.try_lock().is_some() {
                tokio::task::yield_now().await;
            }
            tokio::select! {
                _ = tokio::task::spawn_blocking(|| ()) => "somebody else's work",
                _ = waiting.join_next() => "what waits for the lock",
            }
        });
        lock.execute_batch("ROLLBACK").unwrap();
        assert_eq!(first, "somebody else's work");
    }

    #[test]
    fn a_date_is_as_django_writes_it() {
        assert_eq!(date(Timestamp::from_secs(1_780_000_000)), "2026-05-28 20:26:40.000000");
    }
}
