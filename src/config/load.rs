//! Turns a path or a text into a [`Config`].

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::raw::RawReader;
use super::report::ProblemReport;
use super::{Config, check};

/// The largest configuration: a longer file is not one.
const MAX_BYTES: u64 = 1 << 20;

/// Why a configuration cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file's path.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// Every user of this machine may change the file, and so could take over the gateway.
    #[error("{} is writable by others (mode {mode:04o}); run: chmod o-w {}", path.display(), path.display())]
    WritableByOthers {
        /// The file's path.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file has errors.
    #[error("{0}")]
    Invalid(ProblemReport),
}

impl Config {
    /// Reads a file. Relative paths in it are resolved against its folder. The report holds warnings only.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(path: &Path) -> Result<(Self, ProblemReport), LoadError> {
        let unreadable = |error| LoadError::Unreadable { path: path.to_owned(), error };
        let mut file = File::open(path).map_err(unreadable)?;
        // The metadata are those of the opened file, so that it cannot be exchanged between check and reading.
        let metadata = file.metadata().map_err(unreadable)?;
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_file() && mode & 0o002 != 0 {
            return Err(LoadError::WritableByOthers { path: path.to_owned(), mode });
        }
        let mut text = String::new();
        let read =
            file.by_ref().take(MAX_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
        if read as u64 > MAX_BYTES {
            return Err(unreadable(io::Error::other("it is larger than 1 MiB")));
        }
        let base = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let base = std::path::absolute(base).map_err(unreadable)?;
        Self::parse(&text, &base, &path.display().to_string()).map_err(LoadError::Invalid)
    }

    /// Reads a file as far as possible, to find the gateway that was started with it: its store's folder and its admin
    /// listener. What cannot be read has its default.
    pub fn glimpse(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let base = path.parent().and_then(|folder| std::path::absolute(folder).ok());
        let base = base.unwrap_or_else(|| PathBuf::from("."));
        let read = |text: &str| RawReader::new(&base).read(text, check::check);
        read(&text).or_else(|| read("")).unwrap_or_else(|| {
            unreachable!("an empty text is TOML, and every key has a default to be checked")
        })
    }

    /// Reads a text as if it stood in a file of this name in `base`. The report holds warnings only.
    ///
    /// # Errors
    /// The report, with at least one error.
    pub fn parse(
        text: &str,
        base: &Path,
        file: &str,
    ) -> Result<(Self, ProblemReport), ProblemReport> {
        let reader = RawReader::new(base);
        let config = reader.read(text, check::check);
        let (findings, _) = reader.finish();
        let report = ProblemReport::new(file, text, findings);
        match config {
            Some(config) if !report.has_errors() => Ok((config, report)),
            _ => Err(report),
        }
    }
}
