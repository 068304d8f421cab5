//! Reads where the user table of a `django` directory is: a file, or a server and how to connect to it.
//!
//! Messages repeat only the scheme of an address: it may hold a password, even if it is refused for that.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::raw::{RawTable, Wrong};
use super::units::{TIMEOUT, secs};
use super::values;
use crate::wire::host::Host;

/// `directory.database`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// The SQLite file (`sqlite:///srv/app/db.sqlite3`).
    Sqlite(PathBuf),
    /// PostgreSQL, MySQL or MariaDB.
    Server(Box<DatabaseServer>),
}

/// A database server, with the keys beside `directory.database` that only a server has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseServer {
    /// The protocol that the server speaks.
    pub engine: Engine,
    /// Host name or address; empty if there is a socket.
    pub host: String,
    /// TCP port; PostgreSQL names its socket by it too.
    pub port: u16,
    /// Unix socket: for PostgreSQL the folder that holds it, for MySQL the file.
    pub socket: Option<PathBuf>,
    /// The database user as whom the gateway signs in.
    pub user: String,
    /// The database's name.
    pub name: String,
    /// The schema that has the tables (MySQL: the database); none: the server's default.
    pub schema: Option<String>,
    /// File with that user's password; none: the server requires none.
    pub password_file: Option<PathBuf>,
    /// Whether and how the connection is encrypted.
    pub tls: DatabaseTls,
    /// Certificates (PEM) that are trusted in addition to the public ones.
    pub ca_file: Option<PathBuf>,
    /// The longest time to connect, and to wait for a free connection.
    pub connect_timeout: Duration,
    /// The longest time for a look-up.
    pub query_timeout: Duration,
    /// The most connections at a time.
    pub max_connections: usize,
}

/// The protocol of a server.
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
    /// Never use TLS.
    Disable,
    /// Use TLS if the server offers it, without checking its certificate.
    Prefer,
    /// Require TLS, without checking the certificate.
    Require,
    /// Require TLS, with a certificate for this host.
    VerifyFull,
}

impl DatabaseServer {
    /// Creates a server with the defaults for everything that the address does not say.
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

    /// Whether the connection stays on this machine.
    pub fn is_near(&self) -> bool {
        self.socket.is_some() || is_near(&self.host)
    }
}

