//! Where in a request issuers' tokens are, and whose each can be.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use super::IssuerKeyError;
use crate::caller::Proof;
use crate::config::IssuerSettings;
use crate::wire::authorization::{self, Held};

/// All places.
#[derive(Default)]
pub(in crate::auth) struct Readings(Vec<Reading>);

/// A place in a request where a token can be, and whose it can be.
struct Reading {
    header: HeaderName,
    scheme: Option<String>,
    issuers: Vec<usize>,
}

/// A token in a request.
pub(in crate::auth) struct Shown<'a> {
    pub(super) token: &'a str,
    pub(super) issuers: &'a [usize],
}

/// Something that is no token, or two, where one of an issuer's should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::auth) enum Unreadable {
    NotAToken(Proof),
    Repeated,
}

impl Readings {
    /// Notes where the tokens of the issuer `index` come.
    pub(super) fn add(
        &mut self,
        settings: &IssuerSettings,
        index: usize,
    ) -> Result<(), IssuerKeyError> {
        let header = HeaderName::from_bytes(settings.header.as_bytes())
            .map_err(|_| IssuerKeyError::no_header(settings))?;
        let schemes: Vec<Option<String>> = match settings.schemes.as_slice() {
            [] => vec![None],
            schemes => schemes.iter().cloned().map(Some).collect(),
        };
        for scheme in schemes {
            let same = |reading: &&mut Reading| {
                reading.header == header
                    && match (&reading.scheme, &scheme) {
                        (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
                        (a, b) => a == b,
                    }
            };
            match self.0.iter_mut().find(same) {
                Some(reading) => reading.issuers.push(index),
                None => {
                    self.0.push(Reading { header: header.clone(), scheme, issuers: vec![index] })
                }
            }
        }
        Ok(())
    }

    /// Is `Authorization: Bearer` where an issuer's tokens come?
    pub(in crate::auth) fn read_bearer(&self) -> bool {
        self.bearer().is_some()
    }

    /// Do this issuer's tokens come there?
    pub(super) fn is_bearer(&self, issuer: usize) -> bool {
        self.bearer().is_some_and(|reading| reading.issuers.contains(&issuer))
    }

    fn bearer(&self) -> Option<&Reading> {
        self.0.iter().find(|reading| {
            reading.header == AUTHORIZATION
                && reading.scheme.as_deref().is_some_and(|one| one.eq_ignore_ascii_case("bearer"))
        })
    }

    /// Is what `Authorization` holds of a scheme that an issuer's tokens have?
    pub(in crate::auth) fn read_authorization(&self, headers: &HeaderMap) -> bool {
        self.0
            .iter()
            .filter(|reading| reading.header == AUTHORIZATION)
            .filter_map(|reading| reading.scheme.as_deref())
            .any(|scheme| authorization::is_of_scheme(headers, scheme))
    }

    /// The tokens that a request brought, but for the one in `Authorization` where that is the gateway's own.
    pub(in crate::auth) fn shown<'a>(
        &'a self,
        headers: &'a HeaderMap,
        has_own: bool,
    ) -> Result<Vec<Shown<'a>>, Unreadable> {
        let mut shown = Vec::new();
        for reading in &self.0 {
            if has_own && reading.header == AUTHORIZATION {
                continue;
            }
            match authorization::held(headers, &reading.header, reading.scheme.as_deref()) {
                Held::Nothing => {}
                Held::Token(token) => shown.push(Shown { token, issuers: &reading.issuers }),
                Held::NotAToken => {
                    let first = reading.issuers.first().copied().unwrap_or_default();
                    return Err(Unreadable::NotAToken(Proof::Issued(first)));
                }
                Held::Repeated => return Err(Unreadable::Repeated),
            }
        }
        Ok(shown)
    }
}
