//! Converts between the framework's requests and replies and the gateway's.
//!
//! A head is checked once, in this order: framing and limits on the raw bytes, `Connection`, the client's address, the
//! host, the target. The first problem refuses it; nothing is repaired.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;

use crate::clock::Timestamp;
use crate::context::Events;
use crate::refusal::Refusal;
use crate::wire::arrival::Arrival;
use crate::wire::client_ip::{ClientAddress, TrustedProxies};
use crate::wire::forward::{self, EditHeaders, ProtectedNames};
use crate::wire::framing::{self, HeadLimits, Methods};
use crate::wire::host::{Host, HostProblem};
use crate::wire::path::{Target, TargetProblem, Tolerance};
use crate::wire::reply::Reply;
use crate::wire::scheme::Scheme;

/// The rules for reading a head.
pub(super) struct HeadRules {
    pub(super) limits: HeadLimits,
    /// The paths where people sign in: such a target contains another one, with everything in it escaped twice.
    pub(super) login_paths: Vec<String>,
    pub(super) methods: Methods,
    pub(super) trusted: TrustedProxies,
    pub(super) protected: ProtectedNames,
}

/// The source of a request, as seen by the connection.
#[derive(Clone, Copy)]
pub(super) struct ConnectionInfo {
    /// The address at the other end.
    pub(super) peer: IpAddr,
    /// Whether the connection uses TLS that ends here.
    pub(super) tls: bool,
}

/// A head that is refused, with the reason for the operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RejectedHead {
    pub(super) refusal: Refusal,
    pub(super) why: &'static str,
    /// Whether the connection has to end, because the start of the next request is not known for certain.
    pub(super) ends_connection: bool,
}

impl ConnectionInfo {
    /// Reads them from this session's connection.
    pub(super) fn of(session: &Session) -> Self {
        Self { peer: peer(session), tls: is_tls(session) }
    }
}

impl From<Refusal> for RejectedHead {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, why: refusal.code(), ends_connection: false }
    }
}

impl From<framing::FramingProblem> for RejectedHead {
    fn from(problem: framing::FramingProblem) -> Self {
        let ends_connection = problem.is_of_length();
        Self { refusal: problem.refusal(), why: problem.name(), ends_connection }
    }
}

impl From<HostProblem> for RejectedHead {
    fn from(problem: HostProblem) -> Self {
        Self { refusal: problem.refusal(), why: problem.name(), ends_connection: false }
    }
}

impl From<TargetProblem> for RejectedHead {
    fn from(problem: TargetProblem) -> Self {
        Self { refusal: problem.refusal(), why: problem.name(), ends_connection: false }
    }
}

/// Returns the address that the connection came from.
pub(super) fn peer(session: &Session) -> IpAddr {
    session
        .client_addr()
        .and_then(|address| address.as_inet())
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip())
}

/// Whether the request came over TLS that ends here.
pub(super) fn is_tls(session: &Session) -> bool {
    session.digest().is_some_and(|digest| digest.ssl_digest.is_some())
}

/// Reads the head of a request.
pub(super) fn arrival(
    session: &Session,
    came: ConnectionInfo,
    rules: &HeadRules,
    at: Timestamp,
    request_id: &Arc<str>,
) -> Result<Arrival, RejectedHead> {
    let request = session.req_header();
    let http1 = session.as_http1().is_some();
    let limits = rules.limits(request.raw_path());
    if http1 {
        framing::check_head(&session.to_h1_raw(), &limits, &rules.methods)
    } else {
        let target = std::str::from_utf8(request.raw_path()).map_err(|_| Refusal::BadTarget)?;
        framing::check_fields(&request.method, target, &request.headers, &limits, &rules.methods)
    }
    .map_err(RejectedHead::from)?;
    if forward::connection_nominates(&request.headers, &rules.protected) {
        return Err(Refusal::BadConnection.into());
    }

    let client = ClientAddress::resolve(came.peer, &rules.trusted, &request.headers);
    let scheme = client.forwarded_scheme(&request.headers).unwrap_or(if came.tls {
        Scheme::Https
    } else {
        Scheme::Http
    });
    let named = asked_host(request)?;
    let host = client
        .forwarded_host(&request.headers)
        .unwrap_or(named)
        .at_port(client.forwarded_port(&request.headers, scheme), scheme);
    // The route is not known yet, so ambiguities that a route may tolerate are recorded for the gate to judge.
    let target = Target::parse(origin_form(request)?, Tolerance::ALL)?;
    let request_id = if client.through_trusted_proxy() {
        Arc::from(forward::request_id(&request.headers, &client, request_id.to_string()))
    } else {
        Arc::clone(request_id)
    };

    Ok(Arrival {
        at,
        request_id,
        method: request.method.clone(),
        target,
        host,
        scheme,
        client,
        has_body: has_body(request, http1, session),
        websocket: http1 && session.is_upgrade_req() && is_websocket(&request.headers),
        headers: request.headers.clone(),
        events: Events::default(),
    })
}

