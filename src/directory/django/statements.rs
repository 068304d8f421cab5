//! The statements that look users up, which differ by dialect in quotes, placeholders and types.
//!
//! One statement brings the user with the groups: a second one for known names only could be told by its time.
//!
//! On SQLite a column is always written with its table: it takes a quoted name that it does not know for a text, but not
//! when a table stands before it. A boolean there is a number; what is none is not true.

use std::sync::Arc;

use super::Settings;
use super::row::Row;
use crate::directory::database::{Dialect, Statement, Texts, with_hyphens};

/// One directory's statements.
pub(super) struct Statements {
    dialect: Dialect,
    by_name: Arc<str>,
    by_id: Arc<str>,
    newest_password: Arc<str>,
}

impl Statements {
    pub(super) fn new(dialect: Dialect, settings: &Settings) -> Result<Self, String> {
        let columns = &settings.columns;
        let column = |name: &str| Ok::<_, String>(format!("u.{}", dialect.quoted(name)?));
        // What is not configured is a constant, so that all rows have one shape.
        let or = |name: &str, constant: &str| {
            if name.is_empty() { Ok(constant.to_owned()) } else { column(name) }
        };
        let boolean = |name: &str, constant: &str| {
            let value = or(name, constant)?;
            Ok::<_, String>(match dialect {
                Dialect::Sqlite => format!("(typeof({value}) = 'integer' AND {value} <> 0)"),
                Dialect::Postgres | Dialect::MySql => value,
            })
        };
        let table = dialect.quoted(&settings.user_table)?;
        let id = column(&columns.id)?;
        let password = column(&columns.password)?;
        let groups = match &settings.groups {
            None => "NULL".to_owned(),
            Some(groups) => format!(
                "(SELECT {}(g.{}) FROM {} g JOIN {} m ON m.{} = g.{} WHERE m.{} = {id})",
                match dialect {
                    Dialect::Sqlite => "json_group_array",
                    Dialect::Postgres => "json_agg",
                    Dialect::MySql => "JSON_ARRAYAGG",
                },
                dialect.quoted("name")?,
                dialect.quoted(&groups.group_table)?,
                dialect.quoted(&groups.membership_table)?,
                dialect.quoted(&groups.group_column)?,
                dialect.quoted("id")?,
                dialect.quoted(&groups.user_column)?,
            ),
        };
        let selected = [
            id.clone(),
            column(&columns.username)?,
            password.clone(),
            boolean(&columns.is_active, "1")?,
            boolean(&columns.is_staff, "0")?,
            boolean(&columns.is_superuser, "0")?,
            or(&columns.email, "''")?,
            groups,
        ]
        .map(|value| dialect.as_text(&value))
        .join(", ");
        let is_name = match dialect {
            // Whatever collation the column has.
            Dialect::Sqlite => "= ?1 COLLATE BINARY".to_owned(),
            Dialect::Postgres | Dialect::MySql => {
                dialect.is_value(&settings.user_table, &columns.username, 1)?
            }
        };
        let is_id = dialect.is_key(&settings.user_table, &columns.id, 1)?;
        // Two rows show that the column is not unique.
        let statement = |column: &str, wanted: &str| {
            format!("SELECT {selected} FROM {table} u WHERE {column} {wanted} LIMIT 2").into()
        };
        Ok(Self {
            dialect,
            by_name: statement(&column(&columns.username)?, &is_name),
            by_id: statement(&id, &is_id),
            newest_password: format!(
                "SELECT {} FROM {table} u WHERE {password} NOT LIKE '!%' AND {password} <> '' \
                 ORDER BY {id} DESC LIMIT 1",
                dialect.as_text(&password),
            )
            .into(),
        })
    }

    pub(super) fn by_name(&self, name: &str) -> Statement {
        Statement { sql: Arc::clone(&self.by_name), parameters: vec![name.to_owned()] }
    }

    pub(super) fn by_id(&self, id: &str) -> Statement {
        Statement { sql: Arc::clone(&self.by_id), parameters: self.dialect.key_parameters(id) }
    }

    pub(super) fn newest_password(&self) -> Statement {
        Statement { sql: Arc::clone(&self.newest_password), parameters: Vec::new() }
    }
}

/// A row as the statements select it.
pub(super) fn row(values: Texts) -> Result<Row, String> {
    let Ok([id, name, password, active, staff, superuser, email, groups]) =
        <[Option<String>; 8]>::try_from(values)
    else {
        return Err("a row has other columns than were asked for".into());
    };
    let groups: Vec<String> = match groups {
        None => Vec::new(),
        Some(json) => {
            serde_json::from_str(&json).map_err(|_| "a user's groups are no list of names")?
        }
    };
    Ok(Row {
        id: with_hyphens(&id.ok_or("a user has no id")?),
        name: name.ok_or("a user has no name")?,
        password,
        active: is_true(active),
        staff: is_true(staff),
        superuser: is_true(superuser),
        email: email.unwrap_or_default(),
        groups,
    })
}

/// `true` is PostgreSQL's boolean; whole numbers are MySQL's. NULL is not true.
fn is_true(value: Option<String>) -> bool {
    value.is_some_and(|text| text == "true" || text.parse::<i64>().is_ok_and(|number| number != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_true_is_true() {
        for (text, expected) in [
            ("true", true),
            ("1", true),
            ("-1", true),
            ("false", false),
            ("0", false),
            ("", false),
            ("t", false),
            ("yes", false),
            ("\u{1}", false),
        ] {
            assert_eq!(is_true(Some(text.into())), expected, "{text:?}");
        }
        assert!(!is_true(None));
    }

    #[test]
    fn a_row_that_is_not_one_is_trouble() {
        let values = |id: Option<&str>, groups: Option<&str>| {
            let one = |text: &str| Some(text.to_owned());
            let (id, groups) = (id.map(Into::into), groups.map(Into::into));
            vec![id, one("kim"), None, one("1"), one("0"), one("0"), None, groups]
        };
        assert_eq!(row(values(Some("7"), Some("[\"a\", \"b\"]"))).unwrap().groups, ["a", "b"]);
        assert!(row(values(Some("7"), None)).unwrap().groups.is_empty());
        assert!(row(values(None, None)).is_err());
        assert!(row(values(Some("7"), Some("[\"cut o"))).is_err());
        assert!(row(Vec::new()).is_err());
    }
}
