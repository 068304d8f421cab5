//! The request as the gate and the endpoints see it: converted once, and free of any framework.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use http::{HeaderMap, Method};

use super::client_ip::ClientAddress;
use super::host::Host;
use super::path::Target;
use super::scheme::Scheme;
use crate::clock::Timestamp;
use crate::context::{Events, RequestContext};
use crate::event::EventKind;

/// A parsed request: its head, checked for framing, limits and a single reading of its target.
#[derive(Debug)]
pub struct Arrival {
    /// When the request arrived: "now" for every decision about it.
    pub at: Timestamp,
    /// The request's id: the gateway's own, or a trusted proxy's.
    pub request_id: Arc<str>,
    /// The request's method.
    pub method: Method,
    /// The canonical path, for the decision and for forwarding, and the query.
    pub target: Target,
    /// The host that the client asked for.
    pub host: Host,
    /// The scheme that the client used.
    pub scheme: Scheme,
    /// The client's address: the peer's, or the one that trusted proxies report.
    pub client: ClientAddress,
    /// All header fields, unchanged.
    pub headers: HeaderMap,
    /// Whether a body follows.
    pub has_body: bool,
    /// Whether the client asks for an upgrade to WebSocket.
    pub websocket: bool,
    /// The events that the request has caused.
    pub events: Events,
}

impl Arrival {
    /// Returns `scheme://host[:port]`, as a browser writes the gateway's origin.
    pub fn origin(&self) -> String {
        self.host.origin(self.scheme)
    }

    /// Returns the client's address.
    pub const fn client_ip(&self) -> IpAddr {
        self.client.ip()
    }

    /// Records an event.
    pub fn note(&self, event: EventKind) {
        self.events.note(event);
    }

    /// Returns the context that operations for this request need. It looks a header up; code that runs for every request uses
    /// the parts directly.
    pub fn context(&self) -> RequestContext<'_> {
        RequestContext {
            at: self.at,
            client: self.client_ip(),
            agent: self.header("user-agent").unwrap_or_default(),
            request_id: &self.request_id,
            events: &self.events,
        }
    }

    /// Returns the method that the request asks for, if it is a CORS preflight (Fetch standard, section 3.2.2).
    pub fn preflight(&self) -> Option<Method> {
        if self.method != Method::OPTIONS || !self.headers.contains_key(ORIGIN) {
            return None;
        }
        let wanted = self.headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        Method::from_bytes(wanted.as_bytes()).ok()
    }

    /// Returns the one value of a header; `None` if the header is absent, repeated or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        value.to_str().ok()
    }
}
