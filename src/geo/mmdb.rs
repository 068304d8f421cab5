//! Countries from a database in MaxMind's format.
//!
//! The file is read into memory once: 5 to 9 MB, and no mapping that another process could change under us. Two schemas
//! are in use and both are understood: MaxMind's nested `country.iso_code`, and the flat `country_code` of the databases
//! that are free to pass on. A database that is missing, damaged or names no country is an error at the start, where an
//! operator sees it; after that a look-up has an answer or none, and never fails a request.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use maxminddb::{MaxMindDbError, Reader, WithinOptions};
use serde::Deserialize;

use super::{Countries, Country};
use crate::wire::client_ip::is_public;

/// So many networks are decoded at the start. Enough to see what kind of database it is, and quick.
const SAMPLE: usize = 10_000;

/// A country database in memory.
pub struct Mmdb(Reader<Vec<u8>>);

/// The database cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the country database {} cannot be used: {reason}", path.display())]
pub struct GeoError {
    path: PathBuf,
    reason: String,
}

/// Both schemas in one.
#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow, default)]
    country: Option<Nested<'a>>,
    #[serde(borrow, default)]
    country_code: Option<&'a str>,
}

#[derive(Deserialize)]
struct Nested<'a> {
    #[serde(borrow, default)]
    iso_code: Option<&'a str>,
}

impl Mmdb {
    /// Reads the file.
    ///
    /// # Errors
    /// If there is no such file, it is no such database, it is damaged, or it has no countries.
    pub fn open(path: &Path) -> Result<Self, GeoError> {
        let bad = |reason| GeoError { path: path.to_owned(), reason };
        let bytes = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
        Self::read(bytes).map_err(bad)
    }

    fn read(bytes: Vec<u8>) -> Result<Self, String> {
        let reader = Reader::from_source(bytes).map_err(|error| error.to_string())?;
        match countries_in_sample(&reader) {
            Ok(0) => Err(format!(
                "it names no country (its type is {:?}; `country.iso_code` or `country_code` is needed)",
                reader.metadata().database_type
            )),
            Ok(_) => Ok(Self(reader)),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Countries for Mmdb {
    fn country(&self, address: IpAddr) -> Option<Country> {
        let address = address.to_canonical();
        if !is_public(address) {
            return None;
        }
        self.0.lookup(address).ok()?.decode::<Row<'_>>().ok()??.country()
    }
}

impl Row<'_> {
    fn country(&self) -> Option<Country> {
        let nested = self.country.as_ref().and_then(|country| country.iso_code);
        nested.or(self.country_code).and_then(Country::new)
    }
}

impl fmt::Debug for Mmdb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mmdb({:?})", self.0.metadata().database_type)
    }
}

fn countries_in_sample(reader: &Reader<Vec<u8>>) -> Result<usize, MaxMindDbError> {
    let mut countries = 0;
    for network in reader.networks(WithinOptions::default())?.take(SAMPLE) {
        let row = network?.decode::<Row<'_>>()?;
        countries += usize::from(row.is_some_and(|row| row.country().is_some()));
    }
    Ok(countries)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::testing::{Schema, write_database};
    use super::*;

    const NETWORKS: &[(&str, &str)] = &[
        ("1.1.0.0/16", "AU"),
        ("2.16.0.0/13", "us"),
        ("10.0.0.0/8", "DE"),
        ("2a00::/16", "KR"),
        ("9.9.9.9/32", "Switzerland"),
    ];

    #[test]
    fn both_schemas_give_the_same_countries() {
        for schema in [Schema::Nested, Schema::Flat] {
            let mmdb = Mmdb::read(write_database(schema, NETWORKS)).unwrap();
            for (address, country) in [
                ("1.1.1.1", Some("AU")),
                ("1.1.255.255", Some("AU")),
                ("::ffff:1.1.1.1", Some("AU")),
                ("1.2.0.0", None),
                ("2.23.255.255", Some("US")),
                ("2.24.0.0", None),
                ("2a00:1234::1", Some("KR")),
                ("2a01::1", None),
                // In the database, and yet nowhere in particular.
                ("10.1.2.3", None),
                ("127.0.0.1", None),
                ("::1", None),
                ("fd00::1", None),
                // No country code.
                ("9.9.9.9", None),
            ] {
                let found = mmdb.country(address.parse().unwrap());
                assert_eq!(found.as_ref().map(Country::as_str), country, "{address} {schema:?}");
            }
        }
    }

    #[test]
    fn a_file_is_read_into_memory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, write_database(Schema::Flat, NETWORKS)).unwrap();
        let mmdb = Mmdb::open(file.path()).unwrap();
        drop(file);
        assert_eq!(mmdb.country("1.1.1.1".parse().unwrap()), Country::new("AU"));
    }

    #[test]
    fn a_missing_file_is_a_clear_error() {
        let error = Mmdb::open(Path::new("/nonexistent/countries.mmdb")).unwrap_err().to_string();
        assert!(error.starts_with("the country database /nonexistent/countries.mmdb"), "{error}");
    }

    #[test]
    fn a_damaged_file_is_an_error_and_no_panic() {
        let whole = write_database(Schema::Nested, NETWORKS);
        assert!(Mmdb::read(Vec::new()).is_err());
        assert!(Mmdb::read(b"not a database".to_vec()).is_err());
        for cut in 0..whole.len() {
            // The metadata are at the end: without their last byte nothing is readable.
            assert!(Mmdb::read(whole[..cut].to_vec()).is_err(), "cut at {cut}");
        }
        // One wrong byte anywhere: an error or another answer, but no panic.
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 0xFF;
            if let Ok(mmdb) = Mmdb::read(damaged) {
                mmdb.country("1.1.1.1".parse().unwrap());
            }
        }
    }

    #[test]
    fn a_database_without_countries_says_so() {
        let error = Mmdb::read(write_database(Schema::Other, NETWORKS)).unwrap_err();
        assert!(error.contains("names no country"), "{error}");
    }
}
