//! The statements for database servers, which differ by dialect in quotes, placeholders and types.
//!
//! Every column comes as a text that the server made, so that `bigint`, `uuid`, `boolean` and `tinyint(1)` need no types
//! here. One statement brings the user with the groups: a second one for known names only could be told by its time.
//!
//! What is looked for must have the column's type, or no index is used. PostgreSQL makes the text that type by putting it
//! into a record of the table; MySQL converts a constant by itself.

use std::sync::Arc;

use super::Settings;
use super::row::{Row, quoted, with_hyphens};
use crate::config::Engine;

/// One directory's statements.
pub(super) struct Statements {
    pub(super) by_name: Statement,
    pub(super) by_id: Statement,
    pub(super) newest_password: Arc<str>,
}

/// A statement that looks for a value.
pub(super) struct Statement {
    pub(super) sql: Arc<str>,
    second: Second,
}

/// What the second placeholder stands for.
enum Second {
    Nothing,
    /// PostgreSQL: the column whose type the value takes.
    Column(String),
    /// MySQL keeps a UUID without its hyphens.
    WithoutHyphens,
}

impl Statements {
    pub(super) fn new(engine: Engine, settings: &Settings) -> Result<Self, String> {
        let (quote, text) = match engine {
            Engine::Postgres => ('"', "text"),
            Engine::MySql => ('`', "CHAR"),
        };
        let columns = &settings.columns;
        let column = |name: &str| Ok::<_, String>(format!("u.{}", quoted(name, quote)?));
        let or = |name: &str, constant: &str| {
            if name.is_empty() { Ok(constant.to_owned()) } else { column(name) }
        };
        let table = quoted(&settings.user_table, quote)?;
        let id = column(&columns.id)?;
        let password = column(&columns.password)?;
        let groups = match &settings.groups {
            None => "NULL".to_owned(),
            Some(groups) => format!(
                "(SELECT {}(g.{}) FROM {} g JOIN {} m ON m.{} = g.{} WHERE m.{} = {id})",
                match engine {
                    Engine::Postgres => "json_agg",
                    Engine::MySql => "JSON_ARRAYAGG",
                },
                quoted("name", quote)?,
                quoted(&groups.group_table, quote)?,
                quoted(&groups.membership_table, quote)?,
                quoted(&groups.group_column, quote)?,
                quoted("id", quote)?,
                quoted(&groups.user_column, quote)?,
            ),
        };
        let selected = [
            id.clone(),
            column(&columns.username)?,
            password.clone(),
            or(&columns.is_active, "1")?,
            or(&columns.is_staff, "0")?,
            or(&columns.is_superuser, "0")?,
            or(&columns.email, "''")?,
            groups,
        ]
        .map(|value| format!("CAST({value} AS {text})"))
        .join(", ");
        let statement = |name: &str, is_id: bool| {
            let quoted = quoted(name, quote)?;
            let (wanted, second) = match engine {
                Engine::Postgres => (
                    format!(
                        "= (SELECT k.{quoted} FROM json_populate_record(CAST(NULL AS {table}), \
                         json_build_object(CAST($2 AS text), CAST($1 AS text))) k)"
                    ),
                    Second::Column(name.to_owned()),
                ),
                Engine::MySql if is_id => ("IN (?, ?)".to_owned(), Second::WithoutHyphens),
                Engine::MySql => ("= ?".to_owned(), Second::Nothing),
            };
            Ok::<_, String>(Statement {
                // Two rows show that the column is not unique.
                sql: format!("SELECT {selected} FROM {table} u WHERE u.{quoted} {wanted} LIMIT 2")
                    .into(),
                second,
            })
        };
        Ok(Self {
            by_name: statement(&columns.username, false)?,
            by_id: statement(&columns.id, true)?,
            newest_password: format!(
                "SELECT CAST({password} AS {text}) FROM {table} u WHERE {password} NOT LIKE '!%' \
                 AND {password} <> '' ORDER BY {id} DESC LIMIT 1"
            )
            .into(),
        })
    }
}

impl Statement {
    /// What stands for the placeholders.
    pub(super) fn parameters(&self, wanted: &str) -> Vec<String> {
        let mut all = vec![wanted.to_owned()];
        match &self.second {
            Second::Nothing => {}
            Second::Column(column) => all.push(column.clone()),
            Second::WithoutHyphens => all.push(wanted.replace('-', "")),
        }
        all
    }
}

/// A row as the statements select it.
pub(super) fn row(values: Vec<Option<String>>) -> Result<Row, String> {
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
