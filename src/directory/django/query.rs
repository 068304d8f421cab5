//! The statements, and a row made an account.
//!
//! Table and column names come from the configuration, so they are quoted, and a column is always written with its
//! table: SQLite takes a quoted name that it does not know for a text, but not when a table stands before it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Account, Connection, OptionalExtension, Secret, Settings, Trouble, UserKey, Value};
use crate::caller::Identity;

/// The statements of one directory.
pub(super) struct Queries {
    by_name: String,
    by_id: String,
    groups: Option<String>,
    newest_password: String,
}

/// A row of the user table.
pub(super) struct Row {
    key: Value,
    id: String,
    name: String,
    password: Option<String>,
    active: bool,
    staff: bool,
    superuser: bool,
    email: String,
}

impl Queries {
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let columns = &settings.columns;
        let column = |name: &str| Ok::<_, String>(format!("u.{}", quoted(name)?));
        // What is not configured is a constant, so that all rows have one shape.
        let or = |name: &str, constant: &str| {
            if name.is_empty() { Ok(constant.to_owned()) } else { column(name) }
        };
        let (id, name) = (column(&columns.id)?, column(&columns.username)?);
        let password = column(&columns.password)?;
        let table = quoted(&settings.user_table)?;
        let select = format!(
            "SELECT {id}, {name}, {password}, {}, {}, {}, {} FROM {table} u",
            or(&columns.is_active, "1")?,
            or(&columns.is_staff, "0")?,
            or(&columns.is_superuser, "0")?,
            or(&columns.email, "''")?,
        );
        let groups = settings.groups.as_ref().map(|groups| {
            Ok::<_, String>(format!(
                "SELECT g.\"name\" FROM {} g JOIN {} m ON m.{} = g.\"id\" WHERE m.{} = ?1",
                quoted(&groups.group_table)?,
                quoted(&groups.membership_table)?,
                quoted(&groups.group_column)?,
                quoted(&groups.user_column)?,
            ))
        });
        Ok(Self {
            // Two rows show that the column is not unique.
            by_name: format!("{select} WHERE {name} = ?1 COLLATE BINARY LIMIT 2"),
            by_id: format!("{select} WHERE {id} IN (?1, ?2) LIMIT 2"),
            groups: groups.transpose()?,
            newest_password: format!(
                "SELECT {password} FROM {table} u WHERE {password} NOT LIKE '!%' AND {password} <> '' \
                 ORDER BY {id} DESC LIMIT 1"
            ),
        })
    }

    pub(super) fn by_name(&self, db: &Connection, name: &str) -> Result<Option<Row>, Trouble> {
        only(db, &self.by_name, [name], |row| row.name == name)
    }

    pub(super) fn by_id(&self, db: &Connection, id: &str) -> Result<Option<Row>, Trouble> {
        // The comparison of the text at the end refuses what SQLite's affinities let through ("07" for 7).
        only(db, &self.by_id, [id, id.replace('-', "").as_str()], |row| row.id == id)
    }

    pub(super) fn newest_password(&self, db: &Connection) -> Result<Option<String>, Trouble> {
        let mut statement = db.prepare_cached(&self.newest_password)?;
        Ok(statement.query_row([], |row| row.get(0)).optional()?)
    }

    pub(super) fn account(
        &self,
        db: &Connection,
        directory: &str,
        row: Row,
    ) -> Result<Account, Trouble> {
        let mut groups: Vec<String> = match &self.groups {
            Some(groups) => db
                .prepare_cached(groups)?
                .query_map([&row.key], |row| row.get(0))?
                .collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        groups.sort();
        groups.dedup();
        let mut attributes = BTreeMap::new();
        if !row.email.is_empty() {
            attributes.insert("email".to_owned(), row.email);
        }
        Ok(Account {
            identity: Arc::new(Identity {
                key: UserKey::new(directory, &row.id),
                name: row.name,
                groups,
                staff: row.staff,
                superuser: row.superuser,
                attributes,
            }),
            active: row.active,
            // No password is no way in.
            password: Secret::new(row.password.unwrap_or_default()),
        })
    }
}

/// The one row; none, if there is none or it is not `the_one` that was asked for.
fn only(
    db: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
    the_one: impl Fn(&Row) -> bool,
) -> Result<Option<Row>, Trouble> {
    let mut statement = db.prepare_cached(sql)?;
    let mut found = None;
    let mut rows = statement.query(parameters)?;
    while let Some(row) = rows.next()? {
        let row = Row::read(row)?;
        if the_one(&row) && found.replace(row).is_some() {
            return Err(Trouble::Shape("two users have the same name".into()));
        }
    }
    Ok(found)
}

impl Row {
    fn read(row: &rusqlite::Row<'_>) -> Result<Self, Trouble> {
        let key: Value = row.get(0)?;
        let id = match &key {
            Value::Integer(id) => id.to_string(),
            Value::Text(id) => with_hyphens(id),
            Value::Null | Value::Real(_) | Value::Blob(_) => {
                return Err(Trouble::Shape("a user's id is neither a number nor a text".into()));
            }
        };
        Ok(Self {
            key,
            id,
            name: row.get(1)?,
            password: row.get(2)?,
            active: is_true(row.get(3)?),
            staff: is_true(row.get(4)?),
            superuser: is_true(row.get(5)?),
            email: row.get::<_, Option<String>>(6)?.unwrap_or_default(),
        })
    }
}

/// NULL is not true, and neither is anything but a number other than 0.
fn is_true(value: Option<Value>) -> bool {
    matches!(value, Some(Value::Integer(number)) if number != 0)
}

/// A UUID as Django shows it; any other text as it is.
fn with_hyphens(id: &str) -> String {
    let digits = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let parts = [id.get(..8), id.get(8..12), id.get(12..16), id.get(16..20), id.get(20..)];
    match parts {
        [Some(a), Some(b), Some(c), Some(d), Some(e)]
            if id.len() == 32 && id.chars().all(digits) =>
        {
            format!("{a}-{b}-{c}-{d}-{e}")
        }
        _ => id.to_owned(),
    }
}

fn quoted(name: &str) -> Result<String, String> {
    if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
        return Err(format!("no table or column is called {name:?}"));
    }
    Ok(format!("\"{}\"", name.replace('"', "\"\"")))
}
