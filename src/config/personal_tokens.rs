//! Reads `[personal_tokens]`: how long personal access tokens are valid, and how many a user may have.

use std::time::Duration;

use super::Route;
use super::raw::{RawTable, Wrong};
use super::units::{DAY, HOUR, days};

/// `[personal_tokens]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonalTokenSettings {
    /// The longest that a token is valid.
    pub max_lifetime: Duration,
    /// The most tokens that a user may have at the same time.
    pub max_per_user: usize,
}

impl Default for PersonalTokenSettings {
    fn default() -> Self {
        Self { max_lifetime: days(90), max_per_user: 20 }
    }
}

pub(super) fn personal_tokens(table: &RawTable<'_>) -> PersonalTokenSettings {
    let default = PersonalTokenSettings::default();
    PersonalTokenSettings {
        max_lifetime: table
            .duration("max_lifetime", HOUR..=3650 * DAY)
            .unwrap_or(default.max_lifetime),
        max_per_user: table.number("max_per_user", 1..=1000).unwrap_or(default.max_per_user),
    }
}

/// Reads `route.personal_tokens`.
pub(super) fn of_route(table: &RawTable<'_>, route: &Route) -> bool {
    let takes = table.flag("personal_tokens").unwrap_or_default();
    if takes && route.asks.asks() {
        let key = if route.asks.fresh.is_some() { "fresh" } else { "second_factor" };
        table.error(
            "personal_tokens",
            Wrong::new(format!("no personal access token satisfies route.{key}"))
                .help(format!("remove route.personal_tokens or route.{key}")),
        );
    }
    takes
}
