//! Reads the identity forms that need the service's database: `django-session` and `drf-token`.

use std::path::PathBuf;
use std::time::Duration;

use super::database::{SERVER_KEYS, database_if_any};
use super::issuer_session::cache;
use super::raw::{RawTable, Wrong};
use super::units::{DAY, HOUR, MINUTE};
use super::{Database, DirectorySettings, ServiceCacheSettings, values};

/// `kind = "django-session"`: a session that the service's own middleware reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DjangoSession {
    /// Where the service stores its sessions.
    pub engine: FormEngine,
    /// The file with `SECRET_KEY`.
    pub key_file: PathBuf,
    /// `SESSION_COOKIE_NAME`
    pub cookie: String,
    /// The one of `AUTHENTICATION_BACKENDS` that the session names.
    pub backend: String,
    /// How long a session is valid before it is renewed.
    pub lifetime: Duration,
    /// Where the time of a sign-in is written for the user, as the service's own sign-in does.
    pub last_login: Option<LastLogin>,
}

impl DjangoSession {
    /// Returns Django's own defaults.
    pub fn new(engine: FormEngine, key_file: PathBuf) -> Self {
        Self {
            engine,
            key_file,
            cookie: "sessionid".into(),
            backend: "django.contrib.auth.backends.ModelBackend".into(),
            lifetime: Duration::from_secs(3600),
            last_login: None,
        }
    }
}

/// `SESSION_ENGINE`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormEngine {
    /// `db`, and `cached_db`, of which the service reads the copy in the cache first.
    Rows {
        /// The database.
        database: Database,
        /// `django_session`
        table: String,
        /// The cache with copies of the rows.
        cache: Option<ServiceCacheSettings>,
    },
    /// `cache`
    Cache(ServiceCacheSettings),
    /// `signed_cookies`
    SignedCookies {
        /// `SESSION_COOKIE_AGE`
        max_age: Duration,
    },
}

impl FormEngine {
    /// Returns `db`, with Django's own table.
    pub fn rows(database: Database) -> Self {
        Self::Rows { database, table: "django_session".into(), cache: None }
    }
}

/// The location of `last_login`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastLogin {
    /// The database.
    pub database: Database,
    /// The user table.
    pub table: String,
    /// The column with a user's id.
    pub id: String,
}

/// `kind = "drf-token"`: the user's own token, from the service's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrfToken {
    /// The directory's database.
    pub database: Database,
    /// `authtoken_token`
    pub table: String,
    /// The header with the token.
    pub header: String,
    /// `TokenAuthentication.keyword`
    pub scheme: String,
    /// How long a token is cached after it was read.
    pub cache_for: Duration,
    /// What happens to a user without a token.
    pub missing: MissingToken,
}

impl DrfToken {
    /// Returns Django REST framework's own defaults.
    pub fn new(database: Database) -> Self {
        Self {
            database,
            table: "authtoken_token".into(),
            header: "Authorization".into(),
            scheme: "Token".into(),
            cache_for: Duration::from_secs(60),
            missing: MissingToken::Refuse,
        }
    }
}

/// What happens to a request whose caller has no token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum MissingToken {
    /// The request is refused.
    #[default]
    Refuse,
    /// The request is forwarded without a token.
    None,
}

#[derive(Clone, Copy, PartialEq)]
enum FormSessionEngine {
    Db,
    CachedDb,
    Cache,
    SignedCookies,
}

/// Keys that have a meaning only with `cache`.
const BESIDE: [&str; 3] = ["cache_password_file", "cache_prefix", "cache_version"];

const ENGINES: [(&str, FormSessionEngine); 4] = [
    ("db", FormSessionEngine::Db),
    ("cached_db", FormSessionEngine::CachedDb),
    ("cache", FormSessionEngine::Cache),
    ("signed_cookies", FormSessionEngine::SignedCookies),
];

const MISSING: [(&str, MissingToken); 2] =
    [("refuse", MissingToken::Refuse), ("none", MissingToken::None)];

