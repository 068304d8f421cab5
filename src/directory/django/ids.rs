//! Determines how the ids of a user table are spelled, from the type of their column.
//!
//! A `UUIDField` is a type of its own on PostgreSQL (and on MariaDB since 10.7), and 32 hexadecimal digits elsewhere, in a
//! column of `char(32)`; Django shows both with hyphens. A `CharField` is a `varchar`, whatever its contents: 32 hexadecimal
//! digits in it are shown as they are. So the database is asked once for the column's type.

use std::borrow::Cow;
use std::sync::Arc;

use crate::service::database::{Dialect, ServiceDatabase, Statement, uuid};

/// The spelling of ids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Spelling {
    /// Each value has one spelling, which is the row's.
    Exact,
    /// The ids are UUIDs, which have several spellings and are shown with hyphens.
    Uuid,
}

/// The statement that asks for the type of the id column.
pub(super) struct AskType(Statement);

impl Spelling {
    /// Returns the spelling of an id that is used in its user's key.
    pub(super) fn of<'i>(self, id: &'i str) -> Cow<'i, str> {
        match self {
            Self::Exact => Cow::Borrowed(id),
            Self::Uuid => uuid(id).map_or(Cow::Borrowed(id), Cow::Owned),
        }
    }
}

impl AskType {
    pub(super) fn new(
        database: &ServiceDatabase,
        table: &str,
        column: &str,
    ) -> Result<Self, String> {
        let dialect = database.dialect();
        let (schema, name) = database.place_of(table);
        let (sql, parameters): (Arc<str>, Vec<String>) = match dialect {
            Dialect::Sqlite => (
                "SELECT lower(type) FROM pragma_table_info(?1) WHERE lower(name) = lower(?2)"
                    .into(),
                vec![name, column.to_owned()],
            ),
            // This needs no right but to read the column.
            Dialect::Postgres => (
                format!(
                    "SELECT CAST(pg_typeof((SELECT u.{} FROM {} u LIMIT 1)) AS text)",
                    dialect.quoted(column)?,
                    database.table(table)?,
                )
                .into(),
                Vec::new(),
            ),
            Dialect::MySql => {
                let in_schema = match &schema {
                    Some(_) => "?",
                    None => "DATABASE()",
                };
                (
                    format!(
                        "SELECT CAST(column_type AS CHAR) FROM information_schema.columns \
                         WHERE table_schema = {in_schema} AND table_name = ? AND column_name = ?"
                    )
                    .into(),
                    schema.into_iter().chain([name, column.to_owned()]).collect(),
                )
            }
        };
        Ok(Self(Statement { sql, parameters }))
    }

    /// Returns the spelling, or `None` if there is no such column, which the next statement reports better.
    pub(super) async fn ask(&self, database: &ServiceDatabase) -> Result<Option<Spelling>, String> {
        let rows = database.ask(vec![self.0.clone()]).await?;
        let name = rows.into_iter().flatten().flatten().flatten().next();
        Ok(name.map(|name| match name.to_ascii_lowercase().as_str() {
            "uuid" | "char(32)" => Spelling::Uuid,
            _ => Spelling::Exact,
        }))
    }
}
