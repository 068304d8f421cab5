//! The servers of one application.
//!
//! Names are looked up off the request path, at the start and every half minute: the framework's own look-up blocks. A name
//! that cannot be found now keeps the addresses that it had, until a look-up succeeds. A server that cannot be connected to
//! is left and the next one is asked, each at most once for a request.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
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
    /// Of each server, in the order of the settings, the addresses that were found last.
    found: Mutex<Vec<Vec<SocketAddr>>>,
    /// All of them.
    addresses: ArcSwap<Vec<SocketAddr>>,
    next: AtomicUsize,
    /// Makes each handshake's connection a group of its own: no other request gets it.
    handshakes: AtomicU64,
}

impl Pool {
    pub(super) fn new(settings: Upstream) -> Self {
        let known = |server: &String| server.parse().ok().into_iter().collect();
        let found: Vec<Vec<SocketAddr>> = settings.servers.iter().map(known).collect();
        let addresses = ArcSwap::from_pointee(found.concat());
        Self {
            settings,
            found: Mutex::new(found),
            addresses,
            next: AtomicUsize::new(0),
            handshakes: AtomicU64::new(1),
        }
    }

    /// The pool of an upstream of another configuration: the same one if nothing about it has changed, and else one that
    /// begins with the addresses that are known of its servers.
    pub(super) fn in_place_of(settings: &Upstream, before: &[Arc<Self>]) -> Arc<Self> {
        let Some(old) = before.iter().find(|pool| pool.settings.name == settings.name) else {
            return Arc::new(Self::new(settings.clone()));
        };
        if old.settings == *settings {
            return Arc::clone(old);
        }
        let new = Self::new(settings.clone());
        let known = old.found.lock().clone();
        for (index, server) in settings.servers.iter().enumerate() {
            let of_old = old.settings.servers.iter().position(|other| other == server);
            if let Some(addresses) = of_old.and_then(|at| known.get(at)) {
                new.now_at(index, addresses.clone());
            }
        }
        Arc::new(new)
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

    /// Looks all names up.
    pub(super) async fn look_up(&self) {
        for (index, server) in self.settings.servers.iter().enumerate() {
            match tokio::net::lookup_host(server).await {
                Ok(addresses) => self.now_at(index, addresses.collect()),
                Err(error) => {
                    tracing::warn!(
                        upstream = %self.settings.name, %server, %error,
                        "cannot look up a server; it keeps the addresses that it had"
                    );
                }
            }
        }
    }

    /// Takes the addresses that a server was found to have. None at all is no answer.
    fn now_at(&self, index: usize, addresses: Vec<SocketAddr>) {
        let mut found = self.found.lock();
        if let Some(server) = found.get_mut(index).filter(|_| !addresses.is_empty()) {
            *server = addresses;
        }
        let mut all = found.concat();
        let mut seen = HashSet::new();
        all.retain(|address| seen.insert(*address));
        self.addresses.store(all.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_found_keeps_its_addresses() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let servers = ["one.test:1", "two.test:2", "127.0.0.1:3"];
        let pool = Pool::new(Upstream::new("app", &servers));
        let all = |pool: &Pool| pool.addresses.load().to_vec();
        assert_eq!(all(&pool), [at("127.0.0.1:3")]);

        pool.now_at(0, vec![at("10.0.0.1:1"), at("10.0.0.9:1")]);
        pool.now_at(1, vec![at("10.0.0.2:2"), at("10.0.0.2:2")]);
        let both = ["10.0.0.1:1", "10.0.0.9:1", "10.0.0.2:2", "127.0.0.1:3"].map(at);
        assert_eq!(all(&pool), both);
        pool.now_at(0, Vec::new());
        assert_eq!(all(&pool), both);
        pool.now_at(0, vec![at("10.0.0.7:1")]);
        assert_eq!(all(&pool), ["10.0.0.7:1", "10.0.0.2:2", "127.0.0.1:3"].map(at));
    }
}
