//! Manages the folder of the store: the operator's token, the address of the admin listener, and the lock of the store.
//!
//! A gateway holds in memory which sessions have ended, so of two that write one store, each would accept what the other has
//! ended. A lock, which the system releases when a process dies, prevents a second gateway.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::private_file;
use crate::secret::Secret;

/// The folder of the store.
#[derive(Clone, Debug)]
pub(super) struct StateFolder(PathBuf);

impl StateFolder {
    pub(super) fn of(config: &Config) -> Self {
        let folder = config.store.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        Self(folder.unwrap_or(Path::new(".")).to_path_buf())
    }

    /// Creates the folder (mode 0700) if it does not exist.
    pub(super) fn make(&self) -> Result<(), String> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(|error| format!("cannot make the folder {}: {error}", self.0.display()))
    }

    /// Returns the operator's token; it is created at the first start.
    pub(super) fn operator_token(&self) -> Result<Secret, String> {
        if let Some(token) = self.existing_operator_token()? {
            return Ok(token);
        }
        let token = Secret::random().map_err(|error| error.to_string())?;
        private_file::create(&self.token_path(), token.expose().as_bytes())
            .map_err(|error| error.to_string())?;
        Ok(token)
    }

    /// Returns the operator's token, if one was created.
    pub(super) fn existing_operator_token(&self) -> Result<Option<Secret>, String> {
        let path = self.token_path();
        if !path.exists() {
            return Ok(None);
        }
        let (bytes, _) = private_file::read(&path).map_err(|error| error.to_string())?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| format!("{} is not UTF-8 text", path.display()))?
            .trim_end();
        if text.len() < 32 {
            return Err(format!(
                "{} holds no token; remove it, and the next start makes one",
                path.display()
            ));
        }
        Ok(Some(Secret::new(text)))
    }

    /// Writes the admin listener's address for commands: the configuration may leave the port to the system.
    pub(super) fn write_admin_address(&self, admin: Option<SocketAddr>) -> io::Result<()> {
        let Some(admin) = admin else { return Ok(()) };
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.0.join("admin-address"))?;
        writeln!(file, "{admin}")
    }

    /// Returns where the admin listener was when the gateway last started.
    pub(super) fn admin_address(&self) -> Option<String> {
        let text = fs::read_to_string(self.0.join("admin-address")).ok()?;
        Some(text.trim().to_owned())
    }

    /// Returns the path of the key of refresh tokens, which nothing else trusts.
    pub(super) fn refresh_key(&self) -> PathBuf {
        self.0.join("refresh-key")
    }

    /// Returns the path of the secret that names what identity forms make in services.
    pub(super) fn forms_secret(&self) -> PathBuf {
        self.0.join("forms-secret")
    }

    /// Returns the path of the file of what operators have silenced.
    pub(super) fn silences(&self) -> PathBuf {
        self.0.join("silences")
    }

    fn token_path(&self) -> PathBuf {
        self.0.join("operator-token")
    }
}

/// Locks the store for this process alone, until the returned file is dropped.
pub(super) fn claim_store(config: &Config) -> Result<Option<File>, String> {
    if !config.store.kind.survives_restarts() {
        return Ok(None);
    }
    let mut path = config.store.path.clone().into_os_string();
    path.push("-lock");
    let path = PathBuf::from(path);
    let failed = |error: io::Error| format!("cannot lock {}: {error}", path.display());
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => {
            Err(format!("another gateway is running on {}", config.store.path.display()))
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
