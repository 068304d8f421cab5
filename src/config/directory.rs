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
    /// What its service's sign-ins call the field with a user's name (`USERNAME_FIELD`).
    pub username_field: String,
    /// At a reload: whatever else is said of where the users are, they are those whom it had before, with the same ids.
    pub danger_same_users: bool,
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
    /// Which names are a user's own beside the one that the row has.
    pub username_case: UsernameCase,
    /// What a row must have beside the name or id that is asked for (`directory.condition`): what the service's own
    /// manager adds. A user whose row has it not is not there.
    pub conditions: Vec<Condition>,
    /// Where the service keeps second factors (`directory.second_factor`).
    pub second_factors: Vec<SecondFactorTable>,
    /// Is a password that looks as if only its hash had been made stronger taken for the one before?
    pub danger_keep_at_password_upgrade: bool,
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

/// `directory.username_case`: what the service's `get_by_natural_key` makes of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsernameCase {
    /// Nothing (Django's own).
    Exact,
    /// It is asked for with `iexact`.
    Fold,
    /// It is made lower case.
    Lower,
}

/// A condition that a row must meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Of which column.
    pub column: String,
    /// What must be in it.
    pub holds: Holds,
}

/// What must be in a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// NULL.
    Null,
    /// Anything else.
    NotNull,
    /// This value.
    Equal(Constant),
}

/// A value of a column, by the type that the column has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constant {
    /// A boolean.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
}

/// `[[directory.second_factor]]`: a table with a row for each device of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondFactorTable {
    /// Its name.
    pub table: String,
    /// Its column that says whose the device is.
    pub user_column: String,
    /// What that column has of the user.
    pub user_key: UserKeyColumn,
    /// What a row must have to count, like being confirmed.
    pub conditions: Vec<Condition>,
}

/// By what another table names a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserKeyColumn {
    /// The primary key.
    Id,
    /// The name.
    Username,
}
