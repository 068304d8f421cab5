//! The users of a Django service, read from its own database.
//!
//! The database is opened read only and never written: not the last sign-in, not a newer hash. A hash that Django would
//! upgrade at sign-in stays as it is, and so the user's other sessions there stay too.
//!
//! **Which name.** The name must be, byte for byte, what the row holds: Django compares so, and other case is another
//! name. Django's own sign-in form normalises what was typed to NFKC first and SimpleJWT does not; this directory does
//! what the table does and normalises nothing. (Names are folded where failures are counted, in `auth::lockout`.)
//!
//! **Which id.** The text of the primary key, as `str(user.pk)` writes it: SQLite keeps a UUID as 32 hexadecimal digits
//! and Django shows it with hyphens, so 32 such digits become that.
//!
//! **Trouble.** A file that is missing, locked for longer than the wait, or shaped otherwise is a [`DirectoryError`]. None of
//! it is ever "there is no such user". A file that was replaced is opened anew.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use parking_lot::Mutex;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use tokio::sync::Semaphore;

use super::{Account, Directory, DirectoryError};
use crate::caller::UserKey;
use crate::config::DjangoDirectory as Settings;
use crate::django::hashers::{Algorithm, DEFAULT_DUMMY, dummy_like};
use crate::secret::Secret;

mod query;

use query::Queries;

/// Looking somebody up takes microseconds; more than this many at once only wait for each other.
const CONNECTIONS: usize = 4;

/// How long a look-up waits for a lock. Django holds one for the length of a write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// `kind = "django"`
pub struct DjangoDirectory {
    inner: Arc<Inner>,
    at_once: Semaphore,
    hashers: Arc<[Algorithm]>,
}

struct Inner {
    name: String,
    path: PathBuf,
    queries: Queries,
    idle: Mutex<Vec<Opened>>,
    /// The newest usable password that was seen, and its decoy.
    decoy: ArcSwap<(String, Secret)>,
}

struct Opened {
    connection: Connection,
    file: (u64, u64),
}

impl DjangoDirectory {
    /// Takes the settings. The database need not exist yet: until it does, every look-up is a [`DirectoryError`].
    ///
    /// # Errors
    /// [`DirectoryError`] for a table, column or hasher whose name cannot be.
    pub fn new(name: &str, settings: &Settings) -> Result<Self, DirectoryError> {
        let refused = |reason| DirectoryError { directory: name.to_owned(), reason };
        let hashers = settings
            .hashers
            .iter()
            .map(|hasher| {
                Algorithm::parse(hasher).ok_or_else(|| refused(format!("no hasher {hasher:?}")))
            })
            .collect::<Result<Arc<[_]>, _>>()?;
        let inner = Inner {
            name: name.to_owned(),
            path: settings.database.clone(),
            queries: Queries::new(settings).map_err(refused)?,
            idle: Mutex::default(),
            decoy: ArcSwap::from_pointee((String::new(), Secret::new(DEFAULT_DUMMY))),
        };
        Ok(Self { inner: Arc::new(inner), at_once: Semaphore::new(CONNECTIONS), hashers })
    }

    /// Looks whether the database can be read as configured; for the start and for `check`. Blocks.
    ///
    /// # Errors
    /// [`DirectoryError`] saying what is wrong.
    pub fn probe(&self) -> Result<(), DirectoryError> {
        self.inner.with_connection(|connection| {
            self.inner.notice_cost(connection)?;
            self.inner.queries.by_name(connection, "").map(|_| ())
        })
    }

    /// Runs a look-up on a thread that may block, a few at a time.
    async fn look_up(
        &self,
        look_up: impl FnOnce(&Inner, &Connection) -> Result<Option<Account>, Trouble> + Send + 'static,
    ) -> Result<Option<Account>, DirectoryError> {
        let failed = |reason: &str| DirectoryError {
            directory: self.inner.name.clone(),
            reason: reason.to_owned(),
        };
        let _permit = self.at_once.acquire().await.map_err(|_| failed("it is closed"))?;
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || {
            inner.with_connection(|connection| look_up(&inner, connection))
        })
        .await
        .map_err(|_| failed("the look-up broke off"))?
    }
}

/// What a look-up says when it does not work.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("{0}")]
    Shape(String),
}

impl Inner {
    fn with_connection<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Trouble>,
    ) -> Result<T, DirectoryError> {
        let failed = |reason: String| DirectoryError {
            directory: self.name.clone(),
            reason: format!("{}: {reason}", self.path.display()),
        };
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

    /// Learns from the newest user what a check costs now. Asked for known and unknown names alike.
    fn notice_cost(&self, connection: &Connection) -> Result<(), Trouble> {
        let newest = self.queries.newest_password(connection)?.unwrap_or_default();
        if !newest.is_empty() && self.decoy.load().0 != newest {
            let decoy = Secret::new(dummy_like(&newest));
            self.decoy.store(Arc::new((newest, decoy)));
        }
        Ok(())
    }
}

#[async_trait]
impl Directory for DjangoDirectory {
    fn name(&self) -> &str {
        &self.inner.name
    }

    fn hashers(&self) -> Arc<[Algorithm]> {
        Arc::clone(&self.hashers)
    }

    fn decoy(&self) -> Secret {
        self.inner.decoy.load().1.clone()
    }

    async fn find(&self, name: &str) -> Result<Option<Account>, DirectoryError> {
        let name = name.to_owned();
        self.look_up(move |inner, connection| {
            inner.notice_cost(connection)?;
            let Some(row) = inner.queries.by_name(connection, &name)? else { return Ok(None) };
            inner.queries.account(connection, &inner.name, row).map(Some)
        })
        .await
    }

    async fn by_id(&self, user: &UserKey) -> Result<Option<Account>, DirectoryError> {
        if *user.directory != *self.inner.name {
            return Ok(None);
        }
        let id = Arc::clone(&user.id);
        self.look_up(move |inner, connection| {
            let Some(row) = inner.queries.by_id(connection, &id)? else { return Ok(None) };
            inner.queries.account(connection, &inner.name, row).map(Some)
        })
        .await
    }
}

#[cfg(test)]
mod tests;
