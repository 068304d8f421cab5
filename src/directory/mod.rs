//! The port through which users are found, and its values.
//!
//! A directory says what it knows of a name; whether the password matches is decided in one place for all of them
//! (`auth::sign_in`), so that an unknown user, a wrong password, an inactive user and an unusable password take the same
//! time and give the same answer. Directories are asked in the order of the file; the first that knows the name decides.

pub mod blacklist;
pub mod cache;
pub mod database;
pub mod django;
pub mod file;
pub mod password;
pub mod private_file;
pub mod users_file;

use std::sync::Arc;

use async_trait::async_trait;

use crate::caller::{Identity, UserKey};
use crate::django::hashers::Algorithm;
use crate::secret::{Digest, Secret};

/// What a directory knows of a user.
#[derive(Clone, Debug)]
pub struct Account {
    /// Who it is.
    pub identity: Arc<Identity>,
    /// May they sign in at all?
    pub active: bool,
    /// The stored password in Django's encoding (`argon2$argon2id$...`, `pbkdf2_sha256$...`, `!` for none).
    pub password: Secret,
}

/// The directory could not be asked. The text is for the log; a client gets 503.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the directory {directory} failed: {reason}")]
pub struct DirectoryError {
    /// Its name.
    pub directory: String,
    /// What went wrong.
    pub reason: String,
}

/// Knows users.
#[async_trait]
pub trait Directory: Send + Sync {
    /// Its configured name, the first half of a [`UserKey`].
    fn name(&self) -> &str;

    /// The password encodings that it accepts; a stored password in another never matches.
    fn hashers(&self) -> Arc<[Algorithm]>;

    /// An encoded password that no password matches and that costs what its users' passwords cost: what is checked for a
    /// name that nobody has. Never waits.
    fn decoy(&self) -> Secret;

    /// The user who signs in with exactly this name, by the directory's own rule (Django: other case is another name).
    /// `None`: there is none.
    async fn find(&self, name: &str) -> Result<Option<Account>, DirectoryError>;

    /// The user with this id. `None`: they are gone.
    async fn by_id(&self, user: &UserKey) -> Result<Option<Account>, DirectoryError>;
}

impl Account {
    /// Changes whenever the password does; says nothing of it.
    pub fn password_mark(&self) -> Digest {
        self.password.digest()
    }
}
