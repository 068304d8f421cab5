//! The statements that grant a database user of the gateway's own what it needs.
//!
//! The gateway signs in as the service's user, with the password in `DATABASES`, so that nothing has to be granted before it
//! starts. An operator who wants it to have less finds the statements in the file, with the project's own tables.

use super::super::facts::{DjangoDatabase, DjangoSessionSettings};
use super::Planner;

/// The users that `docs/databases.md` creates.
const ROLE: &str = "doorwarden";
const WRITING_ROLE: &str = "doorwarden_sessions";

/// The tables of `rest_framework_simplejwt.token_blacklist`, with the names that Django gives them; no setting changes them.
const BLACKLIST: [&str; 2] =
    ["token_blacklist_outstandingtoken", "token_blacklist_blacklistedtoken"];

impl Planner<'_> {
    /// Returns the grants for all that the gateway reads in the users' database, and for the sessions that it writes there.
    pub(super) fn grants(&self, database: &DjangoDatabase) -> Vec<String> {
        let facts = self.facts;
        let Some(user) = &facts.user else { return Vec::new() };
        let read = |columns: &[&str], table: &str| grant(database, "SELECT", columns, table, ROLE);
        let columns = [
            &user.id,
            &user.username,
            &user.password,
            &user.is_active,
            &user.is_staff,
            &user.is_superuser,
            &user.email,
        ];
        let columns: Vec<&str> =
            columns.into_iter().map(String::as_str).filter(|column| !column.is_empty()).collect();
        let mut all = vec![read(&columns, &user.table)];
        if let Some(groups) = &user.groups {
            all.push(read(&["id", "name"], &groups.group_table));
            all.push(read(&[&groups.user_column, &groups.group_column], &groups.membership_table));
        }
        if facts.drf_token_class().is_some() && !facts.authtoken_table.is_empty() {
            all.push(read(&["key", "user_id", "created"], &facts.authtoken_table));
        }
        if let Some(knox) = facts.knox.as_ref().filter(|_| facts.takes_knox()) {
            let columns = ["digest", "token_key", "user_id", "created", "expiry"];
            all.push(read(&columns, &knox.table));
        }
        if self.asks_blacklist() {
            all.extend(BLACKLIST.map(|table| read(&[], table)));
        }
        if let Some(sessions) = &facts.sessions {
            let is_here = sessions.has_rows() && sessions.database == database.alias;
            if is_here && self.choices.sessions {
                all.push(write(database, sessions, ROLE));
            } else if is_here && sessions.middleware {
                let columns = ["session_key", "session_data", "expire_date"];
                all.push(read(&columns, &sessions.table));
            }
        }
        all
    }

    /// Returns the grants for writing sessions: for the directory's user, or for one of a database that has only the sessions.
    pub(super) fn grants_of_sessions(
        &self,
        database: &DjangoDatabase,
        sessions: &DjangoSessionSettings,
    ) -> Vec<String> {
        let users = self.facts.user.as_ref().map(|user| user.database.as_str());
        let role = if users == Some(database.alias.as_str()) { ROLE } else { WRITING_ROLE };
        vec![write(database, sessions, role)]
    }
}

fn write(database: &DjangoDatabase, sessions: &DjangoSessionSettings, role: &str) -> String {
    grant(database, "SELECT, INSERT, UPDATE, DELETE", &[], &sessions.table, role)
}

fn grant(
    database: &DjangoDatabase,
    rights: &str,
    columns: &[&str],
    table: &str,
    role: &str,
) -> String {
    let name = |text: &str| name(&database.kind, text);
    let columns = match columns {
        [] => String::new(),
        some => {
            let all: Vec<String> = some.iter().map(|column| name(column)).collect();
            format!(" ({})", all.join(", "))
        }
    };
    let table = match database.kind.as_str() {
        "mysql" => format!("{}.{}", name(&database.name), name(table)),
        _ => name(table),
    };
    format!("GRANT {rights}{columns} ON {table} TO {role};")
}

/// Returns an identifier, quoted where it must be. `key` is a reserved word of MySQL.
fn name(kind: &str, text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let is_plain =
        text.bytes().all(plain) && !text.starts_with(|first: char| first.is_ascii_digit());
    match kind {
        "mysql" if !is_plain || text == "key" => format!("`{}`", text.replace('`', "``")),
        "postgres" if !is_plain => format!("\"{}\"", text.replace('"', "\"\"")),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn names_are_quoted_where_they_must_be() {
        for (kind, text, expected) in [
            ("postgres", "auth_user", "auth_user"),
            ("postgres", "key", "key"),
            ("postgres", "Person", "\"Person\""),
            ("postgres", "a\"b", "\"a\"\"b\""),
            ("mysql", "key", "`key`"),
            ("mysql", "shop db", "`shop db`"),
            ("mysql", "2fa", "`2fa`"),
            ("mysql", "a`b", "`a``b`"),
        ] {
            assert_eq!(name(kind, text), expected);
        }
    }
}
