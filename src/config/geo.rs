//! `[geo]`: the databases of places.

use std::path::PathBuf;

use super::raw::RawTable;

/// `[geo]`: databases in MaxMind's format.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Geo {
    /// Countries.
    pub country_database: Option<PathBuf>,
    /// Points on the map, and countries if there is no database of them.
    pub city_database: Option<PathBuf>,
    /// Who runs a network.
    pub asn_database: Option<PathBuf>,
}

impl Geo {
    /// Has any address a country?
    pub const fn knows_countries(&self) -> bool {
        self.country_database.is_some() || self.city_database.is_some()
    }
}

pub(super) fn geo(table: &RawTable<'_>) -> Geo {
    Geo {
        country_database: table.path("country_database"),
        city_database: table.path("city_database"),
        asn_database: table.path("asn_database"),
    }
}
