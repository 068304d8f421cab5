//! A session of a service's own as a session of the gateway's.
//!
//! Where a service signs people in itself, its session is the credential: nothing of the gateway's is set in the browser.
//! Yet whoever comes with one has a session here, **adopted** at its first use or from the very answer that set its cookie
//! ([`follow`](super::follow)), so that operators see it, detectors watch it, and its end is final:
//!
//! - **Found** by the digest that names the credential's own end (issuer and key; of `signed_cookies` the cookie). The
//!   store knows nothing else of the credential.
//! - **Its end here** (a sign-out, an operator, a detector, the user's account) is also the end of the credential: the
//!   store puts the date of that end under the same digest in the same step, and refuses to adopt it again while the
//!   service could still take it. The service is not told; its session is out of reach behind the gateway.
//! - **Its end there** ends it here: the service takes the cookie away in an answer, or does not know the session any more
//!   when it is asked again.
//! - **Its time** is the service's. It is listed here until it was not used for `max_age`, which is longer than the service
//!   keeps it; when the absolute timeout comes first, the next use begins another session.
//! - **A changed key** of the same user leaves the session as it is, under the new credential. The former one is known in
//!   memory as the session's for requests that were on their way. After a restart it would be adopted anew, if the service
//!   still takes it: none does but `signed_cookies`, which takes every cookie that it ever signed until `max_age`.
//! - **Tokens** that an answer gave have a session likewise: see [`given`](super::answer_tokens).
//! - **No other credential** comes of it: see `identity::forms`.

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

/// Former credentials of sessions that are remembered.
pub(super) const FORMER: usize = 16_384;

impl OneIssuer {
    /// Do its credentials have sessions of the gateway's?
    pub(super) const fn adopts(&self) -> bool {
        self.is_session
    }

    /// May an answer of this upstream say whose session it is?
    pub(super) fn believes(&self, upstream: usize) -> bool {
        self.upstreams.is_empty() || self.upstreams.contains(&upstream)
    }
}

impl Issuers {
    /// The session of a credential that holds; `how` says what it was if it begins now. None: such a credential has none.
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
        // All that its user had may have ended since it was judged: then this has too.
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
