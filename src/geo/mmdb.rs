//! Looks up places in databases in MaxMind's format.
//!
//! A file is read into memory once: 5 to 9 MB (cities: some 60). It is not mapped, so no other process can change it under us.
//! Two schemas are in use and both are read: MaxMind's nested one (`country.iso_code`, `location.latitude`), and the flat one
//! of the databases that may be redistributed (`country_code`, `latitude`). A database that is missing, damaged or of another
//! kind is an error at the start, where an operator sees it; afterwards a look-up finds a place or none, and never fails a
//! request.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use maxminddb::{MaxMindDbError, Reader, WithinOptions};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::{Asn, Country, Location, Places};
use crate::wire::accept::Language;
use crate::wire::client_ip::is_public;

/// How many networks are decoded at the start: enough to recognize the kind of database, and quick.
const SAMPLE: usize = 10_000;

/// How far from its point a client may be where the database does not say: a large city and its suburbs.
const USUAL_RADIUS: f64 = 50.0;

/// The kinds of database, by their content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GeoDatabaseKind {
    /// Countries.
    Country,
    /// Points on the map; most have countries too.
    City,
    /// Operators of networks.
    Asn,
}

/// A database in memory.
pub struct Mmdb {
    reader: Reader<Vec<u8>>,
    kind: GeoDatabaseKind,
}

/// The databases of a configuration.
#[derive(Debug, Default)]
pub struct GeoDatabases {
    /// The database of countries.
    pub country: Option<Mmdb>,
    /// The database of points on the map; its countries are used where there is no database of countries.
    pub city: Option<Mmdb>,
    /// The database of the operators of networks.
    pub asn: Option<Mmdb>,
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the {} database {} cannot be used: {reason}", kind.name(), path.display())]
pub struct GeoError {
    kind: GeoDatabaseKind,
    path: PathBuf,
    reason: String,
}

/// The country of a row, in either schema.
#[derive(Deserialize)]
struct CountryRow<'a> {
    #[serde(borrow, default)]
    country: Option<NestedCountry<'a>>,
    #[serde(borrow, default)]
    country_code: Option<&'a str>,
}

#[derive(Deserialize)]
struct NestedCountry<'a> {
    #[serde(borrow, default)]
    iso_code: Option<&'a str>,
}

#[derive(Deserialize)]
struct CityRow {
    #[serde(default)]
    location: Option<Point>,
    #[serde(default)]
    latitude: Option<Number>,
    #[serde(default)]
    longitude: Option<Number>,
}

#[derive(Deserialize)]
struct Point {
    #[serde(default)]
    latitude: Option<Number>,
    #[serde(default)]
    longitude: Option<Number>,
    #[serde(default)]
    accuracy_radius: Option<Number>,
}

/// The names of places in a row, in either schema.
#[derive(Deserialize)]
struct NamesRow {
    #[serde(default)]
    city: Option<PlaceName>,
    #[serde(default)]
    country: Option<PlaceName>,
    #[serde(default)]
    country_name: Option<String>,
}

/// A name: in several languages (`{"names": {"en": "Seoul"}}`), or in one.
#[derive(Deserialize)]
#[serde(untagged)]
enum PlaceName {
    Named {
        #[serde(default)]
        names: HashMap<String, String>,
    },
    Plain(String),
}

/// Degrees or kilometers, in whichever type a database has them: doubles, floats or integers.
#[derive(Clone, Copy)]
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNumber)
    }
}

struct AnyNumber;

impl Visitor<'_> for AnyNumber {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Number, E> {
        Ok(Number(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Number, E> {
        let small = i32::try_from(number).map_err(|_| E::custom("too large"))?;
        Ok(Number(f64::from(small)))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Number, E> {
        let small = u32::try_from(number).map_err(|_| E::custom("too large"))?;
        Ok(Number(f64::from(small)))
    }
}

#[derive(Deserialize)]
struct AsnRow {
    #[serde(default)]
    autonomous_system_number: Option<u32>,
}

impl GeoDatabaseKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Country => "country",
            Self::City => "city",
            Self::Asn => "ASN",
        }
    }

    /// Returns what a database of another kind lacks, for the error message.
    const fn needs(self) -> &'static str {
        match self {
            Self::Country => "it names no country (`country.iso_code` or `country_code`)",
            Self::City => "it has no location (`location.latitude` or `latitude`)",
            Self::Asn => "it has no `autonomous_system_number`",
        }
    }
}

impl Mmdb {
    /// Reads the database from a file.
    ///
    /// # Errors
    /// If the file does not exist, is no database in this format, is damaged, or is of another kind.
    pub fn open(path: &Path, kind: GeoDatabaseKind) -> Result<Self, GeoError> {
        let bad = |reason| GeoError { kind, path: path.to_owned(), reason };
        let bytes = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
        Self::read(bytes, kind).map_err(bad)
    }

