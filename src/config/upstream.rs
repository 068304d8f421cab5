//! `[[upstream]]`: the servers of one application.

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
    /// The name that routes use, and a metric label.
    pub name: String,
    /// What is asked, and where it is.
    pub servers: Vec<UpstreamServer>,
    /// Who gets the next request.
    pub balance: Balance,
    /// What they speak.
    pub http: HttpVersion,
    /// Which addresses of a name are used.
    pub addresses: AddressPreference,
    /// What they are told first of a client's address.
    pub proxy_protocol: Option<ProxyVersion>,
    /// How those with `https://` are spoken to.
    pub tls: ServerTls,
    /// Those that fail are left out.
    pub ejection: Ejection,
    /// They are asked whether they are well.
    pub health: Option<HealthCheck>,
    /// How long one that has come back gets less than its share.
    pub slow_start: Duration,
    /// What is tried again.
    pub retry: Retry,
    /// How much is asked of each.
    pub circuit: Circuit,
    /// The longest a connection may take to be made.
    pub connect_timeout: Duration,
    /// The longest wait for the next byte of an answer (504 before the first).
    pub read_timeout: Duration,
    /// The longest wait until the upstream takes the next byte.
    pub write_timeout: Duration,
    /// A kept connection is given up after this long without use; below the server's own limit (gunicorn: 2 s).
    pub idle_timeout: Duration,
    /// Give a chunked body of up to [`Self::buffer_limit`] a Content-Length, and answer 411 to a longer one. For WSGI
    /// servers, whose applications see a chunked body empty.
    pub buffer_chunked: bool,
    /// See [`Self::buffer_chunked`].
    pub buffer_limit: usize,
    /// A WebSocket that is silent in both directions for this long is closed.
    pub websocket_timeout: Duration,
}

impl Upstream {
    /// An upstream with the defaults of everything else.
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
            // gunicorn closes a kept connection after 2 s, without a word.
            idle_timeout: Duration::from_millis(1500),
            buffer_chunked: false,
            buffer_limit: 64 * KIB,
            websocket_timeout: hours(1),
        }
    }
}

/// The upstream of this name.
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

/// All upstreams, each with the place of its name.
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

/// Where no route was mistaken about its upstream.
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