impl HeadRules {
    /// The most bytes that one byte of a target becomes in the `next` of a sign-in: `[` is `%5B` there, and that becomes
    /// `%255B`.
    pub(super) const NEXT_INFLATION: usize = 5;

    /// Returns the limits of a head with this target.
    fn limits(&self, target: &[u8]) -> HeadLimits {
        let mut limits = self.limits;
        let is_login = |path: &String| {
            target.strip_prefix(path.as_bytes()).is_some_and(|rest| rest.starts_with(b"?"))
        };
        if self.login_paths.iter().any(is_login) {
            limits.target_bytes = limits.target_bytes.saturating_mul(Self::NEXT_INFLATION);
        }
        limits
    }
}

/// Whether the request is `OPTIONS *`, which asks about the server as a whole (RFC 9110 section 9.3.7).
pub(super) fn asks_about_the_server(request: &RequestHeader) -> bool {
    request.method == Method::OPTIONS && request.raw_path() == b"*"
}

/// Returns the target in origin form (RFC 9112 section 3.2.1). An absolute one (section 3.2.2) must name the same host
/// as `Host`; `*` stands for the root where it may occur at all.
fn origin_form(request: &RequestHeader) -> Result<Cow<'_, [u8]>, RejectedHead> {
    let target = request.raw_path();
    if asks_about_the_server(request) {
        return Ok(Cow::Borrowed(b"/"));
    }
    let after = |scheme: &[u8]| {
        let (head, rest) = target.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    let Some(rest) = after(b"http://").or_else(|| after(b"https://")) else {
        return Ok(Cow::Borrowed(target));
    };
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, b""));
    if Host::parse(authority).map_err(RejectedHead::from)? != asked_host(request)? {
        return Err(Refusal::BadHost.into());
    }
    Ok(if path.starts_with(b"/") { Cow::Borrowed(path) } else { Cow::Owned([b"/", path].concat()) })
}

/// Returns `Host`, or `:authority` in HTTP/2; if both are present, they must agree (RFC 9113 section 8.3.1).
fn asked_host(request: &RequestHeader) -> Result<Host, RejectedHead> {
    let mut named = request.headers.get_all(HOST).iter();
    let field = named.next().map(HeaderValue::as_bytes);
    if named.next().is_some() {
        return Err(Refusal::BadHost.into());
    }
    let authority = match request.version {
        Version::HTTP_2 => request.uri.authority().map(|authority| authority.as_str().as_bytes()),
        _ => None,
    };
    let parse = |text: &[u8]| Host::parse(text).map_err(RejectedHead::from);
    match (field, authority) {
        (Some(field), Some(authority)) => {
            let host = parse(authority)?;
            if parse(field)? == host { Ok(host) } else { Err(Refusal::BadHost.into()) }
        }
        (Some(text), None) | (None, Some(text)) => parse(text),
        (None, None) => Err(Refusal::BadHost.into()),
    }
}

fn has_body(request: &RequestHeader, http1: bool, session: &Session) -> bool {
    if request.headers.contains_key(TRANSFER_ENCODING) {
        return true;
    }
    match request.headers.get(CONTENT_LENGTH) {
        Some(length) => length != "0",
        // In HTTP/2 a body needs no length: there is one unless the stream ended with the head.
        None => !http1 && !h2_ended(session),
    }
}

fn h2_ended(session: &Session) -> bool {
    session.as_http2().is_some_and(pingora::protocols::http::v2::server::HttpSession::is_body_empty)
}

