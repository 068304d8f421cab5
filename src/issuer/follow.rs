//! Reads from a service's answer who is signed in there, and changes the sessions here accordingly.
//!
//! A service signs a browser in by setting its session's cookie: after a password, a sign-up, a magic link, a sign-in by
//! another site, or when a staff member impersonates a customer. The cookie is checked as if a request had brought it, and a
//! browser has **one identity at a time, the newer one**:
//!
//! | the cookie's session | the request's caller | |
//! |---|---|---|
//! | is nobody's | came with a session of the service's | that session ends: the service signed them out |
//! | is nobody's | anybody else | passes |
//! | has a user | nobody, or a token's | is adopted |
//! | has a user | the same, by the service's session | the session stays, under its new credential |
//! | has a user | the same, by a session of the gateway's | passes; a form that made the service's session follows it itself |
//! | has a user | another, by a cookie | is adopted, and theirs ends (`superseded`); the gateway's cookie goes |
//! | has a user | anybody whose session ended meanwhile | is denied for good, and the cookie is not set |
//!
//! The last row is for a late answer: its request was under way when the session was ended, and must not bring it back. The
//! exception is a session that was ended because its user has another password, if the cookie is for the new one: the request
//! may be the very one that changed it.
//!
//! Only the upstreams of `issuer.upstreams` are trusted. From another one, a cookie of a session with a user is not set.

use std::sync::Arc;

use http::HeaderMap;

use super::Issuers;
use super::adopt::down;
use super::verify::VerifiedCredential;
use super::{IssuedCredential, PresentedCredential};
use crate::caller::{Caller, Known, Proof, SessionId, UserKey};
use crate::clock::Timestamp;
use crate::context::{Events, RequestContext};
use crate::event::{Adoption, EndReason, EventKind, IssuedRefusal};
use crate::refusal::Refusal;
use crate::secret::Digest;
use crate::session::cookies::CookieNames;
use crate::session::credential_cache::Space;
use crate::store::{Renewal, Session, SessionSelection};
use crate::wire::arrival::Arrival;
use crate::wire::jar::CookieChange;

/// An answer, and the request that it belongs to.
#[derive(Clone, Copy)]
pub struct FollowedAnswer<'a> {
    /// The request.
    pub arrival: &'a Arrival,
    /// The caller of the request.
    pub caller: &'a Caller,
    /// The upstream's index in the configuration.
    pub upstream: usize,
    /// The names of cookies that only a form has given.
    pub given: &'a [&'a str],
    /// The answer's header fields.
    pub headers: &'a HeaderMap,
    /// The current time.
    pub at: Timestamp,
}

/// The changes to the answer on its way to the client.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AnswerOutcome {
    /// Whether another user is signed in from now on, and the former session has ended.
    pub replaced: bool,
    /// Cookies that are set although a form gave one of this name, or the gateway has its own under it.
    pub passes: Vec<String>,
    /// Cookies that must not be set.
    pub held_back: Vec<String>,
    /// The user who is signed in by the answer, and their session here.
    pub signed_in: Option<(UserKey, SessionId)>,
}

/// Who is signed in according to a service's cookie.
enum CookieHolder {
    Nothing,
    Nobody,
    Somebody(Arc<IssuedCredential>),
}

impl Issuers {
    /// Applies what an answer says. What cannot be done now is done at the cookie's first use.
    pub async fn follow(&self, answer: FollowedAnswer<'_>) -> AnswerOutcome {
        let mut followed = AnswerOutcome::default();
        for (name, issuers) in self.registry.readings.by_cookie() {
            let last =
                CookieChange::all(answer.headers, answer.at).filter(|change| change.name == name);
            let Some(change) = last.last() else { continue };
            let cookie =
                IssuerCookie { name, issuers, set: change.to.as_ref().map(|to| to.0.expose()) };
            if let Err(error) = self.follow_one(answer, cookie, &mut followed).await {
                tracing::warn!(
                    reason = error.name(),
                    "a service's sign-in could not become a session"
                );
            }
        }
        followed
    }

