//! Reads `[listen]` and `[trusted_proxies]`: where the gateway listens, the limits of what it accepts, and whom it trusts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::proxy_protocol::{self, ProxyProtocol};
use super::raw::{RawItem, RawTable, Wrong};
use super::units::{HOUR, KIB, TIMEOUT, days, secs};
use super::values;

/// `[listen]`: where the gateway listens, and the limits of what it accepts.
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    /// Plain HTTP listeners.
    pub http: Vec<SocketAddr>,
    /// TLS listeners (HTTP/1.1 and HTTP/2 by ALPN).
    pub https: Vec<SocketAddr>,
    /// Certificates for `https`, chosen by the name that the client asks for (SNI, RFC 6066 section 3). The first is for
    /// clients that ask for none, or for another.
    pub tls: Vec<TlsFiles>,
    /// `[listen.proxy_protocol]`
    pub proxy_protocol: ProxyProtocol,
    /// `/metrics`, `/live`, `/ready` and the operator's API.
    pub admin: SocketAddr,
    /// Whether `admin` may be reached from other networks.
    pub danger_public_admin: bool,
    /// Worker threads of the proxy; 0 means one for each core.
    pub threads: usize,
    /// The longest that the head of a request may take as a whole.
    pub head_timeout: Duration,
    /// How long an idle keep-alive connection of a client stays open.
    pub keepalive_timeout: Duration,
    /// The longest wait for the next byte of a request, its body included.
    pub read_timeout: Duration,
    /// The longest wait until a client takes the next byte.
    pub write_timeout: Duration,
    /// The most connections of clients at a time.
    pub max_connections: usize,
    /// The most connections from one address (IPv6: one /64) that is not a trusted proxy; zero is no limit.
    pub max_connections_per_address: usize,
    /// How much a client may send on one stream of HTTP/2 before the upstream has taken it.
    pub http2_stream_window: u32,
    /// The same for all streams of a connection together.
    pub http2_connection_window: u32,
    /// The most bytes of a request head.
    pub max_head_bytes: usize,
    /// The most header fields.
    pub max_headers: usize,
    /// The most bytes of a request target.
    pub max_target_bytes: usize,
    /// The most bytes of a request body for an own path.
    pub max_body_bytes: usize,
    /// The longest that a request body for an own path may take as a whole.
    pub own_body_timeout: Duration,
    /// How long requests may take to finish after SIGTERM.
    pub shutdown_timeout: Duration,
    /// How long browsers use TLS only (HSTS), as answers on `https` require; zero sends no such field.
    pub hsts_max_age: Duration,
}

/// `listen.certificate_file` and `listen.private_key_file`, and those of a `[[listen.certificate]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM, leaf first.
    pub certificate: PathBuf,
    /// PEM, PKCS#8.
    pub private_key: PathBuf,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            http: Vec::new(),
            https: Vec::new(),
            tls: Vec::new(),
            proxy_protocol: ProxyProtocol::default(),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)),
            danger_public_admin: false,
            threads: 0,
            head_timeout: secs(10),
            keepalive_timeout: secs(60),
            read_timeout: secs(60),
            write_timeout: secs(60),
            max_connections: 10_000,
            max_connections_per_address: 1000,
            http2_stream_window: 2 << 20,
            http2_connection_window: 4 << 20,
            max_head_bytes: 64 * KIB,
            max_headers: 100,
            max_target_bytes: 8 * KIB,
            max_body_bytes: 16 * KIB,
            own_body_timeout: secs(10),
            shutdown_timeout: secs(30),
            hsts_max_age: days(365),
        }
    }
}

/// HTTP/2 starts with the minimum; beyond the maximum, one connection could hold too much memory.
const WINDOW: std::ops::RangeInclusive<u64> = 64 << 10..=64 << 20;

