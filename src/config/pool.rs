//! Reads how an upstream's servers share the requests, and what happens when one of them fails.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::raw::{RawItem, RawTable, Wrong};
use super::server::UpstreamServer;
use super::units::DAY;
use super::{Upstream, values};
use crate::wire::proxy_protocol::ProxyVersion;

/// `upstream.balance`
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Balance {
    /// Each server in turn, by its weight.
    #[default]
    RoundRobin,
    /// The server with the fewest requests in flight, by its weight.
    LeastRequests,
    /// The same server for the same user, while it is in service.
    HashUser,
    /// The same server for the same session.
    HashSession,
}

/// `upstream.http`: which version of HTTP the servers speak.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum HttpVersion {
    /// HTTP/1.1.
    #[default]
    One,
    /// HTTP/2: with prior knowledge on plain connections (`h2c`), and by ALPN over TLS, which must select it.
    Two,
    /// Over TLS, HTTP/2 if the server takes it in ALPN, and else HTTP/1.1.
    Negotiated,
}

/// `upstream.addresses`: which addresses of a name are used.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum AddressPreference {
    /// All of them alike.
    #[default]
    All,
    /// IPv6 alone, where a name has such addresses.
    Ipv6First,
    /// IPv4 alone, where a name has such addresses.
    Ipv4First,
}

/// `[upstream.tls]`: the TLS settings for servers with `https://`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerTls {
    /// The CAs that may have signed their certificates; none: those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// The name that the gateway sends (SNI) and that the certificate must have; none: the server's host.
    pub server_name: Option<String>,
    /// The gateway's own certificate and private key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Whether any certificate is accepted.
    pub danger_skip_verify: bool,
}

/// `[upstream.ejection]`: servers that fail requests are taken out for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// The failures in a row after which an address is ejected; zero: never.
    pub after: u32,
    /// The duration of the first ejection; each further one lasts longer.
    pub time: Duration,
    /// The duration of the longest ejection.
    pub longest: Duration,
    /// The most addresses of a pool that are ejected at a time, in percent; one always stays.
    pub at_most_percent: u32,
}

/// `[upstream.health]`: active health checks of the servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The kind of check.
    pub kind: HealthKind,
    /// The time between two checks.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// The successes in a row that put a server back into service.
    pub rise: u32,
    /// The failures in a row that take it out of service.
    pub fall: u32,
}

/// `upstream.health.kind`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthKind {
    /// A connection can be made.
    Tcp,
    /// `GET` of a path is answered with 2xx.
    Http {
        /// The path.
        path: String,
        /// The value of `Host`; none: the server's.
        host: Option<String>,
    },
    /// `grpc.health.v1.Health/Check` says `SERVING`.
    Grpc {
        /// The service that is checked; empty: the server as a whole.
        service: String,
    },
}

/// `[upstream.retry]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The most attempts for one request, the first included; 0 is as many as there are addresses.
    pub tries: u32,
    /// The statuses (502, 503, 504) of answers to a GET or HEAD after which another server is tried.
    pub statuses: Vec<u16>,
    /// The retries for each hundred requests.
    pub budget_percent: u32,
    /// The retries in a second that are always allowed.
    pub budget_floor: u32,
}

/// `[upstream.limits]`, for each address; zero is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circuit {
    /// Requests in flight.
    pub requests: usize,
    /// Connections with requests on them.
    pub connections: usize,
    /// Requests of the whole upstream that wait until one of its addresses may take them.
    pub pending: usize,
    /// How long a request may wait.
    pub pending_timeout: Duration,
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            after: 5,
            time: Duration::from_secs(10),
            longest: Duration::from_secs(300),
            at_most_percent: 70,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { tries: 0, statuses: Vec::new(), budget_percent: 20, budget_floor: 10 }
    }
}

impl Default for Circuit {
    fn default() -> Self {
        Self { requests: 0, connections: 0, pending: 0, pending_timeout: Duration::from_secs(1) }
    }
}

impl Circuit {
    /// Returns the most requests in flight at an address whose connections carry so many each; zero is no limit.
    pub fn most(&self, on_a_connection: usize) -> usize {
        match (self.requests, self.connections.saturating_mul(on_a_connection)) {
            (most, 0) | (0, most) => most,
            (requests, connections) => requests.min(connections),
        }
    }
}

/// The range of a time to wait for something.
const TIME: RangeInclusive<Duration> = Duration::from_millis(1)..=DAY;
/// The same range with zero, for no such time.
const TIME_OR_NONE: RangeInclusive<Duration> = Duration::ZERO..=DAY;

