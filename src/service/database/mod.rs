//! Reads and writes the database of a service, for all parts of the gateway.
//!
//! The users, sessions, tokens and blacklists of one service are in one database. Each part of the gateway writes its own SQL
//! for the [`Dialect`] and all of them share the connections ([`Databases`]), so that a database with a small connection
//! limit does not have to serve that many for each part.
//!
//! **Texts.** Every parameter is a text and every column is read as a text, or as `None` for NULL, so `bigint`, `uuid`,
//! `boolean` and `tinyint(1)` need no types here. Statements cast for that ([`Dialect::as_text`]). SQLite's numbers are
//! converted to texts on this side; a value there that is neither number nor text is an error.
//!
//! **Reading and writing are separate.** A database that is opened with [`DatabaseAccess::Read`] cannot be written, and the
//! database enforces that itself: a SQLite file is opened read-only, and so is a connection to a server.
//!
//! **An error** is a text for the log, and is never reported as a missing row. A value that a column cannot hold (a name
//! asked of a number) is not an error: no row has it.

use std::fs::File;
use std::sync::Arc;

use parking_lot::Mutex;

use self::server::ServerDatabase;
use self::sqlite::Sqlite;
use crate::config::{Database, Engine};
use crate::private_file;

pub mod dates;
mod needs;
mod server;
mod sqlite;

pub use self::needs::RequiredColumns;

/// One row, with a text for each column.
pub type QueryTexts = Vec<Option<String>>;

/// One database of a service.
pub struct ServiceDatabase {
    settings: Database,
    access: DatabaseAccess,
    dialect: Dialect,
    kind: DatabaseKind,
}

enum DatabaseKind {
    Sqlite(Sqlite),
    Server(Box<ServerDatabase>),
}

/// Whether a database is opened for reading or also for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseAccess {
    /// Read-only.
    Read,
    /// Read and write.
    Write,
}

/// The SQL dialect of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite
    Sqlite,
    /// PostgreSQL
    Postgres,
    /// MySQL, MariaDB
    MySql,
}

/// A statement and the values of its placeholders.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The SQL. Names in it are quoted ([`Dialect::quoted`]); values are parameters.
    pub sql: Arc<str>,
    /// The values, in the order of the placeholders.
    pub parameters: Vec<String>,
}

/// All open databases, so that parts with the same settings share one.
#[derive(Default)]
pub struct Databases(Mutex<Vec<Arc<ServiceDatabase>>>);

impl Databases {
    /// Returns the database of these settings. It need not exist yet: until it does, every query is an error.
    pub fn open(&self, settings: &Database, access: DatabaseAccess) -> Arc<ServiceDatabase> {
        let mut all = self.0.lock();
        let same =
            |open: &&Arc<ServiceDatabase>| open.access == access && open.settings == *settings;
        if let Some(open) = all.iter().find(same) {
            return Arc::clone(open);
        }
        let new = Arc::new(ServiceDatabase::new(settings, access));
        all.push(Arc::clone(&new));
        new
    }

    /// Lists what is wrong with the open databases, as far as it can be detected without a query.
    pub fn trouble(&self) -> Vec<String> {
        let all = self.0.lock();
        let mut trouble: Vec<String> =
            all.iter().filter_map(|database| trouble(&database.settings)).collect();
        trouble.dedup();
        trouble
    }
}

fn trouble(settings: &Database) -> Option<String> {
    match settings {
        Database::Sqlite(path) => {
            let at = path.display();
            match File::open(path) {
                Ok(file) if file.metadata().is_ok_and(|metadata| metadata.is_file()) => None,
                Ok(_) => Some(format!("the database {at} is not a file")),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(format!(
                    "the database {at} is not there (\"sqlite:///a/b\" is the absolute path /a/b; \"sqlite://a/b\" is relative \
                     to the configuration's folder)"
                )),
                Err(error) => Some(format!("the database {at}: {error}")),
            }
        }
        Database::Server(server) => {
            let password = server.password_file.as_deref();
            let trouble = password.and_then(|file| private_file::read(file).err());
            let authorities = || {
                let file = server.ca_file.as_deref()?;
                File::open(file).err().map(|error| format!("{}: {error}", file.display()))
            };
            trouble.map(|error| error.to_string()).or_else(authorities)
        }
    }
}