pub(super) fn listen(table: &RawTable<'_>) -> Listen {
    let default = Listen::default();
    let http = table.list("http", values::address).unwrap_or_default();
    let https = table.list("https", values::address).unwrap_or_default();
    let admin = table.text("admin", values::address).unwrap_or(default.admin);
    let danger_public_admin = table.flag("danger_public_admin").unwrap_or(false);
    let first = tls_files(table, !https.is_empty());
    if table.has("certificate_file") && is_unset(table, "https") {
        table.warn("certificate_file", Wrong::new("is not used").help("add listen.https"));
    }
    let more = table.tables("certificate", pair);
    if first.is_none() && !more.is_empty() && !table.has("certificate_file") {
        table.error(
            "certificate",
            Wrong::new("there is no default certificate for clients that ask for another name")
                .help("give the first as listen.certificate_file and listen.private_key_file"),
        );
    }
    let tls = first.into_iter().chain(more.into_iter().flatten()).collect();
    if is_unset(table, "http") && is_unset(table, "https") {
        table.error(
            "http",
            Wrong::new("there is nothing to listen on")
                .help("for example: http = [\"127.0.0.1:8080\"]"),
        );
    }
    refuse_doubles(table, &http, &https, admin);
    check_admin(table, admin, danger_public_admin);

    let max_head_bytes =
        table.size("max_head_bytes", 1 << 10..=1 << 20).unwrap_or(default.max_head_bytes);
    let max_target_bytes =
        table.size("max_target_bytes", 256..=1 << 20).unwrap_or(default.max_target_bytes);
    if max_target_bytes > max_head_bytes {
        table.error(
            "max_target_bytes",
            Wrong::new("is more than listen.max_head_bytes, which the target is part of"),
        );
    }
    let stream_window = table.size("http2_stream_window", WINDOW);
    let connection_window = table.size("http2_connection_window", WINDOW);
    let window = |size: Option<usize>| size.and_then(|size| u32::try_from(size).ok());
    let http2_stream_window = window(stream_window).unwrap_or(default.http2_stream_window);
    let http2_connection_window =
        window(connection_window).unwrap_or(default.http2_connection_window);
    if http2_stream_window > http2_connection_window {
        table.error(
            "http2_stream_window",
            Wrong::new("is more than listen.http2_connection_window, which it is part of"),
        );
    }
    let known: Vec<SocketAddr> = http.iter().chain(&https).map(|item| item.value).collect();
    Listen {
        proxy_protocol: table.table("proxy_protocol", |table| proxy_protocol::read(table, &known)),
        http: places_dropped(http),
        https: places_dropped(https),
        tls,
        admin,
        danger_public_admin,
        threads: table.number("threads", 0..=1024).unwrap_or(default.threads),
        head_timeout: table.duration("head_timeout", TIMEOUT).unwrap_or(default.head_timeout),
        keepalive_timeout: table
            .duration("keepalive_timeout", TIMEOUT)
            .unwrap_or(default.keepalive_timeout),
        read_timeout: table.duration("read_timeout", TIMEOUT).unwrap_or(default.read_timeout),
        write_timeout: table.duration("write_timeout", TIMEOUT).unwrap_or(default.write_timeout),
        max_connections: table
            .number("max_connections", 16..=1_000_000)
            .unwrap_or(default.max_connections),
        max_connections_per_address: table
            .number("max_connections_per_address", 0..=1_000_000)
            .unwrap_or(default.max_connections_per_address),
        http2_stream_window,
        http2_connection_window,
        max_head_bytes,
        max_headers: table.number("max_headers", 8..=256).unwrap_or(default.max_headers),
        max_target_bytes,
        max_body_bytes: table
            .size("max_body_bytes", 1 << 10..=1 << 20)
            .unwrap_or(default.max_body_bytes),
        own_body_timeout: table
            .duration("own_body_timeout", TIMEOUT)
            .unwrap_or(default.own_body_timeout),
        shutdown_timeout: table
            .duration("shutdown_timeout", secs(0)..=HOUR)
            .unwrap_or(default.shutdown_timeout),
        hsts_max_age: table
            .duration("hsts_max_age", secs(0)..=secs(2 * 365 * 24 * 3600))
            .unwrap_or(default.hsts_max_age),
    }
}

