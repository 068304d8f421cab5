//! Defines the port that finds the place of an address: a country, a point on the map, a network's operator.

use std::net::IpAddr;

use crate::wire::accept::Language;

mod mmdb;
#[cfg(test)]
mod testing;

pub use mmdb::{GeoDatabaseKind, GeoDatabases, GeoError, Mmdb};

/// An ISO 3166-1 alpha-2 country code in upper case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Country([u8; 2]);

/// The number of an autonomous system, which identifies the operator of a network.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Asn(pub u32);

/// A point on the map, and how far from it the client may be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Location {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// The radius around the point, in kilometers.
    pub radius: f64,
}

/// Finds the places of addresses. `None` means private, special or not in the database, and never counts as another place.
pub trait Places: Send + Sync {
    /// Returns the country of an address.
    fn country(&self, address: IpAddr) -> Option<Country>;

    /// Returns the place in words, as precisely as it is known: city and country, else the country's code.
    fn place(&self, address: IpAddr, _language: Language) -> Option<String> {
        self.country(address).map(|country| country.as_str().to_owned())
    }

    /// Returns the address's point on the map.
    fn location(&self, _address: IpAddr) -> Option<Location> {
        None
    }

    /// Returns the operator of the address's network.
    fn asn(&self, _address: IpAddr) -> Option<Asn> {
        None
    }
}

/// Stands in where no database is configured: no address has a place.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPlaces;

impl Country {
    /// Creates a code from two ASCII letters in any case; anything else is not a country.
    pub fn new(code: &str) -> Option<Self> {
        match *code.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Some(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => None,
        }
    }

    /// Returns the two letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("??")
    }
}

impl Location {
    /// Returns the least distance between two clients at these places, in kilometers: the great circle less both radii.
    pub fn apart(&self, other: &Self) -> f64 {
        const EARTH: f64 = 6371.0;
        let (a, b) = (self.latitude.to_radians(), other.latitude.to_radians());
        let latitude = ((b - a) / 2.0).sin();
        let longitude = ((other.longitude - self.longitude).to_radians() / 2.0).sin();
        let chord = latitude.powi(2) + a.cos() * b.cos() * longitude.powi(2);
        let between = 2.0 * EARTH * chord.clamp(0.0, 1.0).sqrt().asin();
        (between - self.radius - other.radius).max(0.0)
    }
}

impl Places for NoPlaces {
    fn country(&self, _: IpAddr) -> Option<Country> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_places_are_apart_by_the_great_circle_less_what_is_uncertain() {
        let at = |latitude, longitude, radius| Location { latitude, longitude, radius };
        let seoul = at(37.57, 126.98, 0.0);
        for (other, kilometers) in [
            (seoul, 0.0),
            (at(35.18, 129.08, 0.0), 325.0),    // Busan
            (at(37.77, -122.42, 0.0), 9025.0),  // San Francisco, over the date line
            (at(-37.57, -53.02, 0.0), 20015.0), // the other side of the earth
            (at(35.18, 129.08, 100.0), 225.0),
            (at(35.18, 129.08, 1000.0), 0.0),
        ] {
            let apart = seoul.apart(&other);
            assert!((apart - kilometers).abs() < 5.0, "{other:?}: {apart}");
            assert!((other.apart(&seoul) - apart).abs() < 0.001);
        }
    }
}
