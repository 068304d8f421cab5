//! Builds the statements that look users up, which differ by dialect in quotes, placeholders and types.
//!
//! One statement reads the user with the groups: a second statement for known names only would be visible in the time.
//!
//! On SQLite a column is always written with its table: SQLite takes an unknown quoted name for a text, unless a table stands
//! before it. A boolean there is a number; any other value is not true.

use std::sync::Arc;

use super::Settings;
use super::conditions::{all, second_factor};
use super::row::UserRow;
use crate::config::UsernameCase;
use crate::service::database::{Dialect, QueryTexts, ServiceDatabase, Statement};

/// The statements of one directory.
pub(super) struct Statements {
    dialect: Dialect,
    username_case: UsernameCase,
    by_name: Arc<str>,
    by_id: Arc<str>,
    newest_password: Arc<str>,
    /// `None` if no column has addresses.
    by_address: Option<Arc<str>>,
}

impl Statements {
    pub(super) fn new(database: &ServiceDatabase, settings: &Settings) -> Result<Self, String> {
        let dialect = database.dialect();
        let columns = &settings.columns;
        let column = |name: &str| Ok::<_, String>(format!("u.{}", dialect.quoted(name)?));
        // A column that is not configured is a constant, so that all rows have the same columns.
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
        let table = database.table(&settings.user_table)?;
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
                database.table(&groups.group_table)?,
                database.table(&groups.membership_table)?,
                dialect.quoted(&groups.group_column)?,
                dialect.quoted("id")?,
                dialect.quoted(&groups.user_column)?,
            ),
        };
        let has_second_factor = second_factor(database, settings)?;
        let selected = [
            id.clone(),
            column(&columns.username)?,
            password.clone(),
            boolean(&columns.is_active, "1")?,
            boolean(&columns.is_staff, "0")?,
            boolean(&columns.is_superuser, "0")?,
            or(&columns.email, "''")?,
            groups,
            has_second_factor,
        ]
        .map(|value| dialect.as_text(&value))
        .join(", ");
        let username = column(&columns.username)?;
        let is_name = match settings.username_case {
            UsernameCase::Exact | UsernameCase::Lower => match dialect {
                // The comparison is exact, whatever collation the column has.
                Dialect::Sqlite => format!("{username} = ?1 COLLATE BINARY"),
                Dialect::Postgres | Dialect::MySql => {
                    format!("{username} {}", dialect.is_value(&table, &columns.username, 1)?)
                }
            },
            // These are the comparisons of Django's `iexact`.
            UsernameCase::Fold => match dialect {
                Dialect::Sqlite => format!("{username} LIKE ?1 ESCAPE '\\'"),
                Dialect::MySql => format!("{username} LIKE ? ESCAPE '|'"),
                Dialect::Postgres => {
                    format!("UPPER({}) = UPPER(CAST($1 AS text))", dialect.as_text(&username))
                }
            },
        };
        let by_address = match columns.email.as_str() {
            "" => None,
            email => Some(format!(
                "SELECT {} FROM {table} u WHERE LOWER(TRIM({})) = LOWER({}) LIMIT 2",
                dialect.as_text(&id),
                dialect.as_text(&column(email)?),
                dialect.as_text(&dialect.placeholder(1)),
            )),
        };
        let is_id = format!("{id} {}", dialect.is_key(&table, &columns.id, 1)?);
        let conditions = all(dialect, "u", &settings.conditions)?;
        // Two rows are asked for, to detect that the column is not unique.
        let statement = |wanted: &str| {
            format!("SELECT {selected} FROM {table} u WHERE {wanted}{conditions} LIMIT 2").into()
        };
        Ok(Self {
            dialect,
            username_case: settings.username_case,
            by_name: statement(&is_name),
            by_id: statement(&is_id),
            by_address: by_address.map(Into::into),
            newest_password: format!(
                "SELECT {} FROM {table} u WHERE {password} NOT LIKE '!%' AND {password} <> '' \
                 ORDER BY {id} DESC LIMIT 1",
                dialect.as_text(&password),
            )
            .into(),
        })
    }

    pub(super) fn by_name(&self, name: &str) -> Statement {
        let asked = match (self.username_case, self.dialect) {
            (UsernameCase::Fold, Dialect::Sqlite) => escaped(name, '\\'),
            (UsernameCase::Fold, Dialect::MySql) => escaped(name, '|'),
            _ => name.to_owned(),
        };
        Statement { sql: Arc::clone(&self.by_name), parameters: vec![asked] }
    }

    pub(super) fn by_id(&self, id: &str) -> Statement {
        Statement { sql: Arc::clone(&self.by_id), parameters: self.dialect.key_parameters(id) }
    }

    /// Returns the statement that reads the users with an address, whether or not they may sign in: all of them read what is
    /// sent there.
    pub(super) fn by_address(&self, address: &str) -> Option<Statement> {
        let sql = Arc::clone(self.by_address.as_ref()?);
        Some(Statement { sql, parameters: vec![address.to_owned()] })
    }

    pub(super) fn newest_password(&self) -> Statement {
        Statement { sql: Arc::clone(&self.newest_password), parameters: Vec::new() }
    }
}

/// Returns a pattern of LIKE that matches only the text itself, in any case.
fn escaped(text: &str, escape: char) -> String {
    let mut pattern = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '%' | '_') || letter == escape {
            pattern.push(escape);
        }
        pattern.push(letter);
    }
    pattern
}

/// Parses a row as the statements select it.
pub(super) fn row(values: QueryTexts) -> Result<UserRow, String> {
    let Ok([id, name, password, active, staff, superuser, email, groups, second_factor]) =
        <[Option<String>; 9]>::try_from(values)
    else {
        return Err("a row has other columns than were asked for".into());
    };
    let groups: Vec<String> = match groups {
        None => Vec::new(),
        Some(json) => {
            serde_json::from_str(&json).map_err(|_| "a user's groups are not a list of names")?
        }
    };
    Ok(UserRow {
        id: id.ok_or("a user has no id")?,
        name: name.ok_or("a user has no name")?,
        password,
        active: is_true(active),
        staff: is_true(staff),
        superuser: is_true(superuser),
        email: email.unwrap_or_default(),
        groups,
        has_second_factor: is_true(second_factor),
    })
}

/// Whether the value is true: `true` is PostgreSQL's boolean; whole numbers are MySQL's. NULL is not true.
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
            vec![id, one("kim"), None, one("1"), one("0"), one("0"), None, groups, one("0")]
        };
        assert_eq!(row(values(Some("7"), Some("[\"a\", \"b\"]"))).unwrap().groups, ["a", "b"]);
        assert!(row(values(Some("7"), None)).unwrap().groups.is_empty());
        assert!(row(values(None, None)).is_err());
        assert!(row(values(Some("7"), Some("[\"cut o"))).is_err());
        assert!(row(Vec::new()).is_err());
    }
}
