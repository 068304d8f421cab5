//! Reads the users' file, and makes the changes to it that commands ask for.
//!
//! ```toml
//! # anything
//! [users.kim]
//! password = "$argon2id$v=19$m=19456,t=2,p=1$..."   # or any encoding of Django's
//! groups   = ["editors"]
//! disabled = false
//! id       = "7"                                    # the name, unless given
//!
//! [users."kim@example.com".attributes]
//! email = "kim@example.com"
//! ```
//!
//! Names are case-sensitive. A user's id is the name unless the file sets another one; an id must not be given to somebody
//! else later, because the application identifies people by it, so a renamed user keeps it with `id = `. Names and ids are up
//! to 1024 bytes, without control characters; `staff` and `superuser` exist as in Django.
//!
//! Commands edit the text and not the tables, so that comments, order and spacing stay: the parser reports where a value is,
//! and only that is replaced. Every edit is checked before it is written: the new text must parse to the old users with
//! exactly the requested change, or else nothing happens and the operator is told to edit the file by hand.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use super::Account;
use crate::caller::{Identity, UserKey};
use crate::private_file::{self, PrivateFileError, Version};
use crate::secret::Secret;

const MAX_NAME: usize = 1024;

/// The users of one file, and its text, which is known to parse.
#[derive(Clone)]
pub struct UsersFile {
    text: String,
    users: BTreeMap<String, FileUser>,
}

/// One user, for `user list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedUser {
    /// The name.
    pub name: String,
    /// The id.
    pub id: String,
    /// The groups, as written.
    pub groups: Vec<String>,
    /// Whether the user may not sign in.
    pub disabled: bool,
}

/// An error in a users' file, or in a change to it.
#[derive(Debug, thiserror::Error)]
pub enum UsersFileError {
    /// The file cannot be read or written, or others may read it.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// The file does not have the format of a users' file.
    #[error("{0}")]
    Malformed(String),
    /// A user of that name already exists.
    #[error("there is a user {0:?} already")]
    Exists(String),
    /// No user of that name exists.
    #[error("there is no user {0:?}")]
    Missing(String),
    /// A name that no user can have.
    #[error("a name has 1 to 1024 bytes and no control characters")]
    BadName,
    /// The text is in a style that this program does not edit.
    #[error("the file is written in a way that cannot be edited safely; change it by hand")]
    CannotEdit,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    #[serde(default)]
    users: BTreeMap<String, Spanned<UserEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserEntry {
    password: Spanned<String>,
    #[serde(default)]
    groups: Vec<String>,
    disabled: Option<Spanned<bool>>,
    id: Option<String>,
    #[serde(default)]
    staff: bool,
    #[serde(default)]
    superuser: bool,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

#[derive(Clone)]
struct FileUser {
    facts: UserFacts,
    password_at: Range<usize>,
    disabled_at: Option<Range<usize>>,
}

/// The values of a user's entry, without their positions in the text.
#[derive(Clone, PartialEq, Eq)]
struct UserFacts {
    id: String,
    password: Secret,
    groups: Vec<String>,
    disabled: bool,
    staff: bool,
    superuser: bool,
    attributes: BTreeMap<String, String>,
}

impl UsersFile {
    /// Parses the text of a users' file.
    ///
    /// # Errors
    /// [`UsersFileError::Malformed`] with the place and the problem, never with a password.
    pub fn parse(text: &str) -> Result<Self, UsersFileError> {
        let malformed = |at: Option<Range<usize>>, what: &str| {
            UsersFileError::Malformed(match at.and_then(|at| text.get(..at.start)) {
                Some(before) => format!("line {}: {what}", 1 + before.matches('\n').count()),
                None => what.to_owned(),
            })
        };
        let tables: Tables =
            toml::from_str(text).map_err(|error| malformed(error.span(), error.message()))?;
        let mut users = BTreeMap::new();
        let mut ids = HashMap::new();
        for (name, entry) in tables.users {
            let at = entry.span();
            let user = FileUser::from(&name, entry.into_inner());
            if !is_name(&name) || !is_name(&user.facts.id) {
                return Err(malformed(
                    Some(at),
                    "a name or id is empty, too long or not printable",
                ));
            }
            if let Some(other) = ids.insert(user.facts.id.clone(), name.clone()) {
                let what = format!("{name:?} and {other:?} have the same id");
                return Err(malformed(Some(at), &what));
            }
            users.insert(name, user);
        }
        Ok(Self { text: text.to_owned(), users })
    }

    /// Reads a users' file.
    ///
    /// # Errors
    /// [`UsersFileError`] if it cannot be read, may be read by others, or is malformed.
    pub fn read(path: &Path) -> Result<Self, UsersFileError> {
        Ok(Self::read_version(path)?.0)
    }

    /// Reads a users' file as [`Self::read`] does, and returns its version too.
    pub(super) fn read_version(path: &Path) -> Result<(Self, Version), UsersFileError> {
        let malformed =
            |what: &dyn Display| UsersFileError::Malformed(format!("{}: {what}", path.display()));
        let (bytes, version) = private_file::read(path)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| malformed(&"it is not UTF-8"))?;
        match Self::parse(text) {
            Ok(file) => Ok((file, version)),
            Err(UsersFileError::Malformed(what)) => Err(malformed(&what)),
            Err(other) => Err(other),
        }
    }

    /// Reads the file (a missing one is empty), changes it, and writes it back. Concurrent commands do not undo each other.
    ///
    /// # Errors
    /// [`UsersFileError`]; the file is then unchanged.
    pub fn change(
        path: &Path,
        change: impl FnOnce(&Self) -> Result<Self, UsersFileError>,
    ) -> Result<(), UsersFileError> {
        let _lock = private_file::lock_directory_of(path)?;
        let before = match Self::read(path) {
            Err(UsersFileError::File(PrivateFileError::Io { source, .. }))
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Self::parse("")?
            }
            read => read?,
        };
        let after = change(&before)?;
        Ok(private_file::replace(path, after.text.as_bytes())?)
    }

