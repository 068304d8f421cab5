//! Reads and writes a SQLite file.
//!
//! A file that is missing, locked for longer than the wait, or has another structure is an error. A file that was replaced is
//! opened again. The gateway never creates a file.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, params_from_iter};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{DatabaseAccess, QueryTexts, Statement};

/// The number of connections. A query takes microseconds, so more would only wait for each other; SQLite has one writer.
const READERS: usize = 4;

/// The longest time that a statement waits for a lock. Django holds one for the length of a write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest time that a statement waits for its turn. While the file is locked, each statement before it takes its time.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A database file.
pub(super) struct Sqlite {
    inner: Arc<SqliteInner>,
    longest_wait: Duration,
    /// Callers wait here for a connection, so that they do not occupy one of the few threads that may block.
    at_once: Semaphore,
}

struct SqliteInner {
    path: PathBuf,
    access: DatabaseAccess,
    idle: Mutex<Vec<OpenedDatabase>>,
}

struct OpenedDatabase {
    connection: Connection,
    file: (u64, u64),
}

/// The reasons for which a statement fails.
#[derive(Debug, thiserror::Error)]
enum SqliteTrouble {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("{0}")]
    Shape(&'static str),
}

impl Sqlite {
    pub(super) fn new(path: &Path, access: DatabaseAccess) -> Self {
        let inner = SqliteInner { path: path.to_owned(), access, idle: Mutex::default() };
        let at_once = match access {
            DatabaseAccess::Read => READERS,
            DatabaseAccess::Write => 1,
        };
        Self {
            inner: Arc::new(inner),
            longest_wait: LONGEST_WAIT,
            at_once: Semaphore::new(at_once),
        }
    }

    pub(super) async fn ask(
        &self,
        statements: Vec<Statement>,
    ) -> Result<Vec<Vec<QueryTexts>>, String> {
        self.run(move |connection| {
            statements.iter().map(|statement| rows(connection, statement)).collect()
        })
        .await
    }

    pub(super) async fn change(&self, statement: Statement) -> Result<u64, String> {
        self.run(move |connection| {
            let parameters = params_from_iter(&statement.parameters);
            let changed = connection.prepare_cached(&statement.sql)?.execute(parameters)?;
            Ok(u64::try_from(changed).unwrap_or(u64::MAX))
        })
        .await
    }

    pub(super) async fn may_change(&self, statement: Statement) -> Result<bool, String> {
        self.run(move |connection| {
            let parameters = params_from_iter(&statement.parameters);
            let made =
                connection.prepare(&statement.sql).and_then(|mut sql| sql.execute(parameters));
            match made {
                Ok(_) => Ok(true),
                Err(error) if is_of_rights(&error) => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    /// Runs the work on a thread that may block, at most [`READERS`] at a time.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, SqliteTrouble> + Send + 'static,
    ) -> Result<T, String> {
        let _permit = timeout(self.longest_wait, self.at_once.acquire())
            .await
            .map_err(|_| format!("{}: all connections are busy", self.inner.path.display()))?
            .map_err(|_| "it is closed")?;
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || inner.with_connection(work))
            .await
            .map_err(|_| "the work was interrupted")?
    }
}

impl SqliteInner {
    fn with_connection<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, SqliteTrouble>,
    ) -> Result<T, String> {
        let failed = |reason: String| {
            let why = self.why_not_shared(&reason).unwrap_or_default();
            format!("{}: {reason}{why}", self.path.display())
        };
        let opened = self.take().map_err(failed)?;
        let result = work(&opened.connection).map_err(|trouble| failed(trouble.to_string()));
        // After an error the connection is closed: the next statement starts on a new one.
        if result.is_ok() {
            self.idle.lock().push(opened);
        }
        result
    }

    /// Explains a failure to open a file in WAL mode. Its readers write into a shared index beside the file, which the first
    /// one creates. Without the right to do so, SQLite reports only that it cannot open the file.
    fn why_not_shared(&self, reason: &str) -> Option<String> {
        let is_of_rights =
            reason.contains("unable to open") || reason.contains("readonly database");
        if !is_of_rights || !is_in_wal_mode(&self.path) {
            return None;
        }
        let path = self.path.display();
        Some(format!(
            " (it is in WAL mode, so its readers must be able to make and to write {path}-shm and {path}-wal: give the \
             gateway's user a group that may write the file and its folder, or have the service leave WAL mode, \
             PRAGMA journal_mode = DELETE)"
        ))
    }

    /// Returns a connection to the file that is now at the path.
    fn take(&self) -> Result<OpenedDatabase, String> {
        let metadata = std::fs::metadata(&self.path).map_err(|error| error.to_string())?;
        let file = (metadata.dev(), metadata.ino());
        let idle = {
            let mut idle = self.idle.lock();
            idle.retain(|opened| opened.file == file);
            idle.pop()
        };
        if let Some(opened) = idle {
            return Ok(opened);
        }
        let access = match self.access {
            DatabaseAccess::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
            DatabaseAccess::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
        };
        let open = || {
            let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&self.path, flags)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            // The file belongs to the service: what its schema defines must not have side effects.
            connection.pragma_update(None, "trusted_schema", false)?;
            Ok::<_, rusqlite::Error>(connection)
        };
        Ok(OpenedDatabase { connection: open().map_err(|error| error.to_string())?, file })
    }
}

