//! Reads `[[directory]]`: where the users are; each kind has its own keys.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::condition::conditions;
use super::database::{SERVER_KEYS, database};
use super::http_directory::{HTTP_KEYS, http};
use super::raw::{RawTable, Wrong};
use super::service_factors::second_factor;
use super::units::{HOUR, secs};
use super::{Condition, Database, HttpDirectorySettings, SecondFactorTable, TakenOver, values};
use crate::django::hashers;

/// `[[directory]]`
#[derive(Clone, Debug, PartialEq)]
pub struct DirectorySettings {
    /// The name, which is the first half of a user's key; the kind, unless given.
    pub name: String,
    /// How often the users of live sessions are looked up again.
    pub refresh_interval: Duration,
    /// The field with a user's name in the service's sign-in forms (`USERNAME_FIELD`).
    pub username_field: String,
    /// At a reload: the users are the same as before, with the same ids, whatever else has changed about where they are.
    pub danger_same_users: bool,
    /// The kind, with the settings that only it has.
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
    Django(Box<DjangoDirectorySettings>),
    /// `kind = "http"`
    Http(Box<HttpDirectorySettings>),
}

/// `[[directory]] kind = "django"`: the service's own user table, read only.
#[derive(Clone, Debug, PartialEq)]
pub struct DjangoDirectorySettings {
    /// The database with the tables.
    pub database: Database,
    /// `auth_user`, or a custom user model's table.
    pub user_table: String,
    /// The columns of the user table.
    pub columns: DjangoColumns,
    /// The tables of groups (`auth_group`) and of memberships (`auth_user_groups`); none: no groups.
    pub groups: Option<DjangoGroups>,
    /// The spellings of a name that mean the same user as the one in the row.
    pub username_case: UsernameCase,
    /// The further conditions on a row (`directory.condition`), which the service's own manager adds. A user whose row does not
    /// meet them does not exist for the gateway.
    pub conditions: Vec<Condition>,
    /// Tables with the service's second factors that the gateway does not check (`directory.second_factor`).
    pub second_factors: Vec<SecondFactorTable>,
    /// The service's second factors that the gateway checks (`take_over = true`).
    pub taken_over: Vec<TakenOver>,
    /// Whether a password counts as unchanged if only its hash appears to have been upgraded.
    pub danger_keep_at_password_upgrade: bool,
    /// The hashers whose passwords are accepted: the names of [`crate::django::hashers::PasswordHasher`].
    pub hashers: Vec<String>,
}

/// `directory.columns.*`: the user table's column names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DjangoColumns {
    /// Primary key.
    pub id: String,
    /// The name that a user signs in with (`username`, or `email` in many custom models).
    pub username: String,
    /// The encoded password.
    pub password: String,
    /// `is_active`; empty: every user is active.
    pub is_active: String,
    /// `is_staff`; empty: no user is staff.
    pub is_staff: String,
    /// `is_superuser`; empty: no user is a superuser.
    pub is_superuser: String,
    /// `email`; empty: no user has an address.
    pub email: String,
}

/// `directory.groups.*`: the tables in which Django stores groups.
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

/// `directory.username_case`: how the service's `get_by_natural_key` looks up a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsernameCase {
    /// As it is (Django's own).
    Exact,
    /// With `iexact`.
    Fold,
    /// In lower case.
    Lower,
}

/// `directory.refresh_interval`: how long a change in the directory may go unnoticed.
pub(super) const RECHECK: Duration = secs(60);

impl DirectorySettings {
    /// Returns the file of users, if the directory is of `kind = "file"`.
    pub fn users_file(&self) -> Option<&Path> {
        let DirectoryKind::File { path } = &self.kind else { return None };
        Some(path)
    }

    /// Returns the settings of `kind = "django"`.
    pub fn django(&self) -> Option<&DjangoDirectorySettings> {
        let DirectoryKind::Django(django) = &self.kind else { return None };
        Some(django)
    }

    /// Returns the settings of `kind = "http"`.
    pub fn http(&self) -> Option<&HttpDirectorySettings> {
        let DirectoryKind::Http(http) = &self.kind else { return None };
        Some(http)
    }

    /// Whether users can be looked up. A directory that a service answers for learns of a user, and of an address, at a sign-in.
    pub const fn finds_users(&self) -> bool {
        match &self.kind {
            DirectoryKind::File { .. } | DirectoryKind::Django(_) => true,
            DirectoryKind::Http(_) => false,
        }
    }

    /// Returns where the users are; two directories with the same place have the same users.
    pub fn place_of_users(&self) -> String {
        match &self.kind {
            DirectoryKind::File { path } => format!("{}", path.display()),
            DirectoryKind::Http(http) => http.url.to_string(),
            DirectoryKind::Django(django) => {
                format!("{:?} {} {:?}", django.database, django.user_table, django.columns.id)
            }
        }
    }

    /// Whether the gateway checks second factors that the service stores for these users.
    pub fn takes_over_factors(&self) -> bool {
        self.django().is_some_and(|django| !django.taken_over.is_empty())
    }
}

