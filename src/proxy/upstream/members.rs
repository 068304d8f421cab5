//! Looks up server names and their addresses.
//!
//! Names are looked up off the request path, at the start and every half minute: the framework's own look-up blocks.
//! All names are looked up at once, so that a slow one does not delay the others. A name that cannot be found now keeps
//! the addresses that it had, until a look-up succeeds.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::future::join_all;
use http::HeaderValue;
use parking_lot::Mutex;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy, Scheme};
use rustls::pki_types::ServerName;

use super::Pool;
use super::balance::{PoolTable, hash_of};
use super::dial::Dial;
use super::endpoint::{Endpoint, ServerState};
use crate::config::{AddressPreference, HttpVersion, ServerTarget, UpstreamServer};
use crate::telemetry::ServerMetrics;
use crate::wire::proxy_protocol;

/// The longest time that a look-up may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// The most streams on one HTTP/2 connection; more use another one.
pub(super) const MAX_STREAMS: usize = 100;
/// The bytes that a server may send ahead on one stream, and on a connection.
const WINDOWS: (u32, u32) = (1 << 20, 4 << 20);
/// How long an HTTP/2 connection with requests on it may leave a ping unanswered before it is given up.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// A server of the configuration.
pub(super) struct PoolMember {
    pub(super) settings: UpstreamServer,
    pub(super) state: Arc<ServerState>,
    /// The addresses of the last look-up.
    found: Mutex<Vec<SocketAddr>>,
}

impl PoolMember {
    /// Creates a member, with the server's earlier state.
    pub(super) fn new(
        settings: &UpstreamServer,
        metrics: ServerMetrics,
        before: Option<&Self>,
    ) -> Self {
        let name = settings.name.clone();
        let state = before.map_or_else(
            || Arc::new(ServerState { name, drained: AtomicBool::new(false), metrics }),
            |before| Arc::clone(&before.state),
        );
        let literal = match &settings.target {
            ServerTarget::Inet(host) => host.to_string().parse().ok(),
            ServerTarget::Unix(_) => None,
        };
        let found = match (literal, before) {
            (Some(address), _) => vec![address],
            (None, Some(before)) if before.settings.target == settings.target => {
                before.found.lock().clone()
            }
            (None, _) => Vec::new(),
        };
        Self { settings: settings.clone(), state, found: Mutex::new(found) }
    }

    /// Whether it is this server, by its name.
    pub(super) fn is(&self, server: &UpstreamServer) -> bool {
        self.settings.name == server.name
    }

    /// Returns the name to look up, if there is one.
    fn name(&self) -> Option<String> {
        match &self.settings.target {
            ServerTarget::Inet(host) => {
                let text = host.to_string();
                text.parse::<SocketAddr>().is_err().then_some(text)
            }
            ServerTarget::Unix(_) => None,
        }
    }
}

/// Returns the key of an address' condition.
fn key(server: &str, address: &str) -> String {
    format!("{server} {address}")
}

/// Returns the name by which a peer's certificate is checked.
pub(super) fn server_name(peer: &HttpPeer) -> Option<ServerName<'static>> {
    match peer.scheme {
        Scheme::HTTPS => ServerName::try_from(peer.sni.clone()).ok(),
        Scheme::HTTP => None,
    }
}

/// Returns the `Host` of a server: without its scheme's default port, and for a socket a name that means nothing elsewhere.
fn host(server: &UpstreamServer) -> HeaderValue {
    let text = match &server.target {
        ServerTarget::Inet(host) => {
            let scheme = if server.tls { ":443" } else { ":80" };
            let text = host.to_string();
            text.strip_suffix(scheme).map(str::to_owned).unwrap_or(text)
        }
        ServerTarget::Unix(_) => "localhost".to_owned(),
    };
    // A host that was parsed is legal in a header.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("localhost"))
}

impl Pool {
    /// Looks all names up.
    pub(in crate::proxy) async fn look_up(&self) {
        let names = self.members.iter().filter_map(|member| Some((member, member.name()?)));
        let looks = names.map(|(member, name)| async move {
            let look = tokio::net::lookup_host(&name);
            let found = tokio::time::timeout(LOOKUP_TIMEOUT, look).await;
            let found = found.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
            match found {
                Ok(addresses) => self.now_at(member, addresses.collect()),
                Err(error) => {
                    tracing::warn!(
                        upstream = %self.settings.name, server = %name, %error,
                        "cannot look up a server; it keeps the addresses that it had"
                    );
                }
            }
        });
        join_all(looks).await;
    }

    /// Stores the addresses that a server was found to have. An empty result is ignored.
    fn now_at(&self, member: &PoolMember, mut addresses: Vec<SocketAddr>) {
        let mut seen = HashSet::new();
        addresses.retain(|address| seen.insert(*address));
        addresses.sort_unstable();
        if addresses.is_empty() || *member.found.lock() == addresses {
            return;
        }
        *member.found.lock() = addresses;
        self.rebuild();
    }

