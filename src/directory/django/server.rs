//! PostgreSQL, MySQL and MariaDB: a few connections, opened when they are needed, that cannot write.
//!
//! **Time.** Waiting for a free connection, opening one and asking each have a limit, and the server has the last one too,
//! so that what we gave up on does not go on there. A server that refuses connections is trouble at once, not after the
//! limit.
//!
//! **A server that comes back.** A connection that fails is never used again. If it had been used before, the server may
//! have restarted since: the look-up, which changes nothing, is done once more on a new one.
//!
//! **The password** is read from its file for each new connection, so another one there needs no restart.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, MySqlConnection, PgConnection, Row as _};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::row::{Row, only, same_but_for_case};
use super::statements::{Statement, Statements, row};
use super::{Found, Reader, Settings, Wanted};
use crate::config::{DatabaseServer, DatabaseTls, Engine};
use crate::directory::private_file;
use crate::secret::Secret;

/// Something between here and the server may have forgotten a connection that rested for longer.
const LONGEST_REST: Duration = Duration::from_secs(120);

/// A database on a server.
pub(super) struct Server {
    settings: DatabaseServer,
    statements: Statements,
    at_once: Semaphore,
    idle: Mutex<Vec<(Connection, Instant)>>,
}

enum Connection {
    Postgres(PgConnection),
    MySql(MySqlConnection),
}

/// What a look-up says when it does not work.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    #[error("{0}")]
    Shape(String),
    #[error("{0}, for {1:?}")]
    Late(&'static str, Duration),
}

impl Server {
    pub(super) fn new(server: &DatabaseServer, settings: &Settings) -> Result<Self, String> {
        Ok(Self {
            statements: Statements::new(server.engine, settings)?,
            at_once: Semaphore::new(server.max_connections),
            idle: Mutex::default(),
            settings: server.clone(),
        })
    }

    async fn ask_some_connection(&self, wanted: &Wanted) -> Result<Found, Trouble> {
        let limit = self.settings.connect_timeout;
        let _permit = timeout(limit, self.at_once.acquire())
            .await
            .map_err(|_| Trouble::Late("all connections are busy", limit))?
            .map_err(|_| Trouble::Shape("it is closed".into()))?;
        if let Some(connection) = self.rested() {
            match self.ask(connection, wanted).await {
                Err(Trouble::Sql(_)) => {}
                answer => return answer,
            }
        }
        let connection = timeout(limit, self.connect())
            .await
            .map_err(|_| Trouble::Late("the connection is not ready", limit))??;
        self.ask(connection, wanted).await
    }

    /// A connection that was used before.
    fn rested(&self) -> Option<Connection> {
        let mut idle = self.idle.lock();
        idle.retain(|(_, since)| since.elapsed() < LONGEST_REST);
        idle.pop().map(|(connection, _)| connection)
    }

    /// Asks, and keeps the connection if all went well. After trouble the others are suspect too.
    async fn ask(&self, mut connection: Connection, wanted: &Wanted) -> Result<Found, Trouble> {
        let limit = self.settings.query_timeout;
        let answer = timeout(limit, self.ask_it(&mut connection, wanted))
            .await
            .unwrap_or(Err(Trouble::Late("there is no answer", limit)));
        let mut idle = self.idle.lock();
        match answer {
            Ok(_) => idle.push((connection, Instant::now())),
            Err(_) => idle.clear(),
        }
        answer
    }

    async fn ask_it(&self, connection: &mut Connection, wanted: &Wanted) -> Result<Found, Trouble> {
        match wanted {
            Wanted::Name(name) => {
                let newest = connection.texts(&self.statements.newest_password, &[]).await?;
                let same = |row: &Row| same_but_for_case(&row.name, name);
                Ok(Found {
                    row: find(connection, &self.statements.by_name, name, same).await?,
                    newest_password: newest.into_iter().flatten().next().flatten(),
                })
            }
            Wanted::Id(id) => {
                let same = |row: &Row| row.id == *id;
                let row = find(connection, &self.statements.by_id, id, same).await?;
                Ok(Found { row, newest_password: None })
            }
        }
    }

