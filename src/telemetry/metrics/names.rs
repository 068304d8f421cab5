//! The names in a configuration, and the metrics with those names as labels.

use prometheus::IntGaugeVec;

use super::requests::{PlaceMetrics, RequestMetrics, UpstreamMetrics};
use super::servers::{ServerMetrics, Servers};
use super::shadow::{RouteVerdicts, ShadowMetrics};
use crate::config::Config;

/// The names from the configuration that become label values, in its order.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The names of `[[route]]`.
    pub routes: Vec<String>,
    /// The names of `[[upstream]]`.
    pub upstreams: Vec<String>,
    /// The names of the servers of each upstream.
    pub servers: Vec<Vec<String>>,
    /// The indices of the shadowed routes.
    pub shadowed: Vec<usize>,
}

/// The metrics of one configuration's routes and upstreams, by their index. Each configuration has its own, but the counter of
/// a name is the same in all.
#[derive(Debug)]
pub struct Labels {
    names: Names,
    pub(super) routes: Vec<PlaceMetrics>,
    pub(super) upstreams: Vec<UpstreamMetrics>,
    servers: Vec<Vec<ServerMetrics>>,
    pub(super) shadow: RouteVerdicts,
    maintenance: IntGaugeVec,
}

impl Names {
    /// Returns the names in a configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            shadowed: config.shadow.routes.clone(),
            routes: config.routes.iter().map(|route| route.name.clone()).collect(),
            upstreams: config.upstreams.iter().map(|upstream| upstream.name.clone()).collect(),
            servers: config
                .upstreams
                .iter()
                .map(|one| one.servers.iter().map(|server| server.name.clone()).collect())
                .collect(),
        }
    }
}

impl Labels {
    pub(super) fn new(
        requests: &RequestMetrics,
        servers: &Servers,
        shadow: &ShadowMetrics,
        names: Names,
    ) -> Self {
        let of = |(upstream, all): (&String, &Vec<String>)| {
            all.iter().map(|server| servers.server(upstream, server)).collect()
        };
        Self {
            routes: names.routes.iter().map(|name| requests.place(name)).collect(),
            upstreams: names.upstreams.iter().map(|name| requests.upstream(name)).collect(),
            servers: names.upstreams.iter().zip(&names.servers).map(of).collect(),
            shadow: shadow.of_routes(&names),
            maintenance: requests.maintenance().clone(),
            names,
        }
    }

    /// Returns the metrics of the servers of the upstream with this index.
    pub fn servers_of(&self, upstream: usize) -> &[ServerMetrics] {
        self.servers.get(upstream).map_or(&[], Vec::as_slice)
    }

    /// Sets whether a route is in maintenance.
    pub fn maintenance(&self, route: &str, is_on: bool) {
        self.maintenance.with_label_values(&[route]).set(i64::from(is_on));
    }

    /// Returns the names in the configuration.
    pub const fn names(&self) -> &Names {
        &self.names
    }
}
