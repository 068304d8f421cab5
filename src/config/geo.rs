//! Reads `[geo]`: the databases of places.

use std::path::PathBuf;

use super::raw::RawTable;

/// `[geo]`: databases in MaxMind's format.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Geo {
    /// The database of countries.
    pub country_database: Option<PathBuf>,
    /// The database of points on the map; its countries are used if there is no database of countries.
    pub city_database: Option<PathBuf>,
    /// The database of the operators of networks.
    pub asn_database: Option<PathBuf>,
}

impl Geo {
    /// Whether the country of an address can be known.
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
