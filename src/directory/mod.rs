//! The port through which users are found, and its values.
//!
//! A directory says what it knows of a name; whether the password matches is decided in one place for all of them
//! (`session::sign_in`), so that an unknown user, a wrong password, an inactive user and an unusable password take the same
//! time and give the same answer. Directories are asked in the order of the file; the first that knows the name decides.
//!
//! One kind is different: a directory that checks passwords itself ([`Directory::checks_passwords`]) cannot say what it
//! knows of a name. It answers a name and a password together ([`Directory::sign_in`]), so it takes every name that those
//! before it do not know, and one behind it is never asked. Its users cannot be looked up again either.

pub mod django;
pub mod file;
pub mod http;
pub mod password;
pub mod users_file;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;

use crate::caller::{Identity, UserKey};
use crate::clock::Timestamp;
use crate::django::hashers::Algorithm;
use crate::secret::{Digest, Secret};
use crate::wire::jar::Jar;

/// What a directory knows of a user.
#[derive(Clone, Debug)]
pub struct Account {
    /// Who it is.
    pub identity: Arc<Identity>,
    /// May they sign in at all?
    pub active: bool,
    /// Does the service ask them for a second factor? A password of the gateway's own does not let them in then.
    pub has_second_factor: bool,
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

/// A name and a password for a directory that checks them itself.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The name as given.
    pub name: &'a str,
    /// The password as given.
    pub password: &'a Secret,
    /// Whose attempt it is.
    pub client: IpAddr,
    /// Now.
    pub at: Timestamp,
    /// Was the name typed into a form of ours? Then it is what the service's own form would make of it.
    pub is_typed: bool,
}

/// What a directory that checks passwords itself says.
#[derive(Debug)]
pub enum Verdict {
    /// It is the user's password; and these are the cookies that the service gave for it.
    Accepted(Box<Account>, Jar),
    /// There is no such user, or it is not their password.
    Refused,
    /// It is asked by as many others as it may be.
    Busy,
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

    /// What the service's own form makes of a name that was typed into it, before anybody is asked for it.
    fn as_typed<'n>(&self, name: &'n str) -> Cow<'n, str> {
        Cow::Borrowed(name)
    }

    /// The user with this id, however it is spelled: two spellings of one value are one user.
    async fn key(&self, id: &str) -> Result<UserKey, DirectoryError> {
        Ok(UserKey::new(self.name(), id))
    }

    /// The user who signs in with exactly this name, by the directory's own rule (Django: other case is another name).
    /// `None`: there is none.
    async fn find(&self, name: &str) -> Result<Option<Account>, DirectoryError>;

    /// The user with this id. `None`: they are gone.
    async fn by_id(&self, user: &UserKey) -> Result<Option<Account>, DirectoryError>;

    /// Is a user's stored password taken for the one before, written anew at a higher cost, when it looks like that? A change
    /// may look the same, so it is the operator who says so.
    fn keeps_at_upgrade(&self) -> bool {
        false
    }

    /// Whether it is, where [`Self::keeps_at_upgrade`].
    fn is_upgrade(&self, _before: &Secret, _now: &Secret) -> bool {
        false
    }

    /// What is missing of all that it reads, a line each: at the start and for `check`.
    async fn missing(&self) -> Result<Vec<String>, DirectoryError> {
        Ok(Vec::new())
    }

    /// Does it check passwords itself? Then [`Self::sign_in`] is asked, and the look-ups above fail.
    fn checks_passwords(&self) -> bool {
        false
    }

    /// Checks a name and a password, where [`Self::checks_passwords`].
    async fn sign_in(&self, _attempt: Attempt<'_>) -> Result<Verdict, DirectoryError> {
        let reason = "it checks no passwords".to_owned();
        Err(DirectoryError { directory: self.name().to_owned(), reason })
    }

    /// Ends at the service what [`Self::sign_in`] began there, with the cookies that it gave.
    async fn sign_out(&self, _cookies: Jar, _at: Timestamp) -> Result<(), DirectoryError> {
        Ok(())
    }
}

impl Account {
    /// Changes whenever the password does; says nothing of it.
    pub fn password_mark(&self) -> Digest {
        self.password.digest()
    }
}