    fn read(bytes: Vec<u8>, kind: GeoDatabaseKind) -> Result<Self, String> {
        let reader = Reader::from_source(bytes).map_err(|error| error.to_string())?;
        let mmdb = Self { reader, kind };
        match mmdb.is_of_its_kind() {
            Ok(true) => Ok(mmdb),
            Ok(false) => Err(format!(
                "{}; its type is {:?}",
                kind.needs(),
                mmdb.reader.metadata().database_type
            )),
            Err(error) => Err(error.to_string()),
        }
    }

    fn is_of_its_kind(&self) -> Result<bool, MaxMindDbError> {
        let mut has_some = false;
        for network in self.reader.networks(WithinOptions::default())?.take(SAMPLE) {
            let network = network?;
            has_some |= match self.kind {
                GeoDatabaseKind::Country => {
                    network.decode::<CountryRow<'_>>()?.is_some_and(|row| row.country().is_some())
                }
                GeoDatabaseKind::City => {
                    network.decode::<CityRow>()?.is_some_and(|row| row.location().is_some())
                }
                GeoDatabaseKind::Asn => network
                    .decode::<AsnRow>()?
                    .is_some_and(|row| row.autonomous_system_number.is_some()),
            };
        }
        Ok(has_some)
    }

    fn row<'a, R: Deserialize<'a>>(&'a self, address: IpAddr) -> Option<R> {
        let address = address.to_canonical();
        if !is_public(address) {
            return None;
        }
        self.reader.lookup(address).ok()?.decode::<R>().ok()?
    }

    fn country(&self, address: IpAddr) -> Option<Country> {
        self.row::<CountryRow<'_>>(address)?.country()
    }
}

impl Places for GeoDatabases {
    fn country(&self, address: IpAddr) -> Option<Country> {
        self.country.as_ref().or(self.city.as_ref())?.country(address)
    }

    fn place(&self, address: IpAddr, language: Language) -> Option<String> {
        let code = self.country(address).map(|country| country.as_str().to_owned());
        let of = |database: &Option<Mmdb>| database.as_ref()?.row::<NamesRow>(address);
        let row = of(&self.city).or_else(|| of(&self.country));
        let Some(row) = row else { return code };
        let city = row.city.as_ref().and_then(|name| name.text(language));
        let country = row.country.as_ref().and_then(|name| name.text(language));
        let country = country.or(row.country_name.as_deref()).map(str::to_owned).or(code);
        match (city, country) {
            (Some(city), Some(country)) => Some(format!("{city}, {country}")),
            (Some(city), None) => Some(city.to_owned()),
            (None, country) => country,
        }
    }

    fn location(&self, address: IpAddr) -> Option<Location> {
        self.city.as_ref()?.row::<CityRow>(address)?.location()
    }

    fn asn(&self, address: IpAddr) -> Option<Asn> {
        self.asn.as_ref()?.row::<AsnRow>(address)?.autonomous_system_number.map(Asn)
    }
}

impl CountryRow<'_> {
    fn country(&self) -> Option<Country> {
        let nested = self.country.as_ref().and_then(|country| country.iso_code);
        nested.or(self.country_code).and_then(Country::new)
    }
}

impl PlaceName {
    fn text(&self, language: Language) -> Option<&str> {
        let name = match self {
            Self::Named { names } => names.get(language.code()).or_else(|| names.get("en"))?,
            Self::Plain(name) => name,
        };
        (!name.trim().is_empty()).then_some(name)
    }
}

impl CityRow {
    fn location(&self) -> Option<Location> {
        let flat =
            Point { latitude: self.latitude, longitude: self.longitude, accuracy_radius: None };
        let point = self.location.as_ref().unwrap_or(&flat);
        let (Number(latitude), Number(longitude)) = (point.latitude?, point.longitude?);
        let radius = point.accuracy_radius.map_or(USUAL_RADIUS, |Number(radius)| radius);
        let is_on_earth = latitude.abs() <= 90.0 && longitude.abs() <= 180.0 && radius >= 0.0;
        is_on_earth.then_some(Location { latitude, longitude, radius })
    }
}

