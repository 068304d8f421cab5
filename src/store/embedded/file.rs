//! The file itself: who may read it, how it is made, how connections to it are opened.
//!
//! The file holds who is signed in, so nobody but its owner may read it; one that others can read is refused, not mended,
//! because it may have been read already. SQLite gives the `-wal` and `-shm` files the mode of the main file.
//!
//! Once a connection is open, nothing here opens and closes the file by other means: closing any descriptor of a file
//! drops the process's POSIX locks on it, and SQLite's are among them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::Tuning;

/// Why the store's file was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its mode lets others in.
    #[error(
        "{path} can be read or written by other users (mode {mode:04o}); \
         find out whether somebody did, then run `chmod 600 {path}`",
        path = path.display()
    )]
    NotPrivate {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is a symbolic link, a folder, a device.
    #[error("{path} is not a regular file; name the file itself, not a link to it", path = path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// The system says no.
    #[error("{path} cannot be opened: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is a database, and not one of ours.
    #[error("{path} is the database of another program; the store needs a file of its own", path = path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer version of this program wrote it.
    #[error(
        "{path} was written by a newer version (its schema is {found}, this version knows {known}); \
         run that version, or put back a backup made before the upgrade",
        path = path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: u32,
        /// The newest one known here.
        known: u32,
    },
    /// Its content does not hold together.
    #[error(
        "{path} is damaged ({what}); put back a backup, or move it away to start empty \
         (everybody signs in again)",
        path = path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// No write-ahead log is possible where it lies.
    #[error(
        "{path} lies on a file system without shared memory (journal mode stays {mode}); \
         put it on a local disk",
        path = path.display()
    )]
    NoWriteAheadLog {
        /// The file.
        path: PathBuf,
        /// The journal mode that SQLite stayed in.
        mode: String,
    },
    /// Anything else that SQLite says.
    #[error("{path} cannot be opened: {source}", path = path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

impl OpenError {
    /// Sorts out what SQLite said: damage is a matter of its own.
    pub(super) fn sqlite(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        let damaged = match &source {
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..) => true,
            other => matches!(
                other.sqlite_error_code(),
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
            ),
        };
        if damaged {
            Self::Corrupt { path, what: source.to_string() }
        } else {
            Self::Sqlite { path, source }
        }
    }
}

/// Makes the file if it is not there, and checks that nobody else can read it. Answers its canonical path: SQLite is told
/// to follow no link, and a link among the folders above it is the operator's own choice.
pub(super) fn prepare(path: &Path) -> Result<PathBuf, OpenError> {
    let failed = |source| OpenError::Io { path: path.to_owned(), source };
    let real = canonical(path).map_err(failed)?;
    match create_private(&real) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    check_private(&real)?;
    for suffix in ["-wal", "-shm"] {
        check_private(&with_suffix(&real, suffix))?;
    }
    Ok(real)
}

/// The same path with its folder resolved; the last component is left as it is.
pub(super) fn canonical(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    Ok(fs::canonicalize(folder)?.join(name))
}

/// Makes an empty file that only its owner can read. An existing one, or a link of that name, is an error.
pub(super) fn create_private(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.sync_all()?;
    sync_folder_of(path)
}

/// Makes the entry of a new file as durable as its content.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn check_private(path: &Path) -> Result<(), OpenError> {
    let path = path.to_owned();
    let metadata = match fs::symlink_metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(OpenError::Io { path, source }),
    };
    if !metadata.is_file() {
        return Err(OpenError::NotAFile { path });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(OpenError::NotPrivate { path, mode });
    }
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// A connection that may write. It makes no file: that is done before, with its mode.
pub(super) fn connect(path: &Path, tuning: Tuning) -> rusqlite::Result<Connection> {
    open(path, OpenFlags::SQLITE_OPEN_READ_WRITE, tuning)
}

/// A connection that only reads.
pub(super) fn connect_read_only(path: &Path, tuning: Tuning) -> rusqlite::Result<Connection> {
    open(path, OpenFlags::SQLITE_OPEN_READ_ONLY, tuning)
}

fn open(path: &Path, access: OpenFlags, tuning: Tuning) -> rusqlite::Result<Connection> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(tuning.busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // What is deleted or changed is overwritten: addresses are not kept longer than they may be.
    connection.pragma_update(None, "secure_delete", true)?;
    // A burst must not leave a large log behind for good.
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    if let Some(pages) = tuning.max_pages {
        connection.pragma_update(None, "max_page_count", pages)?;
    }
    Ok(connection)
}
