//! `[shadow]`: routes on which the gateway decides and enforces nothing.

use super::{Config, FormKind, Route};
use crate::wire::path::PathPattern;

/// `[shadow]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// Indices into [`Config::routes`](super::Config::routes); empty: off.
    pub routes: Vec<usize>,
    /// Where a service sends whoever is not signed in.
    pub login_paths: Vec<PathPattern>,
}

impl Shadow {
    /// Is it one of the shadowed routes?
    pub fn covers(&self, route: usize) -> bool {
        self.routes.contains(&route)
    }
}

impl Config {
    /// Does another route, one that is enforced, lead to the same upstream?
    pub fn shares_upstream(&self, route: &Route) -> bool {
        self.routes
            .iter()
            .any(|other| other.upstream == route.upstream && !self.shadow.covers(other.index))
    }

    /// The headers that services believe without a proof in them: those of `[identity]`, and of `remote-user` forms.
    pub fn believed_headers(&self) -> impl Iterator<Item = &str> {
        let forms = self.forms.iter().filter_map(|form| match &form.kind {
            FormKind::RemoteUser(settings) => Some(settings.header.as_str()),
            FormKind::SimpleJwt(_)
            | FormKind::Jwt(_)
            | FormKind::DjangoSession(_)
            | FormKind::DrfToken(_)
            | FormKind::Cookies(_) => None,
        });
        self.identity.names().chain(forms)
    }
}
