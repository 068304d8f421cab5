//! `[geo]`: the database of places.

use std::path::PathBuf;

use super::raw::Table;

/// `[geo]`
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Geo {
    /// A country database in MaxMind's format.
    pub country_database: Option<PathBuf>,
}

pub(super) fn geo(table: &Table<'_>) -> Geo {
    Geo { country_database: table.path("country_database") }
}
