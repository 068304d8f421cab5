//! The record of one completed request: plain values, from which the access line and the metrics are made.
//!
//! A record borrows its values: text is created only when a line is written.
//!
//! A record holds no secret and nothing from which one could be read: the canonical path and never the query (which may contain
//! tokens), never a header's value, the session's id and not its credential.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Version};

use crate::caller::{Proof, SessionId, UserKey};
use crate::clock::Timestamp;
use crate::config::OwnPath;
use crate::gate::shadow::ShadowVerdict;
use crate::refusal::Refusal;
use crate::wire::host::Host;
use crate::wire::scheme::Scheme;

/// One completed request.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// When the request arrived.
    pub at: Timestamp,
    /// The id of the request.
    pub request_id: &'a str,
    /// The client's address (behind trusted proxies: the one that they name).
    pub client: Option<IpAddr>,
    /// The protocol that the client spoke.
    pub protocol: Version,
    /// The scheme that the client used.
    pub scheme: Scheme,
    /// The method.
    pub method: &'a Method,
    /// The requested host; `None` if there was no usable one.
    pub host: Option<&'a Host>,
    /// The canonical path, without the query; `None` if the target was refused.
    pub path: Option<&'a str>,
    /// The destination of the request.
    pub place: Destination,
    /// The decision about the request.
    pub decision: Decided,
    /// The status that the client got; `None` if it disconnected before.
    pub status: Option<u16>,
    /// Why the request was refused or failed, if so. A forwarded request has one when the upstream failed.
    pub refusal: Option<Refusal>,
    /// The caller, if known.
    pub caller: Option<RecordedCaller<'a>>,
    /// The length of the request's body, in bytes.
    pub bytes_in: u64,
    /// The length of the answer's body, in bytes.
    pub bytes_out: u64,
    /// The time from arrival to the last byte of the answer.
    pub duration: Duration,
    /// The gateway's own share of that time, without waiting for client or upstream.
    pub own: Duration,
    /// The call to the upstream, if there was one.
    pub upstream: Option<UpstreamCall>,
    /// The number of header fields that were removed because they posed as the gateway's.
    pub spoofed_headers: u32,
    /// On a shadowed route: how the gate's decision compares with the service's answer.
    pub shadow: Option<Shadowed<'a>>,
}

/// The destination of a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Destination {
    /// A route: its index in [`Config::routes`](crate::config::Config::routes).
    Route(usize),
    /// An own path.
    Own(OwnPath),
    /// The request was refused before its destination was known.
    Nowhere,
}

/// The decision about a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Decided {
    /// The request is forwarded.
    Forward,
    /// The request is forwarded unchecked, because its route is shadowed.
    Shadow,
    /// The request is answered on an own path.
    Serve,
    /// The request is refused.
    Refuse,
}

/// The caller of a request.
#[derive(Clone, Debug)]
pub struct RecordedCaller<'a> {
    /// The user.
    pub user: &'a UserKey,
    /// The session; `None` for a credential of an `[[issuer]]`.
    pub session: Option<&'a SessionId>,
    /// The kind of credential.
    pub proof: Proof,
}

/// A request that was forwarded unchecked.
#[derive(Clone, Debug)]
pub struct Shadowed<'a> {
    /// How the gate's decision and the service's answer compare.
    pub verdict: ShadowVerdict,
    /// Why the gate would have refused it, if so.
    pub refusal: Option<Refusal>,
    /// The user of the credential, if it is valid.
    pub user: Option<&'a UserKey>,
    /// The status of the service's answer; `None` without an answer.
    pub status: Option<u16>,
}

/// One call to an upstream.
#[derive(Clone, Debug)]
pub struct UpstreamCall {
    /// The index of the upstream in [`Config::upstreams`](crate::config::Config::upstreams).
    pub upstream: usize,
    /// The server that was chosen.
    pub server: Option<Arc<str>>,
    /// The time from the choice of a server to the head of its answer, or to the failure.
    pub time: Duration,
    /// How the call failed, if it did.
    pub failure: Option<UpstreamFailure>,
}

/// Why a client's connection failed before a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ConnectionFailure {
    /// The limit `listen.max_connections` is reached.
    Limit,
    /// The limit `listen.max_connections_per_address` is reached.
    AddressLimit,
    /// The listener requires the PROXY protocol, and the peer is in none of the networks that may use it.
    NotAProxy,
    /// A required header of the PROXY protocol is missing, malformed, or not sent in time.
    ProxyHeader,
    /// The peer closed the connection before it sent anything: a health check, a port scan.
    Empty,
    /// The peer does not speak TLS on a port for TLS.
    NotTls,
    /// The TLS handshake failed.
    Tls,
    /// Handshake or request head did not arrive in time.
    Timeout,
    /// The peer sent something that is no request head.
    Unreadable,
    /// The peer sent too many HTTP/2 frames that carry nothing.
    Flood,
}

/// How a call to an upstream failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UpstreamFailure {
    /// No connection could be made.
    Connect,
    /// The server did not answer in time.
    Timeout,
    /// The server closed the connection early, or its answer is not HTTP.
    Broken,
}

/// Why a request was retried.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Retried {
    /// No connection was made.
    Connect,
    /// The server refused the stream, or was shutting down, and has not processed the request.
    Refused,
    /// The answer had a status of `upstream.retry.statuses`.
    Status,
}

impl Retried {
    /// All reasons.
    pub const ALL: &'static [Self] = &[Self::Connect, Self::Refused, Self::Status];

    /// Returns the stable name for metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Refused => "refused",
            Self::Status => "status",
        }
    }
}

impl Decided {
    /// All decisions.
    pub const ALL: &'static [Self] = &[Self::Forward, Self::Shadow, Self::Serve, Self::Refuse];

    /// Returns the stable name for metrics and the access line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Shadow => "shadow",
            Self::Serve => "serve",
            Self::Refuse => "refuse",
        }
    }
}

impl ConnectionFailure {
    /// All failures.
    pub const ALL: &'static [Self] = &[
        Self::Limit,
        Self::AddressLimit,
        Self::NotAProxy,
        Self::ProxyHeader,
        Self::Empty,
        Self::NotTls,
        Self::Tls,
        Self::Timeout,
        Self::Unreadable,
        Self::Flood,
    ];

    /// Returns the stable name for metrics and the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::AddressLimit => "address_limit",
            Self::NotAProxy => "not_a_proxy",
            Self::ProxyHeader => "proxy_header",
            Self::Empty => "empty",
            Self::NotTls => "not_tls",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Unreadable => "unreadable",
            Self::Flood => "flood",
        }
    }
}

impl UpstreamFailure {
    /// All failures.
    pub const ALL: &'static [Self] = &[Self::Connect, Self::Timeout, Self::Broken];

    /// Returns the stable name for metrics and the access line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
        }
    }
}