/// Reads what `[[upstream]]` says of its servers, except for their timeouts.
pub(super) fn read(table: &RawTable<'_>, upstream: Upstream) -> Upstream {
    let default = upstream;
    let mut servers = table.list("servers", UpstreamServer::parse).unwrap_or_default();
    servers.extend(table.tables("member", server).into_iter().flatten());
    if table.has("servers") || !table.has("member") {
        table.require("servers", "for example: servers = [\"127.0.0.1:8000\"]");
    }
    refuse_doubles(table, &servers);
    let has_tls = servers.iter().any(|server| server.value.tls);
    let http = table.choice("http", &HTTP).unwrap_or_default();
    if http == HttpVersion::Negotiated && servers.iter().any(|server| !server.value.tls) {
        table.error(
            "http",
            Wrong::new("the version of HTTP cannot be negotiated without TLS")
                .help("write \"1.1\" or \"2\", or give every server as https://"),
        );
    }
    let has_health = table.has("health");
    let health = table.table("health", |health| {
        has_health.then(|| {
            health.require("kind", "what is asked: kind = \"tcp\", \"http\" or \"grpc\"");
            check_of(health, http)
        })
    });
    let tls = table.table("tls", tls);
    if table.has("tls") && !has_tls && !servers.is_empty() {
        let help = "write a server as \"https://HOST:PORT\"";
        table.warn("tls", Wrong::new("is not used: no server is reached over TLS").help(help));
    }
    Upstream {
        servers: servers.into_iter().map(|server| server.value).collect(),
        balance: table.choice("balance", &BALANCE).unwrap_or_default(),
        http,
        addresses: table.choice("addresses", &ADDRESSES).unwrap_or_default(),
        proxy_protocol: table.choice("proxy_protocol", &PROXY_PROTOCOL).flatten(),
        tls,
        ejection: table.table("ejection", ejection),
        health,
        slow_start: table.duration("slow_start", TIME_OR_NONE).unwrap_or(default.slow_start),
        retry: table.table("retry", retry),
        circuit: table.table("limits", circuit),
        ..default
    }
}

const BALANCE: [(&str, Balance); 4] = [
    ("round-robin", Balance::RoundRobin),
    ("least-requests", Balance::LeastRequests),
    ("hash-user", Balance::HashUser),
    ("hash-session", Balance::HashSession),
];

const HTTP: [(&str, HttpVersion); 3] =
    [("1.1", HttpVersion::One), ("2", HttpVersion::Two), ("negotiated", HttpVersion::Negotiated)];

const PROXY_PROTOCOL: [(&str, Option<ProxyVersion>); 3] =
    [("off", None), ("v1", Some(ProxyVersion::One)), ("v2", Some(ProxyVersion::Two))];

const ADDRESSES: [(&str, AddressPreference); 3] = [
    ("all", AddressPreference::All),
    ("ipv6-first", AddressPreference::Ipv6First),
    ("ipv4-first", AddressPreference::Ipv4First),
];

/// Reads a `[[upstream.member]]`.
fn server(table: &RawTable<'_>) -> Option<RawItem<UpstreamServer>> {
    table.require("address", "for example: address = \"127.0.0.1:8000\"");
    let name = table.text("name", values::name);
    let weight = table.number("weight", 1..=100_u16).unwrap_or(1);
    let server = table.text("address", UpstreamServer::parse)?;
    let name = name.unwrap_or(server.name);
    let place = table.place(if table.has("name") { "name" } else { "address" });
    Some(RawItem { value: UpstreamServer { name, weight, ..server }, place })
}

fn refuse_doubles(table: &RawTable<'_>, servers: &[RawItem<UpstreamServer>]) {
    for (index, server) in servers.iter().enumerate() {
        let name = &server.value.name;
        if servers.iter().take(index).any(|other| other.value.name == *name) {
            let help = "give each a name of its own, and one that takes more a weight";
            let wrong = Wrong::new(format!("{name:?} is another server's name")).help(help);
            table.error_at(server.place.clone(), wrong);
        }
    }
}

/// Reads `[upstream.tls]`.
fn tls(table: &RawTable<'_>) -> ServerTls {
    let (certificate, key) = (table.path("certificate_file"), table.path("private_key_file"));
    for (one, other) in
        [("certificate_file", "private_key_file"), ("private_key_file", "certificate_file")]
    {
        if table.has(one) && !table.has(other) {
            let help = format!("add upstream.tls.{other}");
            table.error(one, Wrong::new("certificate and key belong together").help(help));
        }
    }
    let danger_skip_verify = table.flag("danger_skip_verify").unwrap_or(false);
    let ca_file = table.path("ca_file");
    if danger_skip_verify && table.has("ca_file") {
        let wrong = Wrong::new("has no effect with danger_skip_verify");
        table.error("ca_file", wrong.help("remove one of the two"));
    }
    ServerTls {
        ca_file,
        server_name: table.text("server_name", server_name),
        client: certificate.zip(key),
        danger_skip_verify,
    }
}