impl DjangoDirectorySettings {
    /// Returns the settings of Django's own tables in this database.
    pub fn new(database: Database) -> Self {
        Self {
            database,
            user_table: "auth_user".into(),
            columns: DjangoColumns::default(),
            groups: Some(DjangoGroups::of("auth_user")),
            username_case: UsernameCase::Exact,
            conditions: Vec::new(),
            second_factors: Vec::new(),
            taken_over: Vec::new(),
            danger_keep_at_password_upgrade: false,
            hashers: hashers::PasswordHasher::DEFAULT
                .iter()
                .map(|one| one.name().to_owned())
                .collect(),
        }
    }
}

impl Default for DjangoColumns {
    fn default() -> Self {
        Self {
            id: "id".into(),
            username: "username".into(),
            password: "password".into(),
            is_active: "is_active".into(),
            is_staff: "is_staff".into(),
            is_superuser: "is_superuser".into(),
            email: "email".into(),
        }
    }
}

impl DjangoGroups {
    /// Returns where Django stores the groups of this user table: the membership table is named after it, and its column after
    /// the model, which is what follows the app's label in a table's name.
    pub fn of(user_table: &str) -> Self {
        let bare = user_table.trim_matches(['"', '`']);
        let model = bare.rsplit_once('_').map_or("user", |(_, model)| model);
        Self {
            group_table: "auth_group".into(),
            membership_table: format!("{bare}_groups"),
            user_column: format!("{model}_id"),
            group_column: "group_id".into(),
        }
    }
}

/// The field with a user's name in a sign-in, unless it is configured otherwise.
pub(super) const USERNAME: &str = "username";

#[derive(Clone, Copy)]
enum DirectoryKindKey {
    File,
    Django,
    Http,
}

const KINDS: [(&str, DirectoryKindKey); 3] = [
    ("file", DirectoryKindKey::File),
    ("django", DirectoryKindKey::Django),
    ("http", DirectoryKindKey::Http),
];

const FILE_KEYS: [&str; 1] = ["path"];

const DJANGO_KEYS: [&str; 9] = [
    "danger_keep_at_password_upgrade",
    "database",
    "user_table",
    "columns",
    "groups",
    "username_case",
    "condition",
    "second_factor",
    "hashers",
];

pub(super) fn directories(root: &RawTable<'_>) -> Vec<DirectorySettings> {
    let mut names: Vec<String> = Vec::new();
    let all = root.tables("directory", |table| {
        let directory = directory(table);
        if let Some(directory) = &directory {
            if names.contains(&directory.name) {
                let key = if table.has("name") { "name" } else { "kind" };
                table.error(
                    key,
                    Wrong::new(format!("{:?} is another directory's name", directory.name))
                        .help("give each directory of the same kind its own name"),
                );
            }
            names.push(directory.name.clone());
        }
        directory
    });
    warn_of_unasked(root, all.iter().flatten());
    if !root.has("directory") || root.is_empty_list("directory") {
        root.warn(
            "directory",
            Wrong::new("there is no directory, so nobody can sign in")
                .help("for example: [[directory]] kind = \"file\" path = \"users.toml\""),
        );
    }
    all.into_iter().flatten().collect()
}

/// Warns of directories that are never asked: one that checks passwords itself accepts every name, so it ends the search.
fn warn_of_unasked<'d>(root: &RawTable<'_>, mut all: impl Iterator<Item = &'d DirectorySettings>) {
    let Some(http) = all.find(|one| matches!(one.kind, DirectoryKind::Http(_))) else { return };
    for unasked in all {
        root.warn(
            "directory",
            Wrong::new(format!("{:?} is never asked", unasked.name))
                .help(format!("{:?} answers for every name: put it last", http.name)),
        );
    }
}

fn directory(table: &RawTable<'_>) -> Option<DirectorySettings> {
    table.require("kind", "allowed: \"file\", \"django\", \"http\"");
    let kind = table.choice("kind", &KINDS);
    let name = table.text("name", values::name);
    let danger_same_users = table.flag("danger_same_users").unwrap_or(false);
    let refresh_interval = table.duration("refresh_interval", secs(1)..=HOUR).unwrap_or(RECHECK);
    // A directory of kind = "http" has a key of the same name for the application's form.
    let username_field = match kind {
        Some(DirectoryKindKey::File | DirectoryKindKey::Django) => {
            table.text("username_field", values::field)
        }
        Some(DirectoryKindKey::Http) | None => None,
    };
    let username_field = username_field.unwrap_or_else(|| USERNAME.to_owned());
    let Some(kind) = kind else {
        // Without a kind, it is not known which keys the table may have.
        table.pass_over(&FILE_KEYS);
        table.pass_over(&DJANGO_KEYS);
        table.pass_over(&SERVER_KEYS);
        table.pass_over(&HTTP_KEYS);
        return None;
    };
    if !matches!(kind, DirectoryKindKey::Http) {
        let others: Vec<_> = HTTP_KEYS.into_iter().filter(|key| *key != "username_field").collect();
        table.refuse(
            &others,
            "this kind of directory has no such key",
            "it is for kind = \"http\"",
        );
    }
    let (word, kind) = match kind {
        DirectoryKindKey::Http => {
            for keys in [&FILE_KEYS[..], &DJANGO_KEYS[..], &SERVER_KEYS[..]] {
                table.refuse(
                    keys,
                    "an http directory has no such key",
                    "it asks the application itself, at url",
                );
            }
            if table.has("refresh_interval") {
                table.error(
                    "refresh_interval",
                    Wrong::new("an http directory cannot look anybody up again")
                        .help("it learns of a user when they sign in"),
                );
            }
            ("http", DirectoryKind::Http(Box::new(http(table))))
        }
        DirectoryKindKey::File => {
            for keys in [&DJANGO_KEYS[..], &SERVER_KEYS[..]] {
                table.refuse(
                    keys,
                    "a file directory has no such key",
                    "it is for kind = \"django\"",
                );
            }
            table.require("path", "the users' file, like path = \"users.toml\"");
            ("file", DirectoryKind::File { path: table.path("path").unwrap_or_default() })
        }
        DirectoryKindKey::Django => {
            table.refuse(
                &FILE_KEYS,
                "a django directory has no such key",
                "it is for kind = \"file\"; for Django write database = \"sqlite:///...\"",
            );
            ("django", DirectoryKind::Django(Box::new(django(table))))
        }
    };
    let name = name.unwrap_or_else(|| word.to_owned());
    Some(DirectorySettings { name, refresh_interval, username_field, danger_same_users, kind })
}

