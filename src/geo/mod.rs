//! The port through which an address becomes a country.

use std::net::IpAddr;

mod mmdb;
#[cfg(test)]
mod testing;

pub use mmdb::{GeoError, Mmdb};

/// An ISO 3166-1 alpha-2 country code in upper case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Country([u8; 2]);

/// Knows where addresses are.
pub trait Countries: Send + Sync {
    /// The country of an address. `None`: private, special, or not in the database; that never counts as a country.
    fn country(&self, address: IpAddr) -> Option<Country>;
}

/// No database is configured: no address has a country.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCountries;

impl Country {
    /// Two ASCII letters in any case; anything else is no country.
    pub fn new(code: &str) -> Option<Self> {
        match *code.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Some(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => None,
        }
    }

    /// The two letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("??")
    }
}

impl Countries for NoCountries {
    fn country(&self, _: IpAddr) -> Option<Country> {
        None
    }
}