impl ServiceDatabase {
    fn new(settings: &Database, access: DatabaseAccess) -> Self {
        let (dialect, kind) = match settings {
            Database::Sqlite(path) => {
                (Dialect::Sqlite, DatabaseKind::Sqlite(Sqlite::new(path, access)))
            }
            Database::Server(server) => {
                let dialect = match server.engine {
                    Engine::Postgres => Dialect::Postgres,
                    Engine::MySql => Dialect::MySql,
                };
                (dialect, DatabaseKind::Server(Box::new(ServerDatabase::new(server, access))))
            }
        };
        Self { settings: settings.clone(), access, dialect, kind }
    }

    /// Returns the SQL dialect of the database.
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Returns the quoted name of one of the database's tables.
    ///
    /// # Errors
    /// No table can have this name.
    pub fn table(&self, name: &str) -> Result<String, String> {
        self.dialect.table(self.schema(), name)
    }

    /// Returns the schema and the name of one of the database's tables, for queries about the table itself.
    pub fn place_of(&self, name: &str) -> (Option<String>, String) {
        let parts = self.dialect.parts(name);
        match &parts[..] {
            [.., schema, table] => (Some((*schema).to_owned()), (*table).to_owned()),
            _ => (self.schema().map(str::to_owned), name.to_owned()),
        }
    }

    fn schema(&self) -> Option<&str> {
        match &self.settings {
            Database::Sqlite(_) => None,
            Database::Server(server) => server.schema.as_deref(),
        }
    }

    /// Runs several queries on one connection. Returns the rows of each.
    ///
    /// # Errors
    /// A description of the failure, for the log.
    pub async fn ask(&self, statements: Vec<Statement>) -> Result<Vec<Vec<QueryTexts>>, String> {
        match &self.kind {
            DatabaseKind::Sqlite(file) => file.ask(statements).await,
            DatabaseKind::Server(server) => server.ask(statements).await,
        }
    }

    /// Runs a statement that changes rows. Returns how many rows were affected. The statement must be idempotent: it is run
    /// again when a connection broke before its answer came.
    ///
    /// # Errors
    /// A description of the failure, for the log.
    pub async fn change(&self, statement: Statement) -> Result<u64, String> {
        match (&self.kind, self.access) {
            (_, DatabaseAccess::Read) => Err("it was opened for reading".into()),
            (DatabaseKind::Sqlite(file), DatabaseAccess::Write) => file.change(statement).await,
            (DatabaseKind::Server(server), DatabaseAccess::Write) => server.change(statement).await,
        }
    }

    /// Whether the gateway has the right to make such a change. The statement must be one that never affects a row; databases
    /// check the rights before they search for rows.
    ///
    /// # Errors
    /// Why the database cannot be asked, for the log.
    pub async fn may_change(&self, statement: Statement) -> Result<bool, String> {
        match (&self.kind, self.access) {
            (_, DatabaseAccess::Read) => Ok(false),
            (DatabaseKind::Sqlite(file), DatabaseAccess::Write) => file.may_change(statement).await,
            (DatabaseKind::Server(server), DatabaseAccess::Write) => {
                server.may_change(statement).await
            }
        }
    }
}

