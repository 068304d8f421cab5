//! The users of a Django service, read from its own database.
//!
//! The database is opened read only and never written: not the last sign-in, not a newer hash. A hash that Django would
//! upgrade at sign-in stays as it is, and so the user's other sessions there stay too.
//!
//! **Which name.** The database finds the row as it would for Django. On SQLite, and on PostgreSQL unless the column says
//! otherwise, the name is then byte for byte what was typed. MySQL's usual collations, and PostgreSQL's `citext`, let
//! other spellings through: Django signs `KIM` in as `kim` there, and so does this directory, under the name that the
//! row has. What such a collation ignores beside case (accents, width, blanks at the end) is another name here: failures
//! are counted by the typed name with its case folded (`auth::lockout`), and spellings must not be worth fresh guesses.
//! Django's own sign-in form normalises what was typed to NFKC first and SimpleJWT does not; this directory does what
//! the table does and normalises nothing.
//!
//! **Which id.** The text of the primary key, as `str(user.pk)` writes it: SQLite and MySQL keep a UUID as 32 hexadecimal
//! digits and Django shows it with hyphens, so 32 such digits become that.
//!
//! **Trouble.** A database that cannot be asked, or is shaped otherwise, is a [`DirectoryError`]. None of it is ever
//! "there is no such user".

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;

use super::{Account, Directory, DirectoryError};
use crate::caller::UserKey;
use crate::config::{Database, DjangoDirectory as Settings};
use crate::django::hashers::{Algorithm, DEFAULT_DUMMY, dummy_like};
use crate::secret::Secret;

mod row;
mod server;
mod sqlite;
mod statements;

use row::Row;
use server::Server;
use sqlite::Sqlite;

/// `kind = "django"`
pub struct DjangoDirectory {
    name: String,
    reader: Box<dyn Reader>,
    hashers: Arc<[Algorithm]>,
    /// The newest usable password that was seen, and its decoy.
    decoy: ArcSwap<(String, Secret)>,
}

/// Reads the user table in one kind of database. What goes wrong is said for the log.
#[async_trait]
trait Reader: Send + Sync {
    async fn look_up(&self, wanted: &Wanted) -> Result<Found, String>;
}

/// Who is looked for.
#[derive(Clone)]
enum Wanted {
    Name(String),
    Id(String),
}

/// What a look-up brings.
#[derive(Default)]
struct Found {
    row: Option<Row>,
    /// Looked up with every name, known and unknown alike: what a check costs now.
    newest_password: Option<String>,
}

impl DjangoDirectory {
    /// Takes the settings. The database need not be there yet: until it is, every look-up is a [`DirectoryError`].
    ///
    /// # Errors
    /// [`DirectoryError`] for a table, column or hasher whose name cannot be.
    pub fn new(name: &str, settings: &Settings) -> Result<Self, DirectoryError> {
        let refused = |reason| DirectoryError { directory: name.to_owned(), reason };
        let hashers = settings
            .hashers
            .iter()
            .map(|hasher| {
                Algorithm::parse(hasher).ok_or_else(|| refused(format!("no hasher {hasher:?}")))
            })
            .collect::<Result<Arc<[_]>, _>>()?;
        let reader: Box<dyn Reader> = match &settings.database {
            Database::Sqlite(path) => Box::new(Sqlite::new(path, settings).map_err(refused)?),
            Database::Server(server) => Box::new(Server::new(server, settings).map_err(refused)?),
        };
        let decoy = ArcSwap::from_pointee((String::new(), Secret::new(DEFAULT_DUMMY)));
        Ok(Self { name: name.to_owned(), reader, hashers, decoy })
    }

    async fn look_up(&self, wanted: Wanted) -> Result<Option<Account>, DirectoryError> {
        let found = self
            .reader
            .look_up(&wanted)
            .await
            .map_err(|reason| DirectoryError { directory: self.name.clone(), reason })?;
        let newest = found.newest_password.unwrap_or_default();
        if !newest.is_empty() && self.decoy.load().0 != newest {
            let decoy = Secret::new(dummy_like(&newest));
            self.decoy.store(Arc::new((newest, decoy)));
        }
        Ok(found.row.map(|row| row.into_account(&self.name)))
    }
}

#[async_trait]
impl Directory for DjangoDirectory {
    fn name(&self) -> &str {
        &self.name
    }

    fn hashers(&self) -> Arc<[Algorithm]> {
        Arc::clone(&self.hashers)
    }

    fn decoy(&self) -> Secret {
        self.decoy.load().1.clone()
    }

    async fn find(&self, name: &str) -> Result<Option<Account>, DirectoryError> {
        self.look_up(Wanted::Name(name.to_owned())).await
    }

    async fn by_id(&self, user: &UserKey) -> Result<Option<Account>, DirectoryError> {
        if *user.directory != *self.name {
            return Ok(None);
        }
        self.look_up(Wanted::Id(user.id.to_string())).await
    }
}

#[cfg(test)]
mod tests;
