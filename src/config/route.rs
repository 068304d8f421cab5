//! Reads `[[route]]`: host + path (+ methods) -> upstream, with the requirements for callers.

use std::time::Duration;

use http::{HeaderValue, Method};

use super::credentials::credentials;
use super::raw::{RawItem, RawTable, Wrong};
use super::units::{DAY, mins};
use super::{
    CredentialSelection, IdentityForm, IdentityHeaderNames, IssuerSettings, RouteForms,
    RouteHandling, SignInRedirect, Upstream, forms, personal_tokens, route_handling, values,
};
use crate::caller::{Assurance, AuthMethod, SEVERAL_FACTORS};
use crate::clock::Timestamp;
use crate::wire::forward::{ProtectedNames, fold};
use crate::wire::path::{Ambiguity, CanonicalPath, PathMatch, PathPattern, Tolerance};

/// `[[route]]`: host + path (+ methods) -> upstream, with the requirements for callers.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The route's position in the file, counted from 0.
    pub index: usize,
    /// The metric label; unique.
    pub name: String,
    /// The hosts that it matches: exact (`app.example`) or wildcard (`*.example`); empty: any.
    pub hosts: Vec<String>,
    /// The paths that it matches: a prefix on whole segments, or one path exactly.
    pub path: PathPattern,
    /// The methods that it accepts; empty: the usual seven.
    pub methods: Vec<http::Method>,
    /// Index into [`Config::upstreams`](super::Config::upstreams).
    pub upstream: usize,
    /// Who may use it.
    pub access: Access,
    /// The groups of which the caller must be in one; empty: no group is required.
    pub groups: Vec<String>,
    /// How, and how recently, the caller must have been authenticated.
    pub asks: AssuranceRequirement,
    /// The part of the path that is removed before forwarding (`/api/` makes `/api/users` `/users`).
    pub strip_prefix: Option<CanonicalPath>,
    /// Whether the stripped prefix is put in front of the paths in `Location`, `Content-Location` and cookies of answers.
    pub rewrite_location: bool,
    /// Harmless ambiguities that are let through: see `wire::path`.
    pub allow_ambiguous_path: Tolerance,
    /// Header names that are let through although they contain an underscore or other unusual character.
    pub allow_headers: Vec<String>,
    /// Whether real preflights are forwarded, without identity, to a service that answers CORS itself.
    pub forward_preflight: bool,
    /// Whether WebSocket upgrades are let through.
    pub websocket: bool,
    /// The forms in which its service learns who is calling, besides the headers.
    pub identity: RouteForms,
    /// The credentials that it checks; the others are left to its service.
    pub credentials: CredentialSelection,
    /// Whether it takes personal access tokens.
    pub personal_tokens: bool,
    /// Who decides where a browser is sent to sign in.
    pub sign_in_redirect: SignInRedirect,
    /// How a script that is not authenticated is refused.
    pub refusals: RouteRefusals,
    /// How its requests are handled.
    pub handling: RouteHandling,
}

/// `route.refusals`: how a script is refused that sent no credential, or a token that is not valid.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum RouteRefusals {
    /// `"gateway"`: the body contains the gateway's code and the request's id.
    #[default]
    Gateway,
    /// `"rest-framework"`: like the service's own authentication classes.
    RestFramework {
        /// `WWW-Authenticate` of the first class, with 401; none: 403.
        challenge: Option<HeaderValue>,
    },
}

/// What a route requires of its callers' authentication.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AssuranceRequirement {
    /// `route.second_factor = "required"`: several factors, or a password and a mailed code where these are accepted.
    pub several_factors: bool,
    /// `route.fresh`: the longest time since the last proof.
    pub fresh: Option<Duration>,
}

