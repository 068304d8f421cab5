//! Lists the credentials that a route's forms replace, and that are first removed from a client's
//! request.

use http::header::AUTHORIZATION;

use crate::config::{IdentityForm, Route};

/// The credentials to remove from a request of a route before the forms add theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemovedCredentials {
    /// Whether `Authorization` is removed.
    pub authorization: bool,
    /// The names of the cookies to remove.
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
