//! `directory.database` and the keys beside it that are for a server.
//!
//! Of an address only the scheme is ever repeated: it may hold a password, if only to be refused for it.

use percent_encoding::percent_decode_str;

use super::{TIMEOUT, secs, values};
use crate::config::raw::{Table, Wrong};
use crate::config::{Database, DatabaseServer, DatabaseTls, Engine};
use crate::wire::host::Host;

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

/// The database. None: it is wrong, and reported.
pub(super) fn database(table: &Table<'_>) -> Option<Database> {
    table.require("database", "like database = \"sqlite:///srv/app/db.sqlite3\"");
    given(table)
}

/// The database of a table that need not name one. None: it does not, or what it names is wrong and reported.
pub(super) fn database_if_any(table: &Table<'_>) -> Option<Database> {
    if table.has("database") {
        return given(table);
    }
    table.pass_over(&["database"]);
    table.refuse(
        &SERVER_KEYS,
        "there is no database of this block's own",
        "it is for database = \"...\"",
    );
    None
}

fn given(table: &Table<'_>) -> Option<Database> {
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

fn address(table: &Table<'_>, text: &str) -> Result<Database, Wrong> {
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

/// `user@host:port/name?socket=path`
fn server(table: &Table<'_>, engine: Engine, rest: &str) -> Result<DatabaseServer, Wrong> {
    let wrong = |message: &str| Wrong::new(message).help(FORM);
    let (rest, options) = rest.split_once('?').map_or((rest, None), |(a, b)| (a, Some(b)));
    // A password may hold a slash or an at sign that nobody encoded, so the user ends where the last one stands.
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

fn with_keys(table: &Table<'_>, default: DatabaseServer) -> DatabaseServer {
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
            Wrong::new("the users' password hashes may cross the network readable").help(
                "write \"verify-full\", with ca_file if a certificate authority of your own signed the server's certificate",
            ),
        );
    }
    if server.ca_file.is_some() && server.tls != DatabaseTls::VerifyFull {
        table.warn(
            "ca_file",
            Wrong::new("certificates are not looked at").help("write tls = \"verify-full\""),
        );
    }
    server
}

/// The one schema. A service whose tenants have one each keeps other users in each, and whose a name is depends on the host.
fn schema(table: &Table<'_>) -> Option<String> {
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