/// Reads the trusted networks, and the names that only they may send.
pub(super) fn trusted_proxies(table: &RawTable<'_>) -> (Vec<IpNet>, Vec<String>) {
    let reserved = table.values("reserved_headers", values::reserved_header).unwrap_or_default();
    let trust_all = table.flag("danger_trust_all_proxies").unwrap_or(false);
    let networks = table.list("networks", values::network).unwrap_or_default();
    let trusted: Vec<IpNet> = networks.iter().map(|item| canonical(item.value)).collect();
    // All networks are taken together: two halves cover everything as well.
    if IpNet::aggregate(&trusted).iter().any(|network| network.prefix_len() == 0) {
        let whole = networks.iter().find(|item| canonical(item.value).prefix_len() == 0);
        let place = whole.map_or_else(|| table.place("networks"), |item| item.place.clone());
        let wrong = Wrong::new("every client could then claim any address");
        if trust_all {
            table.warn_at(place, wrong);
        } else {
            table.error_at(
                place,
                wrong.help(
                    "list the proxies' own networks, or set danger_trust_all_proxies = true where \
                     nobody but the proxy can connect",
                ),
            );
        }
    }
    (networks.into_iter().map(|item| item.value).collect(), reserved)
}

/// Converts IPv4-mapped networks to IPv4.
fn canonical(network: IpNet) -> IpNet {
    match network {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => v6
            .addr()
            .to_ipv4_mapped()
            .and_then(|v4| IpNet::new(v4.into(), v6.prefix_len() - 96).ok())
            .unwrap_or(network),
        IpNet::V4(_) | IpNet::V6(_) => network,
    }
}

fn tls_files(table: &RawTable<'_>, is_needed: bool) -> Option<TlsFiles> {
    const TOGETHER: &str = "certificate and key belong together";
    let certificate = table.path("certificate_file");
    let private_key = table.path("private_key_file");
    match (table.has("certificate_file"), table.has("private_key_file")) {
        (true, false) => table
            .error("certificate_file", Wrong::new(TOGETHER).help("add listen.private_key_file")),
        (false, true) => table
            .error("private_key_file", Wrong::new(TOGETHER).help("add listen.certificate_file")),
        (false, false) if is_needed => table.error(
            "https",
            Wrong::new("there is no certificate to listen with")
                .help("add listen.certificate_file and listen.private_key_file"),
        ),
        _ => {}
    }
    Some(TlsFiles { certificate: certificate?, private_key: private_key? })
}

/// Reads a `[[listen.certificate]]`.
fn pair(table: &RawTable<'_>) -> Option<TlsFiles> {
    let missing = ["certificate_file", "private_key_file"].into_iter().find(|key| !table.has(key));
    if let Some(missing) = missing {
        table.error(missing, Wrong::new("is missing").help("certificate and key belong together"));
    }
    let (certificate, private_key) =
        (table.path("certificate_file"), table.path("private_key_file"));
    Some(TlsFiles { certificate: certificate?, private_key: private_key? })
}

fn is_unset(table: &RawTable<'_>, key: &str) -> bool {
    !table.has(key) || table.is_empty_list(key)
}

/// Refuses duplicates, because no socket can be bound twice; port 0 is a free port each time.
fn refuse_doubles(
    table: &RawTable<'_>,
    http: &[RawItem<SocketAddr>],
    https: &[RawItem<SocketAddr>],
    admin: SocketAddr,
) {
    let is_taken =
        |by: &[RawItem<SocketAddr>], address| by.iter().any(|item| item.value == address);
    for item in https.iter().filter(|item| item.value.port() != 0) {
        if is_taken(http, item.value) {
            table.error_at(item.place.clone(), Wrong::new("is in listen.http already"));
        }
    }
    if admin.port() != 0 && (is_taken(http, admin) || is_taken(https, admin)) {
        table.error(
            "admin",
            Wrong::new("is a public listener's address")
                .help("the operator's API never shares the public port"),
        );
    }
}

fn check_admin(table: &RawTable<'_>, admin: SocketAddr, danger_public_admin: bool) {
    if !is_public(admin.ip()) {
        return;
    }
    let wrong = Wrong::new(format!("{admin} can be reached from other networks"));
    if danger_public_admin {
        table.warn("admin", wrong);
    } else {
        table.error(
            "admin",
            wrong.help(
                "allowed: a loopback or private address; or set danger_public_admin = true where a \
                 firewall or a container's network keeps others out",
            ),
        );
    }
}

/// Whether the address is neither loopback, private nor link-local. "All addresses" counts as public: some may be.
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => !(ip.is_loopback() || ip.is_private() || ip.is_link_local()),
        IpAddr::V6(ip) => !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()),
    }
}

fn places_dropped(items: Vec<RawItem<SocketAddr>>) -> Vec<SocketAddr> {
    items.into_iter().map(|item| item.value).collect()
}
