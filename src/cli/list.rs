//! Prints lists: columns for people, or with `--json` the same for programs.

use serde_json::Value;

use crate::command::{CommandFailure, say};

/// The format of a list: for people or for programs.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Format {
    /// Print JSON, for programs.
    #[arg(long)]
    pub(super) json: bool,
}

/// One column: its heading, and a member of each row.
pub(super) type ListColumn = (&'static str, &'static str);

/// Prints `listed`, an object whose one member is the list.
pub(super) fn show(
    format: Format,
    columns: &[ListColumn],
    listed: &Value,
) -> Result<(), CommandFailure> {
    if format.json {
        return say(format_args!("{listed:#}"));
    }
    let rows = listed.as_object().into_iter().flat_map(|members| members.values());
    let rows = rows.filter_map(Value::as_array).flatten();
    let rows: Vec<Vec<String>> = std::iter::once(heads(columns))
        .chain(rows.map(|row| columns.iter().map(|(_, name)| cell(row.get(name))).collect()))
        .collect();
    for row in &rows {
        let mut line = String::new();
        for (column, text) in row.iter().enumerate() {
            let of_column = rows.iter().filter_map(|row| row.get(column));
            let width = of_column.map(|cell| cell.chars().count()).max().unwrap_or_default();
            line += &format!("{text:width$}  ");
        }
        say(format_args!("{}", line.trim_end()))?;
    }
    Ok(())
}

fn heads(columns: &[ListColumn]) -> Vec<String> {
    columns.iter().map(|(head, _)| (*head).to_owned()).collect()
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => plain(text),
        Some(Value::Array(all)) if all.is_empty() => "-".to_owned(),
        Some(Value::Array(all)) => {
            all.iter().map(|one| cell(Some(one))).collect::<Vec<_>>().join(",")
        }
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(other) => plain(&other.to_string()),
    }
}

/// Replaces control characters: strangers choose some of the texts, and must not control the terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cell_is_one_word_or_a_sign_that_there_is_none() {
        for (value, text) in [
            (json!("kim"), "kim"),
            (json!(""), "-"),
            (Value::Null, "-"),
            (json!([]), "-"),
            (json!(["a", "b"]), "a,b"),
            (json!(true), "yes"),
            (json!(7), "7"),
            (json!("a\u{1b}[2Jb"), "a\u{fffd}[2Jb"),
        ] {
            assert_eq!(cell(Some(&value)), text);
        }
        assert_eq!(cell(None), "-");
    }
}
