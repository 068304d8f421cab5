//! `[[directory]]`, checked.

use std::path::PathBuf;
use std::time::Duration;

use super::{Database, HttpDirectory};

/// `[[directory]]`
#[derive(Clone, Debug, PartialEq)]
pub struct DirectorySettings {
    /// Its name, the first half of a user's key; the kind, unless given.
    pub name: String,
    /// How often the users of live sessions are looked up again.
    pub recheck: Duration,
    /// The kind and what only it has.
    pub kind: DirectoryKind,
}

/// The kinds of directory.
#[derive(Clone, Debug, PartialEq)]
pub enum DirectoryKind {
    /// `kind = "file"`
    File {
        /// The users' file.
        path: PathBuf,
    },
    /// `kind = "django"`
    Django(Box<DjangoDirectory>),
    /// `kind = "http"`
    Http(Box<HttpDirectory>),
}

/// `[[directory]] kind = "django"`: the service's own user table, read only.
#[derive(Clone, Debug, PartialEq)]
pub struct DjangoDirectory {
    /// Where its tables are.
    pub database: Database,
    /// `auth_user`, or a custom user model's table.
    pub user_table: String,
    /// Its columns.
    pub columns: DjangoColumns,
    /// Table of groups (`auth_group`) and of who is in which (`auth_user_groups`); none: no groups.
    pub groups: Option<DjangoGroups>,
    /// Names of the hashers whose passwords are accepted: those of [`crate::django::hashers::Algorithm`].
    pub hashers: Vec<String>,
}

/// `directory.columns.*`: the user table's column names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DjangoColumns {
    /// Primary key.
    pub id: String,
    /// What a user signs in with (`username`, or `email` in many custom models).
    pub username: String,
    /// The encoded password.
    pub password: String,
    /// `is_active`; empty: every user is active.
    pub is_active: String,
    /// `is_staff`; empty: nobody is.
    pub is_staff: String,
    /// `is_superuser`; empty: nobody is.
    pub is_superuser: String,
    /// `email`; empty: none.
    pub email: String,
}

/// `directory.groups.*`: where Django keeps groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DjangoGroups {
    /// `auth_group`
    pub group_table: String,
    /// `auth_user_groups`
    pub membership_table: String,
    /// The membership table's column with the user's id (`user_id`).
    pub user_column: String,
    /// The membership table's column with the group's id (`group_id`).
    pub group_column: String,
}
