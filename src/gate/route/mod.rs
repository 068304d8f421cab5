//! From host, path and method to an own path or a route.
//!
//! Own paths match exactly, case included, on every host, and come first. Among routes the most specific host wins (exact
//! before wildcard before none), then the longest prefix on whole segments, then the method; a method that no route of that
//! host and prefix lists is 405 and never falls to a shorter prefix. A path that no route takes is 404: nothing is
//! forwarded by default.
//!
//! The table is built once, sorted from specific to general, and walked in order: for the dozens of routes that a
//! configuration has, that is faster than any tree, and its order is the rule.

use std::collections::HashMap;
use std::sync::Arc;

use http::Method;

use crate::config::{Config, OwnPathEntry, Route, Shadow};
use crate::wire::framing::Methods;
use crate::wire::host::Host;
use crate::wire::path::CanonicalPath;

/// All own paths and routes.
#[derive(Debug)]
pub struct RouteTable {
    own: HashMap<String, Arc<OwnPathEntry>>,
    prefixes: Vec<Prefix>,
    shadow: Shadow,
}

/// Where a request leads.
#[derive(Debug)]
pub enum Found {
    /// To ourselves.
    Own(Arc<OwnPathEntry>),
    /// To an upstream.
    Route(Arc<Route>),
    /// To a prefix that takes other methods only.
    OtherMethods(Vec<Method>),
    /// Nowhere.
    Nothing,
}

/// One host pattern with one path prefix, and its routes by method.
#[derive(Debug)]
struct Prefix {
    host: HostPattern,
    path: CanonicalPath,
    routes: Vec<Arc<Route>>,
}

/// In the order of their precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum HostPattern {
    Exact(String),
    /// The part after `*`, with its dot.
    Suffix(String),
    Any,
}

impl RouteTable {
    /// From the configuration.
    pub fn new(config: &Config) -> Self {
        let own = config
            .paths
            .iter()
            .map(|entry| (entry.path.clone(), Arc::new(entry.clone())))
            .collect();
        let mut prefixes: Vec<Prefix> = Vec::new();
        for route in &config.routes {
            let route = Arc::new(route.clone());
            for host in patterns(&route.hosts) {
                match prefixes.iter_mut().find(|p| p.host == host && p.path == route.path) {
                    Some(prefix) => prefix.routes.push(Arc::clone(&route)),
                    None => prefixes.push(Prefix {
                        host,
                        path: route.path.clone(),
                        routes: vec![Arc::clone(&route)],
                    }),
                }
            }
        }
        prefixes.sort_by(|a, b| {
            a.host
                .rank()
                .cmp(&b.host.rank())
                .then(b.path.as_str().len().cmp(&a.path.as_str().len()))
        });
        Self { own, prefixes, shadow: config.shadow.clone() }
    }

    /// Where a request leads.
    pub fn find(&self, host: &Host, path: &CanonicalPath, method: &Method) -> Found {
        if let Some(own) = self.own.get(path.as_str()) {
            return Found::Own(Arc::clone(own));
        }
        let Some(prefix) = self.fitting(host, path).next() else { return Found::Nothing };
        match prefix.routes.iter().find(|route| methods_of(route).contains(method)) {
            Some(route) => Found::Route(Arc::clone(route)),
            None => Found::OtherMethods(prefix.methods()),
        }
    }

    /// Is any route shadowed?
    pub const fn has_shadow(&self) -> bool {
        !self.shadow.routes.is_empty()
    }

    /// The shadowed route that a request goes by, own paths or not; a method that no route of the prefix takes goes by its
    /// first shadowed one.
    pub fn shadowed(
        &self,
        host: &Host,
        path: &CanonicalPath,
        method: &Method,
    ) -> Option<Arc<Route>> {
        let routes = &self.fitting(host, path).next()?.routes;
        let is_shadowed = |route: &&Arc<Route>| self.shadow.covers(route.index);
        let found = match routes.iter().find(|route| methods_of(route).contains(method)) {
            Some(route) => Some(route).filter(is_shadowed),
            None => routes.iter().find(is_shadowed),
        };
        found.map(Arc::clone)
    }

    /// All routes whose host and prefix fit, in the order of their precedence. Those of the first prefix are asked for the
    /// method, and no others.
    pub fn candidates(
        &self,
        host: &Host,
        path: &CanonicalPath,
    ) -> impl Iterator<Item = &Arc<Route>> {
        self.fitting(host, path).flat_map(|prefix| &prefix.routes)
    }

    fn fitting(&self, host: &Host, path: &CanonicalPath) -> impl Iterator<Item = &Prefix> {
        self.prefixes.iter().filter(|prefix| {
            prefix.host.takes(host.name()) && path.starts_with_segments(&prefix.path)
        })
    }
}

impl Prefix {
    fn methods(&self) -> Vec<Method> {
        let mut methods: Vec<Method> = Vec::new();
        for route in &self.routes {
            for method in methods_of(route) {
                if !methods.contains(method) {
                    methods.push(method.clone());
                }
            }
        }
        methods
    }
}

impl HostPattern {
    /// Exact, then the longer wildcard, then any.
    const fn rank(&self) -> (u8, usize) {
        match self {
            Self::Exact(_) => (0, 0),
            Self::Suffix(suffix) => (1, usize::MAX - suffix.len()),
            Self::Any => (2, 0),
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

/// The methods that a route takes.
pub fn methods_of(route: &Route) -> &[Method] {
    if route.methods.is_empty() { &Methods::USUAL } else { &route.methods }
}

#[cfg(test)]
mod tests;
