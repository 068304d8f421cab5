//! Keeps a few connections to a PostgreSQL, MySQL or MariaDB server, opened when they are needed.
//!
//! **Time.** Waiting for a free connection, opening one and each query have a limit. The server is given the limit for
//! queries too, so that it stops a query that the gateway gave up on. A server that refuses connections is an error at once,
//! not after the limit.
//!
//! **Restarts of the server.** A connection that fails is never used again. If it had been used before, the server may have
//! restarted since: the query, which may run twice, is run once more on a new connection.
//!
//! **The password** is read from its file for each new connection, so a changed password needs no restart.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sqlx::mysql::{MySqlConnectOptions, MySqlDatabaseError, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, MySqlConnection, PgConnection, Row as _};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{DatabaseAccess, QueryTexts, Statement};
use crate::config::{DatabaseServer, DatabaseTls, Engine};
use crate::private_file;
use crate::secret::Secret;

/// The longest time that a connection may be idle: something on the way to the server may drop it after that.
const LONGEST_REST: Duration = Duration::from_secs(120);

/// A database on a server.
pub(super) struct ServerDatabase {
    settings: DatabaseServer,
    access: DatabaseAccess,
    at_once: Semaphore,
    idle: Mutex<Vec<(ServerConnection, Instant)>>,
}

enum ServerConnection {
    Postgres(PgConnection),
    MySql(MySqlConnection),
}

/// The reasons for which a query fails.
#[derive(Debug, thiserror::Error)]
enum ServerTrouble {
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    #[error("{0}")]
    Shape(String),
    #[error("{0}, for {1:?}")]
    Late(&'static str, Duration),
}

/// The work to do on a connection.
enum DatabaseWork {
    Ask(Vec<Statement>),
    Change(Statement),
}

/// The result of [`DatabaseWork`].
enum DatabaseAnswer {
    Rows(Vec<Vec<QueryTexts>>),
    Changed(u64),
}

impl ServerDatabase {
    pub(super) fn new(server: &DatabaseServer, access: DatabaseAccess) -> Self {
        Self {
            at_once: Semaphore::new(server.max_connections),
            idle: Mutex::default(),
            settings: server.clone(),
            access,
        }
    }

    pub(super) async fn ask(
        &self,
        statements: Vec<Statement>,
    ) -> Result<Vec<Vec<QueryTexts>>, String> {
        match self.on_some_connection(&DatabaseWork::Ask(statements)).await {
            Ok(DatabaseAnswer::Rows(rows)) => Ok(rows),
            Ok(DatabaseAnswer::Changed(_)) => Err("it changed something instead".into()),
            Err(trouble) => Err(format!("{}: {trouble}", self.place())),
        }
    }

    pub(super) async fn change(&self, statement: Statement) -> Result<u64, String> {
        match self.on_some_connection(&DatabaseWork::Change(statement)).await {
            Ok(DatabaseAnswer::Changed(rows)) => Ok(rows),
            Ok(DatabaseAnswer::Rows(_)) => Err("it returned rows instead".into()),
            Err(trouble) => Err(format!("{}: {trouble}", self.place())),
        }
    }

    pub(super) async fn may_change(&self, statement: Statement) -> Result<bool, String> {
        match self.on_some_connection(&DatabaseWork::Change(statement)).await {
            Ok(_) => Ok(true),
            Err(ServerTrouble::Sql(error)) if is_of_rights(&error) => Ok(false),
            Err(trouble) => Err(format!("{}: {trouble}", self.place())),
        }
    }

    async fn on_some_connection(
        &self,
        work: &DatabaseWork,
    ) -> Result<DatabaseAnswer, ServerTrouble> {
        let limit = self.settings.connect_timeout;
        let _permit = timeout(limit, self.at_once.acquire())
            .await
            .map_err(|_| ServerTrouble::Late("all connections are busy", limit))?
            .map_err(|_| ServerTrouble::Shape("it is closed".into()))?;
        if let Some(connection) = self.rested() {
            match self.on(connection, work).await {
                Err(ServerTrouble::Sql(_)) => {}
                answer => return answer,
            }
        }
        let connection = timeout(limit, self.connect())
            .await
            .map_err(|_| ServerTrouble::Late("the connection is not ready", limit))??;
        self.on(connection, work).await
    }

