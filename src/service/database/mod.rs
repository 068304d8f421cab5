//! The database of a service: one door for everything that is read from it.
//!
//! Users, sessions, tokens and blacklists of one service lie in one database. Who reads one of them says so in SQL that
//! it made for the [`Dialect`], and the connections are shared ([`Databases`]): a service with room for few connections
//! is not asked for as many again by each part of the gateway.
//!
//! **Texts.** Every parameter is a text and every column comes as one, or as nothing for NULL; so `bigint`, `uuid`,
//! `boolean` and `tinyint(1)` need no types here. Statements cast for that ([`Dialect::as_text`]); SQLite's numbers are
//! made texts on this side, and what is neither number nor text there is trouble.
//!
//! **Reading and writing are two doors.** What is opened with [`DatabaseAccess::Read`] cannot write, and each database says so
//! itself: SQLite's file is opened read only, a server's connection is.
//!
//! **Trouble** is a text for the log, and never "there is no such row". What a column cannot hold (a name asked of a
//! number) is no trouble: there is no such row.

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

/// One row: a text for each column.
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

/// What is done there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseAccess {
    /// It cannot be changed.
    Read,
    /// It can.
    Write,
}

/// What SQL it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite
    Sqlite,
    /// PostgreSQL
    Postgres,
    /// MySQL, MariaDB
    MySql,
}

/// A statement and what stands for its placeholders.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Names in it were quoted ([`Dialect::quoted`]); values are parameters.
    pub sql: Arc<str>,
    /// In the order of the placeholders.
    pub parameters: Vec<String>,
}

/// Every database that is open, so that who wants the same one gets it.
#[derive(Default)]
pub struct Databases(Mutex<Vec<Arc<ServiceDatabase>>>);

impl Databases {
    /// The database of these settings. It need not be there yet: until it is, asking it is trouble.
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

    /// What can be seen to be wrong with those that are open, without asking any.
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

    /// What SQL it speaks.
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The name of one of its tables, quoted.
    ///
    /// # Errors
    /// No table can be called so.
    pub fn table(&self, name: &str) -> Result<String, String> {
        self.dialect.table(self.schema(), name)
    }

    /// The schema and the name of one of its tables, for questions about it.
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

    /// Asks one thing after another on one connection; gives the rows of each.
    ///
    /// # Errors
    /// What went wrong, for the log.
    pub async fn ask(&self, statements: Vec<Statement>) -> Result<Vec<Vec<QueryTexts>>, String> {
        match &self.kind {
            DatabaseKind::Sqlite(file) => file.ask(statements).await,
            DatabaseKind::Server(server) => server.ask(statements).await,
        }
    }

    /// Changes something; gives how many rows were concerned. A statement must be such that doing it twice is doing it
    /// once: it is done again when a connection broke before its answer came.
    ///
    /// # Errors
    /// What went wrong, for the log.
    pub async fn change(&self, statement: Statement) -> Result<u64, String> {
        match (&self.kind, self.access) {
            (_, DatabaseAccess::Read) => Err("it was opened for reading".into()),
            (DatabaseKind::Sqlite(file), DatabaseAccess::Write) => file.change(statement).await,
            (DatabaseKind::Server(server), DatabaseAccess::Write) => server.change(statement).await,
        }
    }

    /// Is the gateway allowed to make such a change? The statement is one that concerns no row, whatever is there: databases
    /// ask for the rights before they look.
    ///
    /// # Errors
    /// Why it cannot be asked, for the log.
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
    /// A name from the configuration, between this dialect's quotes.
    ///
    /// # Errors
    /// No table or column can be called so.
    pub fn quoted(self, name: &str) -> Result<String, String> {
        if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
            return Err(format!("no table or column is called {name:?}"));
        }
        let quote = self.quote();
        Ok(format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}"))))
    }

    /// A table's name, quoted, with the schema where there is one. A name that says its schema itself has it between quotes,
    /// as Django's users write it (`app"."users`, or with quotes around all of it), and keeps it.
    ///
    /// # Errors
    /// No table or column can be called so.
    fn table(self, schema: Option<&str>, name: &str) -> Result<String, String> {
        let mut parts = self.parts(name);
        if let ([_], Some(schema)) = (&parts[..], schema) {
            parts.insert(0, schema);
        }
        let quoted = parts.into_iter().map(|part| self.quoted(part));
        Ok(quoted.collect::<Result<Vec<_>, _>>()?.join("."))
    }

    /// What stands between the quotes of a name that says its schema; else the name.
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

    /// The placeholder of the parameter at this place, from 1. MySQL's say no place: they are in the order of the text.
    pub fn placeholder(self, place: usize) -> String {
        match self {
            Self::Sqlite => format!("?{place}"),
            Self::Postgres => format!("${place}"),
            Self::MySql => "?".to_owned(),
        }
    }

    /// The parameter at this place as a whole number.
    pub fn number(self, place: usize) -> String {
        let placeholder = self.placeholder(place);
        match self {
            Self::Sqlite => format!("CAST({placeholder} AS INTEGER)"),
            Self::Postgres => format!("CAST(CAST({placeholder} AS text) AS bigint)"),
            Self::MySql => format!("CAST({placeholder} AS SIGNED)"),
        }
    }

    /// A value as a text.
    pub fn as_text(self, value: &str) -> String {
        match self {
            Self::Sqlite => value.to_owned(),
            Self::Postgres => format!("CAST({value} AS text)"),
            Self::MySql => format!("CAST({value} AS CHAR)"),
        }
    }

    /// What follows a column's name to ask for the rows of a (quoted) table with a key of any type: the next parameters are
    /// [`Self::key_parameters`], of which the first stands at this place.
    ///
    /// What is looked for must have the column's type, or no index is used. PostgreSQL makes the text that type by putting
    /// it into a record of the table; the others convert a constant by themselves. They keep a UUID without its hyphens.
    ///
    /// # Errors
    /// No table or column can be called so.
    pub fn is_key(self, table: &str, column: &str, place: usize) -> Result<String, String> {
        Ok(match self {
            Self::Sqlite => format!("IN (?{place}, ?{})", place + 1),
            Self::MySql => "IN (?, ?)".to_owned(),
            Self::Postgres => self.is_value(table, column, place)?,
        })
    }

    /// The parameters for [`Self::is_key`].
    pub fn key_parameters(self, key: &str) -> Vec<String> {
        match self {
            Self::Sqlite | Self::MySql => vec![key.to_owned(), without_hyphens(key)],
            Self::Postgres => vec![key.to_owned()],
        }
    }

    /// What follows a column's name to ask for the rows of a (quoted) table with a value of any type, by one parameter.
    ///
    /// # Errors
    /// No table or column can be called so.
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

/// A UUID as SQLite and MySQL keep it; any other text as it is.
fn without_hyphens(id: &str) -> String {
    match uuid(id) {
        Some(uuid) if uuid == id => uuid.replace('-', ""),
        _ => id.to_owned(),
    }
}

/// A UUID in whatever spelling Python takes it, as Django shows it. `None`: it is none.
pub fn uuid(text: &str) -> Option<String> {
    let text = text.replace("urn:", "").replace("uuid:", "");
    let digits = text.trim_matches(['{', '}']).replace('-', "").to_ascii_lowercase();
    let shown = with_hyphens(&digits);
    (shown.len() == 36 && digits.len() == 32).then_some(shown)
}

/// A UUID as Django shows it; any other text as it is. (SQLite and MySQL keep it as 32 hexadecimal digits.)
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
