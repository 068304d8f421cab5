//! `[[route]]`.

use http::Method;

use super::{forms, values};
use crate::config::raw::{Item, Table, Wrong};
use crate::config::{
    Access, Credentials, IdentityForm, IdentityHeaders, IssuerSettings, Route, SignInRedirect,
    Upstream,
};
use crate::wire::forward::{ProtectedNames, fold};
use crate::wire::path::{Ambiguity, CanonicalPath, PathMatch, PathPattern};

/// All routes, each with the place of its path.
pub(super) fn routes(
    root: &Table<'_>,
    upstreams: &[Item<Upstream>],
    identity: &IdentityHeaders,
    forms: &[Item<IdentityForm>],
    issuers: &[IssuerSettings],
) -> Vec<Item<Route>> {
    let of_forms = forms.iter().filter_map(|form| form.value.kind.header());
    let protected = ProtectedNames::new(identity.names().chain(of_forms))
        .and_credentials(issuers.iter().filter_map(IssuerSettings::header));
    let mut all: Vec<(Item<Route>, bool)> = Vec::new();
    root.tables("route", |table| {
        let (route, has_path) = route(table, all.len(), upstreams, &protected, forms, issuers);
        for (other, other_has_path) in &all {
            refuse_same_name(table, &route, &other.value);
            if has_path && *other_has_path {
                refuse_conflict(table, &route, &other.value);
            }
        }
        all.push((Item { value: route, place: table.place("path") }, has_path));
    });
    root.require("route", "at least one: [[route]] name = \"app\" path = \"/\" upstream = \"...\"");
    all.into_iter().map(|(item, _)| item).collect()
}

/// A route, and whether its path could be read. Where not, that is an error, and the `/` in its place is never used.
fn route(
    table: &Table<'_>,
    index: usize,
    upstreams: &[Item<Upstream>],
    protected: &ProtectedNames,
    forms: &[Item<IdentityForm>],
    issuers: &[IssuerSettings],
) -> (Route, bool) {
    table.require("name", "a name for metrics and logs");
    table.require("path", "the prefix that it takes, like \"/\" or \"/static/\"");
    let name = table.text("name", values::name).unwrap_or_default();
    let matching = table.choice("match", &MATCH).unwrap_or_default();
    let path = table.text("path", |text| values::path_pattern(text, matching));
    if let Some(wrong) = path.as_ref().and_then(values::foreign_pattern) {
        table.warn("path", wrong);
    }
    let upstream = upstream_index(table, upstreams);
    let strip_prefix = strip_prefix(table, path.as_ref());
    let has_path = path.is_some();
    let default = Route::new(&name, path.unwrap_or_default(), upstream);
    let access = table.choice("access", &ACCESS).unwrap_or(default.access);
    let groups = table.values("groups", values::filled).unwrap_or_default();
    if !groups.is_empty() && access != Access::SignedIn {
        table.error(
            "groups",
            Wrong::new("only a signed-in caller is in a group")
                .help("remove route.groups, or set access = \"signed-in\""),
        );
    }
    let rewrite_location = table.flag("rewrite_location").unwrap_or(default.rewrite_location);
    if rewrite_location && strip_prefix.is_none() {
        table.error(
            "rewrite_location",
            Wrong::new("there is no prefix to put back").help("add route.strip_prefix"),
        );
    }
    let route = Route {
        rewrite_location,
        hosts: table.values("hosts", values::route_host).unwrap_or_default(),
        methods: table.values("methods", method).unwrap_or_default(),
        access,
        groups,
        index,
        strip_prefix,
        tolerate: table.values("tolerate", tolerated).unwrap_or_default().into_iter().collect(),
        allow_headers: table
            .values("allow_headers", |text| allowed_header(text, protected))
            .unwrap_or_default(),
        forward_preflight: table.flag("forward_preflight").unwrap_or(default.forward_preflight),
        websocket: table.flag("websocket").unwrap_or(default.websocket),
        identity: forms::of_route(table, forms),
        credentials: credentials(table, issuers, access),
        sign_in_redirect: table.choice("sign_in_redirect", &REDIRECTS).unwrap_or_default(),
        ..default
    };
    (route, has_path)
}

