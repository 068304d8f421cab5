//! Turns a row of the user table into an account, and has the rules for names and ids that all databases share.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Account;
use crate::caller::{Identity, UserKey};
use crate::secret::Secret;

/// A row of the user table, with the user's groups.
pub(super) struct UserRow {
    /// The primary key as Django writes it.
    pub(super) id: String,
    pub(super) name: String,
    pub(super) password: Option<String>,
    pub(super) active: bool,
    pub(super) staff: bool,
    pub(super) superuser: bool,
    pub(super) email: String,
    pub(super) groups: Vec<String>,
    pub(super) has_second_factor: bool,
}

impl UserRow {
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
            has_second_factor: self.has_second_factor,
            // A user without a password cannot sign in with one.
            password: Secret::new(self.password.unwrap_or_default()),
        }
    }
}

/// Returns the only row, or `None`. More than one row is an error.
pub(super) fn only(
    rows: impl IntoIterator<Item = UserRow>,
) -> Result<Option<UserRow>, &'static str> {
    let mut rows = rows.into_iter();
    let found = rows.next();
    if rows.next().is_some() {
        return Err("two users have the same name");
    }
    Ok(found)
}

/// Whether two names differ in nothing but case, which is all that a collation may ignore here.
pub(super) fn same_but_for_case(a: &str, b: &str) -> bool {
    let folded = |text: &str| -> String {
        text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
    };
    a == b || folded(a) == folded(b)
}

#[cfg(test)]
mod tests {
    use super::*;

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
