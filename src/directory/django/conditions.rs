//! Builds the conditions that a row must meet besides its name or id, and the test for a second factor.
//!
//! Both are parts of the one statement that reads a user, so that known and unknown names take the same time. A missing table
//! or column is an error, and is never treated as "no condition" or "no second factor".

use super::Settings;
use crate::config::{ColumnTest, Condition, Constant, SecondFactorTable, TakenOver, UserKeyColumn};
use crate::service::database::{Dialect, ServiceDatabase};

/// Returns ` AND ...` for each condition on the rows of `alias`; an empty text if there are none.
pub(super) fn all(
    dialect: Dialect,
    alias: &str,
    conditions: &[Condition],
) -> Result<String, String> {
    let mut sql = String::new();
    for condition in conditions {
        let column = format!("{alias}.{}", dialect.quoted(&condition.column)?);
        sql.push_str(" AND ");
        sql.push_str(&match &condition.holds {
            ColumnTest::Null => format!("{column} IS NULL"),
            ColumnTest::NotNull => format!("{column} IS NOT NULL"),
            ColumnTest::Equal(constant) => format!("{column} = {}", literal(dialect, constant)),
        });
    }
    Ok(sql)
}

/// Returns SQL for whether the user `u` has a device in one of the tables, and none that the gateway checks itself.
pub(super) fn second_factor(
    database: &ServiceDatabase,
    settings: &Settings,
) -> Result<String, String> {
    if settings.second_factors.is_empty() {
        return Ok("0".to_owned());
    }
    let any_of = |tables: &[SecondFactorTable]| {
        let tables = tables.iter().map(|table| has_device(database, settings, table));
        Ok::<_, String>(format!("({})", tables.collect::<Result<Vec<_>, _>>()?.join(" OR ")))
    };
    let elsewhere = any_of(&settings.second_factors)?;
    let here: Vec<SecondFactorTable> =
        settings.taken_over.iter().flat_map(TakenOver::tables).collect();
    match here.is_empty() {
        true => Ok(elsewhere),
        false => Ok(format!("({elsewhere} AND NOT {})", any_of(&here)?)),
    }
}

fn has_device(
    database: &ServiceDatabase,
    settings: &Settings,
    table: &SecondFactorTable,
) -> Result<String, String> {
    let dialect = database.dialect();
    let key = match table.user_key {
        UserKeyColumn::Id => &settings.columns.id,
        UserKeyColumn::Username => &settings.columns.username,
    };
    Ok(format!(
        "EXISTS (SELECT 1 FROM {} f WHERE f.{} = u.{}{})",
        database.table(&table.table)?,
        dialect.quoted(&table.user_column)?,
        dialect.quoted(key)?,
        all(dialect, "f", &table.conditions)?,
    ))
}

/// Returns a constant as SQL. It is the operator's own and not a placeholder, since placeholders are counted in the order of
/// the text.
fn literal(dialect: Dialect, constant: &Constant) -> String {
    match (constant, dialect) {
        (Constant::Flag(flag), Dialect::Postgres) => flag.to_string(),
        (Constant::Flag(flag), Dialect::Sqlite | Dialect::MySql) => u8::from(*flag).to_string(),
        (Constant::Number(number), _) => format!("({number})"),
        (Constant::Text(text), Dialect::Sqlite) => format!("'{}'", text.replace('\'', "''")),
        // The literal has no type yet and takes the column's. It reads the same however the server treats a backslash.
        (Constant::Text(text), Dialect::Postgres) => {
            format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
        }
        (Constant::Text(text), Dialect::MySql) => {
            let digits: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
            format!("_utf8mb4 X'{digits}'")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_stays_one_whatever_is_in_it() {
        let text = |text: &str| Constant::Text(text.to_owned());
        for (dialect, constant, sql) in [
            (Dialect::Sqlite, Constant::Flag(true), "1"),
            (Dialect::MySql, Constant::Flag(false), "0"),
            (Dialect::Postgres, Constant::Flag(false), "false"),
            (Dialect::Postgres, Constant::Number(-2), "(-2)"),
            (Dialect::Sqlite, text("it's \\"), "'it''s \\'"),
            (Dialect::Postgres, text("it's \\"), "E'it''s \\\\'"),
            (Dialect::MySql, text("it's"), "_utf8mb4 X'69742773'"),
            (Dialect::MySql, text(""), "_utf8mb4 X''"),
        ] {
            assert_eq!(literal(dialect, &constant), sql);
        }
    }
}