    /// Takes an idle connection that was used before.
    fn rested(&self) -> Option<ServerConnection> {
        let mut idle = self.idle.lock();
        idle.retain(|(_, since)| since.elapsed() < LONGEST_REST);
        idle.pop().map(|(connection, _)| connection)
    }

    /// Does the work and returns the connection to the pool if all went well. After an error the other idle connections are
    /// suspect too, and are closed.
    async fn on(
        &self,
        mut connection: ServerConnection,
        work: &DatabaseWork,
    ) -> Result<DatabaseAnswer, ServerTrouble> {
        let limit = self.settings.query_timeout;
        let done = timeout(limit, connection.work(work))
            .await
            .unwrap_or(Err(ServerTrouble::Late("there is no answer", limit)));
        let mut idle = self.idle.lock();
        match done {
            Ok(_) => idle.push((connection, Instant::now())),
            Err(_) => idle.clear(),
        }
        done
    }

    async fn connect(&self) -> Result<ServerConnection, ServerTrouble> {
        let password = self.password().await?;
        let limit = self.settings.query_timeout.as_millis();
        match self.settings.engine {
            Engine::Postgres => {
                let read_only = match self.access {
                    DatabaseAccess::Read => "on",
                    DatabaseAccess::Write => "off",
                };
                let options = self
                    .postgres(&password)
                    .options([("default_transaction_read_only", read_only)])
                    .options([("statement_timeout", limit.to_string())]);
                Ok(ServerConnection::Postgres(options.connect().await?))
            }
            Engine::MySql => {
                let mut connection =
                    ServerConnection::MySql(self.mysql(&password).connect().await?);
                if self.access == DatabaseAccess::Read {
                    connection.run("SET SESSION TRANSACTION READ ONLY").await?;
                }
                // MariaDB and MySQL have different names for the same setting, and each knows only its own.
                let seconds = self.settings.query_timeout.as_secs_f64();
                let mariadb = format!("SET SESSION max_statement_time = {seconds}");
                if connection.run(&mariadb).await.is_err() {
                    let mysql = format!("SET SESSION max_execution_time = {limit}");
                    connection.run(&mysql).await?;
                }
                Ok(connection)
            }
        }
    }

    async fn password(&self) -> Result<Secret, ServerTrouble> {
        let Some(path) = self.settings.password_file.clone() else { return Ok(Secret::new("")) };
        tokio::task::spawn_blocking(move || {
            let (bytes, _) = private_file::read(&path).map_err(|error| error.to_string())?;
            let text = std::str::from_utf8(&bytes)
                .map_err(|_| format!("{}: it is not UTF-8", path.display()))?;
            // Editors add a line break at the end.
            Ok(Secret::new(text.trim_end_matches(['\n', '\r'])))
        })
        .await
        .unwrap_or_else(|_| Err("reading the password was interrupted".into()))
        .map_err(ServerTrouble::Shape)
    }

    fn postgres(&self, password: &Secret) -> PgConnectOptions {
        let settings = &self.settings;
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(&settings.host)
            .port(settings.port)
            .username(&settings.user)
            .password(password.expose())
            .database(&settings.name)
            .application_name("doorwarden")
            .ssl_mode(match settings.tls {
                DatabaseTls::Disable => PgSslMode::Disable,
                DatabaseTls::Prefer => PgSslMode::Prefer,
                DatabaseTls::Require => PgSslMode::Require,
                DatabaseTls::VerifyFull => PgSslMode::VerifyFull,
            })
            .disable_statement_logging();
        if let Some(socket) = &settings.socket {
            options = options.socket(socket);
        }
        if let Some(file) = &settings.ca_file {
            options = options.ssl_root_cert(file);
        }
        options
    }

