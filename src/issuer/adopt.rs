//! Adopts a service's own session as a session of the gateway.
//!
//! Where a service signs people in itself, its session is the credential: the gateway sets no cookie of its own. Yet a caller
//! with such a session has a session here, **adopted** at its first use or from the very answer that set its cookie
//! ([`follow`](super::follow)), so that operators see it, detectors watch it, and its end is final:
//!
//! - **Look-up**: by the digest that also names the credential's own end (issuer and key; the cookie for `signed_cookies`).
//!   The store knows nothing else of the credential.
//! - **Its end here** (a sign-out, an operator, a detector, the user's account) also ends the credential: the store writes
//!   the date of that end under the same digest in the same step, and refuses to adopt the credential again while the service
//!   could still accept it. The service is not notified; its session cannot be reached through the gateway.
//! - **Its end there** ends it here: the service deletes the cookie in an answer, or no longer knows the session when it is
//!   asked again.
//! - **Its lifetime** is the service's. It is listed here until it has not been used for `max_age`, which is longer than the
//!   service keeps it; if the absolute timeout comes first, the next use begins another session.
//! - **A changed key** of the same user leaves the session as it is, under the new credential. The former one stays in memory
//!   as the session's, for requests that were on their way. After a restart it would be adopted again, if the service still
//!   accepts it: only `signed_cookies` does, which accepts every cookie that it ever signed until `max_age`.
//! - **Tokens** in an answer have a session too: see [`given`](super::answer_tokens).
//! - **No other credential** is made from it: see `identity::forms`.

use std::sync::Arc;
use std::time::Duration;

use super::Issuers;
use super::{FOR_GOOD, IssuedCredential, OneIssuer};
use crate::caller::{Assurance, SessionId};
use crate::clock::Timestamp;
use crate::context::RequestContext;
use crate::event::{Adoption, EndReason, EventKind, IssuedRefusal};
use crate::secret::{Digest, random_id};
use crate::session::sign_in::{MAX_AGENT, cut};
use crate::store::{BeginOutcome, NewSession, Session, SessionBy, SessionSelection, StoreError};

/// The most former credentials of sessions that are remembered.
pub(super) const FORMER: usize = 16_384;

impl OneIssuer {
    /// Whether its credentials have sessions of the gateway.
    pub(super) const fn adopts(&self) -> bool {
        self.is_session
    }

    /// Whether answers of this upstream may set the issuer's sessions.
    pub(super) fn believes(&self, upstream: usize) -> bool {
        self.upstreams.is_empty() || self.upstreams.contains(&upstream)
    }
}

impl Issuers {
    /// Returns the session of a valid credential, and begins it if needed; `how` is the reason to record then. `None` if such
    /// a credential has no session.
    pub(super) async fn adopted(
        &self,
        issued: &IssuedCredential,
        how: Adoption,
        context: &RequestContext<'_>,
    ) -> Result<Option<Arc<Session>>, IssuedRefusal> {
        let at = context.at;
        let Some(one) = self.registry.of(issued) else { return Ok(None) };
        let Some(own) = issued.own_end else { return Ok(None) };
        let (digest, idle) = match one.adopts() {
            true => (own, issued.deny_for),
            false => match self.registry.seen.given.get(&own) {
                Some(given) => (given.session, given.idle),
                None => return Ok(None),
            },
        };
        if let Some(session) = issued.session.load_full().filter(|session| session.is_live(at)) {
            return Ok(Some(session));
        }
        let session = match self.adopted_session(&digest, at).await? {
            Some(session) => session,
            None => self.adopt(one, issued, (digest, idle), how, context).await?,
        };
        if session.identity.load().key != issued.user.key {
            return Err(IssuedRefusal::Ended);
        }
        issued.session.store(Some(Arc::clone(&session)));
        Ok(Some(session))
    }

    async fn adopt(
        &self,
        one: &OneIssuer,
        issued: &IssuedCredential,
        (digest, idle): (Digest, Duration),
        how: Adoption,
        context: &RequestContext<'_>,
    ) -> Result<Arc<Session>, IssuedRefusal> {
        let at = context.at;
        let known = self.registry.known(&one.directory, &issued.user, at).await?;
        let new = NewSession {
            id: SessionId::new(&random_id().map_err(|_| IssuedRefusal::Unavailable)?),
            identity: Arc::clone(&known.identity),
            password_mark: known.password_mark,
            cookie: Some(digest),
            issuer: Some(Arc::clone(&one.name)),
            at,
            expires_at: at.plus(self.sessions.settings().absolute_timeout.max(idle)).min(FOR_GOOD),
            idle_timeout: idle,
            client: Some(context.client),
            agent: cut(context.agent, MAX_AGENT).to_owned(),
            assurance: Assurance::BY_SERVICE,
            grant: None,
            refresh: None,
            kept: None,
        };
        let session = match self.store.adopt(new).await.map_err(down)? {
            BeginOutcome::Begun(session) => session,
            BeginOutcome::Before(session) => return session.ok_or(IssuedRefusal::Ended),
        };
        context.note(EventKind::Adopted {
            session: session.id.clone(),
            user: issued.user.key.clone(),
            issuer: Arc::clone(&one.name),
            how,
        });
        // All sessions of the user may have ended since the credential was checked; then this one ends too.
        if let Err(why) = self.registry.holds(issued, at) {
            let which = SessionSelection::Session(session.id.clone());
            let ended =
                self.sessions.end(&which, EndReason::SignedOutEverywhere, at, context.events).await;
            ended.map_err(|_| IssuedRefusal::Unavailable)?;
            return Err(why);
        }
        Ok(session)
    }

    pub(super) async fn find_by_id(
        &self,
        id: &SessionId,
        at: Timestamp,
    ) -> Result<Option<Arc<Session>>, IssuedRefusal> {
        self.store.find(SessionBy::Id(id), at).await.map_err(down)
    }
}

pub(super) fn down(error: StoreError) -> IssuedRefusal {
    tracing::warn!(%error, "the store failed");
    IssuedRefusal::Unavailable
}
