//! Provides the context of a request: what all code that works for the request needs to know, and where it records events.
//!
//! The modules below the request (sessions, issuers, directories) take this in place of the request itself: they neither read
//! its head nor know how it arrived.

use std::net::IpAddr;

use parking_lot::Mutex;

use crate::clock::Timestamp;
use crate::event::EventKind;

/// The events of one request, in order.
///
/// Events are recorded through a shared reference: all code that works for one request records into one list, and a `&mut`
/// would have to be passed through every function on the way. The list belongs to its request, so nobody waits for its lock.
/// The lock is taken for each event, of which a request with a cached credential seldom has any, and once at the end. An empty
/// list allocates nothing.
#[derive(Debug, Default)]
pub struct Events(Mutex<Vec<EventKind>>);

/// A request, as far as sessions and credentials are concerned.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext<'a> {
    /// When the request arrived: the meaning of "now" while it is handled.
    pub at: Timestamp,
    /// The client's address.
    pub client: IpAddr,
    /// `User-Agent`; empty if there is none.
    pub agent: &'a str,
    /// The request's id: the gateway's own, or a trusted proxy's.
    pub request_id: &'a str,
    /// The request's events.
    pub events: &'a Events,
}

impl Events {
    /// Records an event.
    pub fn note(&self, event: EventKind) {
        self.0.lock().push(event);
    }

    /// Records several events, in order.
    pub fn note_all(&self, events: impl IntoIterator<Item = EventKind>) {
        for event in events {
            self.note(event);
        }
    }

    /// Takes all events that were recorded so far.
    pub fn take(&self) -> Vec<EventKind> {
        std::mem::take(&mut *self.0.lock())
    }

    /// Whether such an event was recorded and has not been taken yet.
    pub fn has(&self, is_one: impl FnMut(&EventKind) -> bool) -> bool {
        self.0.lock().iter().any(is_one)
    }
}

impl RequestContext<'_> {
    /// Records an event.
    pub fn note(&self, event: EventKind) {
        self.events.note(event);
    }
}
