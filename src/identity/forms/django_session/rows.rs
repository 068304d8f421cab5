//! Reads and writes the service's table of sessions.
//!
//! Every statement that writes names one row by its key, and is idempotent: the database runs it again if its answer was
//! lost.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::config::Database;
use crate::config::LastLogin;
use crate::service::database::{DatabaseAccess, Databases, Dialect, ServiceDatabase, Statement};

/// The table `django_session`.
pub(super) struct Rows {
    database: Arc<ServiceDatabase>,
    select: Arc<str>,
    insert: Arc<str>,
    renew: Arc<str>,
    delete: Arc<str>,
}

/// The column with the time of a user's last sign-in.
pub(super) struct SignIns {
    database: Arc<ServiceDatabase>,
    update: Arc<str>,
}

impl Rows {
    pub(super) fn new(
        settings: &Database,
        table: &str,
        databases: &Databases,
    ) -> Result<Self, String> {
        let database = databases.open(settings, DatabaseAccess::Write);
        let dialect = database.dialect();
        let table = database.table(table)?;
        let column = |name: &str| dialect.quoted(name);
        let (key, data, expires) =
            (column("session_key")?, column("session_data")?, column("expire_date")?);
        let at = |place| dialect.placeholder(place);
        let date = |place| dialect.date(place);
        let there_already = match dialect {
            Dialect::Sqlite | Dialect::Postgres => {
                format!(
                    "ON CONFLICT ({key}) DO UPDATE SET {data} = {}, {expires} = {}",
                    at(2),
                    date(3)
                )
            }
            // MySQL's placeholders have no numbers, so these two values are repeated.
            Dialect::MySql => format!("ON DUPLICATE KEY UPDATE {data} = ?, {expires} = ?"),
        };
        Ok(Self {
            select: format!(
                "SELECT {} FROM {table} s WHERE s.{key} = {}",
                dialect.as_text(&format!("s.{data}")),
                at(1)
            )
            .into(),
            insert: format!(
                "INSERT INTO {table} ({key}, {data}, {expires}) VALUES ({}, {}, {}) {there_already}",
                at(1),
                at(2),
                date(3)
            )
            .into(),
            renew: format!("UPDATE {table} SET {expires} = {} WHERE {key} = {}", date(1), at(2))
                .into(),
            delete: format!("DELETE FROM {table} WHERE {key} = {}", at(1)).into(),
            database,
        })
    }

    /// Returns the data of a row.
    pub(super) async fn read(&self, key: &str) -> Result<Option<String>, String> {
        let asked = Statement { sql: Arc::clone(&self.select), parameters: vec![key.to_owned()] };
        let rows = self.database.ask(vec![asked]).await?;
        Ok(rows.into_iter().flatten().flatten().flatten().next())
    }

    /// Inserts the row or replaces its data and its expiry time.
    pub(super) async fn write(
        &self,
        key: &str,
        data: String,
        expires_at: Timestamp,
    ) -> Result<(), String> {
        let expires = self.database.dialect().written_date(expires_at);
        let mut parameters = vec![key.to_owned(), data.clone(), expires.clone()];
        if self.database.dialect() == Dialect::MySql {
            parameters.extend([data, expires]);
        }
        self.change(&self.insert, parameters).await.map(drop)
    }

    /// Changes the row's expiry time. Returns whether the row exists.
    pub(super) async fn renew(&self, key: &str, expires_at: Timestamp) -> Result<bool, String> {
        let expires = self.database.dialect().written_date(expires_at);
        Ok(self.change(&self.renew, vec![expires, key.to_owned()]).await? > 0)
    }

    /// Deletes the row.
    pub(super) async fn delete(&self, key: &str) -> Result<(), String> {
        self.change(&self.delete, vec![key.to_owned()]).await.map(drop)
    }

    async fn change(&self, sql: &Arc<str>, parameters: Vec<String>) -> Result<u64, String> {
        self.database.change(Statement { sql: Arc::clone(sql), parameters }).await
    }
}

impl SignIns {
    pub(super) fn new(settings: &LastLogin, databases: &Databases) -> Result<Self, String> {
        let database = databases.open(&settings.database, DatabaseAccess::Write);
        let dialect = database.dialect();
        let table = database.table(&settings.table)?;
        let update = format!(
            "UPDATE {table} SET {} = {} WHERE {} {}",
            dialect.quoted("last_login")?,
            dialect.date(1),
            dialect.quoted(&settings.id)?,
            dialect.is_key(&table, &settings.id, 2)?,
        );
        Ok(Self { database, update: update.into() })
    }

    pub(super) async fn note(&self, user: &str, at: Timestamp) -> Result<(), String> {
        let dialect = self.database.dialect();
        let mut parameters = vec![dialect.written_date(at)];
        parameters.extend(dialect.key_parameters(user));
        let noted = Statement { sql: Arc::clone(&self.update), parameters };
        match self.database.change(noted).await? {
            0 => Err("there is no such user".into()),
            _ => Ok(()),
        }
    }
}
