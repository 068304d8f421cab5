//! Reads `[account]`: what users may do on the page of their account.

use super::notify::{self, Notify};
use super::raw::RawTable;

/// `[account]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSettings {
    /// Whether users may change their password at the gateway, where their directory can.
    pub change_password: bool,
    /// The fewest characters of a new password.
    pub password_min_length: usize,
    /// Where users change their password otherwise.
    pub password_change_url: Option<String>,
}

impl Default for AccountSettings {
    fn default() -> Self {
        Self { change_password: true, password_min_length: 8, password_change_url: None }
    }
}

pub(super) fn account(table: &RawTable<'_>, notify: &Notify) -> AccountSettings {
    let default = AccountSettings::default();
    let in_letters = || notify.mail.as_ref().and_then(|mail| mail.password_change_url.clone());
    AccountSettings {
        change_password: table.flag("change_password").unwrap_or(default.change_password),
        password_min_length: table
            .number("password_min_length", 8..=128)
            .unwrap_or(default.password_min_length),
        password_change_url: table.text("password_change_url", notify::page).or_else(in_letters),
    }
}
