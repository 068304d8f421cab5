//! Issuers whose credentials stay in `Authorization`, where a form would put another one (`issuer.forward = true`).
//!
//! A view may take one kind of token and no other, and a token that the service takes back there is the one that the client
//! sent. Where an issuer goes on by the default of `sign_in.mode = "follow"`, forms keep their say.

use http::header::AUTHORIZATION;

use crate::caller::{IssuerName, Proof};
use crate::config::{Config, IssuerSettings, Route};

/// All of them.
pub(super) struct KeptAuthorization(Vec<(IssuerName, Vec<usize>)>);

impl KeptAuthorization {
    pub(super) fn of(config: &Config) -> Self {
        let is_kept = |issuer: &&IssuerSettings| {
            let header = issuer.header();
            issuer.forward == Some(true)
                && header.is_some_and(|name| name.eq_ignore_ascii_case(AUTHORIZATION.as_str()))
        };
        let kept = config.issuers.iter().filter(is_kept);
        Self(kept.map(|one| (IssuerName::new(&one.name), one.upstreams.clone())).collect())
    }

    /// Does the credential of a caller with this proof go on, whatever the route's forms say of others?
    pub(super) fn holds(&self, proof: Proof, route: &Route) -> bool {
        let (Proof::Issued(issuer) | Proof::Password(issuer)) = proof else { return false };
        self.0.iter().any(|(name, upstreams)| {
            *name == issuer && (upstreams.is_empty() || upstreams.contains(&route.upstream))
        })
    }
}
