//! The servers of one application: which there are, which gets a request, and how failures are handled.
//!
//! | file | what |
//! |---|---|
//! | `endpoint` | one address of a server, and its condition |
//! | `balance` | the choice of the server for the next request |
//! | `place` | a request's place at an address; waiting for one |
//! | `outcome` | the result of a try: success, failure, ejection |
//! | `budget` | the limit on retries |
//! | `health` | health checks |
//! | `members` | names and their addresses |
//! | `tls`, `dial` | connections |
//! | `report` | reports for operators |
//!
//! A request sees a pool as one [`PoolTable`], which is replaced when addresses change; nothing on its path takes a lock.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use tokio::sync::Notify;

pub(super) use self::balance::hash_of;
use self::balance::{Choice, Chosen, PoolTable};
use self::budget::Budget;
use self::dial::Dial;
use self::endpoint::EndpointHealth;
use self::members::PoolMember;
pub(super) use self::outcome::Failure;
pub(super) use self::place::{NoPlace, Place};
use self::tls::TlsToServers;
pub use self::tls::{ServerTlsError, server_tls_problems};
use crate::config::{HttpVersion, Upstream};
use crate::telemetry::ServerMetrics;
use crate::wire::proxy_protocol::write;

mod balance;
mod budget;
mod dial;
mod endpoint;
pub(super) mod health;
mod members;
mod outcome;
mod place;
mod report;
#[cfg(test)]
mod testing;
mod tls;

/// How often names are looked up again.
pub(super) const LOOKUP_INTERVAL: Duration = Duration::from_secs(30);

/// How long a handshake's connection may be idle: after a refused handshake no other can use it.
const HANDSHAKE_IDLE: Duration = Duration::from_millis(1);

/// The bit in the group of connections that are made for requests with a clock.
const TIMED: u64 = 1 << 62;

/// The requirements for a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ConnectionWay {
    /// Whether a WebSocket handshake goes over it.
    pub(super) websocket: bool,
    /// Whether its reads fail when the request's time is over.
    pub(super) is_timed: bool,
    /// Where the client's connection came from and where it was accepted, for the PROXY protocol.
    pub(super) client: Option<(SocketAddr, SocketAddr)>,
}

/// The servers of one upstream.
pub(super) struct Pool {
    settings: Upstream,
    tls: Option<Arc<TlsToServers>>,
    members: Vec<PoolMember>,
    /// The condition of every address, by [`members::key`].
    conditions: Mutex<HashMap<String, Arc<EndpointHealth>>>,
    table: ArcSwap<PoolTable>,
    turn: AtomicUsize,
    /// Gives each handshake's connection a group of its own, so that no other request gets it.
    handshakes: AtomicU64,
    budget: Budget,
    /// The most requests in flight at an address; zero is no limit.
    most: usize,
    /// The number of requests that wait for a place.
    waiting: AtomicUsize,
    /// Notified when a place is free.
    room: Arc<Notify>,
    /// Held while deciding whether one more address may be ejected.
    ejecting: Mutex<()>,
    /// When the next health check is due, by [`endpoint::now`].
    check_due: AtomicU64,
    is_checking: AtomicBool,
}

impl Pool {
    /// Returns the pool of an upstream: the same one as before if its settings have not changed, and else one that
    /// begins with the known state of its servers.
    pub(super) fn in_place_of(
        settings: &Upstream,
        metrics: &[ServerMetrics],
        before: &[Arc<Self>],
    ) -> Result<Arc<Self>, ServerTlsError> {
        let old = before.iter().find(|pool| pool.settings.name == settings.name);
        let tls = match settings.servers.iter().any(|server| server.tls) {
            true => {
                let old = old.and_then(|old| old.tls.as_ref());
                Some(TlsToServers::load(&settings.tls, old)?)
            }
            false => None,
        };
        if let Some(old) = old {
            let is_same_tls = match (&tls, &old.tls) {
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                (one, other) => one.is_none() && other.is_none(),
            };
            if old.settings == *settings && is_same_tls {
                return Ok(Arc::clone(old));
            }
        }
        let pool = Self::new(settings.clone(), tls, metrics, old.map(|old| &**old));
        Ok(Arc::new(pool))
    }

