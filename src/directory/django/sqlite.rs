//! SQLite: the file is opened read only.
//!
//! Table and column names come from the configuration, so they are quoted, and a column is always written with its
//! table: SQLite takes a quoted name that it does not know for a text, but not when a table stands before it.
//!
//! A file that is missing, locked for longer than the wait, or shaped otherwise is an error and never "there is no such
//! user". A file that was replaced is opened anew.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use tokio::sync::Semaphore;

use super::row::{self, Row, with_hyphens};
use super::{Found, Reader, Settings, Wanted};

/// Looking somebody up takes microseconds; more than this many at once only wait for each other.
const CONNECTIONS: usize = 4;

/// How long a look-up waits for a lock. Django holds one for the length of a write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// A database file.
pub(super) struct Sqlite {
    inner: Arc<Inner>,
    at_once: Semaphore,
}

struct Inner {
    path: PathBuf,
    queries: Queries,
    idle: Mutex<Vec<Opened>>,
}

struct Opened {
    connection: Connection,
    file: (u64, u64),
}

/// The statements of one directory.
struct Queries {
    by_name: String,
    by_id: String,
    groups: Option<String>,
    newest_password: String,
}

/// What a look-up says when it does not work.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("{0}")]
    Shape(String),
}

impl Sqlite {
    pub(super) fn new(path: &Path, settings: &Settings) -> Result<Self, String> {
        let inner = Inner {
            path: path.to_owned(),
            queries: Queries::new(settings)?,
            idle: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner), at_once: Semaphore::new(CONNECTIONS) })
    }
}

#[async_trait]
impl Reader for Sqlite {
    /// On a thread that may block, a few at a time.
    async fn look_up(&self, wanted: &Wanted) -> Result<Found, String> {
        let _permit = self.at_once.acquire().await.map_err(|_| "it is closed")?;
        let inner = Arc::clone(&self.inner);
        let wanted = wanted.clone();
        tokio::task::spawn_blocking(move || {
            inner.with_connection(|connection| inner.queries.look_up(connection, &wanted))
        })
        .await
        .map_err(|_| "the look-up broke off")?
    }
}

impl Inner {
    fn with_connection<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Trouble>,
    ) -> Result<T, String> {
        let failed = |reason: String| format!("{}: {reason}", self.path.display());
        let opened = self.take().map_err(failed)?;
        let result = work(&opened.connection).map_err(|trouble| failed(trouble.to_string()));
        // After trouble the connection is closed: the next look-up starts from nothing.
        if result.is_ok() {
            self.idle.lock().push(opened);
        }
        result
    }

    /// A connection to the file that is there now.
    fn take(&self) -> Result<Opened, String> {
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
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let connection = Connection::open_with_flags(&self.path, flags)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            // The file is somebody else's: what its schema defines may not do more than compute.
            connection.pragma_update(None, "trusted_schema", false)?;
            Ok::<_, rusqlite::Error>(connection)
        };
        Ok(Opened { connection: open().map_err(|error| error.to_string())?, file })
    }
}

