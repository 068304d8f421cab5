//! Reads `[[upstream]]`: the servers of one application.

use std::time::Duration;

use super::pool::{
    AddressPreference, Balance, Circuit, Ejection, HealthCheck, HttpVersion, Retry, ServerTls,
};
use super::raw::{RawItem, RawTable, Wrong, nearest};
use super::server::UpstreamServer;
use super::units::{DAY, KIB, TIMEOUT, hours, secs};
use super::{Route, pool, values};
use crate::wire::proxy_protocol::ProxyVersion;

/// `[[upstream]]`: the servers of one application.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// The name that routes use, which is also a metric label.
    pub name: String,
    /// The servers.
    pub servers: Vec<UpstreamServer>,
    /// How the next server is chosen.
    pub balance: Balance,
    /// The version of HTTP that they speak.
    pub http: HttpVersion,
    /// The addresses of a name that are used.
    pub addresses: AddressPreference,
    /// The header of the PROXY protocol that they get first, with the client's address.
    pub proxy_protocol: Option<ProxyVersion>,
    /// The TLS settings for servers with `https://`.
    pub tls: ServerTls,
    /// How failing servers are taken out.
    pub ejection: Ejection,
    /// How the servers' health is checked; none: it is not.
    pub health: Option<HealthCheck>,
    /// How long a server that has come back gets less than its share.
    pub slow_start: Duration,
    /// What is retried.
    pub retry: Retry,
    /// The limits of each address.
    pub circuit: Circuit,
    /// The longest that connecting may take.
    pub connect_timeout: Duration,
    /// The longest wait for the next byte of an answer (504 before the first).
    pub read_timeout: Duration,
    /// The longest wait until the upstream takes the next byte.
    pub write_timeout: Duration,
    /// How long an idle keep-alive connection stays open; below the server's own limit (gunicorn: 2 s).
    pub idle_timeout: Duration,
    /// Whether a chunked body of up to [`Self::buffer_limit`] gets a Content-Length, and a longer one the answer 411. For WSGI
    /// servers, whose applications see a chunked body as empty.
    pub buffer_chunked: bool,
    /// The most bytes of such a body; see [`Self::buffer_chunked`].
    pub buffer_limit: usize,
    /// How long a WebSocket may be silent in both directions before it is closed.
    pub websocket_timeout: Duration,
}

impl Upstream {
    /// Creates an upstream with the defaults for everything else.
    pub fn new(name: &str, servers: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            servers: servers.iter().filter_map(|text| UpstreamServer::parse(text).ok()).collect(),
            balance: Balance::default(),
            http: HttpVersion::default(),
            addresses: AddressPreference::default(),
            proxy_protocol: None,
            tls: ServerTls::default(),
            ejection: Ejection::default(),
            health: None,
            slow_start: Duration::ZERO,
            retry: Retry::default(),
            circuit: Circuit::default(),
            connect_timeout: secs(2),
            read_timeout: secs(60),
            write_timeout: secs(60),
            // gunicorn closes an idle keep-alive connection after 2 s, without notice.
            idle_timeout: Duration::from_millis(1500),
            buffer_chunked: false,
            buffer_limit: 64 * KIB,
            websocket_timeout: hours(1),
        }
    }
}

/// Returns the index of the upstream with this name.
pub(super) fn index_of(text: &str, upstreams: &[RawItem<Upstream>]) -> Result<usize, Wrong> {
    upstreams.iter().position(|upstream| upstream.value.name == text).ok_or_else(|| {
        let names = || upstreams.iter().map(|upstream| upstream.value.name.as_str());
        let wrong = Wrong::new(format!("there is no upstream {text:?}"));
        let list = format!("the upstreams are: {}", names().collect::<Vec<_>>().join(", "));
        match nearest(text, names()) {
            Some(meant) => wrong.help(format!("did you mean {meant:?}? {list}")),
            None => wrong.help(list),
        }
    })
}

/// Reads all upstreams, each with the place of its name.
pub(super) fn upstreams(root: &RawTable<'_>) -> Vec<RawItem<Upstream>> {
    let mut names: Vec<String> = Vec::new();
    let all = root.tables("upstream", |table| {
        let upstream = upstream(table);
        if names.contains(&upstream.name) {
            table.error(
                "name",
                Wrong::new(format!("{:?} is another upstream's name", upstream.name)),
            );
        } else if !upstream.name.is_empty() {
            names.push(upstream.name.clone());
        }
        RawItem { value: upstream, place: table.place("name") }
    });
    root.require(
        "upstream",
        "at least one: [[upstream]] name = \"app\" servers = [\"127.0.0.1:8000\"]",
    );
    all
}

/// Warns of upstreams that no route uses, unless a route names an unknown one.
pub(super) fn warn_of_unused(
    root: &RawTable<'_>,
    upstreams: &[RawItem<Upstream>],
    routes: &[RawItem<Route>],
) {
    if routes.is_empty() || routes.iter().any(|route| route.value.upstream >= upstreams.len()) {
        return;
    }
    for (index, upstream) in upstreams.iter().enumerate() {
        if !routes.iter().any(|route| route.value.upstream == index) {
            root.warn_at(upstream.place.clone(), Wrong::new("no route leads to this upstream"));
        }
    }
}

fn upstream(table: &RawTable<'_>) -> Upstream {
    table.require("name", "the name that routes use");
    let name = table.text("name", values::name).unwrap_or_default();
    let default = Upstream::new(&name, &[]);
    let upstream = Upstream {
        connect_timeout: table
            .duration("connect_timeout", TIMEOUT)
            .unwrap_or(default.connect_timeout),
        read_timeout: table.duration("read_timeout", TIMEOUT).unwrap_or(default.read_timeout),
        write_timeout: table.duration("write_timeout", TIMEOUT).unwrap_or(default.write_timeout),
        idle_timeout: table
            .duration("idle_timeout", secs(0)..=*TIMEOUT.end())
            .unwrap_or(default.idle_timeout),
        buffer_chunked: table.flag("buffer_chunked").unwrap_or(default.buffer_chunked),
        buffer_limit: table
            // The framework's buffer for a body that is sent again has this size (its 0.9.1: 64 KiB).
            .size("buffer_limit", 1 << 10..=64 << 10)
            .unwrap_or(default.buffer_limit),
        websocket_timeout: table
            .duration("websocket_timeout", secs(1)..=DAY)
            .unwrap_or(default.websocket_timeout),
        name,
        ..default
    };
    pool::read(table, upstream)
}
