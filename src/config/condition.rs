//! Reads `condition` of a directory or of a table of devices: what is required of a row.

use super::raw::{RawTable, Wrong};
use super::values;

/// A condition that a row must meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The column that is tested.
    pub column: String,
    /// The test that its value must pass.
    pub holds: ColumnTest,
}

/// A test of a column's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnTest {
    /// The value is NULL.
    Null,
    /// The value is not NULL.
    NotNull,
    /// The value equals this constant.
    Equal(Constant),
}

/// A constant to compare with, of the column's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constant {
    /// A boolean.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
}

const NULLS: [(&str, ColumnTest); 2] =
    [("null", ColumnTest::Null), ("not-null", ColumnTest::NotNull)];

/// Reads the conditions, all of which must hold.
pub(super) fn conditions(table: &RawTable<'_>) -> Vec<Condition> {
    table.tables("condition", condition)
}

fn condition(table: &RawTable<'_>) -> Condition {
    table.require("column", "like column = \"deleted_at\"");
    let column = table.text("column", values::identifier).unwrap_or_default();
    let null = table.text("is", |text| {
        let found = NULLS.iter().find(|(word, _)| *word == text).map(|(_, holds)| holds.clone());
        found.ok_or_else(|| Wrong::choice(text, &NULLS.map(|(word, _)| word)))
    });
    let equal = table.constant("equals");
    if let Some(Constant::Text(text)) = &equal
        && (text.len() > 1024 || text.chars().any(char::is_control))
    {
        table.error("equals", Wrong::new("has a control character, or more than 1024 bytes"));
    }
    match (table.has("is"), table.has("equals")) {
        (true, true) => table.error(
            "equals",
            Wrong::new("cannot be combined with is")
                .help("write two conditions, both of which must hold"),
        ),
        (false, false) => {
            table.require("is", "is = \"null\", is = \"not-null\", or equals = a constant")
        }
        _ => {}
    }
    // The stand-in for a wrong condition is never used: the error ends the reading.
    let holds = null.or(equal.map(ColumnTest::Equal)).unwrap_or(ColumnTest::Null);
    Condition { column, holds }
}