fn django(table: &RawTable<'_>) -> DjangoDirectorySettings {
    // The stand-in for a wrong database is never used: the error ends the reading.
    let database = database(table).unwrap_or_else(|| Database::Sqlite(Default::default()));
    let default = DjangoDirectorySettings::new(database);
    let user_table = table.text("user_table", values::table).unwrap_or(default.user_table);
    let mut second_factors = Vec::new();
    let mut taken_over = Vec::new();
    for block in table.tables("second_factor", second_factor) {
        second_factors.extend(block.tables);
        taken_over.extend(block.taken_over);
    }
    DjangoDirectorySettings {
        columns: table.table("columns", columns),
        groups: if table.is_off("groups", "a table") {
            None
        } else {
            Some(table.table("groups", |table| groups(table, &user_table)))
        },
        user_table,
        username_case: table
            .choice("username_case", &USERNAME_CASES)
            .unwrap_or(default.username_case),
        conditions: conditions(table),
        second_factors,
        taken_over,
        danger_keep_at_password_upgrade: table
            .flag("danger_keep_at_password_upgrade")
            .unwrap_or_default(),
        hashers: hasher_names(table).unwrap_or(default.hashers),
        database: default.database,
    }
}

fn columns(table: &RawTable<'_>) -> DjangoColumns {
    let default = DjangoColumns::default();
    DjangoColumns {
        id: table.text("id", values::identifier).unwrap_or(default.id),
        username: table.text("username", values::identifier).unwrap_or(default.username),
        password: table.text("password", values::identifier).unwrap_or(default.password),
        is_active: table
            .text("is_active", values::optional_identifier)
            .unwrap_or(default.is_active),
        is_staff: table.text("is_staff", values::optional_identifier).unwrap_or(default.is_staff),
        is_superuser: table
            .text("is_superuser", values::optional_identifier)
            .unwrap_or(default.is_superuser),
        email: table.text("email", values::optional_identifier).unwrap_or(default.email),
    }
}

fn groups(table: &RawTable<'_>, user_table: &str) -> DjangoGroups {
    let default = DjangoGroups::of(user_table);
    let read = |key, default| table.text(key, values::identifier).unwrap_or(default);
    let name = |key, default| table.text(key, values::table).unwrap_or(default);
    DjangoGroups {
        group_table: name("group_table", default.group_table),
        membership_table: name("membership_table", default.membership_table),
        user_column: read("user_column", default.user_column),
        group_column: read("group_column", default.group_column),
    }
}

pub(super) const USERNAME_CASES: [(&str, UsernameCase); 3] =
    [("exact", UsernameCase::Exact), ("fold", UsernameCase::Fold), ("lower", UsernameCase::Lower)];

fn hasher_names(table: &RawTable<'_>) -> Option<Vec<String>> {
    let all: Vec<&str> = hashers::PasswordHasher::ALL.iter().map(|one| one.name()).collect();
    let names = table.list("hashers", |text| {
        hashers::PasswordHasher::parse(text)
            .map(|one| one.name().to_owned())
            .ok_or_else(|| Wrong::choice(text, &all))
    })?;
    let weak: Vec<&str> =
        names.iter().map(|item| item.value.as_str()).filter(|name| WEAK.contains(name)).collect();
    if !weak.is_empty() {
        table.warn(
            "hashers",
            Wrong::new(format!("{} can be guessed by the billion", weak.join(", ")))
                .help("a stolen database reveals these passwords; have Django upgrade them"),
        );
    }
    if table.is_empty_list("hashers") {
        table.error("hashers", Wrong::new("without a hasher nobody can sign in"));
    }
    Some(names.into_iter().map(|item| item.value).collect())
}

const WEAK: [&str; 4] = ["md5", "sha1", "unsalted_md5", "unsalted_sha1"];
