//! The ports through which users are known, and their values.
//!
//! There are two, and each directory is one of them ([`Directory`]). **[`Users`]** can be found, by the name that they sign
//! in with and by their id, and have a stored password; whether a given one matches is decided in one place for all of them
//! (`session::sign_in`), so that an unknown user, a wrong password, an inactive user and an unusable password take the same
//! time and give the same answer. A **[`LoginService`]** checks passwords itself and cannot say what it knows of a name: it
//! is asked with a name and a password together, and nobody can be looked up there again.
//!
//! Directories are asked in the order of the file; the first that knows the name decides. So a login service takes every
//! name that those before it do not know, and one behind it is never asked.

pub mod django;
pub mod file;
pub mod http;
pub mod password;
pub mod second_factors;
pub mod users_file;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;

use crate::caller::{Identity, UserKey};
use crate::clock::Timestamp;
use crate::django::hashers::{PasswordHasher, looks_upgraded};
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
pub struct PasswordAttempt<'a> {
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
pub enum PasswordVerdict {
    /// It is the user's password; and these are the cookies that the service gave for it.
    Accepted(Box<Account>, Jar),
    /// There is no such user, or it is not their password.
    Refused,
    /// It is asked by as many others as it may be.
    Busy,
}

/// A configured directory.
#[derive(Clone)]
pub enum Directory {
    /// Its users can be found, and their passwords are checked here.
    Users(Arc<dyn Users>),
    /// It checks passwords itself.
    Service(Arc<dyn LoginService>),
}

/// Users who can be found.
#[async_trait]
pub trait Users: Send + Sync {
    /// The directory's configured name, the first half of a [`UserKey`].
    fn name(&self) -> &str;

    /// The password encodings that it accepts; a stored password in another never matches.
    fn hashers(&self) -> Arc<[PasswordHasher]>;

    /// An encoded password that no password matches and that costs what its users' passwords cost: what is checked for a
    /// name that nobody has. Never waits.
    fn decoy(&self) -> Secret;

    /// What the service's own form makes of a name that was typed into it, before anybody is asked for it.
    fn as_typed<'n>(&self, name: &'n str) -> Cow<'n, str>;

    /// The user with this id, however it is spelled: two spellings of one value are one user.
    async fn key(&self, id: &str) -> Result<UserKey, DirectoryError>;

    /// The user who signs in with exactly this name, by the directory's own rule (Django: other case is another name).
    /// `None`: there is none.
    async fn find(&self, name: &str) -> Result<Option<Account>, DirectoryError>;

    /// The user with this id. `None`: they are gone.
    async fn by_id(&self, user: &UserKey) -> Result<Option<Account>, DirectoryError>;

    /// How many users have this mail address, whatever its case; no more than two are counted.
    async fn with_address(&self, address: &str) -> Result<usize, DirectoryError>;

    /// The encoding in which the service writes a stored password anew, where a change that looks like that keeps the user's
    /// sessions. A real change may look the same, so it is the operator who says so; `None`: every change is one.
    fn upgrades_to(&self) -> Option<PasswordHasher>;

    /// Where its users' passwords are changed. `None`: not at the gateway.
    fn password_store(&self) -> Option<&dyn PasswordStore>;

    /// What is missing of all that it reads, a line each: at the start and for `check`.
    async fn missing(&self) -> Result<Vec<String>, DirectoryError>;
}

/// Keeps passwords that their owners may change.
#[async_trait]
pub trait PasswordStore: Send + Sync {
    /// Puts a new password in the place of a stored one; durable when this returns, and seen by every reader. The account as it
    /// is now; `None`: the stored one is another by now, or the user is gone, and nothing was changed.
    async fn change_password(
        &self,
        user: &UserKey,
        stored: &Secret,
        new: &Secret,
    ) -> Result<Option<Account>, DirectoryError>;
}

/// A service that checks a name and a password together.
#[async_trait]
pub trait LoginService: Send + Sync {
    /// The directory's configured name, the first half of a [`UserKey`].
    fn name(&self) -> &str;

    /// Checks a name and a password.
    async fn sign_in(
        &self,
        attempt: PasswordAttempt<'_>,
    ) -> Result<PasswordVerdict, DirectoryError>;

    /// Ends at the service what [`Self::sign_in`] began there, with the cookies that it gave.
    async fn sign_out(&self, cookies: Jar, at: Timestamp) -> Result<(), DirectoryError>;
}

impl Directory {
    /// Its configured name.
    pub fn name(&self) -> &str {
        match self {
            Self::Users(users) => users.name(),
            Self::Service(service) => service.name(),
        }
    }

    /// Its users, if they can be found.
    pub fn users(&self) -> Option<&dyn Users> {
        match self {
            Self::Users(users) => Some(&**users),
            Self::Service(_) => None,
        }
    }

    /// Is it the other one, and not one that was opened anew?
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Users(one), Self::Users(other)) => Arc::ptr_eq(one, other),
            (Self::Service(one), Self::Service(other)) => Arc::ptr_eq(one, other),
            (Self::Users(_), Self::Service(_)) | (Self::Service(_), Self::Users(_)) => false,
        }
    }

    /// The user with this id, in the directory's own spelling.
    ///
    /// # Errors
    /// If the directory had to be asked, and could not be.
    pub async fn key(&self, id: &str) -> Result<UserKey, DirectoryError> {
        match self {
            Self::Users(users) => users.key(id).await,
            Self::Service(service) => Ok(UserKey::new(service.name(), id)),
        }
    }
}

impl dyn Users + '_ {
    /// The mail address that this user has and no other of the directory. **One that several have is nobody's own**: whoever else
    /// reads it would be let in.
    ///
    /// # Errors
    /// If the directory cannot be asked.
    pub async fn own_address<'i>(
        &self,
        user: &'i Identity,
    ) -> Result<Option<&'i str>, DirectoryError> {
        let address = user.attributes.get("email").map(|email| email.trim());
        let Some(address) = address.filter(|address| address.contains('@')) else {
            return Ok(None);
        };
        Ok((self.with_address(address).await? == 1).then_some(address))
    }

    /// Was this stored password only written anew, where that keeps sessions ([`Users::upgrades_to`])?
    pub fn is_upgrade(&self, before: &Secret, now: &Secret) -> bool {
        let looks = |to| looks_upgraded(before.expose(), now.expose(), to);
        self.upgrades_to().is_some_and(looks)
    }
}

impl Account {
    /// Changes whenever the password does; says nothing of it.
    pub fn password_mark(&self) -> Digest {
        self.password.digest()
    }
}
