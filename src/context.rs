//! What everything that is done for one request needs to know of it, and where it says what happened.
//!
//! The parts that are below the request (sessions, issuers, directories) take this in place of the request itself: they
//! neither read its head nor know how it came.

use std::net::IpAddr;

use parking_lot::Mutex;

use crate::clock::Timestamp;
use crate::event::EventKind;

/// What happened, in order, for whoever tells it.
///
/// It is written through a shared reference: everything that works for one request notes into one list, in order, and a
/// `&mut` would have to be lent through every function on the way. The list belongs to its request and nobody waits for its
/// lock. It is locked when something is noted, which a request whose credential is remembered seldom does, and once at the
/// end, and an empty list allocates nothing.
#[derive(Debug, Default)]
pub struct Events(Mutex<Vec<EventKind>>);

/// One request, as far as sessions and credentials are concerned.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext<'a> {
    /// When it arrived: what "now" means for all of it.
    pub at: Timestamp,
    /// The client's address.
    pub client: IpAddr,
    /// `User-Agent`; empty if there is none.
    pub agent: &'a str,
    /// Ours, or a trusted proxy's.
    pub request_id: &'a str,
    /// What happened.
    pub events: &'a Events,
}

impl Events {
    /// Notes what happened.
    pub fn note(&self, event: EventKind) {
        self.0.lock().push(event);
    }

    /// Notes several things that happened, one after the other.
    pub fn note_all(&self, events: impl IntoIterator<Item = EventKind>) {
        for event in events {
            self.note(event);
        }
    }

    /// Takes all that was noted so far.
    pub fn take(&self) -> Vec<EventKind> {
        std::mem::take(&mut *self.0.lock())
    }

    /// Was something like this noted, and is not taken yet?
    pub fn has(&self, is_one: impl FnMut(&EventKind) -> bool) -> bool {
        self.0.lock().iter().any(is_one)
    }
}

impl RequestContext<'_> {
    /// Notes what happened.
    pub fn note(&self, event: EventKind) {
        self.events.note(event);
    }
}