    fn new(
        settings: Upstream,
        tls: Option<Arc<TlsToServers>>,
        metrics: &[ServerMetrics],
        old: Option<&Self>,
    ) -> Self {
        let mut metrics = metrics.iter();
        let members = settings.servers.iter().map(|server| {
            let metrics = metrics.next().cloned().unwrap_or_default();
            let before = old.and_then(|old| old.members.iter().find(|one| one.is(server)));
            PoolMember::new(server, metrics, before)
        });
        let pool = Self {
            members: members.collect(),
            conditions: Mutex::new(
                old.map(|old| old.conditions.lock().clone()).unwrap_or_default(),
            ),
            tls,
            table: ArcSwap::default(),
            turn: AtomicUsize::new(0),
            handshakes: AtomicU64::new(1),
            budget: Budget::default(),
            most: settings.circuit.most(match settings.http {
                HttpVersion::One => 1,
                HttpVersion::Two | HttpVersion::Negotiated => members::MAX_STREAMS,
            }),
            waiting: AtomicUsize::new(0),
            room: Arc::default(),
            ejecting: Mutex::default(),
            check_due: AtomicU64::new(0),
            is_checking: AtomicBool::new(false),
            settings,
        };
        pool.rebuild();
        if pool.settings.health.is_none() {
            pool.table.load().endpoints.iter().for_each(|one| one.condition.unchecked());
        }
        pool
    }

    pub(super) const fn settings(&self) -> &Upstream {
        &self.settings
    }

    /// Chooses an address and takes a place there, without waiting.
    fn choose(&self, key: Option<u64>, tried: &[Arc<str>]) -> Chosen {
        self.table.load().choose(&Choice {
            balance: self.settings.balance,
            turn: self.turn.fetch_add(1, Ordering::Relaxed),
            key,
            tried,
            slow_start: self.settings.slow_start,
            most: self.most,
        })
    }

    /// Returns how to connect to an address.
    pub(super) fn peer(&self, place: &Place, way: ConnectionWay) -> Box<HttpPeer> {
        let mut peer = Box::new(place.endpoint().peer.clone());
        let header = self.settings.proxy_protocol.map(|version| write(version, way.client).into());
        if !way.websocket {
            // Connections that are made in another way cannot be used for this request.
            if header.is_some() {
                peer.group_key = group_of(peer.group_key, way.client);
            }
            if way.is_timed {
                peer.group_key |= TIMED;
            }
            if header.is_some() || way.is_timed {
                let dial = Dial { header, is_timed: way.is_timed, ..Dial::default() };
                peer.options.custom_l4 = Some(Arc::new(dial));
            }
            return peer;
        }
        peer.options.read_timeout = Some(self.settings.websocket_timeout);
        peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::standard();
        // WebSockets over HTTP/2 (RFC 8441) are not supported, so this is HTTP/1.1 whatever else is spoken.
        peer.options.set_http_version(1, 1);
        let tls = members::server_name(&peer).zip(self.tls.as_ref());
        let tls = tls.map(|(name, tls)| (Arc::clone(&tls.config), name));
        if tls.is_some() {
            peer.scheme = pingora::upstreams::peer::Scheme::HTTP;
        }
        peer.options.custom_l4 =
            Some(Arc::new(Dial { is_held_back: true, tls, header, is_timed: false }));
        peer.options.idle_timeout = Some(HANDSHAKE_IDLE);
        // The groups of other requests are zero or far above; this count would take centuries to reach them.
        peer.group_key = self.handshakes.fetch_add(1, Ordering::Relaxed);
        peer
    }
}

/// Returns the group of connections on which this client was announced.
fn group_of(group: u64, client: Option<(SocketAddr, SocketAddr)>) -> u64 {
    static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    HASHER.hash_one((group, client)) & !(TIMED | 1 << 63)
}
