//! `[[directory]]`: where the service's users are.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::facts::{DjangoDatabase, UserModel};
use super::Planner;
use super::toml::quoted;
use crate::django::hashers::PasswordHasher;
use crate::doctor::finding::Weight;

/// The characters that are percent-encoded in an address.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// The characters that are percent-encoded in a file name.
const IN_A_NAME: &AsciiSet = &ENCODED.add(b'/');

/// Where PostgreSQL's client looks for a server if none is named.
const POSTGRES_SOCKETS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

impl Planner<'_> {
    pub(super) fn directory(&mut self) {
        let facts = self.facts;
        self.toml.section("Who signs in");
        let (Some(user), true) = (&facts.user, self.choices.directory) else {
            self.toml.note("The users cannot be read: nobody signs in at the gateway.");
            return;
        };
        let Some(database) = facts.database(&user.database) else { return };
        if database.kind != "sqlite" {
            let grants = self.grants(database);
            self.toml.note(
                "The gateway signs in there as the service's own user, who may do all that it does. One of its own needs \
                 these at least (docs/databases.md):",
            );
            self.toml.lines(&grants);
        }
        self.toml.table("[[directory]]");
        self.toml.string("kind", "django", "the service's own users and passwords, read only");
        self.database(database);
        let proof = facts.proof.as_ref();
        let place = |table: &str| proof.and_then(|proof| proof.tables.get(table)?.clone());
        // `db_table` can contain a schema: Django quotes it, and the database knows what it means.
        let table = place(&user.table).map_or_else(|| user.table.clone(), |(_, table)| table);
        self.toml.string("user_table", &table, &format!("AUTH_USER_MODEL, {}", user.label));
        if let Some(proof) = proof {
            if !matches!(proof.schema.as_str(), "" | "public") {
                self.toml.string(
                    "schema",
                    &proof.schema,
                    "where the service's own connection finds it",
                );
            }
            if proof.username_case == "fold" {
                self.toml.string("username_case", "fold", "get_by_natural_key compares so");
            }
        }
        if user.username_field != "username" && !self.choices.follows {
            self.toml.string("username_field", &user.username_field, "USERNAME_FIELD");
        }
        self.hashers();
        if user.groups.is_none() {
            self.toml.flag("groups", false, "the model has none");
        }
        self.columns(user, &place);
        self.what_else_is_asked();
        self.report.add(
            Weight::Fine,
            "directory",
            format!(
                "{}: table {} ({}), signed in by {}",
                user.label, user.table, database.kind, user.username_field
            ),
        );
    }

    /// Writes `database`, and the keys that belong to it.
    pub(super) fn database(&mut self, database: &DjangoDatabase) {
        let from = format!("DATABASES[{:?}]", database.alias);
        let address = self.address(database);
        self.toml.string("database", &address, &from);
        if database.kind == "sqlite" {
            return;
        }
        let password = database.password.clone();
        if !password.expose().is_empty() {
            let name = match database.alias.as_str() {
                "default" => "database-password".to_owned(),
                // This is a valid file name, whatever the project calls its database.
                alias => {
                    format!("database-password-{}", utf8_percent_encode(alias, IN_A_NAME))
                }
            };
            let file = self.file(&name, &password);
            self.toml.string("password_file", &file, &format!("{from}[\"PASSWORD\"]"));
        }
        match database.sslmode.as_str() {
            tls @ ("disable" | "prefer" | "require" | "verify-full") => {
                self.toml.string("tls", tls, "OPTIONS[\"sslmode\"]");
            }
            "verify-ca" => {
                self.toml.string("tls", "verify-full", "OPTIONS[\"sslmode\"] is verify-ca")
            }
            _ => {}
        }
        if !database.sslrootcert.is_empty() {
            self.toml.string("ca_file", &database.sslrootcert, "OPTIONS: the server's authority");
        }
        let says = "the gateway signs in there as the service's own user, with the password that the service uses";
        if self.report.tells("database", says) {
            return;
        }
        self.report.tell(
            Weight::Note,
            "database",
            says,
            "gateway.toml has the least GRANT for a user of the gateway's own, and docs/databases.md how to make one.",
        );
    }

    fn address(&mut self, database: &DjangoDatabase) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
        if database.kind == "sqlite" {
            return format!("sqlite://{}", database.name);
        }
        let (kind, user, name) = (&database.kind, encoded(&database.user), encoded(&database.name));
        let is_path = database.host.starts_with('/');
        let socket = match kind.as_str() {
            _ if !database.socket.is_empty() => Some(database.socket.clone()),
            _ if is_path => Some(database.host.clone()),
            "postgres" if database.host.is_empty() => POSTGRES_SOCKETS
                .into_iter()
                .find(|folder| std::path::Path::new(folder).join(".s.PGSQL.5432").exists())
                .or(POSTGRES_SOCKETS.first().copied())
                .map(str::to_owned),
            _ => None,
        };
        let port =
            if database.port.is_empty() { String::new() } else { format!(":{}", database.port) };
        if let Some(socket) = socket {
            return format!("{kind}://{user}@{port}/{name}?socket={}", encoded(&socket));
        }
        let host = match database.host.as_str() {
            "" | "localhost" if kind == "mysql" => {
                self.report.tell(
                    Weight::Warning,
                    "database",
                    "MySQL's client takes this host for a Unix socket that only it knows",
                    "The file says 127.0.0.1. If the server takes no TCP connections, write mysql://USER@/NAME?socket=PATH.",
                );
                "127.0.0.1".to_owned()
            }
            host if host.contains(':') => format!("[{host}]"),
            host => host.to_owned(),
        };
        format!("{kind}://{user}@{host}{port}/{name}")
    }

    fn hashers(&mut self) {
        let (known, unknown): (Vec<String>, Vec<String>) = self
            .facts
            .hashers
            .iter()
            .cloned()
            .partition(|name| PasswordHasher::parse(name).is_some());
        self.toml.list("hashers", &known, "PASSWORD_HASHERS");
        if !unknown.is_empty() {
            self.report.tell(
                Weight::Warning,
                "directory",
                format!(
                    "PASSWORD_HASHERS has some that the gateway does not know: {}",
                    unknown.join(", ")
                ),
                "Users whose password is stored this way cannot sign in at the gateway.",
            );
        }
    }

    fn columns(&mut self, user: &UserModel, place: &impl Fn(&str) -> Option<(String, String)>) {
        self.toml.table("[directory.columns]");
        for (key, column) in [
            ("id", &user.id),
            ("username", &user.username),
            ("password", &user.password),
            ("is_active", &user.is_active),
            ("is_staff", &user.is_staff),
            ("is_superuser", &user.is_superuser),
            ("email", &user.email),
        ] {
            let from = if key == "username" { "USERNAME_FIELD" } else { "" };
            self.toml.string(key, column, from);
        }
        if let Some(groups) = &user.groups {
            self.toml.table("[directory.groups]");
            for (key, name) in [
                ("group_table", &groups.group_table),
                ("membership_table", &groups.membership_table),
                ("user_column", &groups.user_column),
                ("group_column", &groups.group_column),
            ] {
                let name = match key {
                    "group_table" | "membership_table" => {
                        place(name).map_or_else(|| name.clone(), |(_, table)| table)
                    }
                    _ => name.clone(),
                };
                self.toml.raw(key, &quoted(&name), "");
            }
        }
    }
}