fn is_websocket(headers: &HeaderMap) -> bool {
    headers
        .get(UPGRADE)
        .is_some_and(|upgrade| upgrade.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket"))
}

/// Returns the framework's form of a reply. The framework writes these names in their usual spelling anyway.
pub(super) fn response_head(reply: &mut Reply) -> ResponseHeader {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = reply.status;
    parts.headers = std::mem::take(&mut reply.headers);
    if reply.status != http::StatusCode::NO_CONTENT {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(reply.body.len()));
    }
    ResponseHeader::from(parts)
}

/// Edits the framework's header collections through the framework, which stores the spelling of names beside the fields.
pub(super) struct Edited<'a, H>(pub(super) &'a mut H);

macro_rules! edit_through_the_framework {
    ($header:ty) => {
        impl EditHeaders for Edited<'_, $header> {
            fn headers(&self) -> &HeaderMap {
                &self.0.headers
            }

            fn remove(&mut self, name: &HeaderName) {
                self.0.remove_header(name);
            }

            fn set(&mut self, name: HeaderName, value: HeaderValue) {
                // Name and value are typed and therefore legal, so the framework's error cannot happen.
                let _ = self.0.insert_header(name, value);
            }

            fn set_static(&mut self, name: &'static HeaderName, value: HeaderValue) {
                // The framework stores the name beside the field: this one needs no allocation.
                let _ = self.0.insert_header(name.as_str(), value);
            }

            fn append(&mut self, name: HeaderName, value: HeaderValue) {
                let _ = self.0.append_header(name, value);
            }
        }
    };
}

edit_through_the_framework!(RequestHeader);
edit_through_the_framework!(ResponseHeader);

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(version: Version, uri: &str, hosts: &[&'static str]) -> Result<String, Refusal> {
        let mut request = http::Request::get(uri).version(version);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        asked_host(&RequestHeader::from(parts))
            .map(|host| host.to_string())
            .map_err(|unread| unread.refusal)
    }

    #[test]
    fn an_absolute_target_becomes_origin_form_where_it_names_its_host() {
        let of = |method: &str, target: &str| {
            let mut request = RequestHeader::build(method, target.as_bytes(), None).unwrap();
            request.append_header(HOST, "App.test:81").unwrap();
            let form = origin_form(&request);
            form.map(|form| String::from_utf8(form.into_owned()).unwrap())
                .map_err(|unread| unread.refusal)
        };
        for (method, target, form) in [
            ("GET", "http://app.test:81/a?b", Ok("/a?b")),
            ("GET", "HTTPS://APP.test:81/", Ok("/")),
            ("GET", "http://app.test:81", Ok("/")),
            ("GET", "http://app.test:81?b", Ok("/?b")),
            ("GET", "http://evil.test/a", Err(Refusal::BadHost)),
            ("GET", "http://app.test/a", Err(Refusal::BadHost)),
            ("GET", "ftp://app.test:81/a", Ok("ftp://app.test:81/a")),
            ("GET", "/http://evil.test/", Ok("/http://evil.test/")),
            ("OPTIONS", "*", Ok("/")),
            ("GET", "*", Ok("*")),
        ] {
            assert_eq!(of(method, target), form.map(str::to_owned), "{method} {target}");
        }
    }

    #[test]
    fn host_and_authority_agree() {
        for (version, uri, hosts, host) in [
            (Version::HTTP_11, "/", &["App.test:81"][..], Ok("app.test:81")),
            (Version::HTTP_11, "/", &[], Err(Refusal::BadHost)),
            (Version::HTTP_11, "/", &["app.test", "app.test"], Err(Refusal::BadHost)),
            (Version::HTTP_2, "https://app.test/", &[], Ok("app.test")),
            (Version::HTTP_2, "https://app.test/", &["APP.test"], Ok("app.test")),
            (Version::HTTP_2, "https://app.test/", &["evil.test"], Err(Refusal::BadHost)),
            (Version::HTTP_2, "https://app.test/", &["app.test:81"], Err(Refusal::BadHost)),
        ] {
            let expected = host.map(str::to_owned);
            assert_eq!(asked(version, uri, hosts), expected, "{version:?} {uri} {hosts:?}");
        }
    }
}
