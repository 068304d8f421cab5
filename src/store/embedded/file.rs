//! The file of the store: its permissions, how it is created, and how connections to it are opened.
//!
//! The file holds sessions, so nobody but its owner may read it. A file that others can read is refused, not corrected, because
//! it may have been read already. SQLite gives the `-wal` and `-shm` files the mode of the main file.
//!
//! Once a connection is open, nothing here opens and closes the file by other means: closing any descriptor of a file drops the
//! process's POSIX locks on it, including those of SQLite.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::Tuning;

/// Why the store's file was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The mode of the file gives access to other users.
    #[error(
        "{path} can be read or written by other users (mode {mode:04o}); \
         find out whether somebody did, then run `chmod 600 {path}`",
        path = path.display()
    )]
    NotPrivate {
        /// The path of the file.
        path: PathBuf,
        /// The mode of the file.
        mode: u32,
    },
    /// The path names a symbolic link, a directory or a device.
    #[error("{path} is not a regular file; name the file itself, not a link to it", path = path.display())]
    NotAFile {
        /// The path as given.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{path} cannot be opened: {source}", path = path.display())]
    Io {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file is a database of another program.
    #[error("{path} is the database of another program; the store needs a file of its own", path = path.display())]
    Foreign {
        /// The path of the file.
        path: PathBuf,
    },
    /// A newer version of this program wrote the file.
    #[error(
        "{path} was written by a newer version (its schema is {found}, this version knows {known}); \
         run that version, or put back a backup made before the upgrade",
        path = path.display()
    )]
    Newer {
        /// The path of the file.
        path: PathBuf,
        /// The schema version of the file.
        found: u32,
        /// The newest schema version known to this program.
        known: u32,
    },
    /// The content of the file is damaged.
    #[error(
        "{path} is damaged ({what}); put back a backup, or move it away to start empty \
         (everybody signs in again)",
        path = path.display()
    )]
    Corrupt {
        /// The path of the file.
        path: PathBuf,
        /// The damage that was found.
        what: String,
    },
    /// The file system does not support a write-ahead log.
    #[error(
        "{path} lies on a file system without shared memory (journal mode stays {mode}); \
         put it on a local disk",
        path = path.display()
    )]
    NoWriteAheadLog {
        /// The path of the file.
        path: PathBuf,
        /// The journal mode that SQLite stayed in.
        mode: String,
    },
    /// Any other error of SQLite.
    #[error("{path} cannot be opened: {source}", path = path.display())]
    Sqlite {
        /// The path of the file.
        path: PathBuf,
        /// The error of SQLite.
        source: rusqlite::Error,
    },
}

impl OpenError {
    /// Converts an error of SQLite; damage has a variant of its own.
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

/// Creates the file if it does not exist, and checks that nobody else can read it. Returns its canonical path: SQLite is told
/// to follow no link, while a link among the directories above it is the operator's own choice.
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

/// Returns the path with its directory resolved; the last component is left as it is.
pub(super) fn canonical(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    Ok(fs::canonicalize(folder)?.join(name))
}

/// Creates an empty file that only its owner can read. An existing file, or a link of that name, is an error.
pub(super) fn create_private(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.sync_all()?;
    sync_folder_of(path)
}

/// Makes the directory entry of a new file durable.
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

/// Opens a connection that may write. It creates no file: that was done before, with the right mode.
pub(super) fn connect(path: &Path, tuning: Tuning) -> rusqlite::Result<Connection> {
    open(path, OpenFlags::SQLITE_OPEN_READ_WRITE, tuning)
}

/// Opens a connection that only reads.
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
    // Deleted or changed data is overwritten, so that addresses are not stored longer than allowed.
    connection.pragma_update(None, "secure_delete", true)?;
    // A burst of writes must not leave a large log behind permanently.
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    if let Some(pages) = tuning.max_pages {
        connection.pragma_update(None, "max_page_count", pages)?;
    }
    Ok(connection)
}