impl AssuranceRequirement {
    /// Whether this assurance meets the requirement.
    pub fn is_met(self, assurance: Assurance, at: Timestamp) -> bool {
        if self.asks() && assurance.methods.has(AuthMethod::PersonalToken) {
            return false;
        }
        let is_enough = !self.several_factors
            || assurance.acr() == Some(SEVERAL_FACTORS)
            || assurance.methods.has(AuthMethod::Mail);
        let is_lately =
            |fresh: Duration| assurance.auth_time.is_some_and(|proved| at.since(proved) <= fresh);
        is_enough && self.fresh.is_none_or(is_lately)
    }

    /// Whether anything is required.
    pub const fn asks(self) -> bool {
        self.several_factors || self.fresh.is_some()
    }
}

/// Who may use a route.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Access {
    /// Anybody; a credential is neither required nor refused, and is checked only to tell the upstream who is calling.
    Public,
    /// Anybody, but a credential that is not valid gets 401.
    Optional,
    /// Signed-in callers. The default: nothing is public unless it says so.
    #[default]
    SignedIn,
}

impl Route {
    /// Creates a route to the upstream with this index, with the defaults for everything else.
    pub fn new(name: &str, path: PathPattern, upstream: usize) -> Self {
        Self {
            index: 0,
            name: name.to_owned(),
            hosts: Vec::new(),
            path,
            methods: Vec::new(),
            upstream,
            access: Access::SignedIn,
            groups: Vec::new(),
            asks: AssuranceRequirement::default(),
            strip_prefix: None,
            rewrite_location: false,
            allow_ambiguous_path: Tolerance::NONE,
            allow_headers: Vec::new(),
            forward_preflight: false,
            websocket: false,
            sign_in_redirect: SignInRedirect::default(),
            refusals: RouteRefusals::default(),
            identity: RouteForms::default(),
            credentials: CredentialSelection::All,
            personal_tokens: false,
            handling: RouteHandling::default(),
        }
    }
}

/// Reads all routes, each with the place of its path.
pub(super) fn routes(
    root: &RawTable<'_>,
    upstreams: &[RawItem<Upstream>],
    identity: &IdentityHeaderNames,
    forms: &[RawItem<IdentityForm>],
    issuers: &[IssuerSettings],
) -> Vec<RawItem<Route>> {
    let of_forms = forms.iter().filter_map(|form| form.value.kind.header());
    let protected = ProtectedNames::new(identity.names().chain(of_forms))
        .and_credentials(issuers.iter().filter_map(IssuerSettings::header));
    let mut all: Vec<(RawItem<Route>, bool)> = Vec::new();
    root.tables("route", |table| {
        let (route, has_path) = route(table, all.len(), upstreams, &protected, forms, issuers);
        for (other, other_has_path) in &all {
            refuse_same_name(table, &route, &other.value);
            if has_path && *other_has_path {
                refuse_conflict(table, &route, &other.value);
            }
        }
        all.push((RawItem { value: route, place: table.place("path") }, has_path));
    });
    root.require("route", "at least one: [[route]] name = \"app\" path = \"/\" upstream = \"...\"");
    all.into_iter().map(|(item, _)| item).collect()
}

/// Reads a route, and whether its path could be read. If not, that is an error, and the `/` in its place is never used.
fn route(
    table: &RawTable<'_>,
    index: usize,
    upstreams: &[RawItem<Upstream>],
    protected: &ProtectedNames,
    forms: &[RawItem<IdentityForm>],
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
    let asks = AssuranceRequirement {
        several_factors: table.choice("second_factor", &SECOND_FACTOR).unwrap_or_default(),
        fresh: table.duration("fresh", mins(1)..=30 * DAY),
    };
    if asks.asks() && access != Access::SignedIn {
        let key = if asks.fresh.is_some() { "fresh" } else { "second_factor" };
        table.error(
            key,
            Wrong::new("only a signed-in caller can meet this requirement")
                .help(format!("remove route.{key}, or set access = \"signed-in\"")),
        );
    }
    let rewrite_location = table.flag("rewrite_location").unwrap_or(default.rewrite_location);
    if rewrite_location && strip_prefix.is_none() {
        table.error(
            "rewrite_location",
            Wrong::new("there is no prefix to restore").help("add route.strip_prefix"),
        );
    }
    let mut route = Route {
        rewrite_location,
        hosts: table.values("hosts", values::route_host).unwrap_or_default(),
        methods: table.values("methods", method).unwrap_or_default(),
        access,
        groups,
        asks,
        index,
        strip_prefix,
        allow_ambiguous_path: table
            .values("allow_ambiguous_path", tolerated)
            .unwrap_or_default()
            .into_iter()
            .collect(),
        allow_headers: table
            .values("allow_headers", |text| allowed_header(text, protected))
            .unwrap_or_default(),
        forward_preflight: table.flag("forward_preflight").unwrap_or(default.forward_preflight),
        websocket: table.flag("websocket").unwrap_or(default.websocket),
        identity: forms::of_route(table, forms),
        credentials: credentials(table, issuers, access),
        sign_in_redirect: table.choice("sign_in_redirect", &REDIRECTS).unwrap_or_default(),
        refusals: refusals(table),
        handling: route_handling::read(table, upstreams.get(upstream), protected),
        ..default
    };
    route.personal_tokens = personal_tokens::of_route(table, &route);
    (route, has_path)
}

