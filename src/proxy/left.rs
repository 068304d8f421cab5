//! Credentials that a route leaves to its service (`route.credentials`): they go on as they came.
//!
//! What stands where a form of the route puts something goes all the same, and so does a token of the gateway's own,
//! wherever it is.

use http::{HeaderName, HeaderValue};

use crate::auth::Auth;
use crate::config::{Config, CredentialPlace, Route};
use crate::wire::arrival::Arrival;

/// Where what a route does not look at comes.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Headers besides `Authorization`, which the gate decides about.
    headers: Vec<HeaderName>,
    /// Cookies.
    pub(super) cookies: Vec<String>,
}

impl Left {
    /// Of this route.
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
        let mut left = Self::default();
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

    /// The fields of such headers, but for the gateway's own tokens.
    pub(super) fn fields<'a>(
        &'a self,
        arrival: &'a Arrival,
    ) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> {
        let is_ours = |value: &HeaderValue| {
            String::from_utf8_lossy(value.as_bytes())
                .split_ascii_whitespace()
                .any(Auth::looks_like_ours)
        };
        let all = |name| arrival.headers.get_all(name).iter().map(move |value| (name, value));
        self.headers.iter().flat_map(all).filter(move |(_, value)| !is_ours(value))
    }
}
