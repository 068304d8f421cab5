//! Reads and writes files that hold secrets: signing keys, the users' file.
//!
//! They are read only if nobody but their owner can read or write them. A write goes to a temporary file beside them, which is
//! flushed to the disk and renamed over them, so that a reader sees the old content or the new one and never half of it. The
//! check is made on the open file and not on its name, so that nothing can be put in its place between check and read.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::secret::{Digest, random_bytes, random_id};

/// Larger files are refused: no key and no users' file is nearly as large, but what a wrong path (`/dev/zero`) names may be.
const MAX_BYTES: u64 = 64 << 20;

/// A file that cannot be used, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// The operating system reports an error.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// Others besides its owner may read or write the file.
    #[error(
        "{path}: its mode is {mode:04o}, so others can read or write it; run `chmod 600 {path}`",
        path = path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The path names a directory, a device, or a file that is far too large.
    #[error("{path}: it is not a regular file of up to 64 MiB", path = path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
}

/// The version of a file's content, which changes when the file does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Reads a private file whole.
///
/// # Errors
/// [`PrivateFileError`] if it cannot be read, or must not be.
pub fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, Version), PrivateFileError> {
    let io = |source| PrivateFileError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Err(PrivateFileError::NotAFile { path: path.to_owned() });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(PrivateFileError::Exposed { path: path.to_owned(), mode });
    }
    // All room is reserved at once, because a growing vector leaves copies behind that nobody wipes.
    let room = usize::try_from(metadata.len()).unwrap_or_default().saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    (&file).take(MAX_BYTES).read_to_end(&mut bytes).map_err(io)?;
    Ok((bytes, Version::of(&metadata)))
}

/// Creates a private file. An existing one is an error and stays as it is.
///
/// # Errors
/// [`PrivateFileError::Io`], with [`io::ErrorKind::AlreadyExists`] if the file exists.
pub fn create(path: &Path, bytes: &[u8]) -> Result<(), PrivateFileError> {
    let io = |source| PrivateFileError::Io { path: path.to_owned(), source };
    let temporary = write_temporary(path, bytes, None)?;
    // A hard link fails where a rename would replace: the name appears with the whole content, or not at all.
    let linked = std::fs::hard_link(&temporary, path);
    std::fs::remove_file(&temporary).map_err(io)?;
    linked.map_err(io)?;
    sync_directory(path)
}

/// Replaces a private file's content; mode 0600 and the owner stay. Creates the file if it does not exist.
///
/// # Errors
/// [`PrivateFileError::Io`]; the old content is then still there.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), PrivateFileError> {
    let owner = std::fs::metadata(path).ok().map(|old| (old.uid(), old.gid()));
    let temporary = write_temporary(path, bytes, owner)?;
    if let Err(source) = std::fs::rename(&temporary, path) {
        // The first failure is the one to report.
        let _ = std::fs::remove_file(&temporary);
        return Err(PrivateFileError::Io { path: path.to_owned(), source });
    }
    sync_directory(path)
}

/// Locks a file's directory while the file is read, changed and replaced, so that commands do not undo each other.
///
/// The lock is on the directory, because each change replaces the file itself.
///
/// # Errors
/// [`PrivateFileError::Io`] if the directory cannot be opened or locked.
pub fn lock_directory_of(path: &Path) -> Result<File, PrivateFileError> {
    let directory = directory_of(path);
    let io = |source| PrivateFileError::Io { path: directory.to_owned(), source };
    let lock = File::open(directory).map_err(io)?;
    lock.lock().map_err(io)?;
    Ok(lock)
}

impl Version {
    /// Returns the version of the file that is at `path` now.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::of(&std::fs::metadata(path)?))
    }

    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

fn write_temporary(
    path: &Path,
    bytes: &[u8],
    owner: Option<(u32, u32)>,
) -> Result<PathBuf, PrivateFileError> {
    let suffix = random_id().map_err(|error| PrivateFileError::Io {
        path: path.to_owned(),
        source: io::Error::other(error),
    })?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{suffix}.tmp"));
    let temporary = path.with_file_name(name);
    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        // An unusual umask may have removed bits.
        file.set_permissions(Permissions::from_mode(0o600))?;
        if let Some((uid, gid)) = owner {
            let now = file.metadata()?;
            if (now.uid(), now.gid()) != (uid, gid) {
                std::os::unix::fs::fchown(&file, Some(uid), Some(gid))?;
            }
        }
        file.write_all(bytes)?;
        file.sync_all()
    })();
    match written {
        Ok(()) => Ok(temporary),
        Err(source) => {
            let _ = std::fs::remove_file(&temporary);
            Err(PrivateFileError::Io { path: path.to_owned(), source })
        }
    }
}

/// Flushes the directory of a new file: the new name is durable only then.
fn sync_directory(path: &Path) -> Result<(), PrivateFileError> {
    let directory = directory_of(path);
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| PrivateFileError::Io { path: directory.to_owned(), source })
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Returns a digest of what these files contain now, which distinguishes keys without revealing them.
///
/// # Errors
/// If a file cannot be read.
pub fn contents<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<Digest, PrivateFileError> {
    let mut all = Vec::new();
    for file in files {
        let mut content = Zeroizing::new(Vec::new());
        File::open(file)
            .and_then(|open| open.take(MAX_BYTES).read_to_end(&mut content))
            .map_err(|source| PrivateFileError::Io { path: file.to_owned(), source })?;
        all.extend_from_slice(Digest::of(&content).as_bytes());
    }
    Ok(Digest::of(&all))
}

/// Reads the gateway's own 32 random bytes; the file is created if it does not exist.
///
/// # Errors
/// A text that says what is wrong with the file, or that there is no randomness.
pub fn own_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    if !path.exists() {
        let new = random_bytes::<32>().map(Zeroizing::new).map_err(|error| error.to_string())?;
        match create(path, new.as_slice()) {
            Err(PrivateFileError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made.map_err(|error| error.to_string())?,
        }
    }
    let (bytes, _) = read(path).map_err(|error| error.to_string())?;
    if bytes.len() != 32 {
        return Err(format!(
            "{} holds no secret; remove it, and the next start makes one",
            path.display()
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn what_is_created_is_read_back_and_is_0600() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        create(&path, b"secret").unwrap();
        assert_eq!(read(&path).unwrap().0.as_slice(), b"secret");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file");
    }

    #[test]
    fn creating_twice_is_an_error_and_keeps_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        create(&path, b"first").unwrap();
        let error = create(&path, b"second").unwrap_err();
        assert!(
            matches!(&error, PrivateFileError::Io { source, .. }
                if source.kind() == io::ErrorKind::AlreadyExists),
            "{error}"
        );
        assert_eq!(read(&path).unwrap().0.as_slice(), b"first");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn replacing_changes_the_version_and_keeps_the_mode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        create(&path, b"one").unwrap();
        let before = read(&path).unwrap().1;
        replace(&path, b"two").unwrap();
        let (bytes, after) = read(&path).unwrap();
        assert_eq!(bytes.as_slice(), b"two");
        assert_ne!(before, after);
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_file_that_others_can_touch_is_refused_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        create(&path, b"secret").unwrap();
        for exposed in [0o640, 0o604, 0o620, 0o602, 0o644, 0o666] {
            std::fs::set_permissions(&path, Permissions::from_mode(exposed)).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("{exposed:04o}")), "{error}");
            assert!(error.contains("chmod 600"), "{error}");
        }
        std::fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        assert!(read(&path).is_ok());
    }

    #[test]
    fn a_directory_is_no_file() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(read(directory.path()), Err(PrivateFileError::NotAFile { .. })));
    }
}