    /// Returns the text, including its comments.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns all users by name.
    pub fn list(&self) -> Vec<ListedUser> {
        let listed = |(name, user): (&String, &FileUser)| ListedUser {
            name: name.clone(),
            id: user.facts.id.clone(),
            groups: user.facts.groups.clone(),
            disabled: user.facts.disabled,
        };
        self.users.iter().map(listed).collect()
    }

    /// Returns the file with another user at the end. `encoded` is the result of `password::hash`.
    ///
    /// # Errors
    /// If the name is not allowed, or the name or id is taken.
    pub fn with_user(
        &self,
        name: &str,
        encoded: &str,
        groups: &[String],
    ) -> Result<Self, UsersFileError> {
        if !is_name(name) {
            return Err(UsersFileError::BadName);
        }
        if self.users.iter().any(|(taken, user)| taken == name || user.facts.id == name) {
            return Err(UsersFileError::Exists(name.to_owned()));
        }
        let mut text = self.text.clone();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("[users.{}]\npassword = {}\n", key(name), quoted(encoded)));
        if !groups.is_empty() {
            let groups: Vec<_> = groups.iter().map(|group| quoted(group)).collect();
            text.push_str(&format!("groups = [{}]\n", groups.join(", ")));
        }
        let facts = UserFacts {
            id: name.to_owned(),
            password: in_djangos_encoding(encoded),
            groups: groups.to_vec(),
            disabled: false,
            staff: false,
            superuser: false,
            attributes: BTreeMap::new(),
        };
        self.checked(text, name, &facts)
    }

    /// Returns the file with another password for a user.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn with_password(&self, name: &str, encoded: &str) -> Result<Self, UsersFileError> {
        let user = self.user(name)?;
        let mut text = self.text.clone();
        splice(&mut text, &user.password_at, &quoted(encoded))?;
        let facts = UserFacts { password: in_djangos_encoding(encoded), ..user.facts.clone() };
        self.checked(text, name, &facts)
    }

    /// Returns the file with a user enabled or disabled.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn with_disabled(&self, name: &str, disabled: bool) -> Result<Self, UsersFileError> {
        let user = self.user(name)?;
        let mut text = self.text.clone();
        if let Some(at) = &user.disabled_at {
            splice(&mut text, at, if disabled { "true" } else { "false" })?;
        } else if disabled {
            let rest = text.get(user.password_at.end..).ok_or(UsersFileError::CannotEdit)?;
            let line_end = user.password_at.end + rest.find('\n').unwrap_or(rest.len());
            splice(&mut text, &(line_end..line_end), "\ndisabled = true")?;
        }
        self.checked(text, name, &UserFacts { disabled, ..user.facts.clone() })
    }

    /// Returns the accounts, for a directory of this name.
    pub(super) fn accounts(&self, directory: &str) -> impl Iterator<Item = (&str, Account)> {
        self.users.iter().map(move |(name, user)| {
            let facts = &user.facts;
            let mut groups = facts.groups.clone();
            groups.sort();
            groups.dedup();
            let identity = Identity {
                key: UserKey::new(directory, &facts.id),
                name: name.clone(),
                groups,
                staff: facts.staff,
                superuser: facts.superuser,
                attributes: facts.attributes.clone(),
            };
            let account = Account {
                identity: Arc::new(identity),
                active: !facts.disabled,
                has_second_factor: false,
                password: facts.password.clone(),
            };
            (name.as_str(), account)
        })
    }

    fn user(&self, name: &str) -> Result<&FileUser, UsersFileError> {
        self.users.get(name).ok_or_else(|| UsersFileError::Missing(name.to_owned()))
    }

    /// Parses the edited text, and returns it only if it has exactly the requested change.
    fn checked(&self, text: String, name: &str, facts: &UserFacts) -> Result<Self, UsersFileError> {
        let after = Self::parse(&text).map_err(|_| UsersFileError::CannotEdit)?;
        let mut expected: BTreeMap<&str, &UserFacts> =
            self.users.iter().map(|(name, user)| (name.as_str(), &user.facts)).collect();
        expected.insert(name, facts);
        let found: BTreeMap<&str, &UserFacts> =
            after.users.iter().map(|(name, user)| (name.as_str(), &user.facts)).collect();
        if found == expected { Ok(after) } else { Err(UsersFileError::CannotEdit) }
    }
}

