//! What is known of one request when it is over: plain values, from which the access line and the metrics are made.
//!
//! It borrows what it says: texts are made where a line is written, and nowhere else.
//!
//! A record holds no secret and nothing from which one could be read: the canonical path and never the query (people put
//! tokens there), never a header's value, the session's id and not what proved it.

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

/// One request that is over.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// When it arrived.
    pub at: Timestamp,
    /// Its id.
    pub request_id: &'a str,
    /// The client's address (behind trusted proxies: the one they name).
    pub client: Option<IpAddr>,
    /// The protocol that the client spoke.
    pub protocol: Version,
    /// The scheme that the client used.
    pub scheme: Scheme,
    /// The method.
    pub method: &'a Method,
    /// The host asked for; none if there was no usable one.
    pub host: Option<&'a Host>,
    /// The canonical path, without the query; none if the target was refused.
    pub path: Option<&'a str>,
    /// Where it was headed.
    pub place: Destination,
    /// What was decided about it.
    pub decision: Decided,
    /// The status that the client got; none if it went away before.
    pub status: Option<u16>,
    /// Why it was refused or failed, if so. A forwarded request has one when the upstream failed.
    pub refusal: Option<Refusal>,
    /// Who called, if that is known.
    pub caller: Option<RecordedCaller<'a>>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// From its arrival to the last byte of the answer.
    pub duration: Duration,
    /// The gateway's own share of that: what it did itself, without waiting for client or upstream.
    pub own: Duration,
    /// The call to the upstream, if there was one.
    pub upstream: Option<UpstreamCall>,
    /// Header fields removed because they posed as the gateway's.
    pub spoofed_headers: u32,
    /// On a shadowed route: how what would have been decided compares with what the service answered.
    pub shadow: Option<Shadowed<'a>>,
}

/// Where a request was headed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Destination {
    /// A route: its index in [`Config::routes`](crate::config::Config::routes).
    Route(usize),
    /// An own path.
    Own(OwnPath),
    /// It was refused before that was known.
    Nowhere,
}

/// What was decided about a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Decided {
    /// To forward it.
    Forward,
    /// To forward it unchecked, because its route is shadowed.
    Shadow,
    /// To answer it on an own path.
    Serve,
    /// To refuse it.
    Refuse,
}

/// Who called.
#[derive(Clone, Debug)]
pub struct RecordedCaller<'a> {
    /// The user.
    pub user: &'a UserKey,
    /// The session; none for what an `[[issuer]]` issued.
    pub session: Option<&'a SessionId>,
    /// What was presented.
    pub proof: Proof,
}

/// A request that was let through unchecked.
#[derive(Clone, Debug)]
pub struct Shadowed<'a> {
    /// Do the two agree?
    pub verdict: ShadowVerdict,
    /// Why it would have been refused, if so.
    pub refusal: Option<Refusal>,
    /// Whose credential it was, where one holds.
    pub user: Option<&'a UserKey>,
    /// The status that the service answered with; none if it did not.
    pub status: Option<u16>,
}

/// One call to an upstream.
#[derive(Clone, Debug)]
pub struct UpstreamCall {
    /// Its index in [`Config::upstreams`](crate::config::Config::upstreams).
    pub upstream: usize,
    /// The server that was chosen.
    pub server: Option<Arc<str>>,
    /// From the choice of a server to the head of its answer, or to the failure.
    pub time: Duration,
    /// How it failed, if it did.
    pub failure: Option<UpstreamFailure>,
}

/// Why a client's connection came to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ConnectionFailure {
    /// There are as many as `listen.max_connections` allows.
    Limit,
    /// The address has as many as `listen.max_connections_per_address` allows.
    AddressLimit,
    /// It is on a listener that requires the PROXY protocol, and is of none of the networks that may speak it.
    NotAProxy,
    /// It has no header of the PROXY protocol where one is required, or a broken one, or one that does not come.
    ProxyHeader,
    /// It was closed before it said anything: a health check, a port scan.
    Empty,
    /// It does not speak TLS on a port for TLS.
    NotTls,
    /// The handshake failed.
    Tls,
    /// Handshake or head did not arrive in time.
    Timeout,
    /// What it sent is no head of a request.
    Unreadable,
    /// Frames of HTTP/2 that carry nothing, too many of them.
    Flood,
}

/// How a call to an upstream failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UpstreamFailure {
    /// No connection could be made.
    Connect,
    /// It did not answer in time.
    Timeout,
    /// It broke off, or its answer is not HTTP.
    Broken,
}

/// Why a request was tried again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Retried {
    /// No connection was made.
    Connect,
    /// The server refused the stream, or was just going away, and has not looked at it.
    Refused,
    /// The answer had a status of `upstream.retry.statuses`.
    Status,
}

impl Retried {
    /// Every one.
    pub const ALL: &'static [Self] = &[Self::Connect, Self::Refused, Self::Status];

    /// Stable name for metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Refused => "refused",
            Self::Status => "status",
        }
    }
}

impl Decided {
    /// Every one.
    pub const ALL: &'static [Self] = &[Self::Forward, Self::Shadow, Self::Serve, Self::Refuse];

    /// Stable name for metrics and the access line.
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
    /// Every one.
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

    /// Stable name for metrics and the log.
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
    /// Every one.
    pub const ALL: &'static [Self] = &[Self::Connect, Self::Timeout, Self::Broken];

    /// Stable name for metrics and the access line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
        }
    }
}

/// An own path's name for metrics and the access line; with a colon, so that no route is mistaken for it.
pub(super) const fn own_name(own: OwnPath) -> &'static str {
    match own {
        OwnPath::Login => "own:login",
        OwnPath::Refresh => "own:refresh",
        OwnPath::Verify => "own:verify",
        OwnPath::Logout => "own:logout",
        OwnPath::LogoutAll => "own:logout_all",
        OwnPath::Blacklist => "own:blacklist",
        OwnPath::Session => "own:session",
        OwnPath::Jwks => "own:jwks",
        OwnPath::Incident => "own:incident",
        OwnPath::SecondFactor => "own:second_factor",
        OwnPath::Factors => "own:factors",
        OwnPath::FactorsScript => "own:factors_script",
        OwnPath::Account => "own:account",
        OwnPath::AccountSessions => "own:account_sessions",
        OwnPath::AccountActivity => "own:account_activity",
        OwnPath::AccountDevices => "own:account_devices",
        OwnPath::AccountPassword => "own:account_password",
        OwnPath::PersonalTokens => "own:personal_tokens",
        OwnPath::Passkey => "own:passkey",
        OwnPath::PasskeyScript => "own:passkey_script",
        OwnPath::MailedLink => "own:mailed_link",
    }
}

/// Every own path, in the order of its declaration.
pub(super) const OWN_PATHS: &[OwnPath] = &[
    OwnPath::Login,
    OwnPath::Refresh,
    OwnPath::Verify,
    OwnPath::Logout,
    OwnPath::LogoutAll,
    OwnPath::Blacklist,
    OwnPath::Session,
    OwnPath::Jwks,
    OwnPath::Incident,
    OwnPath::Account,
    OwnPath::AccountSessions,
    OwnPath::AccountActivity,
    OwnPath::AccountDevices,
    OwnPath::AccountPassword,
    OwnPath::SecondFactor,
    OwnPath::Factors,
    OwnPath::FactorsScript,
    OwnPath::PersonalTokens,
    OwnPath::Passkey,
    OwnPath::PasskeyScript,
    OwnPath::MailedLink,
];