    async fn connect(&self) -> Result<Connection, Trouble> {
        let password = self.password().await?;
        let limit = self.settings.query_timeout.as_millis();
        match self.settings.engine {
            Engine::Postgres => {
                let options = self
                    .postgres(&password)
                    .options([("default_transaction_read_only", "on")])
                    .options([("statement_timeout", limit.to_string())]);
                Ok(Connection::Postgres(options.connect().await?))
            }
            Engine::MySql => {
                let mut connection = Connection::MySql(self.mysql(&password).connect().await?);
                connection.run("SET SESSION TRANSACTION READ ONLY").await?;
                // MariaDB's and MySQL's name for the same; each knows one of them only.
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

    async fn password(&self) -> Result<Secret, Trouble> {
        let Some(path) = self.settings.password_file.clone() else { return Ok(Secret::new("")) };
        tokio::task::spawn_blocking(move || {
            let (bytes, _) = private_file::read(&path).map_err(|error| error.to_string())?;
            let text = std::str::from_utf8(&bytes)
                .map_err(|_| format!("{}: it is not UTF-8", path.display()))?;
            // An editor leaves a line break behind.
            Ok(Secret::new(text.trim_end_matches(['\n', '\r'])))
        })
        .await
        .unwrap_or_else(|_| Err("reading the password broke off".into()))
        .map_err(Trouble::Shape)
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
        // An empty password is answered differently from none.
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

    /// Where it is, for the log.
    fn place(&self) -> String {
        let DatabaseServer { host, port, name, socket, .. } = &self.settings;
        match socket {
            Some(socket) => format!("{} {name}", socket.display()),
            None => format!("{host}:{port} {name}"),
        }
    }
}

#[async_trait]
impl Reader for Server {
    async fn look_up(&self, wanted: &Wanted) -> Result<Found, String> {
        let (Wanted::Name(text) | Wanted::Id(text)) = wanted;
        // PostgreSQL has no such texts, and nobody's name is one elsewhere: Django's forms refuse it.
        if text.contains('\0') {
            return Ok(Found::default());
        }
        let answer = self.ask_some_connection(wanted).await;
        answer.map_err(|trouble| format!("{}: {trouble}", self.place()))
    }
}

/// The one row that is `the_one`.
async fn find(
    connection: &mut Connection,
    statement: &Statement,
    wanted: &str,
    the_one: impl Fn(&Row) -> bool + Send,
) -> Result<Option<Row>, Trouble> {
    let rows = match connection.texts(&statement.sql, &statement.parameters(wanted)).await {
        // The column cannot hold such a value: no number, no UUID, too long.
        Err(sqlx::Error::Database(error))
            if error.code().is_some_and(|code| code.starts_with("22")) =>
        {
            Vec::new()
        }
        rows => rows?,
    };
    let rows = rows.into_iter().map(row).collect::<Result<Vec<_>, _>>().map_err(Trouble::Shape)?;
    only(rows.into_iter().filter(the_one)).map_err(|reason| Trouble::Shape(reason.into()))
}

impl Connection {
    /// All rows of a statement whose columns are all texts.
    async fn texts(
        &mut self,
        sql: &Arc<str>,
        parameters: &[String],
    ) -> Result<Vec<Vec<Option<String>>>, sqlx::Error> {
        /// Binds, fetches and takes apart; only the types differ.
        macro_rules! fetch {
            ($connection:expr) => {{
                // Names in it were quoted by `Statements`; values are parameters.
                let mut query = sqlx::query(AssertSqlSafe(Arc::clone(sql)));
                for parameter in parameters {
                    query = query.bind(parameter.as_str());
                }
                let rows = query.fetch_all($connection).await?;
                rows.iter()
                    .map(|row| (0..row.len()).map(|at| row.try_get_unchecked(at)).collect())
                    .collect()
            }};
        }
        match self {
            Self::Postgres(connection) => fetch!(connection),
            Self::MySql(connection) => fetch!(connection),
        }
    }

    /// Runs a statement of our own that brings nothing.
    async fn run(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Postgres(connection) => sqlx::raw_sql(sql).execute(connection).await.map(drop),
            Self::MySql(connection) => sqlx::raw_sql(sql).execute(connection).await.map(drop),
        }
    }
}
