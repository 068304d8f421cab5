//! Uses of a session that say something new: from another address or by another agent than the one before.
//!
//! A session is used all day; the trail has a line where it moves, with the time of its last use where it was. That is what
//! a replay needs to know how fast it moved.

use std::net::IpAddr;

use quick_cache::sync::Cache;

use crate::caller::SessionId;
use crate::clock::Timestamp;
use crate::event::Event;
use crate::secret::Digest;

/// Sessions that are remembered; of one that is not, the next use is a line.
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
    /// Is this use worth a line? Then also when the one before was, if that is known.
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
