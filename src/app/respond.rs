//! Carries out the actions of detectors: sessions end, somebody is refused for a time, notices are sent.

use std::sync::Arc;

use super::generation::Built;
use crate::block::Block;
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::context::Events;
use crate::detect::watch::{DetectorRules, NotDone, Respond};
use crate::event::{EndReason, Event, EventKind};
use crate::geo::Places;
use crate::notify::{Incident, Notices};
use crate::proxy::Current;
use crate::store::{Blocked, Blocks, SessionSelection, Sessions};
use crate::telemetry::Telemetry;
use crate::wire::client_ip::TrustedProxies;

/// Carries out the actions.
pub(super) struct Responder {
    pub(super) current: Arc<Current>,
    pub(super) sessions: Arc<dyn Sessions>,
    pub(super) blocks: Arc<dyn Blocks>,
    pub(super) notices: Arc<dyn Notices>,
    pub(super) telemetry: Arc<Telemetry>,
}

/// Returns the rules by which the detectors judge.
pub(super) fn rules(built: &Built) -> DetectorRules {
    DetectorRules {
        settings: built.config.detect.clone(),
        places: Arc::clone(&built.places) as Arc<dyn Places>,
        trusted: TrustedProxies::new(built.config.trusted_proxies.iter().copied()),
    }
}

impl Responder {
    fn tell(&self, at: Timestamp, what: EventKind) {
        let event = Event { at, request_id: None, client: None, agent: None, what };
        self.telemetry.event(event);
    }
}

#[async_trait::async_trait]
impl Respond for Responder {
    async fn end(&self, which: &SessionSelection, at: Timestamp) -> Result<(), NotDone> {
        let events = Events::default();
        let generation = self.current.load();
        let ended = generation.sessions().end(which, EndReason::Detected, at, &events).await;
        events.take().into_iter().for_each(|what| self.tell(at, what));
        ended.map(|_| ()).map_err(|refusal| NotDone(refusal.code().to_owned()))
    }

    async fn block(&self, block: Block) -> Result<bool, NotDone> {
        let at = block.at;
        match self.blocks.block(block).await.map_err(|error| NotDone(error.to_string()))? {
            Blocked::Holds(block) => {
                self.tell(at, EventKind::Blocked(block));
                Ok(true)
            }
            // The existing block demands as much, or an operator made it, who takes precedence.
            Blocked::Stands(_) => Ok(true),
            Blocked::NoRoom => Ok(false),
        }
    }

    async fn sessions(&self, user: &UserKey, at: Timestamp) -> Vec<SessionId> {
        let sessions = self.sessions.list(Some(user), at).await.unwrap_or_default();
        sessions.iter().map(|session| session.id.clone()).collect()
    }

    async fn groups(&self, user: &UserKey, at: Timestamp) -> Vec<String> {
        let sessions = self.sessions.list(Some(user), at).await.unwrap_or_default();
        sessions.first().map(|session| session.identity.load().groups.clone()).unwrap_or_default()
    }

    async fn has_second_factor(&self, user: &UserKey, at: Timestamp) -> bool {
        let generation = self.current.load();
        let all = generation.sessions().factors().all_of(user, at).await;
        all.is_ok_and(|all| all.has_any())
    }

    fn notify(&self, incident: Incident) {
        self.notices.tell(incident);
    }
}
