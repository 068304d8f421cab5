//! Selects the uses of a session that are new: from another address or by another agent than the one before.
//!
//! A session is used all day; the trail has a line only when its client changes, with the time of the last use by the previous
//! one. A replay needs these to know how fast the session moved.

use std::net::IpAddr;

use quick_cache::sync::Cache;

use crate::caller::SessionId;
use crate::clock::Timestamp;
use crate::event::Event;
use crate::secret::Digest;

/// The most sessions that are remembered; the next use of any other session is a line.
const SESSIONS: usize = 65_536;

/// The last use of each session.
pub(super) struct Uses(Cache<SessionId, RecordedUse>);

#[derive(Clone, Copy)]
struct RecordedUse {
    client: Option<IpAddr>,
    agent: Option<Digest>,
    at: Timestamp,
}

impl Default for Uses {
    fn default() -> Self {
        Self(Cache::new(SESSIONS))
    }
}

impl Uses {
    /// Returns whether this use is a line (`Some`), and then the time of the previous use, if known.
    pub(super) fn admit(&self, session: &SessionId, event: &Event) -> Option<Option<Timestamp>> {
        let agent = event.agent.as_deref().map(|agent| Digest::of(agent.as_bytes()));
        let now = RecordedUse { client: event.client, agent, at: event.at };
        let before = self.0.get(session);
        self.0.insert(session.clone(), now);
        match before {
            Some(before) if before.client == now.client && before.agent == now.agent => None,
            before => Some(before.map(|before| before.at)),
        }
    }
}

impl std::fmt::Debug for Uses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Uses({})", self.0.len())
    }
}
