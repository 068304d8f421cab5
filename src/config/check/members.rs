//! Tables of names and templates: further members of answers and tokens.

use crate::config::raw::{Table, Wrong};
use crate::config::{Members, Template};

/// The members of the table under `key`; `is_taken` names those that stand there already.
pub(super) fn members(
    table: &Table<'_>,
    key: &'static str,
    is_taken: impl Fn(&str) -> bool,
) -> Members {
    let read = |members: &Table<'_>| {
        let mut all = Vec::new();
        for (name, text) in members.free() {
            if name.value.is_empty() || is_taken(&name.value) {
                let problem = if name.value.is_empty() {
                    Wrong::new("a member needs a name")
                } else {
                    Wrong::new(format!("{:?} is there already, with another meaning", name.value))
                };
                members.error_at(name.place, problem.help("give it another name"));
                continue;
            }
            match Template::parse(&text.value) {
                Ok(template) => all.push((name.value, template)),
                Err(no) => members.error_at(text.place, Wrong::new(no.message).help(no.help)),
            }
        }
        Members::new(all)
    };
    table.table(key, read)
}
