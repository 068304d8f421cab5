//! Finds the own path or the route for a host, a path and a method.
//!
//! Own paths match exactly, case included, on every host, and come first: the literal ones, then the aliases with `*`. Among
//! routes the most specific host wins (exact before wildcard before none), then the best path, then the method. Of two paths
//! that match a request, the better one has a literal segment where the other first has `*`; then the longer one wins; then
//! the exact one. **A path is its pattern and its extent**: `/a/` exact and `/a/` as a prefix are two. A method that no route
//! of the best path lists is answered with 405, and no other path is tried: neither a shorter one, nor a prefix instead of an
//! exact one, nor `*` instead of a literal. Otherwise a rule for `GET` would leave other methods to the less specific routes.
//! A path that no route matches is answered with 404: nothing is forwarded by default.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use http::Method;

use self::tree::Tree;
use crate::config::{Config, OwnPathEntry, Route, Shadow};
use crate::wire::framing::Methods;
use crate::wire::host::Host;
use crate::wire::path::CanonicalPath;

mod tree;

/// All own paths and routes, in the order of precedence.
#[derive(Debug)]
pub struct RouteTable {
    own: HashMap<String, Arc<OwnPathEntry>>,
    /// The aliases with `*`, if there are any.
    own_patterns: Option<Tree<Option<Arc<OwnPathEntry>>>>,
    /// The routes by host, in the order of precedence.
    hosts: Vec<(HostPattern, Tree<Routes>)>,
    shadow: Shadow,
}

/// The routes of one host and one path, which differ in their methods.
type Routes = Vec<Arc<Route>>;

/// Where a request leads.
#[derive(Debug)]
pub enum RouteMatch {
    /// To an own path of the gateway.
    Own(Arc<OwnPathEntry>),
    /// To an upstream.
    Route(Arc<Route>),
    /// To a path that takes only other methods; these.
    OtherMethods(Vec<Method>),
    /// To nothing: no route matches.
    Nothing,
}

/// The hosts that a route takes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Exact(String),
    /// The part after `*`, with its dot.
    Suffix(String),
    Any,
}

impl RouteTable {
    /// Creates the table for a configuration.
    pub fn new(config: &Config) -> Self {
        let mut own = HashMap::new();
        let mut own_patterns: Option<Tree<Option<Arc<OwnPathEntry>>>> = None;
        for entry in &config.paths {
            let shared = Arc::new(entry.clone());
            if entry.path.is_literal() {
                own.insert(entry.path.to_string(), shared);
            } else {
                *own_patterns.get_or_insert_default().at(&entry.path) = Some(shared);
            }
        }
        let mut hosts: Vec<(HostPattern, Tree<Routes>)> = Vec::new();
        for route in &config.routes {
            let route = Arc::new(route.clone());
            for host in patterns(&route.hosts) {
                let place = hosts.binary_search_by_key(&host.rank(), |(host, _)| host.rank());
                let at = place.unwrap_or_else(|at| {
                    hosts.insert(at, (host, Tree::default()));
                    at
                });
                if let Some((_, tree)) = hosts.get_mut(at) {
                    tree.at(&route.path).push(Arc::clone(&route));
                }
            }
        }
        Self { own, own_patterns, hosts, shadow: config.shadow.clone() }
    }

    /// Returns where a request leads.
    pub fn find(&self, host: &Host, path: &CanonicalPath, method: &Method) -> RouteMatch {
        if let Some(own) = self.own(path) {
            return RouteMatch::Own(Arc::clone(own));
        }
        let Some(routes) = self.best(host, path) else { return RouteMatch::Nothing };
        match routes.iter().find(|route| methods_of(route).contains(method)) {
            Some(route) => RouteMatch::Route(Arc::clone(route)),
            None => RouteMatch::OtherMethods(methods_of_all(routes)),
        }
    }

    fn own(&self, path: &CanonicalPath) -> Option<&Arc<OwnPathEntry>> {
        let pattern = || self.own_patterns.as_ref()?.best(path)?.as_ref();
        self.own.get(path.as_str()).or_else(pattern)
    }

    /// Whether any route is shadowed.
    pub const fn has_shadow(&self) -> bool {
        !self.shadow.routes.is_empty()
    }

    /// Returns the shadowed route that a request takes, own paths or not. If no route of the path takes the method, the
    /// path's first shadowed route is returned.
    pub fn shadowed(
        &self,
        host: &Host,
        path: &CanonicalPath,
        method: &Method,
    ) -> Option<Arc<Route>> {
        let routes = self.best(host, path)?;
        let is_shadowed = |route: &&Arc<Route>| self.shadow.covers(route.index);
        let found = match routes.iter().find(|route| methods_of(route).contains(method)) {
            Some(route) => Some(route).filter(is_shadowed),
            None => routes.iter().find(is_shadowed),
        };
        found.map(Arc::clone)
    }

    /// Returns all routes whose host and path match, in the order of precedence. Only those of the best path are
    /// checked for the method.
    pub fn candidates(&self, host: &Host, path: &CanonicalPath) -> Vec<&Arc<Route>> {
        let mut all = Vec::new();
        for tree in self.of_host(host) {
            let _: ControlFlow<()> = tree.each(path, &mut |routes| {
                all.extend(routes);
                ControlFlow::Continue(())
            });
        }
        all
    }

    fn best(&self, host: &Host, path: &CanonicalPath) -> Option<&Routes> {
        self.of_host(host).find_map(|tree| tree.best(path))
    }

    fn of_host(&self, host: &Host) -> impl Iterator<Item = &Tree<Routes>> {
        let name = host.name();
        self.hosts.iter().filter(move |(host, _)| host.takes(name)).map(|(_, tree)| tree)
    }
}

fn methods_of_all(routes: &[Arc<Route>]) -> Vec<Method> {
    let mut methods: Vec<Method> = Vec::new();
    for method in routes.iter().flat_map(|route| methods_of(route)) {
        if !methods.contains(method) {
            methods.push(method.clone());
        }
    }
    methods
}

impl HostPattern {
    /// Orders exact hosts before wildcards, longer wildcards first, and any host last; each has a rank of its own.
    fn rank(&self) -> (u8, usize, String) {
        match self {
            Self::Exact(name) => (0, 0, name.clone()),
            Self::Suffix(suffix) => (1, usize::MAX - suffix.len(), suffix.clone()),
            Self::Any => (2, 0, String::new()),
        }
    }

    fn takes(&self, host: &str) -> bool {
        match self {
            Self::Exact(exact) => host == exact,
            Self::Suffix(suffix) => {
                host.strip_suffix(suffix.as_str()).is_some_and(|label| !label.is_empty())
            }
            Self::Any => true,
        }
    }
}

fn patterns(hosts: &[String]) -> Vec<HostPattern> {
    if hosts.is_empty() {
        return vec![HostPattern::Any];
    }
    hosts
        .iter()
        .map(|host| match host.strip_prefix('*') {
            Some(suffix) => HostPattern::Suffix(suffix.to_ascii_lowercase()),
            None => HostPattern::Exact(host.to_ascii_lowercase()),
        })
        .collect()
}

/// Returns the methods that a route takes.
pub fn methods_of(route: &Route) -> &[Method] {
    if route.methods.is_empty() { &Methods::USUAL } else { &route.methods }
}

#[cfg(test)]
mod tests;
