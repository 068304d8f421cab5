//! Where the user table of a `django` directory lies: a file, or a server and how it is spoken to.

use std::path::PathBuf;
use std::time::Duration;

/// `directory.database`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// The SQLite file (`sqlite:///srv/app/db.sqlite3`).
    Sqlite(PathBuf),
    /// PostgreSQL, MySQL or MariaDB.
    Server(Box<DatabaseServer>),
}

/// A database server, and the keys beside `directory.database` that are for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseServer {
    /// What it speaks.
    pub engine: Engine,
    /// Host name or address; empty if there is a socket.
    pub host: String,
    /// TCP port; PostgreSQL names its socket by it too.
    pub port: u16,
    /// Unix socket: PostgreSQL's folder of it, MySQL's file.
    pub socket: Option<PathBuf>,
    /// Who signs in there.
    pub user: String,
    /// The database's name.
    pub name: String,
    /// In which of its schemas the tables are (MySQL: in which database); none: where the server looks for them.
    pub schema: Option<String>,
    /// File with that user's password; none: the server asks for none.
    pub password_file: Option<PathBuf>,
    /// What is asked of the connection.
    pub tls: DatabaseTls,
    /// Certificates (PEM) that are trusted beside the public ones.
    pub ca_file: Option<PathBuf>,
    /// How long connecting may take, and waiting for a connection that is free.
    pub connect_timeout: Duration,
    /// How long a look-up may take.
    pub query_timeout: Duration,
    /// Connections at once.
    pub max_connections: usize,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// PostgreSQL
    Postgres,
    /// MySQL, MariaDB
    MySql,
}

/// `directory.tls`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseTls {
    /// Never.
    Disable,
    /// If the server offers it, whoever the server is.
    Prefer,
    /// Always, whoever the server is.
    Require,
    /// Always, with a certificate for this host.
    VerifyFull,
}

impl DatabaseServer {
    /// With the defaults for everything that the address does not say.
    pub fn new(engine: Engine, user: &str, host: &str, port: Option<u16>, name: &str) -> Self {
        Self {
            engine,
            host: host.to_owned(),
            port: port.unwrap_or(engine.port()),
            socket: None,
            user: user.to_owned(),
            name: name.to_owned(),
            schema: None,
            password_file: None,
            tls: if is_near(host) { DatabaseTls::Prefer } else { DatabaseTls::VerifyFull },
            ca_file: None,
            connect_timeout: Duration::from_secs(2),
            query_timeout: Duration::from_secs(2),
            max_connections: 4,
        }
    }

    /// Does what is said to it stay on this machine?
    pub fn is_near(&self) -> bool {
        self.socket.is_some() || is_near(&self.host)
    }
}

fn is_near(host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>();
    host.is_empty() || host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl Engine {
    /// Where it usually listens.
    pub const fn port(self) -> u16 {
        match self {
            Self::Postgres => 5432,
            Self::MySql => 3306,
        }
    }
}
