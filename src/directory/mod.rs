//! Defines the ports through which users are looked up and passwords are checked.
//!
//! There are two ports, and each directory implements one of them ([`Directory`]). **[`Users`]** can be looked up, by the
//! name that they sign in with and by their id, and have a stored password. Whether a given password matches is decided in
//! one place for all of them (`session::sign_in`), so that an unknown user, a wrong password, an inactive user and an
//! unusable password take the same time and give the same result. A **[`LoginService`]** checks passwords itself and does not
//! say whether it knows a name: it is given a name and a password together, and users cannot be looked up there later.
//!
//! Directories are asked in the order of the configuration file; the first that knows the name decides. So a login service
//! decides on every name that the directories before it do not know, and a directory after it is never asked.

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

/// What a directory knows about a user.
#[derive(Clone, Debug)]
pub struct Account {
    /// The user's identity.
    pub identity: Arc<Identity>,
    /// Whether the user may sign in at all.
    pub active: bool,
    /// Whether the service asks the user for a second factor. The gateway then does not accept their password alone.
    pub has_second_factor: bool,
    /// The stored password in Django's encoding (`argon2$argon2id$...`, `pbkdf2_sha256$...`, `!` for none).
    pub password: Secret,
}

/// The directory could not be asked. The text is for the log; a client gets 503.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the directory {directory} failed: {reason}")]
pub struct DirectoryError {
    /// The directory's name.
    pub directory: String,
    /// What went wrong.
    pub reason: String,
}

/// A name and a password for a directory that checks them itself.
#[derive(Clone, Copy, Debug)]
pub struct PasswordAttempt<'a> {
    /// The given name.
    pub name: &'a str,
    /// The given password.
    pub password: &'a Secret,
    /// The address of the client that makes the attempt.
    pub client: IpAddr,
    /// The current time.
    pub at: Timestamp,
    /// Whether the name was typed into a form of the gateway. It is then already normalised as the service's own form would
    /// do.
    pub is_typed: bool,
}

/// The result of a sign-in at a directory that checks passwords itself.
#[derive(Debug)]
pub enum PasswordVerdict {
    /// The password is right. The cookies are those that the service set for the sign-in.
    Accepted(Box<Account>, Jar),
    /// There is no such user, or the password is wrong.
    Refused,
    /// As many sign-ins as allowed are already in progress.
    Busy,
}

/// A configured directory.
#[derive(Clone)]
pub enum Directory {
    /// Its users can be looked up, and the gateway checks their passwords.
    Users(Arc<dyn Users>),
    /// It checks passwords itself.
    Service(Arc<dyn LoginService>),
}

/// Users who can be looked up.
#[async_trait]
pub trait Users: Send + Sync {
    /// Returns the directory's configured name, the first half of a [`UserKey`].
    fn name(&self) -> &str;

    /// Returns the accepted password encodings; a stored password in another encoding never matches.
    fn hashers(&self) -> Arc<[PasswordHasher]>;

    /// Returns an encoded password that no password matches and that costs what the users' passwords cost; it is checked for
    /// unknown names. Never waits.
    fn decoy(&self) -> Secret;

    /// Normalises a name that was typed into a form, as the service's own form would before it looks the name up.
    fn as_typed<'n>(&self, name: &'n str) -> Cow<'n, str>;

    /// Returns the key of the user with this id. All spellings of one value give the same key.
    async fn key(&self, id: &str) -> Result<UserKey, DirectoryError>;

    /// Returns the user who signs in with exactly this name, by the directory's own rule (Django: names are case-sensitive),
    /// or `None` if there is none.
    async fn find(&self, name: &str) -> Result<Option<Account>, DirectoryError>;

    /// Returns the user with this id, or `None` if they no longer exist.
    async fn by_id(&self, user: &UserKey) -> Result<Option<Account>, DirectoryError>;

    /// Returns how many users have this mail address, in any case; no more than two are counted.
    async fn with_address(&self, address: &str) -> Result<usize, DirectoryError>;

    /// Returns the encoding to which the service upgrades stored passwords, if a change that looks like an upgrade keeps the
    /// user's sessions. A real change may look the same, so the operator decides. `None`: every change ends sessions.
    fn upgrades_to(&self) -> Option<PasswordHasher>;

    /// Returns the store that changes the users' passwords, or `None` if they cannot be changed at the gateway.
    fn password_store(&self) -> Option<&dyn PasswordStore>;

    /// Lists what is missing of all that the directory reads, a line each, at the start and for `check`.
    async fn missing(&self) -> Result<Vec<String>, DirectoryError>;
}

/// Stores passwords that users may change.
#[async_trait]
pub trait PasswordStore: Send + Sync {
    /// Replaces a stored password with a new one; the change is durable when this returns, and visible to every reader.
    /// Returns the account as it is now, or `None` if the stored password has changed or the user no longer exists; nothing
    /// was changed then.
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
    /// Returns the directory's configured name, the first half of a [`UserKey`].
    fn name(&self) -> &str;

    /// Checks a name and a password.
    async fn sign_in(
        &self,
        attempt: PasswordAttempt<'_>,
    ) -> Result<PasswordVerdict, DirectoryError>;

    /// Ends the service's session that [`Self::sign_in`] began, with the cookies that it returned.
    async fn sign_out(&self, cookies: Jar, at: Timestamp) -> Result<(), DirectoryError>;
}

impl Directory {
    /// Returns the directory's configured name.
    pub fn name(&self) -> &str {
        match self {
            Self::Users(users) => users.name(),
            Self::Service(service) => service.name(),
        }
    }

    /// Returns the users, if they can be looked up.
    pub fn users(&self) -> Option<&dyn Users> {
        match self {
            Self::Users(users) => Some(&**users),
            Self::Service(_) => None,
        }
    }

    /// Whether the other one is the same open directory, rather than one that was opened again.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Users(one), Self::Users(other)) => Arc::ptr_eq(one, other),
            (Self::Service(one), Self::Service(other)) => Arc::ptr_eq(one, other),
            (Self::Users(_), Self::Service(_)) | (Self::Service(_), Self::Users(_)) => false,
        }
    }

    /// Returns the key of the user with this id, in the directory's own spelling.
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
    /// Returns the mail address that only this user of the directory has. **An address that several users have is not
    /// returned**: another reader of it could be let in.
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

    /// Whether a changed stored password was only upgraded, if upgrades keep sessions ([`Users::upgrades_to`]).
    pub fn is_upgrade(&self, before: &Secret, now: &Secret) -> bool {
        let looks = |to| looks_upgraded(before.expose(), now.expose(), to);
        self.upgrades_to().is_some_and(looks)
    }
}

impl Account {
    /// Returns a digest that changes whenever the password does and reveals nothing of it.
    pub fn password_mark(&self) -> Digest {
        self.password.digest()
    }
}
