//! Credentials that are forwarded unchanged: those that a route leaves to its service (`route.credentials`), and valid
//! ones that their issuer forwards (`issuer.forward`).
//!
//! A field that a form of the route sets is removed all the same, and so is a token of the gateway's own, wherever it
//! is.

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};

use crate::config::{Config, CredentialPlace, IssuerSettings, Route};
use crate::session::looks_like_ours;
use crate::wire::arrival::Arrival;

/// The places of credentials that a route does not read, or that are forwarded.
#[derive(Debug, Default)]
pub(super) struct UnreadCredentials {
    /// The headers besides `Authorization`, which the gate decides about.
    headers: Vec<HeaderName>,
    /// The headers besides `Authorization` in which a caller's own credential can be forwarded, each with its issuer.
    forwarded: Vec<(usize, HeaderName)>,
    /// Cookies.
    pub(super) cookies: Vec<String>,
}

impl UnreadCredentials {
    /// Returns the places of this route.
    pub(super) fn of(route: &Route, config: &Config) -> Self {
        let forms = || route.identity.all().filter_map(|index| config.forms.get(index));
        let is_set = |name: &str| {
            forms().filter_map(|form| form.kind.header()).any(|set| set.eq_ignore_ascii_case(name))
        };
        let issuers = || config.issuers.iter().enumerate();
        let is_read = |place: &CredentialPlace| {
            issuers().any(|(index, other)| {
                route.credentials.issuer(index)
                    && match (&other.place, place) {
                        (
                            CredentialPlace::Header { name: a, .. },
                            CredentialPlace::Header { name: b, .. },
                        ) => a.eq_ignore_ascii_case(b),
                        (CredentialPlace::Cookie(a), CredentialPlace::Cookie(b)) => a == b,
                        (CredentialPlace::Header { .. }, CredentialPlace::Cookie(_))
                        | (CredentialPlace::Cookie(_), CredentialPlace::Header { .. }) => false,
                    }
            })
        };
        let forwarded = |(index, issuer): (usize, &IssuerSettings)| {
            let name = issuer.header().filter(|name| !is_set(name))?.to_ascii_lowercase();
            let name = HeaderName::try_from(name).ok().filter(|name| *name != AUTHORIZATION)?;
            Some((index, name))
        };
        let mut left =
            Self { forwarded: issuers().filter_map(forwarded).collect(), ..Self::default() };
        for (_, issuer) in issuers().filter(|(_, issuer)| !is_read(&issuer.place)) {
            match &issuer.place {
                CredentialPlace::Header { name, .. } => {
                    let name = name.to_ascii_lowercase();
                    if name != "authorization"
                        && !is_set(&name)
                        && let Ok(name) = HeaderName::try_from(name)
                        && !left.headers.contains(&name)
                    {
                        left.headers.push(name);
                    }
                }
                CredentialPlace::Cookie(name) => left.cookies.push(name.clone()),
            }
        }
        left
    }

    /// Returns the fields of such headers, without the gateway's own tokens; `goes_on` are the issuers whose credentials are
    /// forwarded.
    pub(super) fn fields<'a>(
        &'a self,
        arrival: &'a Arrival,
        goes_on: &'a [usize],
    ) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> {
        let is_ours = |value: &HeaderValue| {
            String::from_utf8_lossy(value.as_bytes()).split_ascii_whitespace().any(looks_like_ours)
        };
        let all = |name| arrival.headers.get_all(name).iter().map(move |value| (name, value));
        let own = self.forwarded.iter().enumerate().filter(|(at, (issuer, name))| {
            // Tokens of two issuers can be in one header.
            let before = self.forwarded.iter().take(*at);
            let is_first =
                before.clone().all(|(one, other)| other != name || !goes_on.contains(one));
            goes_on.contains(issuer) && is_first
        });
        let own = own.map(|(_, (_, name))| name);
        self.headers.iter().chain(own).flat_map(all).filter(move |(_, value)| !is_ours(value))
    }
}