const ACCESS: [(&str, Access); 3] =
    [("public", Access::Public), ("optional", Access::Optional), ("signed-in", Access::SignedIn)];

const SECOND_FACTOR: [(&str, bool); 2] = [("required", true), ("off", false)];

const REDIRECTS: [(&str, SignInRedirect); 2] =
    [("gateway", SignInRedirect::Gateway), ("service", SignInRedirect::Service)];

#[derive(Clone, Copy, PartialEq)]
enum RefusalStyleKey {
    Gateway,
    RestFramework,
}

const REFUSALS: [(&str, RefusalStyleKey); 2] =
    [("gateway", RefusalStyleKey::Gateway), ("rest-framework", RefusalStyleKey::RestFramework)];

fn refusals(table: &RawTable<'_>) -> RouteRefusals {
    match table.choice("refusals", &REFUSALS).unwrap_or(RefusalStyleKey::Gateway) {
        RefusalStyleKey::Gateway => {
            let help = "it is for refusals = \"rest-framework\"";
            table.refuse(&["challenge"], "the gateway's own refusals have a fixed challenge", help);
            RouteRefusals::Gateway
        }
        RefusalStyleKey::RestFramework => {
            RouteRefusals::RestFramework { challenge: table.text("challenge", challenge) }
        }
    }
}

/// Parses the value of `WWW-Authenticate` (RFC 9110 section 11.6.1).
fn challenge(text: &str) -> Result<HeaderValue, Wrong> {
    let wrong = || {
        Wrong::new(format!("{text:?} is no challenge"))
            .help("like \"Token\" or \"Bearer realm=\\\"api\\\"\"; leave it out for 403")
    };
    let is_scheme = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    HeaderValue::from_str(text).ok().filter(|_| is_scheme).ok_or_else(wrong)
}

const MATCH: [(&str, PathMatch); 2] = [("prefix", PathMatch::Prefix), ("exact", PathMatch::Exact)];

fn upstream_index(table: &RawTable<'_>, upstreams: &[RawItem<Upstream>]) -> usize {
    table.require("upstream", "the name of the upstream that it leads to");
    let find = |text: &str| super::upstream::index_of(text, upstreams);
    // The index after the last means none. An upstream whose name could not be read has been reported already.
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

fn strip_prefix(table: &RawTable<'_>, path: Option<&PathPattern>) -> Option<CanonicalPath> {
    let prefix = table.text("strip_prefix", values::canonical_path)?;
    // A missing path has been reported already.
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

/// Accepts only harmless names: whatever folds into a name that an upstream trusts is refused.
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

fn refuse_same_name(table: &RawTable<'_>, route: &Route, other: &Route) {
    if !route.name.is_empty() && route.name == other.name {
        table.error("name", Wrong::new(format!("{:?} is another route's name", route.name)));
    }
}

fn refuse_conflict(table: &RawTable<'_>, route: &Route, other: &Route) {
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