impl Dialect {
    /// Quotes a name from the configuration for this dialect.
    ///
    /// # Errors
    /// No table or column can have this name.
    pub fn quoted(self, name: &str) -> Result<String, String> {
        if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
            return Err(format!("no table or column is called {name:?}"));
        }
        let quote = self.quote();
        Ok(format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}"))))
    }

    /// Returns a table's quoted name, with the schema if there is one. A name that includes a schema itself (with quotes in
    /// it as Django's users write it: `app"."users`, or with quotes around all of it) keeps that schema.
    ///
    /// # Errors
    /// No table or column can have this name.
    fn table(self, schema: Option<&str>, name: &str) -> Result<String, String> {
        let mut parts = self.parts(name);
        if let ([_], Some(schema)) = (&parts[..], schema) {
            parts.insert(0, schema);
        }
        let quoted = parts.into_iter().map(|part| self.quoted(part));
        Ok(quoted.collect::<Result<Vec<_>, _>>()?.join("."))
    }

    /// Splits a name that includes its schema into the parts between the quotes; any other name is one part.
    fn parts(self, name: &str) -> Vec<&str> {
        let quote = self.quote();
        let between = format!("{quote}.{quote}");
        if !name.contains(&between) {
            return vec![name];
        }
        let bare = name.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        bare.unwrap_or(name).split(&between).collect()
    }

    const fn quote(self) -> char {
        match self {
            Self::Sqlite | Self::Postgres => '"',
            Self::MySql => '`',
        }
    }

    /// Returns the placeholder of the parameter at this place, from 1. MySQL's has no place: the order in the text counts.
    pub fn placeholder(self, place: usize) -> String {
        match self {
            Self::Sqlite => format!("?{place}"),
            Self::Postgres => format!("${place}"),
            Self::MySql => "?".to_owned(),
        }
    }

    /// Returns the placeholder of the parameter at this place, cast to an integer.
    pub fn number(self, place: usize) -> String {
        let placeholder = self.placeholder(place);
        match self {
            Self::Sqlite => format!("CAST({placeholder} AS INTEGER)"),
            Self::Postgres => format!("CAST(CAST({placeholder} AS text) AS bigint)"),
            Self::MySql => format!("CAST({placeholder} AS SIGNED)"),
        }
    }

    /// Returns SQL that casts a value to text.
    pub fn as_text(self, value: &str) -> String {
        match self {
            Self::Sqlite => value.to_owned(),
            Self::Postgres => format!("CAST({value} AS text)"),
            Self::MySql => format!("CAST({value} AS CHAR)"),
        }
    }

    /// Returns the condition to put after a column's name to find the rows of a (quoted) table by a key of any type. Its
    /// parameters are [`Self::key_parameters`], of which the first has this place.
    ///
    /// The key must have the column's type, or no index is used. PostgreSQL converts the text by putting it into a record of
    /// the table; the others convert a constant by themselves. They store a UUID without hyphens.
    ///
    /// # Errors
    /// No table or column can have this name.
    pub fn is_key(self, table: &str, column: &str, place: usize) -> Result<String, String> {
        Ok(match self {
            Self::Sqlite => format!("IN (?{place}, ?{})", place + 1),
            Self::MySql => "IN (?, ?)".to_owned(),
            Self::Postgres => self.is_value(table, column, place)?,
        })
    }

    /// Returns the parameters for [`Self::is_key`].
    pub fn key_parameters(self, key: &str) -> Vec<String> {
        match self {
            Self::Sqlite | Self::MySql => vec![key.to_owned(), without_hyphens(key)],
            Self::Postgres => vec![key.to_owned()],
        }
    }

    /// Returns the condition to put after a column's name to find the rows of a (quoted) table by one value of any type.
    ///
    /// # Errors
    /// No table or column can have this name.
    pub fn is_value(self, table: &str, column: &str, place: usize) -> Result<String, String> {
        Ok(match self {
            Self::Sqlite | Self::MySql => format!("= {}", self.placeholder(place)),
            Self::Postgres => format!(
                "= (SELECT k.{} FROM json_populate_record(CAST(NULL AS {}), \
                 json_build_object('{}', CAST(${place} AS text))) k)",
                self.quoted(column)?,
                table,
                column.replace('\'', "''"),
            ),
        })
    }
}

/// Converts a UUID to the form that SQLite and MySQL store; returns any other text unchanged.
fn without_hyphens(id: &str) -> String {
    match uuid(id) {
        Some(uuid) if uuid == id => uuid.replace('-', ""),
        _ => id.to_owned(),
    }
}

/// Normalizes a UUID in any spelling that Python accepts to Django's spelling; returns `None` for any other text.
pub fn uuid(text: &str) -> Option<String> {
    let text = text.replace("urn:", "").replace("uuid:", "");
    let digits = text.trim_matches(['{', '}']).replace('-', "").to_ascii_lowercase();
    let shown = with_hyphens(&digits);
    (shown.len() == 36 && digits.len() == 32).then_some(shown)
}

/// Converts a UUID of 32 hexadecimal digits (as SQLite and MySQL store it) to Django's spelling; returns any other text
/// unchanged.
pub fn with_hyphens(id: &str) -> String {
    let digits = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let parts = [id.get(..8), id.get(8..12), id.get(12..16), id.get(16..20), id.get(20..)];
    match parts {
        [Some(a), Some(b), Some(c), Some(d), Some(e)]
            if id.len() == 32 && id.chars().all(digits) =>
        {
            format!("{a}-{b}-{c}-{d}-{e}")
        }
        _ => id.to_owned(),
    }
}

#[cfg(test)]
mod tests;
