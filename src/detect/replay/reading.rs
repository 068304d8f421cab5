//! Parses lines of an audit trail into the events that they describe.
//!
//! A line without an event that a detector reads gives no event. Fields that a later version adds are ignored.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;

use crate::caller::{Proof, SessionId, UserKey};
use crate::clock::Timestamp;
use crate::event::{Adoption, EndReason, Event, EventKind, Refresh, SignInFailure};
use crate::refusal::Refusal;
use crate::secret::Digest;

/// Parses lines, and remembers the last client of each session.
#[derive(Default)]
pub(super) struct Reading {
    places: HashMap<SessionId, (Option<IpAddr>, Option<Arc<str>>)>,
}

#[derive(Deserialize)]
struct Line {
    at: String,
    event: String,
    client: Option<IpAddr>,
    agent: Option<String>,
    request_id: Option<String>,
    session: Option<String>,
    user: Option<String>,
    account: Option<String>,
    issuer: Option<String>,
    issued: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    known_device: bool,
    previous: Option<String>,
    path: Option<String>,
    about: Option<String>,
    answer: Option<String>,
}

impl Reading {
    /// Returns the events of a line, in their order; `None` if it is no line of an audit trail.
    pub(super) fn line(&mut self, text: &str) -> Option<Vec<Event>> {
        let line: Line = serde_json::from_str(text).ok()?;
        let at = Timestamp::parse(&line.at)?;
        let Some(what) = line.what() else { return Some(Vec::new()) };
        let event = Event {
            at,
            request_id: line.request_id.map(Into::into),
            client: line.client,
            agent: line.agent.map(Into::into),
            what,
        };
        let before = self.used_before(&event, line.previous.as_deref());
        Some(before.into_iter().chain([event]).collect())
    }

    /// Returns the last use by the previous client, if this is a use by another one.
    fn used_before(&mut self, event: &Event, previous: Option<&str>) -> Option<Event> {
        let EventKind::SessionUsed { session, .. } = &event.what else { return None };
        let now = (event.client, event.agent.clone());
        let (client, agent) = self.places.insert(session.clone(), now)?;
        let at = Timestamp::parse(previous?)?;
        Some(Event { at, client, agent, ..event.clone() })
    }
}

impl Line {
    fn what(&self) -> Option<EventKind> {
        let session = || self.session.as_deref().map(SessionId::new);
        let user = || {
            let (directory, id) = self.user.as_deref()?.split_once('/')?;
            Some(UserKey::new(directory, id))
        };
        let account = || self.account.as_deref().map(Arc::<str>::from);
        let reason = self.reason.as_deref().unwrap_or_default();
        let issued = |what: &str| {
            self.issued.as_deref().is_some_and(|all| all.split(',').any(|one| one == what))
        };
        Some(match self.event.as_str() {
            "sign_in" => EventKind::SignedIn {
                session: session()?,
                user: user()?,
                account: account()?,
                tokens: issued("tokens"),
                cookie: issued("cookie"),
                known_device: self.known_device,
                methods: crate::caller::AuthMethods::default(),
            },
            "sign_in_observed" => {
                EventKind::SignInObserved { account: account()?, user: user(), session: session() }
            }
            "taken_over" => EventKind::TakenOver {
                session: session()?,
                user: user()?,
                issuer: self.issuer.as_deref()?.into(),
            },
            "adopted" => EventKind::Adopted {
                session: session()?,
                user: user()?,
                issuer: self.issuer.as_deref()?.into(),
                how: called(Adoption::ALL, reason, |one| one.name())?,
            },
            "sign_in_failed" => EventKind::SignInFailed {
                account: account()?,
                user: user(),
                why: called(SignInFailure::ALL, reason, |one| one.name())?,
            },
            "refresh" => EventKind::Refreshed {
                session: session()?,
                user: user()?,
                how: called(Refresh::ALL, reason, |one| one.name())?,
            },
            "refresh_reused" => EventKind::RefreshReused { session: session()?, user: user()? },
            "session_ended" => EventKind::SessionEnded {
                session: session()?,
                user: user()?,
                why: called(EndReason::ALL, reason, |one| one.name())?,
            },
            // No detector reads the kind of credential.
            "session_used" => EventKind::SessionUsed {
                session: session()?,
                user: user()?,
                proof: Proof::SessionCookie,
            },
            "outside_binding" => EventKind::OutsideBinding { session: session()?, user: user()? },
            "not_found" => {
                EventKind::NotFound { path: Digest::of(self.path.as_deref()?.as_bytes()) }
            }
            "refused" => EventKind::Refused {
                refusal: called(Refusal::ALL, reason, |one| one.reason())?,
                user: user(),
            },
            "incident_answered" => EventKind::IncidentAnswered {
                user: user()?,
                detector: self.about.as_deref()?.into(),
                was_me: self.answer.as_deref() == Some("me"),
                ended: 0,
            },
            _ => return None,
        })
    }
}

fn called<T: Copy>(all: &[T], name: &str, of: impl Fn(T) -> &'static str) -> Option<T> {
    all.iter().copied().find(|one| of(*one) == name)
}
