//! A row of the user table, made an account; and what all databases have in common about names and ids.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Account;
use crate::caller::{Identity, UserKey};
use crate::secret::Secret;

/// A row of the user table, and the groups that lead to it.
pub(super) struct Row {
    /// The primary key as Django writes it.
    pub(super) id: String,
    pub(super) name: String,
    pub(super) password: Option<String>,
    pub(super) active: bool,
    pub(super) staff: bool,
    pub(super) superuser: bool,
    pub(super) email: String,
    pub(super) groups: Vec<String>,
}

impl Row {
    pub(super) fn into_account(mut self, directory: &str) -> Account {
        self.groups.sort();
        self.groups.dedup();
        let mut attributes = BTreeMap::new();
        if !self.email.is_empty() {
            attributes.insert("email".to_owned(), self.email);
        }
        Account {
            identity: Arc::new(Identity {
                key: UserKey::new(directory, &self.id),
                name: self.name,
                groups: self.groups,
                staff: self.staff,
                superuser: self.superuser,
                attributes,
            }),
            active: self.active,
            // No password is no way in.
            password: Secret::new(self.password.unwrap_or_default()),
        }
    }
}

/// The one row; none if there is none.
pub(super) fn only(rows: impl IntoIterator<Item = Row>) -> Result<Option<Row>, &'static str> {
    let mut rows = rows.into_iter();
    let found = rows.next();
    if rows.next().is_some() {
        return Err("two users have the same name");
    }
    Ok(found)
}

/// A UUID as Django shows it; any other text as it is.
pub(super) fn with_hyphens(id: &str) -> String {
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

/// The same name but for case: what remains of a collation that lets other case through.
pub(super) fn same_but_for_case(a: &str, b: &str) -> bool {
    let folded = |text: &str| -> String {
        text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
    };
    a == b || folded(a) == folded(b)
}

/// A name from the configuration, between a dialect's quotes.
pub(super) fn quoted(name: &str, quote: char) -> Result<String, String> {
    if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
        return Err(format!("no table or column is called {name:?}"));
    }
    Ok(format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        assert_eq!(quoted("a\"b`c", '"').unwrap(), "\"a\"\"b`c\"");
        assert_eq!(quoted("a\"b`c", '`').unwrap(), "`a\"b``c`");
        for name in ["", "a\0b", "a\nb"] {
            assert!(quoted(name, '"').is_err(), "{name:?}");
        }
    }

    #[test]
    fn what_a_collation_ignores_beside_case_makes_another_name() {
        for (a, b) in [("kim", "KIM"), ("É", "é"), ("strasse", "STRASSE"), ("ΣΑΣ", "σας")] {
            assert!(same_but_for_case(a, b), "{a} {b}");
        }
        for (a, b) in
            [("kim", "kím"), ("kim", "kim "), ("kim", "ｋｉｍ"), ("kim", "kin"), ("", " ")]
        {
            assert!(!same_but_for_case(a, b), "{a} {b}");
        }
    }
}
