//! Counts how the cost grows with the configuration and the number of stored sessions. Each line is a gateway of its own.

use std::fmt::Write as _;

use rusqlite::{Connection, params};
use tempfile::TempDir;

use super::scenes::gateway_count;
use super::table::Table;
use crate::gateway::{self, AccessLog, Gateway, write_private};
use crate::load::{self, Load};
use crate::process::Process;
use crate::service::{self, Service};

/// What the cost may grow with.
pub(super) const ALL: [&str; 4] = ["routes", "issuers", "groups", "sessions"];

/// Counts the lines of one of [`ALL`].
pub(super) fn one(upstream: &Process, what: &str, table: &mut Table) {
    match what {
        "routes" => [10, 100, 1_000].into_iter().for_each(|count| {
            let growth = Growth::plain(upstream, &routes(count));
            growth.own_token(&format!("{count} routes"), table);
        }),
        "issuers" => [1, 5, 20].into_iter().for_each(|count| {
            Growth::with_issuers(upstream, count).last_issuers_token(count, table);
        }),
        "groups" => [10, 100].into_iter().for_each(|count| {
            Growth::with_groups(upstream, count).issuers_token(&format!("{count} groups"), table);
        }),
        "sessions" => [1_000, 100_000].into_iter().for_each(|count| {
            Growth::with_sessions(upstream, count).own_token(&format!("{count} sessions"), table);
        }),
        _ => panic!("there is no {what}: {}", ALL.join(", ")),
    }
}

struct Growth(Gateway);

impl Growth {
    fn plain(upstream: &Process, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        gateway::add_user(folder.path());
        Self::start(upstream, folder, &(more.to_owned() + gateway::USERS))
    }

    fn start(upstream: &Process, folder: TempDir, more: &str) -> Self {
        let address = upstream.address();
        Self(Gateway::start_counted(address, folder, AccessLog::Off, "", more))
    }

    fn own_token(&self, name: &str, table: &mut Table) {
        self.count(name, self.0.bearer(), table);
    }

    fn issuers_token(&self, name: &str, table: &mut Table) {
        let token = service::access_tokens(1, service::KEY).remove(0);
        self.count(name, ("Authorization", &token), table);
    }

    /// Counts the worst case: the other issuers are tried before the last one.
    fn last_issuers_token(&self, count: usize, table: &mut Table) {
        let token = service::access_tokens(1, &key(count - 1)).remove(0);
        self.count(&format!("{count} issuers"), ("Authorization", &token), table);
    }

    fn count(&self, name: &str, credential: (&str, &str), table: &mut Table) {
        let load = Load::one(load::request("/app/small", Some(credential)));
        table.add(name, None, gateway_count(name, &self.0, &load));
    }

    fn with_issuers(upstream: &Process, count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let _service = Service::make(folder.path());
        let mut more =
            "[[directory]]\nkind = \"django\"\ndatabase = \"sqlite://service.sqlite3\"\n"
                .to_owned();
        for issuer in 0..count {
            write_private(&folder.path().join(format!("key-{issuer}")), key(issuer).as_bytes());
            write!(
                more,
                "\n[[issuer]]\nname = \"issuer-{issuer}\"\nkind = \"simplejwt\"\ndirectory = \"django\"\n\
                 key_file = \"key-{issuer}\"\n"
            )
            .unwrap();
        }
        Self::start(upstream, folder, &more)
    }

    fn with_groups(upstream: &Process, count: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let _service = Service::make(folder.path());
        let database = Connection::open(folder.path().join("service.sqlite3")).unwrap();
        for group in 0..count {
            let name = format!("group-{group:03}");
            database.execute("INSERT INTO auth_group VALUES (?, ?)", params![group, name]).unwrap();
            let member = "INSERT INTO auth_user_groups VALUES (?, 2, ?)";
            database.execute(member, params![group, group]).unwrap();
        }
        let more = format!(
            "[[route]]\nname = \"grouped\"\npath = \"/app/\"\nupstream = \"app\"\n\
             groups = [\"group-{:03}\"]\n{}",
            count - 1,
            service::SIMPLEJWT
        );
        Self::start(upstream, folder, &more)
    }

    fn with_sessions(upstream: &Process, count: usize) -> Self {
        let folder = folder_with_sessions(upstream, count);
        Self::start(upstream, folder, &users())
    }
}

/// Starts a gateway that is not counted, with `count` sessions in its store.
pub(crate) fn gateway_with_sessions(upstream: &Process, count: usize) -> Gateway {
    let folder = folder_with_sessions(upstream, count);
    Gateway::start_with(upstream.address(), folder, 1, AccessLog::Off, &users())
}

/// The directory of the one user who signs in, and that of all others: a service that checks passwords itself, and so is not
/// asked about them again. A directory that is asked would say that they do not exist, and their sessions would end.
fn users() -> String {
    format!(
        "{}\n[[directory]]\nname = \"elsewhere\"\nkind = \"http\"\nurl = \"http://127.0.0.1:9/login\"\n\
         success = {{ location = \"/home\" }}\nrefused = {{ status = [200] }}\n",
        gateway::USERS
    )
}

/// Creates one session by signing in; the others are copies of its row, for other users with two sessions each.
fn folder_with_sessions(upstream: &Process, count: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    gateway::add_user(folder.path());
    let address = upstream.address();
    let folder = Gateway::start_with_users(address, folder).into_folder();
    let mut database = Connection::open(folder.path().join("state/doorwarden.db")).unwrap();
    let transaction = database.transaction().unwrap();
    let columns = "identity, password_mark, signed_in_at, expires_at, idle_timeout, last_used, \
                   client, agent";
    for session in 1..count {
        let copy = format!(
            "INSERT INTO sessions (id, cookie, user_id, directory, {columns}) \
             SELECT ?, ?, ?, 'elsewhere', {columns} FROM sessions ORDER BY key LIMIT 1"
        );
        let mut cookie = [0; 32];
        cookie[..8].copy_from_slice(&session.to_be_bytes());
        // Each user has two sessions: on a computer and on a phone.
        let user = format!("{}", 1_000_000 + session / 2);
        let row = params![format!("session-{session}"), cookie, user];
        transaction.execute(&copy, row).unwrap();
    }
    transaction.commit().unwrap();
    folder
}

fn routes(count: usize) -> String {
    let mut text = String::new();
    for route in 2..count {
        write!(
            text,
            "[[route]]\nname = \"route-{route}\"\npath = \"/application-{route}/\"\nupstream = \"app\"\n"
        )
        .unwrap();
    }
    text
}

fn key(issuer: usize) -> String {
    format!("the-secret-key-of-service-{issuer:03}-of-fifty-characters-0123")
}
