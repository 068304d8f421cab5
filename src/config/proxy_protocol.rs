//! Reads `[listen.proxy_protocol]`: which listeners require the PROXY protocol's header, and from whom they accept it.
//!
//! Each listener either requires one on every connection or accepts none. The sender decides which address a client has, so the
//! networks that may send one are listed, and connections from others are closed.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::raw::{RawTable, Wrong};
use super::units::{TIMEOUT, secs};
use super::values;

/// `[listen.proxy_protocol]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// The listeners that require it, of `listen.http` and `listen.https`.
    pub listeners: Vec<SocketAddr>,
    /// The networks that may send it.
    pub networks: Vec<IpNet>,
    /// The longest wait for it.
    pub timeout: Duration,
}

impl Default for ProxyProtocol {
    fn default() -> Self {
        Self { listeners: Vec::new(), networks: Vec::new(), timeout: secs(3) }
    }
}

impl ProxyProtocol {
    /// Whether this listener requires the header.
    pub fn is_required(&self, listener: SocketAddr) -> bool {
        self.listeners.contains(&listener)
    }

    /// Whether this proxy may send one.
    pub fn takes_from(&self, proxy: IpAddr) -> bool {
        let proxy = proxy.to_canonical();
        self.networks.iter().any(|network| network.contains(&proxy))
    }
}

/// Reads the table; `known` are the addresses of all listeners.
pub(super) fn read(table: &RawTable<'_>, known: &[SocketAddr]) -> ProxyProtocol {
    let default = ProxyProtocol::default();
    let listeners = table.list("listeners", values::address).unwrap_or_default();
    for item in &listeners {
        if !known.contains(&item.value) {
            let wrong = Wrong::new(format!("nothing listens on {}", item.value));
            let help = "allowed: addresses of listen.http and listen.https";
            table.error_at(item.place.clone(), wrong.help(help));
        }
    }
    let networks = table.list("networks", values::network).unwrap_or_default();
    if !listeners.is_empty() && !table.has("networks") {
        table.error(
            "listeners",
            Wrong::new("no network is listed that may send the header")
                .help("add listen.proxy_protocol.networks: the proxies' own addresses"),
        );
    }
    for item in &networks {
        if item.value.prefix_len() == 0 {
            let wrong = Wrong::new("every client could then claim any address");
            table.error_at(item.place.clone(), wrong.help("list the proxies' own networks"));
        }
    }
    if listeners.is_empty() && table.has("networks") && !networks.is_empty() {
        let wrong = Wrong::new("is not used").help("add listen.proxy_protocol.listeners");
        table.warn("networks", wrong);
    }
    ProxyProtocol {
        listeners: listeners.into_iter().map(|item| item.value).collect(),
        networks: networks.into_iter().map(|item| item.value).collect(),
        timeout: table.duration("timeout", TIMEOUT).unwrap_or(default.timeout),
    }
}