impl fmt::Debug for Mmdb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mmdb({:?})", self.reader.metadata().database_type)
    }
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

    fn country(bytes: Vec<u8>) -> Result<Mmdb, String> {
        Mmdb::read(bytes, GeoDatabaseKind::Country)
    }

    #[test]
    fn cities_and_operators_are_read_in_both_schemas() {
        for schema in [Schema::NestedCity, Schema::FlatCity] {
            let city = Mmdb::read(write_database(schema, NETWORKS), GeoDatabaseKind::City).unwrap();
            let databases = GeoDatabases { city: Some(city), ..GeoDatabases::default() };
            let found = databases.location("1.1.1.1".parse().unwrap()).unwrap();
            assert!(
                (found.latitude - 37.5).abs() < 0.001 && (found.longitude + 122.25).abs() < 0.001
            );
            let radius = if matches!(schema, Schema::NestedCity) { 20.0 } else { USUAL_RADIUS };
            assert!((found.radius - radius).abs() < 0.001, "{schema:?}");
            assert_eq!(databases.country("1.1.1.1".parse().unwrap()), Country::new("AU"));
            assert_eq!(databases.location("10.1.2.3".parse().unwrap()), None);
            assert_eq!(databases.asn("1.1.1.1".parse().unwrap()), None);
        }
        let asn = Mmdb::read(write_database(Schema::Asn, NETWORKS), GeoDatabaseKind::Asn).unwrap();
        let databases = GeoDatabases { asn: Some(asn), ..GeoDatabases::default() };
        assert_eq!(databases.asn("1.1.1.1".parse().unwrap()), Some(Asn(64_512)));
        assert_eq!(databases.country("1.1.1.1".parse().unwrap()), None);
    }

    #[test]
    fn a_place_has_its_city_and_its_country_in_words() {
        for (schema, english, korean) in [
            (Schema::NestedCity, "Seoul, South Korea", "서울, South Korea"),
            (Schema::FlatCity, "Seoul, AU", "Seoul, AU"),
        ] {
            let city = Mmdb::read(write_database(schema, NETWORKS), GeoDatabaseKind::City).unwrap();
            let databases = GeoDatabases { city: Some(city), ..GeoDatabases::default() };
            let place = |language| databases.place("1.1.1.1".parse().unwrap(), language);
            assert_eq!(place(Language::English).as_deref(), Some(english));
            assert_eq!(place(Language::Korean).as_deref(), Some(korean));
            assert_eq!(databases.place("10.1.2.3".parse().unwrap(), Language::English), None);
        }
        for schema in [Schema::Nested, Schema::Flat] {
            let country = Some(country(write_database(schema, NETWORKS)).unwrap());
            let databases = GeoDatabases { country, ..GeoDatabases::default() };
            let place = databases.place("2a00::1".parse().unwrap(), Language::English);
            assert_eq!(place.as_deref(), Some("KR"), "{schema:?}");
        }
        assert_eq!(
            GeoDatabases::default().place("1.1.1.1".parse().unwrap(), Language::English),
            None
        );
    }

    #[test]
    fn a_database_of_another_kind_says_what_is_missing() {
        for (schema, kind, says) in [
            (Schema::Nested, GeoDatabaseKind::City, "no location"),
            (Schema::Asn, GeoDatabaseKind::Country, "names no country"),
            (Schema::FlatCity, GeoDatabaseKind::Asn, "autonomous_system_number"),
        ] {
            let error = Mmdb::read(write_database(schema, NETWORKS), kind).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn both_schemas_give_the_same_countries() {
        for schema in [Schema::Nested, Schema::Flat] {
            let mmdb = country(write_database(schema, NETWORKS)).unwrap();
            for (address, country) in [
                ("1.1.1.1", Some("AU")),
                ("1.1.255.255", Some("AU")),
                ("::ffff:1.1.1.1", Some("AU")),
                ("1.2.0.0", None),
                ("2.23.255.255", Some("US")),
                ("2.24.0.0", None),
                ("2a00:1234::1", Some("KR")),
                ("2a01::1", None),
                // These networks are in the database, but an address in them says nothing about a place.
                ("10.1.2.3", None),
                ("127.0.0.1", None),
                ("::1", None),
                ("fd00::1", None),
                // The row has no country code.
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
        let mmdb = Mmdb::open(file.path(), GeoDatabaseKind::Country).unwrap();
        drop(file);
        assert_eq!(mmdb.country("1.1.1.1".parse().unwrap()), Country::new("AU"));
    }

    #[test]
    fn a_missing_file_is_a_clear_error() {
        let error = Mmdb::open(Path::new("/nonexistent/countries.mmdb"), GeoDatabaseKind::Country)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("the country database /nonexistent/countries.mmdb"), "{error}");
    }

    #[test]
    fn a_damaged_file_is_an_error_and_no_panic() {
        let whole = write_database(Schema::Nested, NETWORKS);
        assert!(country(Vec::new()).is_err());
        assert!(country(b"not a database".to_vec()).is_err());
        for cut in 0..whole.len() {
            // The metadata are at the end: without their last byte nothing is readable.
            assert!(country(whole[..cut].to_vec()).is_err(), "cut at {cut}");
        }
        // One wrong byte anywhere causes an error or another answer, but no panic.
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 0xFF;
            if let Ok(mmdb) = country(damaged) {
                mmdb.country("1.1.1.1".parse().unwrap());
            }
        }
    }

    #[test]
    fn a_database_without_countries_says_so() {
        let error = country(write_database(Schema::Other, NETWORKS)).unwrap_err();
        assert!(error.contains("names no country"), "{error}");
    }
}