impl Queries {
    fn new(settings: &Settings) -> Result<Self, String> {
        let columns = &settings.columns;
        let column = |name: &str| Ok::<_, String>(format!("u.{}", quoted(name)?));
        // What is not configured is a constant, so that all rows have one shape.
        let or = |name: &str, constant: &str| {
            if name.is_empty() { Ok(constant.to_owned()) } else { column(name) }
        };
        let (id, name) = (column(&columns.id)?, column(&columns.username)?);
        let password = column(&columns.password)?;
        let table = quoted(&settings.user_table)?;
        let select = format!(
            "SELECT {id}, {name}, {password}, {}, {}, {}, {} FROM {table} u",
            or(&columns.is_active, "1")?,
            or(&columns.is_staff, "0")?,
            or(&columns.is_superuser, "0")?,
            or(&columns.email, "''")?,
        );
        let groups = settings.groups.as_ref().map(|groups| {
            Ok::<_, String>(format!(
                "SELECT g.\"name\" FROM {} g JOIN {} m ON m.{} = g.\"id\" WHERE m.{} = ?1",
                quoted(&groups.group_table)?,
                quoted(&groups.membership_table)?,
                quoted(&groups.group_column)?,
                quoted(&groups.user_column)?,
            ))
        });
        Ok(Self {
            // Two rows show that the column is not unique.
            by_name: format!("{select} WHERE {name} = ?1 COLLATE BINARY LIMIT 2"),
            by_id: format!("{select} WHERE {id} IN (?1, ?2) LIMIT 2"),
            groups: groups.transpose()?,
            newest_password: format!(
                "SELECT {password} FROM {table} u WHERE {password} NOT LIKE '!%' AND {password} <> '' \
                 ORDER BY {id} DESC LIMIT 1"
            ),
        })
    }

    fn look_up(&self, db: &Connection, wanted: &Wanted) -> Result<Found, Trouble> {
        let (newest_password, row) = match wanted {
            Wanted::Name(name) => (self.newest_password(db)?, self.by_name(db, name)?),
            Wanted::Id(id) => (None, self.by_id(db, id)?),
        };
        Ok(Found { row, newest_password })
    }

    fn by_name(&self, db: &Connection, name: &str) -> Result<Option<Row>, Trouble> {
        self.only(db, &self.by_name, [name], |row| row.name == name)
    }

    fn by_id(&self, db: &Connection, id: &str) -> Result<Option<Row>, Trouble> {
        // The comparison of the text at the end refuses what SQLite's affinities let through ("07" for 7).
        self.only(db, &self.by_id, [id, id.replace('-', "").as_str()], |row| row.id == id)
    }

    /// The one row; none, if there is none or it is not `the_one` that was asked for.
    fn only(
        &self,
        db: &Connection,
        sql: &str,
        parameters: impl rusqlite::Params,
        the_one: impl Fn(&Row) -> bool,
    ) -> Result<Option<Row>, Trouble> {
        let mut statement = db.prepare_cached(sql)?;
        let mut found = Vec::new();
        let mut rows = statement.query(parameters)?;
        while let Some(row) = rows.next()? {
            let row = self.read(db, row)?;
            if the_one(&row) {
                found.push(row);
            }
        }
        row::only(found).map_err(|reason| Trouble::Shape(reason.into()))
    }

    fn read(&self, db: &Connection, row: &rusqlite::Row<'_>) -> Result<Row, Trouble> {
        let key: Value = row.get(0)?;
        let id = match &key {
            Value::Integer(id) => id.to_string(),
            Value::Text(id) => with_hyphens(id),
            Value::Null | Value::Real(_) | Value::Blob(_) => {
                return Err(Trouble::Shape("a user's id is neither a number nor a text".into()));
            }
        };
        let groups = match &self.groups {
            Some(groups) => db
                .prepare_cached(groups)?
                .query_map([&key], |row| row.get(0))?
                .collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        Ok(Row {
            id,
            name: row.get(1)?,
            password: row.get(2)?,
            active: is_true(row.get(3)?),
            staff: is_true(row.get(4)?),
            superuser: is_true(row.get(5)?),
            email: row.get::<_, Option<String>>(6)?.unwrap_or_default(),
            groups,
        })
    }

    fn newest_password(&self, db: &Connection) -> Result<Option<String>, Trouble> {
        let mut statement = db.prepare_cached(&self.newest_password)?;
        Ok(statement.query_row([], |row| row.get(0)).optional()?)
    }
}

/// NULL is not true, and neither is anything but a number other than 0.
fn is_true(value: Option<Value>) -> bool {
    matches!(value, Some(Value::Integer(number)) if number != 0)
}

fn quoted(name: &str) -> Result<String, String> {
    row::quoted(name, '"')
}
