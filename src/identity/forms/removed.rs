//! The credentials that a route's forms stand in for, which a client's request loses first.

use http::header::AUTHORIZATION;

use crate::config::{IdentityForm, Route};

/// What is taken out of a request of a route before anything is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemovedCredentials {
    /// `Authorization`
    pub authorization: bool,
    /// Cookies.
    pub cookies: Vec<String>,
}

impl RemovedCredentials {
    pub(super) fn of(route: &Route, forms: &[IdentityForm]) -> Self {
        let used = || route.identity.all().filter_map(|index| forms.get(index));
        let mut cookies: Vec<String> =
            used().flat_map(|form| form.kind.cookies()).map(str::to_owned).collect();
        cookies.sort_unstable();
        cookies.dedup();
        let authorization = used()
            .filter_map(|form| form.kind.header())
            .any(|name| name.eq_ignore_ascii_case(AUTHORIZATION.as_str()));
        Self { authorization, cookies }
    }
}