impl FileUser {
    fn from(name: &str, entry: UserEntry) -> Self {
        Self {
            password_at: entry.password.span(),
            disabled_at: entry.disabled.as_ref().map(Spanned::span),
            facts: UserFacts {
                id: entry.id.unwrap_or_else(|| name.to_owned()),
                password: in_djangos_encoding(entry.password.get_ref()),
                groups: entry.groups,
                disabled: entry.disabled.is_some_and(Spanned::into_inner),
                staff: entry.staff,
                superuser: entry.superuser,
                attributes: entry.attributes,
            },
        }
    }
}

/// Converts a bare PHC string to Django's encoding, which the checker reads: it is Django's `argon2` without its first field.
fn in_djangos_encoding(encoded: &str) -> Secret {
    if encoded.starts_with("$argon2") {
        Secret::new(format!("argon2{encoded}"))
    } else {
        Secret::new(encoded)
    }
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Returns a TOML key, without quotes if possible.
fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.chars().all(bare) { name.to_owned() } else { quoted(name) }
}

/// Returns a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn splice(text: &mut String, at: &Range<usize>, with: &str) -> Result<(), UsersFileError> {
    if text.get(at.clone()).is_none() {
        return Err(UsersFileError::CannotEdit);
    }
    text.replace_range(at.clone(), with);
    Ok(())
}

#[cfg(test)]
mod tests;