fn is_near(host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>();
    host.is_empty() || host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl Engine {
    /// Returns the default port.
    pub const fn port(self) -> u16 {
        match self {
            Self::Postgres => 5432,
            Self::MySql => 3306,
        }
    }
}

pub(super) const SERVER_KEYS: [&str; 7] = [
    "schema",
    "password_file",
    "tls",
    "ca_file",
    "connect_timeout",
    "query_timeout",
    "max_connections",
];

const TLS: [(&str, DatabaseTls); 4] = [
    ("verify-full", DatabaseTls::VerifyFull),
    ("require", DatabaseTls::Require),
    ("prefer", DatabaseTls::Prefer),
    ("disable", DatabaseTls::Disable),
];

const FORM: &str = "allowed: \"sqlite:///srv/app/db.sqlite3\", \"postgres://user@host/name\", \
    \"mysql://user@host/name\", and \"?socket=/path\" behind the last two";

/// Reads the database. `None` if it is wrong, which is reported.
pub(super) fn database(table: &RawTable<'_>) -> Option<Database> {
    table.require("database", "like database = \"sqlite:///srv/app/db.sqlite3\"");
    given(table)
}

/// Reads the database of a table that need not name one. `None` if it names none, or a wrong one, which is reported.
pub(super) fn database_if_any(table: &RawTable<'_>) -> Option<Database> {
    if table.has("database") {
        return given(table);
    }
    table.pass_over(&["database"]);
    table.refuse(
        &SERVER_KEYS,
        "this block names no database of its own",
        "it is for database = \"...\"",
    );
    None
}

fn given(table: &RawTable<'_>) -> Option<Database> {
    match table.text("database", |text| address(table, text)) {
        Some(Database::Server(server)) => {
            Some(Database::Server(Box::new(with_keys(table, *server))))
        }
        Some(sqlite) => {
            table.refuse(
                &SERVER_KEYS,
                "an SQLite file has no such key",
                "it is for postgres:// and mysql://",
            );
            Some(sqlite)
        }
        None => {
            table.pass_over(&SERVER_KEYS);
            None
        }
    }
}

fn address(table: &RawTable<'_>, text: &str) -> Result<Database, Wrong> {
    let wrong = |message: &str| Err(Wrong::new(message).help(FORM));
    let Some((scheme, rest)) = text.split_once("://") else {
        return wrong("is no address of a database");
    };
    let engine = match scheme {
        "sqlite" if rest.contains(['?', '#']) => return wrong("options are not supported"),
        "sqlite" => return table.resolve(rest).map(Database::Sqlite),
        "postgres" | "postgresql" => Engine::Postgres,
        "mysql" | "mariadb" => Engine::MySql,
        "oracle" => return wrong("oracle is not supported"),
        _ => return wrong("is no address of a database"),
    };
    let server = server(table, engine, rest)?;
    Ok(Database::Server(Box::new(server)))
}

/// Parses `user@host:port/name?socket=path`.
fn server(table: &RawTable<'_>, engine: Engine, rest: &str) -> Result<DatabaseServer, Wrong> {
    let wrong = |message: &str| Wrong::new(message).help(FORM);
    let (rest, options) = rest.split_once('?').map_or((rest, None), |(a, b)| (a, Some(b)));
    // A password may contain a slash or an at sign that is not encoded, so the user ends at the last at sign.
    let (user, rest) = rest.rsplit_once('@').ok_or_else(|| wrong("names no user"))?;
    if user.contains([':', '/']) {
        return Err(Wrong::new("holds a password").help(
            "write it into a file that only the gateway's user can read, and the file's name into password_file",
        ));
    }
    let (host, name) = rest.split_once('/').ok_or_else(|| wrong("names no database"))?;
    let user = decoded(user).ok_or_else(|| wrong("names no user"))?;
    let name = decoded(name).ok_or_else(|| wrong("names no database"))?;
    let socket = match options.map(|options| options.split_once('=')) {
        None => None,
        Some(Some(("socket", path))) => {
            let path = decoded(path).ok_or_else(|| wrong("names no socket"))?;
            Some(table.resolve(&path)?)
        }
        Some(_) => return Err(wrong("has an option that is not supported")),
    };
    let (host, port) = match socket {
        Some(_) => {
            let port = host.strip_prefix(':').map(|port| port.parse().ok());
            if port == Some(None) || (port.is_none() && !host.is_empty()) {
                return Err(wrong("names a host and a socket"));
            }
            (String::new(), port.flatten())
        }
        None => {
            let host = Host::parse(host).map_err(|_| wrong("names no host"))?;
            let name = host.name().trim_start_matches('[').trim_end_matches(']').to_owned();
            (name, host.port())
        }
    };
    Ok(DatabaseServer { socket, ..DatabaseServer::new(engine, &user, &host, port, &name) })
}

fn decoded(text: &str) -> Option<String> {
    let text = percent_decode_str(text).decode_utf8().ok()?;
    let legal = !text.is_empty() && !text.chars().any(char::is_control);
    legal.then(|| text.into_owned())
}

fn with_keys(table: &RawTable<'_>, default: DatabaseServer) -> DatabaseServer {
    let server = DatabaseServer {
        schema: schema(table),
        password_file: table.path("password_file"),
        tls: table.choice("tls", &TLS).unwrap_or(default.tls),
        ca_file: table.path("ca_file"),
        connect_timeout: table
            .duration("connect_timeout", TIMEOUT.start().to_owned()..=secs(30))
            .unwrap_or(default.connect_timeout),
        query_timeout: table
            .duration("query_timeout", TIMEOUT.start().to_owned()..=secs(30))
            .unwrap_or(default.query_timeout),
        max_connections: table
            .number("max_connections", 1..=100)
            .unwrap_or(default.max_connections),
        ..default
    };
    if !server.is_near() && matches!(server.tls, DatabaseTls::Disable | DatabaseTls::Prefer) {
        table.warn(
            "tls",
            Wrong::new("the users' password hashes may cross the network unencrypted").help(
                "write \"verify-full\", with ca_file if a certificate authority of your own signed the server's certificate",
            ),
        );
    }
    if server.ca_file.is_some() && server.tls != DatabaseTls::VerifyFull {
        table.warn(
            "ca_file",
            Wrong::new("certificates are not verified").help("write tls = \"verify-full\""),
        );
    }
    server
}

/// Reads the one schema. If each tenant has a schema, each has its own users, and the host decides whose a name is.
fn schema(table: &RawTable<'_>) -> Option<String> {
    let several = || {
        Wrong::new("names several schemas, and a directory reads the users of one").help(
            "if they are tenants, give each a gateway, or have the service check passwords itself: kind = \"http\"",
        )
    };
    if table.is_list("schema") {
        table.pass_over(&["schema"]);
        table.error("schema", several());
        return None;
    }
    table.text(
        "schema",
        |text| {
            if text.contains(',') { Err(several()) } else { values::identifier(text) }
        },
    )
}