pub(super) fn django_session(
    table: &RawTable<'_>,
    directory: Option<&DirectorySettings>,
) -> DjangoSession {
    table.require("key_file", "the file that holds the service's SECRET_KEY");
    let engine = table.choice("engine", &ENGINES).unwrap_or(FormSessionEngine::Db);
    let last_login = table.flag("last_login").unwrap_or(false);
    let has_rows = matches!(engine, FormSessionEngine::Db | FormSessionEngine::CachedDb);
    if !has_rows {
        table.refuse(
            &["session_table"],
            "this engine has no table",
            "it is for \"db\" and \"cached_db\"",
        );
    }
    if engine != FormSessionEngine::SignedCookies {
        table.refuse(&["max_age"], "the cookie is not the session", "it is for \"signed_cookies\"");
    }
    let users = directory.and_then(DirectorySettings::django);
    let database = if has_rows || last_login {
        database_if_any(table).or_else(|| users.map(|users| users.database.clone()))
    } else {
        let why = "this engine has no database";
        table.refuse(&["database"], why, "it is for \"db\" and \"cached_db\"");
        table.refuse(&SERVER_KEYS, why, "it is for \"db\" and \"cached_db\"");
        None
    };
    if database.is_none() && has_rows && !table.has("database") {
        table.require("database", "like database = \"sqlite:///srv/app/db.sqlite3\"");
    }
    // The stand-in for a wrong database is never used: the error ends the reading.
    let or_none = |database: Option<Database>| {
        database.unwrap_or_else(|| Database::Sqlite(Default::default()))
    };
    let last_login = match users {
        _ if !last_login => None,
        Some(users) => Some(LastLogin {
            database: or_none(database.clone()),
            table: users.user_table.clone(),
            id: users.columns.id.clone(),
        }),
        None => {
            table.error(
                "last_login",
                Wrong::new("the form's directory has no table of users")
                    .help("it must be of kind = \"django\""),
            );
            None
        }
    };
    let rows = |cache| FormEngine::Rows {
        database: or_none(database.clone()),
        table: table
            .text("session_table", values::identifier)
            .unwrap_or_else(|| "django_session".into()),
        cache,
    };
    let engine = match engine {
        FormSessionEngine::Db => {
            no_cache(table);
            rows(None)
        }
        FormSessionEngine::CachedDb => {
            let cache = table.has("cache").then(|| cache(table));
            if cache.is_none() {
                table.refuse(&BESIDE, "there is no cache", "it is for cache = \"redis://...\"");
                table.pass_over(&["cache"]);
                table.warn(
                    "engine",
                    Wrong::new("the service goes on reading an ended session in its cache")
                        .help("write cache = \"redis://...\", so that it is taken out there too"),
                );
            }
            rows(cache)
        }
        FormSessionEngine::Cache => FormEngine::Cache(cache(table)),
        FormSessionEngine::SignedCookies => {
            no_cache(table);
            let allowed = MINUTE..=400 * DAY;
            let max_age = table.duration("max_age", allowed).unwrap_or(14 * DAY);
            FormEngine::SignedCookies { max_age }
        }
    };
    let default = DjangoSession::new(engine, table.path("key_file").unwrap_or_default());
    DjangoSession {
        cookie: table.text("cookie", values::cookie).unwrap_or(default.cookie),
        backend: table.text("backend", values::name).unwrap_or(default.backend),
        lifetime: table.duration("lifetime", MINUTE..=14 * DAY).unwrap_or(default.lifetime),
        last_login,
        engine: default.engine,
        key_file: default.key_file,
    }
}

fn no_cache(table: &RawTable<'_>) {
    for keys in [&["cache"][..], &BESIDE] {
        table.refuse(keys, "this engine has no cache", "it is for \"cached_db\" and \"cache\"");
    }
}

pub(super) fn drf_token(table: &RawTable<'_>, directory: Option<&DirectorySettings>) -> DrfToken {
    let users = directory.and_then(DirectorySettings::django);
    if directory.is_some() && users.is_none() {
        table.error(
            "directory",
            Wrong::new("has no tokens of Django REST framework")
                .help("it must be of kind = \"django\""),
        );
    }
    let database = users.map(|users| users.database.clone());
    let default = DrfToken::new(database.unwrap_or_else(|| Database::Sqlite(Default::default())));
    DrfToken {
        table: table.text("table", values::identifier).unwrap_or(default.table),
        header: table.text("header", values::token_header).unwrap_or(default.header),
        scheme: table.text("scheme", values::scheme).unwrap_or(default.scheme),
        cache_for: table.duration("cache_for", MINUTE / 60..=HOUR).unwrap_or(default.cache_for),
        missing: table.choice("missing", &MISSING).unwrap_or(default.missing),
        database: default.database,
    }
}