    fn mysql(&self, password: &Secret) -> MySqlConnectOptions {
        let settings = &self.settings;
        let mut options = MySqlConnectOptions::new()
            .host(&settings.host)
            .port(settings.port)
            .username(&settings.user)
            .database(&settings.name)
            .ssl_mode(match settings.tls {
                DatabaseTls::Disable => MySqlSslMode::Disabled,
                DatabaseTls::Prefer => MySqlSslMode::Preferred,
                DatabaseTls::Require => MySqlSslMode::Required,
                DatabaseTls::VerifyFull => MySqlSslMode::VerifyIdentity,
            })
            .disable_statement_logging();
        // The server treats an empty password differently from no password.
        if settings.password_file.is_some() {
            options = options.password(password.expose());
        }
        if let Some(socket) = &settings.socket {
            options = options.socket(socket);
        }
        if let Some(file) = &settings.ca_file {
            options = options.ssl_ca(file);
        }
        options
    }

    /// Returns the server's address, for the log.
    fn place(&self) -> String {
        let DatabaseServer { host, port, name, socket, .. } = &self.settings;
        match socket {
            Some(socket) => format!("{} {name}", socket.display()),
            None => format!("{host}:{port} {name}"),
        }
    }
}

/// Whether the error says that this user, or this server, may not make the change.
fn is_of_rights(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    match error.try_downcast_ref::<MySqlDatabaseError>() {
        // Access denied to the database, to a command on a table, or to a column; a read-only server or transaction.
        Some(error) => matches!(error.number(), 1044 | 1142 | 1143 | 1290 | 1792 | 1836),
        // insufficient_privilege, read_only_sql_transaction
        None => error.code().is_some_and(|code| matches!(&*code, "42501" | "25006")),
    }
}

/// Binds the parameters of a statement; only the types differ between the servers.
macro_rules! bound {
    ($statement:expr) => {{
        // Names in the SQL were quoted; values are parameters.
        let mut query = sqlx::query(AssertSqlSafe(Arc::clone(&$statement.sql)));
        for parameter in &$statement.parameters {
            query = query.bind(parameter.as_str());
        }
        query
    }};
}

impl ServerConnection {
    async fn work(&mut self, work: &DatabaseWork) -> Result<DatabaseAnswer, ServerTrouble> {
        match work {
            DatabaseWork::Ask(statements) => {
                let mut all = Vec::with_capacity(statements.len());
                for statement in statements {
                    all.push(self.rows(statement).await?);
                }
                Ok(DatabaseAnswer::Rows(all))
            }
            DatabaseWork::Change(statement) => {
                let changed = match self {
                    Self::Postgres(connection) => {
                        bound!(statement).execute(connection).await?.rows_affected()
                    }
                    Self::MySql(connection) => {
                        bound!(statement).execute(connection).await?.rows_affected()
                    }
                };
                Ok(DatabaseAnswer::Changed(changed))
            }
        }
    }

    /// Returns all rows of a statement whose columns are all texts.
    async fn rows(&mut self, statement: &Statement) -> Result<Vec<QueryTexts>, sqlx::Error> {
        // PostgreSQL has no texts with NUL, and no key in the others has it, because Django's forms refuse it.
        if statement.parameters.iter().any(|text| text.contains('\0')) {
            return Ok(Vec::new());
        }
        macro_rules! texts {
            ($connection:expr) => {
                bound!(statement).fetch_all($connection).await.and_then(|rows| {
                    rows.iter()
                        .map(|row| (0..row.len()).map(|at| row.try_get_unchecked(at)).collect())
                        .collect()
                })
            };
        }
        let rows = match self {
            Self::Postgres(connection) => texts!(connection),
            Self::MySql(connection) => texts!(connection),
        };
        match rows {
            // The column cannot hold such a value: it is not a number, not a UUID, or too long.
            Err(sqlx::Error::Database(error))
                if error.code().is_some_and(|code| code.starts_with("22")) =>
            {
                Ok(Vec::new())
            }
            rows => rows,
        }
    }

    /// Runs one of the gateway's own statements that returns no rows.
    async fn run(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Postgres(connection) => sqlx::raw_sql(sql).execute(connection).await.map(drop),
            Self::MySql(connection) => sqlx::raw_sql(sql).execute(connection).await.map(drop),
        }
    }
}
