//! What everything that is done for one request needs to know of it, and where it says what happened.
//!
//! The parts that are below the request (sessions, issuers, directories) take this in place of the request itself: they
//! neither read its head nor know how it came.

use std::net::IpAddr;

use crate::clock::Timestamp;
use crate::event::EventKind;

/// One request, as far as sessions and credentials are concerned.
#[derive(Debug)]
pub struct RequestContext<'a> {
    /// When it arrived: what "now" means for all of it.
    pub at: Timestamp,
    /// The client's address.
    pub client: IpAddr,
    /// `User-Agent`; empty if there is none.
    pub agent: &'a str,
    /// Ours, or a trusted proxy's.
    pub request_id: &'a str,
    /// What happened, in order. The caller tells it.
    pub events: &'a mut Vec<EventKind>,
}

impl RequestContext<'_> {
    /// Notes what happened.
    pub fn note(&mut self, event: EventKind) {
        self.events.push(event);
    }
}
