//! Finds the issuers whose credentials stay in `Authorization`, where a form would replace them (`issuer.forward = true`).
//!
//! A view may accept only one kind of token, and a token that the service revokes there is the one that the client sent. If
//! an issuer's credential is forwarded by the default of `sign_in.mode = "follow"`, forms still replace it.

use http::header::AUTHORIZATION;

use crate::caller::{IssuerName, Proof};
use crate::config::{Config, IssuerSettings, Route};

/// All such issuers, each with its upstreams.
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

    /// Whether a caller with this proof keeps their credential, whatever the route's forms do for others.
    pub(super) fn holds(&self, proof: Proof, route: &Route) -> bool {
        let (Proof::Issued(issuer) | Proof::Password(issuer)) = proof else { return false };
        self.0.iter().any(|(name, upstreams)| {
            *name == issuer && (upstreams.is_empty() || upstreams.contains(&route.upstream))
        })
    }
}