    async fn follow_one(
        &self,
        answer: FollowedAnswer<'_>,
        cookie: IssuerCookie<'_>,
        followed: &mut AnswerOutcome,
    ) -> Result<(), IssuedRefusal> {
        let FollowedAnswer { arrival, caller, at, .. } = answer;
        let sent = CookieNames::theirs(&arrival.headers, cookie.name)
            .and_then(|value| std::str::from_utf8(value).ok());
        let own =
            caller.known().filter(|known| self.registry.is_one_of(cookie.issuers, known.proof));
        let set = cookie.set.map(|value| value.trim_matches('"')).filter(|value| !value.is_empty());
        if set.is_some_and(|value| Some(value) == sent || CookieNames::is_ours(value.as_bytes())) {
            return Ok(());
        }
        let says = match set {
            Some(value) => self.says(value, cookie.issuers, at).await?,
            None => CookieHolder::Nobody,
        };
        let former = own.and_then(|known| self.registry.space_of(known.proof)).zip(sent);
        match (says, own) {
            (CookieHolder::Nothing, Some(_)) => {
                // Only the service knows whether there still is such a session.
                if let Some((space, sent)) = former {
                    self.verified.forget(space, sent);
                }
                Ok(())
            }
            (CookieHolder::Nothing | CookieHolder::Nobody, None) => Ok(()),
            (CookieHolder::Nobody, Some(known)) => {
                let Some((space, sent)) = former else { return Ok(()) };
                let before = self.verified.recall(space, sent);
                self.verified.forget(space, sent);
                if let Some(before) = before {
                    self.signed_out(known, &before, cookie.name, answer, followed).await?;
                }
                Ok(())
            }
            (CookieHolder::Somebody(issued), own) => {
                let one = self.registry.of(&issued);
                if !one.is_some_and(|one| one.believes(answer.upstream)) {
                    followed.held_back.push(cookie.name.to_owned());
                    return Ok(());
                }
                let relevant = own.or_else(|| {
                    let known = caller.known()?;
                    let is_given = answer.given.contains(&cookie.name);
                    (known.proof == Proof::SessionCookie || is_given).then_some(known)
                });
                self.somebody(answer, cookie, &issued, relevant, former, followed).await
            }
        }
    }

    async fn somebody(
        &self,
        answer: FollowedAnswer<'_>,
        cookie: IssuerCookie<'_>,
        issued: &Arc<IssuedCredential>,
        before: Option<&Known>,
        former: Option<(Space, &str)>,
        followed: &mut AnswerOutcome,
    ) -> Result<(), IssuedRefusal> {
        let FollowedAnswer { arrival, at, .. } = answer;
        let context = &RequestContext { at, ..arrival.context() };
        let mut old = match before.and_then(|known| Some((known, known.session.as_ref()?))) {
            None => Vec::new(),
            Some((known, id)) => match self.find_by_id(id, at).await? {
                None if self.sessions.ended_by_password(id) => Vec::new(),
                None => {
                    followed.held_back.push(cookie.name.to_owned());
                    return self.deny(issued, at).await;
                }
                Some(session) if session.identity.load().key == issued.user.key => {
                    followed.signed_in = Some((issued.user.key.clone(), session.id.clone()));
                    if self.registry.is_one_of(cookie.issuers, known.proof) {
                        self.renew(&session, issued, context).await?;
                        if let Some((space, sent)) = former {
                            self.verified.forget(space, sent);
                        }
                    }
                    return Ok(());
                }
                Some(session) => vec![session],
            },
        };
        // The browser may also have a session of the gateway itself that was not used for this request.
        for value in self.sessions.cookie_names().values(&arrival.headers).unwrap_or_default() {
            let session = self.sessions.cookie(value, context.client, at, &Events::default()).await;
            old.extend(
                session.ok().filter(|session| session.identity.load().key != issued.user.key),
            );
        }
        old.dedup_by(|a, b| a.id == b.id);
        let adopted = self.adopted(issued, Adoption::Answer, context).await?;
        followed.signed_in = adopted.map(|session| (issued.user.key.clone(), session.id.clone()));
        if !old.is_empty() {
            followed.replaced = true;
        }
        followed.passes.push(cookie.name.to_owned());
        for session in old {
            let which = SessionSelection::Session(session.id.clone());
            let ended = self.sessions.end(&which, EndReason::Superseded, at, context.events).await;
            ended.map_err(|_| IssuedRefusal::Unavailable)?;
        }
        Ok(())
    }

