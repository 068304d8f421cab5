//! Reads `[[issuer]] kind = "django-session"`: where the service stores its sessions.

use std::path::PathBuf;
use std::time::Duration;

use super::database::{SERVER_KEYS, database};
use super::raw::{RawTable, Wrong};
use super::units::{DAY, MINUTE};
use super::{Database, DirectorySettings, values};

/// `[[issuer]] kind = "django-session"`: the service's session settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DjangoSessionIssuer {
    /// `SESSION_ENGINE`
    pub engine: SessionEngine,
    /// The file with `SECRET_KEY`.
    pub key_file: PathBuf,
    /// The files with `SECRET_KEY_FALLBACKS`.
    pub fallback_key_files: Vec<PathBuf>,
    /// `AUTHENTICATION_BACKENDS`
    pub backends: Vec<String>,
    /// `SESSION_COOKIE_AGE`
    pub max_age: Duration,
}

/// Where a service's sessions are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEngine {
    /// `db`, and `cached_db`, which writes the same rows.
    Database {
        /// The database with the table.
        database: Database,
        /// The table.
        table: String,
    },
    /// `cache`
    Cache(ServiceCacheSettings),
    /// `signed_cookies`
    SignedCookies,
}

/// A service's cache in Redis, as in its `CACHES`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCacheSettings {
    /// `LOCATION`
    pub address: String,
    /// File with the password; none: the server requires none.
    pub password_file: Option<PathBuf>,
    /// `KEY_PREFIX`
    pub prefix: String,
    /// `VERSION`
    pub version: u32,
}

/// The keys that only a session engine with a cache has.
const CACHE_KEYS: [&str; 4] = ["cache", "cache_password_file", "cache_prefix", "cache_version"];

#[derive(Clone, Copy, PartialEq)]
enum IssuerSessionEngine {
    Database,
    Cache,
    SignedCookies,
}

const ENGINES: [(&str, IssuerSessionEngine); 4] = [
    ("db", IssuerSessionEngine::Database),
    ("cached_db", IssuerSessionEngine::Database),
    ("cache", IssuerSessionEngine::Cache),
    ("signed_cookies", IssuerSessionEngine::SignedCookies),
];

pub(super) fn django_session(
    table: &RawTable<'_>,
    directory: Option<&DirectorySettings>,
) -> DjangoSessionIssuer {
    let engine = table.choice("engine", &ENGINES).unwrap_or(IssuerSessionEngine::Database);
    if engine != IssuerSessionEngine::Cache {
        table.refuse(
            &CACHE_KEYS,
            "this engine reads no cache",
            "it is for engine = \"cache\"; of cached_db the database's row is enough",
        );
    }
    if engine != IssuerSessionEngine::Database {
        let help = "it is for engine = \"db\" and \"cached_db\"";
        table.refuse(&["table", "database"], "this engine has no table", help);
        table.refuse(&SERVER_KEYS, "this engine has no table", help);
    }
    table.require("key_file", "a file (mode 0600) with the service's SECRET_KEY");
    if table.is_empty_list("backends") {
        table.error("backends", Wrong::new("without a backend no session is accepted"));
    }
    DjangoSessionIssuer {
        engine: match engine {
            IssuerSessionEngine::Database => SessionEngine::Database {
                database: service_database(table, directory),
                table: table
                    .text("table", values::identifier)
                    .unwrap_or_else(|| "django_session".into()),
            },
            IssuerSessionEngine::Cache => SessionEngine::Cache(cache(table)),
            IssuerSessionEngine::SignedCookies => SessionEngine::SignedCookies,
        },
        key_file: table.path("key_file").unwrap_or_default(),
        fallback_key_files: table
            .values("fallback_key_files", |text| table.resolve(text))
            .unwrap_or_default(),
        backends: table
            .values("backends", values::filled)
            .unwrap_or_else(|| vec!["django.contrib.auth.backends.ModelBackend".into()]),
        max_age: table.duration("max_age", MINUTE..=3660 * DAY).unwrap_or(14 * DAY),
    }
}

/// Reads the cache. Messages repeat only the scheme of its address, which may hold a password.
pub(super) fn cache(table: &RawTable<'_>) -> ServiceCacheSettings {
    table.require("cache", "like cache = \"redis://127.0.0.1:6379/1\"");
    let address = table.text("cache", |text| {
        let wrong = |message: &str| {
            Err(Wrong::new(message).help("allowed: \"redis://host:port/number\""))
        };
        match text.strip_prefix("redis://") {
            None => wrong("is no address of a Redis"),
            Some(rest) if rest.contains('@') => Err(Wrong::new("holds a password").help(
                "write it into a file that only the gateway's user can read, and the file's name into cache_password_file",
            )),
            Some(rest) if rest.is_empty() || rest.contains(['?', '#']) => wrong("is no address of a Redis"),
            Some(_) => Ok(text.to_owned()),
        }
    });
    ServiceCacheSettings {
        address: address.unwrap_or_default(),
        password_file: table.path("cache_password_file"),
        prefix: table.text("cache_prefix", |text| Ok(text.to_owned())).unwrap_or_default(),
        version: table.number("cache_version", 0..=u32::MAX).unwrap_or(1),
    }
}

/// Returns the issuer's own database, or its directory's.
pub(super) fn service_database(
    table: &RawTable<'_>,
    directory: Option<&DirectorySettings>,
) -> Database {
    let theirs = directory.and_then(DirectorySettings::django);
    let theirs = theirs.map(|django| django.database.clone());
    match theirs {
        Some(theirs) if !table.has("database") => {
            table.refuse(&SERVER_KEYS, "the issuer uses the directory's database", "set it there");
            theirs
        }
        _ => database(table).unwrap_or(Database::Sqlite(std::path::PathBuf::new())),
    }
}
