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

/// Counts all lines.
pub(super) fn all(upstream: &Process, table: &mut Table) {
    for count in [10, 100, 1_000] {
        let growth = Growth::plain(upstream, &routes(count));
        growth.own_token(&format!("{count} routes"), table);
    }
    for count in [1, 5, 20] {
        Growth::with_issuers(upstream, count).last_issuers_token(count, table);
    }
    for count in [10, 100] {
        Growth::with_groups(upstream, count).issuers_token(&format!("{count} groups"), table);
    }
    for count in [1_000, 100_000] {
        Growth::with_sessions(upstream, count).own_token(&format!("{count} sessions"), table);
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
        Self::start(upstream, folder_with_sessions(upstream, count), gateway::USERS)
    }
}

/// Starts a gateway that is not counted, with `count` sessions in its store.
pub(crate) fn gateway_with_sessions(upstream: &Process, count: usize) -> Gateway {
    Gateway::start_with_users(upstream.address(), folder_with_sessions(upstream, count))
}

/// Creates one session by signing in; the others are copies of its row, for users with two sessions each.
fn folder_with_sessions(upstream: &Process, count: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    gateway::add_user(folder.path());
    let address = upstream.address();
    let folder = Gateway::start_with_users(address, folder).into_folder();
    let mut database = Connection::open(folder.path().join("state/doorwarden.db")).unwrap();
    let transaction = database.transaction().unwrap();
    let columns = "directory, identity, password_mark, signed_in_at, expires_at, \
                       idle_timeout, last_used, client, agent";
    for session in 1..count {
        let copy = format!(
            "INSERT INTO sessions (id, cookie, user_id, {columns}) \
                 SELECT ?, ?, ?, {columns} FROM sessions ORDER BY key LIMIT 1"
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