    /// Makes the table of all addresses.
    pub(super) fn rebuild(&self) {
        let mut conditions = self.conditions.lock();
        let mut endpoints = Vec::new();
        for member in &self.members {
            match &member.settings.target {
                ServerTarget::Unix(path) => {
                    let path = path.display().to_string();
                    // An invalid path was refused when the configuration was read.
                    if let Ok(peer) = HttpPeer::new_uds(&path, false, String::new()) {
                        endpoints.push((member, path, false, peer));
                    }
                }
                ServerTarget::Inet(host) => {
                    let found = member.found.lock().clone();
                    let name = match &self.settings.tls.server_name {
                        Some(name) => name.clone(),
                        None => host.name().trim_matches(['[', ']']).to_owned(),
                    };
                    for address in &found {
                        let name = if member.settings.tls { name.clone() } else { String::new() };
                        let is_backup = self.is_backup(address, &found);
                        let peer = HttpPeer::new(*address, member.settings.tls, name);
                        endpoints.push((member, address.to_string(), is_backup, peer));
                    }
                }
            }
        }
        let endpoints: Vec<Arc<Endpoint>> = endpoints
            .into_iter()
            .map(|(member, address, is_backup, mut peer)| {
                self.prepare(&mut peer);
                let server = &member.settings.name;
                let key = key(server, &address);
                let condition = Arc::clone(conditions.entry(key.clone()).or_default());
                let is_alone = server.ends_with(address.as_str());
                Arc::new(Endpoint {
                    hash: hash_of(&[server.as_bytes(), address.as_bytes()]),
                    name: if is_alone { server.as_str().into() } else { key.into() },
                    address: address.into(),
                    host: host(&member.settings),
                    weight: u32::from(member.settings.weight),
                    is_backup,
                    peer,
                    server: Arc::clone(&member.state),
                    condition,
                })
            })
            .collect();
        conditions.retain(|_, condition| {
            endpoints.iter().any(|endpoint| Arc::ptr_eq(&endpoint.condition, condition))
        });
        self.table.store(Arc::new(PoolTable::new(endpoints)));
    }

    /// Whether the address is of the kind that is used only if the other kind fails.
    fn is_backup(&self, address: &SocketAddr, found: &[SocketAddr]) -> bool {
        let is_first = |ip: IpAddr| match self.settings.addresses {
            AddressPreference::All => true,
            AddressPreference::Ipv6First => ip.is_ipv6(),
            AddressPreference::Ipv4First => ip.is_ipv4(),
        };
        !is_first(address.ip()) && found.iter().any(|one| is_first(one.ip()))
    }

    /// Applies the settings that all connections to the peer share.
    fn prepare(&self, peer: &mut HttpPeer) {
        let settings = &self.settings;
        let options = &mut peer.options;
        options.connection_timeout = Some(settings.connect_timeout);
        options.total_connection_timeout = Some(settings.connect_timeout);
        options.read_timeout = Some(settings.read_timeout);
        options.write_timeout = Some(settings.write_timeout);
        options.idle_timeout = Some(settings.idle_timeout);
        options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
        match settings.http {
            HttpVersion::One => options.set_http_version(1, 1),
            HttpVersion::Two => options.set_http_version(2, 2),
            HttpVersion::Negotiated => options.set_http_version(2, 1),
        }
        if settings.http != HttpVersion::One {
            options.max_h2_streams = MAX_STREAMS;
            options.h2_stream_window_size = Some(WINDOWS.0);
            options.h2_connection_window_size = Some(WINDOWS.1);
            options.h2_ping_interval = Some(PING_INTERVAL);
        }
        if let Some(version) = settings.proxy_protocol {
            // Connections without a client are the gateway's own: health checks.
            let header = Some(proxy_protocol::write(version, None).into());
            options.custom_l4 = Some(Arc::new(Dial { header, ..Dial::default() }));
        }
        if let (Scheme::HTTPS, Some(tls)) = (&peer.scheme, &self.tls) {
            options.ca.clone_from(&tls.ca);
            options.verify_cert = tls.verifies;
            options.verify_hostname = tls.verifies;
            peer.client_cert_key.clone_from(&tls.client);
            peer.group_key = tls.group;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::pool;
    use super::*;
    use crate::config::Upstream;

    fn all(pool: &Pool) -> Vec<String> {
        pool.table.load().endpoints.iter().map(|one| one.address.to_string()).collect()
    }

    fn at(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_name_that_is_not_found_keeps_its_addresses() {
        let pool = pool(Upstream::new("app", &["one.test:1", "two.test:2", "127.0.0.1:3"]));
        assert_eq!(all(&pool), ["127.0.0.1:3"]);
        let now_at = |index: usize, texts: &[&str]| pool.now_at(&pool.members[index], at(texts));
        now_at(0, &["10.0.0.9:1", "10.0.0.1:1"]);
        now_at(1, &["10.0.0.2:2", "10.0.0.2:2"]);
        let both = ["10.0.0.1:1", "10.0.0.9:1", "10.0.0.2:2", "127.0.0.1:3"];
        assert_eq!(all(&pool), both);
        now_at(0, &[]);
        assert_eq!(all(&pool), both);
        now_at(0, &["10.0.0.7:1"]);
        assert_eq!(all(&pool), ["10.0.0.7:1", "10.0.0.2:2", "127.0.0.1:3"]);
    }

    #[test]
    fn one_kind_of_address_comes_first_as_said() {
        for (addresses, backups) in [
            (AddressPreference::All, [false, false]),
            (AddressPreference::Ipv6First, [true, false]),
            (AddressPreference::Ipv4First, [false, true]),
        ] {
            let pool = pool(Upstream { addresses, ..Upstream::new("app", &["one.test:1"]) });
            pool.now_at(&pool.members[0], at(&["10.0.0.1:1", "[::1]:1"]));
            let table = pool.table.load();
            let is: Vec<bool> = table.endpoints.iter().map(|one| one.is_backup).collect();
            assert_eq!(is, backups, "{addresses:?}");
            pool.now_at(&pool.members[0], at(&["[::1]:1"]));
            assert!(!pool.table.load().endpoints[0].is_backup, "there is no other");
        }
    }

    #[test]
    fn a_socket_is_an_address_of_its_own() {
        let pool = pool(Upstream::new("app", &["unix:/run/app.sock"]));
        assert_eq!(all(&pool), ["/run/app.sock"]);
        assert_eq!(&*pool.table.load().endpoints[0].name, "unix:/run/app.sock");
    }
}
