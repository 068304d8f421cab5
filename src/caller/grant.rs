//! What a personal access token may be used for.

use http::Method;
use serde::{Deserialize, Serialize};

/// The name of a personal access token and where it may be used. An empty list allows everything that takes such tokens.
///
/// A session with a grant belongs to such a token: it did not begin with a sign-in, and only the token authenticates it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TokenGrant {
    /// The name that its owner gave it.
    pub name: String,
    /// The names of the routes on which it may be used.
    pub routes: Vec<String>,
    /// The methods for which it may be used, in capitals; `GET` allows `HEAD`.
    pub methods: Vec<String>,
}

impl TokenGrant {
    /// Whether the token may be used for this method on the route of this name.
    pub fn allows(&self, route: &str, method: &Method) -> bool {
        let is_named = |one: &String| {
            one == method.as_str() || (*method == Method::HEAD && one == Method::GET.as_str())
        };
        (self.routes.is_empty() || self.routes.iter().any(|one| one == route))
            && (self.methods.is_empty() || self.methods.iter().any(is_named))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_allows_what_it_names_and_an_empty_list_everything() {
        for (routes, methods, route, method, allowed) in [
            (&[][..], &[][..], "api", Method::DELETE, true),
            (&["api"], &[], "api", Method::POST, true),
            (&["api"], &[], "admin", Method::GET, false),
            (&["api", "files"], &["GET"], "files", Method::GET, true),
            (&["api"], &["GET"], "api", Method::HEAD, true),
            (&["api"], &["HEAD"], "api", Method::GET, false),
            (&["api"], &["GET"], "api", Method::POST, false),
            (&[], &["POST"], "anything", Method::POST, true),
            (&["API"], &[], "api", Method::GET, false),
        ] {
            let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let grant =
                TokenGrant { name: String::new(), routes: list(routes), methods: list(methods) };
            assert_eq!(grant.allows(route, &method), allowed, "{grant:?} {route} {method}");
        }
    }
}