/// Whether the error says that the file, or its folder, may not be written.
fn is_of_rights(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen)
    )
}

/// Whether the file is in WAL mode: bytes 18 and 19 of its header are the write and read versions (fileformat2, section 1.3).
fn is_in_wal_mode(path: &Path) -> bool {
    let mut header = [0; 20];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    read.is_ok() && header.ends_with(&[2, 2])
}

fn rows(connection: &Connection, statement: &Statement) -> Result<Vec<QueryTexts>, SqliteTrouble> {
    let mut prepared = connection.prepare_cached(&statement.sql)?;
    let columns = prepared.column_count();
    let mut rows = prepared.query(params_from_iter(&statement.parameters))?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let texts = (0..columns).map(|column| text(row.get_ref(column)?));
        all.push(texts.collect::<Result<_, SqliteTrouble>>()?);
    }
    Ok(all)
}

fn text(value: ValueRef<'_>) -> Result<Option<String>, SqliteTrouble> {
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(number) => Ok(Some(number.to_string())),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(SqliteTrouble::Shape("a text is not UTF-8")),
        },
        ValueRef::Real(_) | ValueRef::Blob(_) => {
            Err(SqliteTrouble::Shape("a value is neither a whole number nor a text"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_too_long_for_a_turn_hears_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db.sqlite3");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
        let mut file = Sqlite::new(&path, DatabaseAccess::Read);
        file.longest_wait = Duration::from_millis(50);
        let asked = || vec![Statement { sql: "SELECT a FROM t".into(), parameters: Vec::new() }];
        let others = file.at_once.acquire_many(4).await.unwrap();
        let late = file.ask(asked()).await;
        assert!(late.is_err_and(|why| why.contains("all connections are busy")));
        drop(others);
        assert!(file.ask(asked()).await.is_ok());
    }

    /// SQLite reported one or the other to a user who did not own the file and folder; a test cannot be another user.
    #[test]
    fn a_file_in_wal_mode_that_may_not_be_shared_says_why() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, reason, says_so) in [
            ("WAL", "attempt to write a readonly database", true),
            ("WAL", "unable to open database file", true),
            ("WAL", "no such table: auth_user", false),
            ("DELETE", "unable to open database file", false),
        ] {
            let path = folder.path().join(mode);
            let sql = format!("PRAGMA journal_mode = {mode}; CREATE TABLE IF NOT EXISTS t (a)");
            Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
            let why = Sqlite::new(&path, DatabaseAccess::Read).inner.why_not_shared(reason);
            let said = why.is_some_and(|why| why.contains("WAL-shm") && why.contains("WAL mode"));
            assert_eq!(said, says_so, "{mode} {reason}");
        }
    }
}
