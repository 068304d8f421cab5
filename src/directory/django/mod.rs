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
use crate::config::DjangoDirectory as Settings;
use crate::directory::database::{Dialect, ServiceDatabase, Statement};
use crate::django::hashers::{Algorithm, DEFAULT_DUMMY, dummy_like};
use crate::secret::Secret;

mod row;
mod statements;

use row::{Row, only, same_but_for_case};
use statements::{Statements, row};

/// `kind = "django"`
pub struct DjangoDirectory {
    name: String,
    database: Arc<ServiceDatabase>,
    statements: Statements,
    hashers: Arc<[Algorithm]>,
    /// The newest usable password that was seen, and its decoy.
    decoy: ArcSwap<(String, Secret)>,
}

impl DjangoDirectory {
    /// Takes the settings, and the database that they name. It need not be there yet: until it is, every look-up is a
    /// [`DirectoryError`].
    ///
    /// # Errors
    /// [`DirectoryError`] for a table, column or hasher whose name cannot be.
    pub fn new(
        name: &str,
        settings: &Settings,
        database: Arc<ServiceDatabase>,
    ) -> Result<Self, DirectoryError> {
        let refused = |reason| DirectoryError { directory: name.to_owned(), reason };
        let hashers = settings
            .hashers
            .iter()
            .map(|hasher| {
                Algorithm::parse(hasher).ok_or_else(|| refused(format!("no hasher {hasher:?}")))
            })
            .collect::<Result<Arc<[_]>, _>>()?;
        let statements = Statements::new(database.dialect(), settings).map_err(refused)?;
        let decoy = ArcSwap::from_pointee((String::new(), Secret::new(DEFAULT_DUMMY)));
        Ok(Self { name: name.to_owned(), database, statements, hashers, decoy })
    }

    /// The rows of the last of these statements, and what the first column of the others' first rows says.
    async fn ask(
        &self,
        statements: Vec<Statement>,
    ) -> Result<(Vec<Row>, Option<String>), DirectoryError> {
        let answers = self.database.ask(statements).await.map_err(|error| self.failed(error))?;
        let mut answers = answers.into_iter().rev();
        let rows = answers.next().unwrap_or_default().into_iter().map(row);
        let rows = rows.collect::<Result<_, _>>().map_err(|reason| self.failed(reason))?;
        Ok((rows, answers.flatten().next().and_then(|mut texts| texts.pop().flatten())))
    }

    fn failed(&self, reason: impl Into<String>) -> DirectoryError {
        DirectoryError { directory: self.name.clone(), reason: reason.into() }
    }

    /// The one row that is `the_one`.
    fn only(
        &self,
        rows: Vec<Row>,
        the_one: impl Fn(&Row) -> bool,
    ) -> Result<Option<Account>, DirectoryError> {
        let row = only(rows.into_iter().filter(the_one)).map_err(|reason| self.failed(reason))?;
        Ok(row.map(|row| row.into_account(&self.name)))
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
        // Looked up with every name, known and unknown alike: what a check costs now.
        let statements = vec![self.statements.newest_password(), self.statements.by_name(name)];
        let (rows, newest) = self.ask(statements).await?;
        let newest = newest.unwrap_or_default();
        if !newest.is_empty() && self.decoy.load().0 != newest {
            let decoy = Secret::new(dummy_like(&newest));
            self.decoy.store(Arc::new((newest, decoy)));
        }
        self.only(rows, |row| match self.database.dialect() {
            Dialect::Sqlite => row.name == name,
            Dialect::Postgres | Dialect::MySql => same_but_for_case(&row.name, name),
        })
    }

    async fn by_id(&self, user: &UserKey) -> Result<Option<Account>, DirectoryError> {
        if *user.directory != *self.name {
            return Ok(None);
        }
        let (rows, _) = self.ask(vec![self.statements.by_id(&user.id)]).await?;
        // What the database's own idea of equality lets through ("07" for 7) is somebody else.
        self.only(rows, |row| *row.id == *user.id)
    }
}

#[cfg(test)]
mod tests;
