//! A request as the gate and the endpoints see it: converted once, free of any framework.

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

/// A request that has been read: its head, checked for framing, limits and a single reading of its target.
#[derive(Debug)]
pub struct Arrival {
    /// When it arrived; what "now" means for everything decided about it.
    pub at: Timestamp,
    /// Ours, or a trusted proxy's.
    pub request_id: Arc<str>,
    /// The method.
    pub method: Method,
    /// The canonical path, for the decision and for forwarding, and the query.
    pub target: Target,
    /// The host asked for.
    pub host: Host,
    /// The scheme that the client used.
    pub scheme: Scheme,
    /// Where it comes from: the peer, or what trusted proxies say.
    pub client: ClientAddress,
    /// All header fields as they came.
    pub headers: HeaderMap,
    /// Whether a body follows.
    pub has_body: bool,
    /// Whether it asks for an upgrade to WebSocket.
    pub websocket: bool,
    /// What happened on its account.
    pub events: Events,
}

impl Arrival {
    /// `scheme://host[:port]`, as a browser writes our own origin.
    pub fn origin(&self) -> String {
        self.host.origin(self.scheme)
    }

    /// The client's address.
    pub const fn client_ip(&self) -> IpAddr {
        self.client.ip()
    }

    /// Notes what happened.
    pub fn note(&self, event: EventKind) {
        self.events.note(event);
    }

    /// What is done for this request needs to know. It looks a header up; where every request passes, its parts are taken.
    pub fn context(&self) -> RequestContext<'_> {
        RequestContext {
            at: self.at,
            client: self.client_ip(),
            agent: self.header("user-agent").unwrap_or_default(),
            request_id: &self.request_id,
            events: &self.events,
        }
    }

    /// If this is a CORS preflight (Fetch standard, section 3.2.2): the method that it asks for.
    pub fn preflight(&self) -> Option<Method> {
        if self.method != Method::OPTIONS || !self.headers.contains_key(ORIGIN) {
            return None;
        }
        let wanted = self.headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        Method::from_bytes(wanted.as_bytes()).ok()
    }

    /// The one value of a header; none if it is absent, repeated or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        value.to_str().ok()
    }
}