fn server_name(text: &str) -> Result<String, Wrong> {
    match rustls::pki_types::ServerName::try_from(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(Wrong::new(format!("{text:?} is no name that a certificate has"))
            .help("allowed: a host name or an address, without a port")),
    }
}

fn request_path(text: &str) -> Result<String, Wrong> {
    if !text.starts_with('/') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Wrong::new(format!("{text:?} is no path"))
            .help("allowed: a path as it is sent, like \"/healthz\""));
    }
    Ok(text.to_owned())
}

fn service_name(text: &str) -> Result<String, Wrong> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    if text.len() > 100 || !text.bytes().all(legal) {
        return Err(Wrong::new(format!("{text:?} is no service's name"))
            .help("allowed: up to 100 of the characters a-z A-Z 0-9 _ - . /"));
    }
    Ok(text.to_owned())
}

/// Reads `[upstream.ejection]`.
fn ejection(table: &RawTable<'_>) -> Ejection {
    let default = Ejection::default();
    let time = table.duration("time", TIME).unwrap_or(default.time);
    let longest = table.duration("longest", TIME).unwrap_or(default.longest);
    table.ordered(("time", time), ("longest", longest));
    Ejection {
        after: table.number("after", 0..=1000_u32).unwrap_or(default.after),
        time,
        longest,
        at_most_percent: table
            .number("at_most_percent", 0..=100_u32)
            .unwrap_or(default.at_most_percent),
    }
}

/// Reads `[upstream.health]`.
fn check_of(table: &RawTable<'_>, http: HttpVersion) -> HealthCheck {
    #[derive(Clone, Copy, PartialEq)]
    enum Kind {
        Tcp,
        Http,
        Grpc,
    }
    let words = [("tcp", Kind::Tcp), ("http", Kind::Http), ("grpc", Kind::Grpc)];
    let kind = table.choice("kind", &words).unwrap_or(Kind::Tcp);
    let path = table.text("path", request_path);
    let host = table.text("host", values::filled);
    let service = table.text("service", service_name).unwrap_or_default();
    for (key, is_there) in
        [("path", path.is_some()), ("host", host.is_some()), ("service", !service.is_empty())]
    {
        let its = if key == "service" { Kind::Grpc } else { Kind::Http };
        if is_there && kind != its {
            let help = "remove it, or change upstream.health.kind";
            table.error(key, Wrong::new("is not used with this kind").help(help));
        }
    }
    if kind == Kind::Grpc && http == HttpVersion::One {
        table.error("kind", Wrong::new("gRPC needs HTTP/2").help("add upstream.http = \"2\""));
    }
    let kind = match kind {
        Kind::Tcp => HealthKind::Tcp,
        Kind::Http => HealthKind::Http { path: path.unwrap_or_else(|| "/".to_owned()), host },
        Kind::Grpc => HealthKind::Grpc { service },
    };
    let number = |key, default| table.number(key, 1..=100_u32).unwrap_or(default);
    HealthCheck {
        kind,
        interval: table.duration("interval", TIME).unwrap_or(Duration::from_secs(5)),
        timeout: table.duration("timeout", TIME).unwrap_or(Duration::from_secs(2)),
        rise: number("rise", 2),
        fall: number("fall", 3),
    }
}

/// Reads `[upstream.retry]`.
fn retry(table: &RawTable<'_>) -> Retry {
    let default = Retry::default();
    Retry {
        tries: table.number("tries", 0..=100_u32).unwrap_or(default.tries),
        statuses: table.numbers("statuses", 502..=504_u16).unwrap_or(default.statuses),
        budget_percent: table
            .number("budget_percent", 0..=100_u32)
            .unwrap_or(default.budget_percent),
        budget_floor: table.number("budget_floor", 0..=10_000_u32).unwrap_or(default.budget_floor),
    }
}

/// Reads `[upstream.limits]`.
fn circuit(table: &RawTable<'_>) -> Circuit {
    let default = Circuit::default();
    let number = |key, default| table.number(key, 0..=1_000_000_usize).unwrap_or(default);
    let circuit = Circuit {
        requests: number("requests", default.requests),
        connections: number("connections", default.connections),
        pending: number("pending", default.pending),
        pending_timeout: table.duration("pending_timeout", TIME).unwrap_or(default.pending_timeout),
    };
    if circuit.pending > 0 && circuit.requests == 0 && circuit.connections == 0 {
        let help = "add upstream.limits.requests or upstream.limits.connections";
        table.warn("pending", Wrong::new("no request waits without a limit").help(help));
    }
    circuit
}
