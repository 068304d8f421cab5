//! The servers of one application.
//!
//! Names are looked up off the request path, at the start and every half minute: the framework's own look-up blocks. A
//! server that cannot be connected to is left and the next one is asked, each at most once for a request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};

use super::handshake::HandshakeConnect;
use crate::config::Upstream;

/// How often names are looked up again.
pub(super) const LOOKUP_INTERVAL: Duration = Duration::from_secs(30);

/// A connection of a handshake that was refused is of no use to another one.
const HANDSHAKE_IDLE: Duration = Duration::from_millis(1);

/// One upstream's servers.
pub(super) struct Pool {
    settings: Upstream,
    addresses: ArcSwap<Vec<SocketAddr>>,
    next: AtomicUsize,
    /// Makes each handshake's connection a group of its own: no other request gets it.
    handshakes: AtomicU64,
}

impl Pool {
    pub(super) fn new(settings: Upstream) -> Self {
        let known = settings.servers.iter().filter_map(|server| server.parse().ok()).collect();
        Self {
            settings,
            addresses: ArcSwap::from_pointee(known),
            next: AtomicUsize::new(0),
            handshakes: AtomicU64::new(1),
        }
    }

    pub(super) const fn settings(&self) -> &Upstream {
        &self.settings
    }

    /// How many servers there are to try.
    pub(super) fn len(&self) -> usize {
        self.addresses.load().len()
    }

    /// The next server in turn.
    pub(super) fn peer(&self, websocket: bool) -> Option<Box<HttpPeer>> {
        let addresses = self.addresses.load();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let address = addresses.get(turn.checked_rem(addresses.len())?)?;
        let mut peer = HttpPeer::new(*address, false, String::new());
        let settings = &self.settings;
        peer.options.connection_timeout = Some(settings.connect_timeout);
        peer.options.total_connection_timeout = Some(settings.connect_timeout);
        peer.options.read_timeout =
            Some(if websocket { settings.websocket_timeout } else { settings.read_timeout });
        peer.options.http_upstream_request_policy = if websocket {
            HttpUpstreamRequestPolicy::standard()
        } else {
            HttpUpstreamRequestPolicy::deny_upgrades()
        };
        peer.options.write_timeout = Some(settings.write_timeout);
        peer.options.idle_timeout = Some(settings.idle_timeout);
        if websocket {
            peer.options.custom_l4 = Some(Arc::new(HandshakeConnect));
            peer.options.idle_timeout = Some(HANDSHAKE_IDLE);
            // Zero is the group of all other requests; the count would take centuries to come back to it.
            peer.group_key = self.handshakes.fetch_add(1, Ordering::Relaxed);
        }
        Some(Box::new(peer))
    }

    /// Looks all names up. What cannot be found now keeps its last addresses.
    pub(super) async fn look_up(&self) {
        let mut found = Vec::new();
        for server in &self.settings.servers {
            match tokio::net::lookup_host(server).await {
                Ok(addresses) => found.extend(addresses),
                Err(error) => {
                    tracing::warn!(upstream = %self.settings.name, %server, %error, "cannot look up a server");
                }
            }
        }
        // A name with an IPv6 and an IPv4 address is one server: the first address is taken unless it is all there is.
        if !found.is_empty() {
            found.dedup();
            self.addresses.store(found.into());
        }
    }
}
