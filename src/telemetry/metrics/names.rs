//! What a configuration names, and the metrics that bear those names as labels.

use prometheus::IntGaugeVec;

use super::requests::{PlaceMetrics, RequestMetrics, UpstreamMetrics};
use super::servers::{ServerMetrics, Servers};
use super::shadow::{RouteVerdicts, ShadowMetrics};
use crate::config::Config;

/// The names from the configuration that become label values, in its order.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Of `[[route]]`.
    pub routes: Vec<String>,
    /// Of `[[upstream]]`.
    pub upstreams: Vec<String>,
    /// Of the servers of each.
    pub servers: Vec<Vec<String>>,
    /// Indices of the routes that are shadowed.
    pub shadowed: Vec<usize>,
}

/// The metrics of one configuration's routes and upstreams, by their place in it. Another configuration has others, and
/// the counter of a name is the same in both.
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
    /// Those of a configuration.
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

    /// The metrics of the servers of the upstream with this index.
    pub fn servers_of(&self, upstream: usize) -> &[ServerMetrics] {
        self.servers.get(upstream).map_or(&[], Vec::as_slice)
    }

    /// Whether a route is down for maintenance.
    pub fn maintenance(&self, route: &str, is_on: bool) {
        self.maintenance.with_label_values(&[route]).set(i64::from(is_on));
    }

    /// What the configuration names.
    pub const fn names(&self) -> &Names {
        &self.names
    }
}