/// `route.credentials`
fn credentials(table: &Table<'_>, issuers: &[IssuerSettings], access: Access) -> Credentials {
    #[derive(Clone, Copy, PartialEq)]
    enum One<'i> {
        Cookie,
        Bearer,
        Issuer(&'i str),
    }
    if table.is_empty_list("credentials") && access == Access::SignedIn {
        table.error(
            "credentials",
            Wrong::new("a route that looks at no credential lets nobody pass")
                .help("set access = \"public\", or name what it looks at"),
        );
    }
    let one = |text: &str| match text {
        "cookie" => Ok(One::Cookie),
        "bearer" => Ok(One::Bearer),
        other => {
            let words = ["cookie".to_owned(), "bearer".to_owned()].into_iter();
            let all: Vec<String> = words
                .chain(issuers.iter().map(|issuer| format!("issuer:{}", issuer.name)))
                .collect();
            let named = other.strip_prefix("issuer:");
            let is_named = |issuer: &&IssuerSettings| Some(&*issuer.name) == named;
            issuers.iter().find(is_named).map(|issuer| One::Issuer(&issuer.name)).ok_or_else(|| {
                Wrong::choice(other, &all.iter().map(String::as_str).collect::<Vec<_>>())
            })
        }
    };
    let Some(all) = table.values("credentials", one) else { return Credentials::All };
    Credentials::Only {
        cookie: all.iter().any(|one| matches!(one, One::Cookie)),
        bearer: all.iter().any(|one| matches!(one, One::Bearer)),
        // Wherever its tokens come.
        issuers: issuers
            .iter()
            .enumerate()
            .filter(|(_, issuer)| all.contains(&One::Issuer(&issuer.name)))
            .map(|(index, _)| index)
            .collect(),
    }
}

const ACCESS: [(&str, Access); 3] =
    [("public", Access::Public), ("optional", Access::Optional), ("signed-in", Access::SignedIn)];

const REDIRECTS: [(&str, SignInRedirect); 2] =
    [("gateway", SignInRedirect::Gateway), ("service", SignInRedirect::Service)];

const MATCH: [(&str, PathMatch); 2] = [("prefix", PathMatch::Prefix), ("exact", PathMatch::Exact)];

fn upstream_index(table: &Table<'_>, upstreams: &[Item<Upstream>]) -> usize {
    table.require("upstream", "the name of the upstream that it leads to");
    let find = |text: &str| super::upstream::index_of(text, upstreams);
    // Beyond the last: none. Where an upstream's own name could not be read, that has been reported.
    let none = upstreams.len();
    if upstreams.is_empty() || upstreams.iter().any(|upstream| upstream.value.name.is_empty()) {
        return table.text("upstream", |text| Ok(find(text).unwrap_or(none))).unwrap_or(none);
    }
    table.text("upstream", find).unwrap_or(none)
}

fn method(text: &str) -> Result<Method, Wrong> {
    let wrong = |why: &str| Err(Wrong::new(format!("{text:?} {why}")));
    if text == "TRACE" || text == "CONNECT" {
        return wrong("is never forwarded");
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
        return wrong("is no method in capitals");
    }
    Method::from_bytes(text.as_bytes()).or_else(|_| wrong("is no method"))
}

fn strip_prefix(table: &Table<'_>, path: Option<&PathPattern>) -> Option<CanonicalPath> {
    let prefix = table.text("strip_prefix", values::canonical_path)?;
    // Without a path, that has been reported.
    if let Some(path) = path.filter(|path| !path.starts_with_segments(&prefix)) {
        let (prefix, path) = (prefix.as_str(), path.as_str());
        table.error(
            "strip_prefix",
            Wrong::new(format!("{prefix:?} is not the beginning of this route's path {path:?}")),
        );
    }
    Some(prefix)
}

fn tolerated(text: &str) -> Result<Ambiguity, Wrong> {
    Ambiguity::from_name(text)
        .ok_or_else(|| Wrong::choice(text, &Ambiguity::ALL.map(Ambiguity::name)))
}

/// Only harmless names: whatever folds into a name that an upstream believes stays out.
fn allowed_header(text: &str, protected: &ProtectedNames) -> Result<String, Wrong> {
    let name = values::header(text)?;
    let folded = fold(&name);
    if protected.is_critical(&folded) {
        return Err(Wrong::new(format!("some servers take {text:?} for {folded:?}")).help(
            "a header that speaks for the gateway or frames the request is never let through",
        ));
    }
    Ok(name)
}

fn refuse_same_name(table: &Table<'_>, route: &Route, other: &Route) {
    if !route.name.is_empty() && route.name == other.name {
        table.error("name", Wrong::new(format!("{:?} is another route's name", route.name)));
    }
}

fn refuse_conflict(table: &Table<'_>, route: &Route, other: &Route) {
    let same_path = route.path.is_same(&other.path);
    let common_host = match (route.hosts.as_slice(), other.hosts.as_slice()) {
        ([], []) => Some("any host"),
        (hosts, others) => hosts.iter().find(|host| others.contains(host)).map(String::as_str),
    };
    let common_method = match (route.methods.as_slice(), other.methods.as_slice()) {
        ([], []) => Some("every method"),
        ([], methods) | (methods, []) => methods.first().map(Method::as_str),
        (methods, others) => {
            methods.iter().find(|method| others.contains(method)).map(Method::as_str)
        }
    };
    if let (true, Some(host), Some(method)) = (same_path, common_host, common_method) {
        table.error(
            "path",
            Wrong::new(format!(
                "the route {:?} takes this path already, for {host} and {method}",
                other.name
            ))
            .help("give one of them other hosts, another path or other methods"),
        );
    }
}