    /// Determines who is signed in by a cookie's value, if that can be determined.
    async fn says(
        &self,
        value: &str,
        issuers: &[usize],
        at: Timestamp,
    ) -> Result<CookieHolder, IssuedRefusal> {
        // A refusal is not acted on: a request with the cookie is refused in the same way.
        match self
            .issued(&PresentedCredential::alone(value, issuers), None, at, &Events::default())
            .await
        {
            Ok(VerifiedCredential::Itself(issued, _)) => Ok(CookieHolder::Somebody(issued)),
            Ok(VerifiedCredential::Session(..)) => Ok(CookieHolder::Nothing),
            Err((Refusal::NotAuthenticated, _)) => Ok(CookieHolder::Nobody),
            Err((refusal, _)) if refusal.status().is_server_error() => {
                Err(IssuedRefusal::Unavailable)
            }
            Err(_) => Ok(CookieHolder::Nothing),
        }
    }

    /// Ends the caller's session, because the service has signed them out, unless the answer is about a key that has changed
    /// since.
    async fn signed_out(
        &self,
        known: &Known,
        sent: &IssuedCredential,
        name: &str,
        answer: FollowedAnswer<'_>,
        followed: &mut AnswerOutcome,
    ) -> Result<(), IssuedRefusal> {
        let (at, events) = (answer.at, &answer.arrival.events);
        let Some(id) = &known.session else {
            let ended = self.end_issued(sent, at, events).await;
            return ended.map_err(|_| IssuedRefusal::Unavailable);
        };
        let Some(session) = self.find_by_id(id, at).await? else { return Ok(()) };
        if session.cookie != sent.own_end {
            // The cookie is not deleted, because a browser with the new one would lose that.
            followed.held_back.push(name.to_owned());
            return Ok(());
        }
        let which = SessionSelection::Session(id.clone());
        let ended = self.sessions.end(&which, EndReason::SignedOut, at, events).await;
        ended.map(drop).map_err(|_| IssuedRefusal::Unavailable)
    }

    /// Continues the session under another credential of the same user.
    async fn renew(
        &self,
        session: &Session,
        issued: &Arc<IssuedCredential>,
        context: &RequestContext<'_>,
    ) -> Result<(), IssuedRefusal> {
        let at = context.at;
        let (Some(one), Some(digest)) = (self.registry.of(issued), issued.own_end) else {
            return Ok(());
        };
        if session.cookie == Some(digest) {
            return Ok(());
        }
        let known = self.registry.known(&one.directory, &issued.user, at).await?;
        let renewed = self.renewed(session.id.clone(), Some(digest), known.password_mark, at);
        if renewed.await?.is_none() {
            return self.deny(issued, at).await;
        }
        if let Some(former) = session.cookie {
            self.registry.seen.former.insert(former, session.id.clone());
        }
        context.note(EventKind::Adopted {
            session: session.id.clone(),
            user: issued.user.key.clone(),
            issuer: Arc::clone(&one.name),
            how: Adoption::Rotated,
        });
        Ok(())
    }

    pub(super) async fn renewed(
        &self,
        session: SessionId,
        cookie: Option<Digest>,
        password_mark: Digest,
        at: Timestamp,
    ) -> Result<Option<Arc<Session>>, IssuedRefusal> {
        let renewal = Renewal { session, cookie, password_mark, assurance: None, at };
        self.store.renew(renewal).await.map_err(down)
    }

    async fn deny(&self, issued: &IssuedCredential, at: Timestamp) -> Result<(), IssuedRefusal> {
        let Some(key) = issued.own_end else { return Ok(()) };
        self.registry.put(key, at, issued.own_end_kept_until.max(at.plus(issued.deny_for))).await
    }
}

/// A cookie of issuers, and the value that it is set to; `None` if it is deleted.
#[derive(Clone, Copy)]
struct IssuerCookie<'a> {
    name: &'a str,
    issuers: &'a [usize],
    set: Option<&'a str>,
}
