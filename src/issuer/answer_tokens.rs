//! Adopts the tokens in the body of a service's own answer as sessions, like its cookies (`sign_in.observe.tokens`).
//!
//! A sign-in that answers with SimpleJWT's tokens begins a session of the gateway, **under the refresh token**: it lives as
//! long as that token, and each observed refresh continues it. An access token has no session of its own; it belongs to the
//! session of the refresh token with which it was given. A sliding token, and an access token that came alone, has its own
//! session.
//!
//! - **At the first use or at once**, whichever comes first: the tokens are recorded before the end of the body goes to the
//!   client, so that no request can come before that, and the store begins only one session.
//! - **Its end** is final: the store ends the refresh token in the same step, and then the access tokens given with it. A
//!   refresh token whose session has ended does not reach the service's refresh view.
//! - **Rotation** replaces the old refresh token with the new one, which is in memory as the session's. The change is written
//!   to the store in the background, in the order in which the tokens were given, and reported (`adopted`, `rotated`) when it
//!   is written.
//! - **A refresh token from before the gateway** begins a session at its first refresh here.
//!
//! After a restart, an access token is no longer known to belong to a session until the next refresh: it is a credential like
//! any other of its issuer, until it expires. A token whose session has ended stays ended.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use quick_cache::sync::Cache;

use super::Issuers;
use super::adopt::down;
use super::{CheckMethod, JudgedCredential, TokenContent, keyed};
use crate::caller::SessionId;
use crate::clock::Timestamp;
use crate::context::{Events, RequestContext};
use crate::event::{Adoption, EventKind, IssuedRefusal};
use crate::refusal::Refusal;
use crate::secret::Digest;
use crate::store::{Session, SessionBy};
use crate::wire::body::Fields;

/// The members that hold an access token: SimpleJWT's own, and that of its sliding views.
const ACCESS: [&str; 2] = ["access", "token"];
const REFRESH: &str = "refresh";

/// The most rotations that are followed while the store has not written them, for a client that refreshes faster.
const ROTATIONS_AT_ONCE: usize = 4;

/// The sessions to which tokens belong, by token.
pub(super) type GivenTokens = Cache<Digest, AnsweredToken>;

/// A token from a service's answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnsweredToken {
    /// The digest of the session's credential.
    pub(super) session: Digest,
    /// The idle timeout of that session.
    pub(super) idle: Duration,
    /// When the token expires.
    pub(super) expires_at: Timestamp,
}

/// A refresh token in a request to the service.
#[derive(Clone, Copy, Debug)]
pub struct PresentedRefresh {
    digest: Digest,
    until: Timestamp,
}

/// The tokens of an answer, whose session is still to be adopted.
pub struct Adopting {
    index: usize,
    access: JudgedCredential,
    access_digest: Digest,
    /// The refresh token that came with the access token.
    refresh: Option<Digest>,
    presented: Option<PresentedRefresh>,
    client: IpAddr,
    agent: String,
    request_id: Arc<str>,
    at: Timestamp,
}

/// The recipient of an answer, and the upstream that gave it.
#[derive(Clone, Copy)]
pub struct AnswerRecipient<'a> {
    /// The issuer's index in the configuration.
    pub issuer: usize,
    /// The upstream's index in the configuration.
    pub upstream: usize,
    /// The client's address.
    pub client: IpAddr,
    /// The client's `User-Agent`.
    pub agent: &'a str,
    /// The request's id.
    pub request_id: &'a Arc<str>,
    /// When the answer came.
    pub at: Timestamp,
}

impl Issuers {
    /// Searches a request's body for a refresh token. `None` if there is no valid one; the service then refuses the request
    /// itself.
    ///
    /// # Errors
    /// A [`Refusal`] if the token's session has ended, or if that cannot be determined.
    pub async fn refresh_begins(
        &self,
        issuer: usize,
        content_type: Option<&HeaderValue>,
        body: &[u8],
        context: &RequestContext<'_>,
    ) -> Result<Option<PresentedRefresh>, Refusal> {
        let Some(one) = self.registry.all.get(issuer) else { return Ok(None) };
        let at = context.at;
        let fields = Fields::parse(content_type, body).unwrap_or_default();
        let is_refresh = fields.trimmed(REFRESH).ok().and_then(|token| one.refresh(token, at));
        let judged = is_refresh
            .or_else(|| fields.trimmed("token").ok().and_then(|token| one.access(token, at)));
        let Some(judged) = judged else { return Ok(None) };
        let Some(digest) = one.digest(&judged) else { return Ok(None) };
        let until = judged.expires_at.unwrap_or(at);
        let refused = match self.registry.settle(issuer, judged, at).await {
            Ok(issued) => match self.registry.holds(&issued, at) {
                Ok(()) => self.adopted_session(&digest, at).await.err(),
                Err(why) => Some(why),
            },
            Err(why) => Some(why),
        };
        match refused {
            Some(why @ (IssuedRefusal::Ended | IssuedRefusal::Unavailable)) => {
                context.note(EventKind::IssuedRefused { issuer: Arc::clone(&one.name), why });
                Err(one.refusal(why))
            }
            Some(_) | None => Ok(Some(PresentedRefresh { digest, until })),
        }
    }

    /// Records which session the tokens in an answer belong to. The rest, [`Self::adopt_given`], can be done a moment later.
    pub fn tokens_given(
        &self,
        to: AnswerRecipient<'_>,
        presented: Option<PresentedRefresh>,
        content_type: Option<&HeaderValue>,
        body: &[u8],
    ) -> Option<Adopting> {
        let one = self.registry.all.get(to.issuer).filter(|one| one.believes(to.upstream))?;
        let fields = Fields::parse(content_type, body).ok()?;
        let access = ACCESS
            .iter()
            .filter_map(|name| fields.trimmed(name).ok())
            .find_map(|token| one.access(token, to.at))?;
        let refresh = fields.trimmed(REFRESH).ok().and_then(|token| one.refresh(token, to.at));
        let access_digest = one.digest(&access)?;
        let expires_at = access.expires_at?;
        let refresh_digest = refresh.as_ref().and_then(|judged| one.digest(judged));
        let until = refresh.and_then(|judged| judged.expires_at).unwrap_or(expires_at);
        let session = match presented {
            Some(presented) => presented.digest,
            None => refresh_digest.unwrap_or(access_digest),
        };
        let until = presented.map_or(until, |presented| until.max(presented.until));
        let idle = until.since(to.at).max(access.deny_for);
        let given = AnsweredToken { session, idle, expires_at };
        self.registry.seen.given.insert(access_digest, given);
        if let Some(refresh) = refresh_digest {
            self.registry.seen.given.insert(refresh, AnsweredToken { expires_at: until, ..given });
        }
        Some(Adopting {
            index: to.issuer,
            access,
            access_digest,
            refresh: refresh_digest,
            presented,
            client: to.client,
            agent: to.agent.to_owned(),
            request_id: Arc::clone(to.request_id),
            at: to.at,
        })
    }

    /// Begins the session of an answer's tokens, or continues it.
    pub async fn adopt_given(&self, adopting: Adopting, events: &Events) {
        let Adopting {
            index,
            access,
            access_digest,
            refresh,
            presented,
            client,
            agent,
            request_id,
            at,
        } = adopting;
        let context =
            &RequestContext { at, client, agent: &agent, request_id: &request_id, events };
        let how = if presented.is_some() { Adoption::FirstUse } else { Adoption::Answer };
        let adopted = match self.registry.settle(index, access, at).await {
            Ok(issued) => self.adopted(&issued, how, context).await,
            Err(why) => Err(why),
        };
        let done = match (adopted, presented.zip(refresh)) {
            (Ok(Some(session)), Some((presented, refresh))) => {
                self.rotate_given(index, &session.id, presented.digest, refresh, context).await
            }
            (Ok(_), _) => Ok(()),
            (Err(IssuedRefusal::Ended), _) => {
                self.deny_all([Some(access_digest), refresh], at).await
            }
            (Err(why), _) => Err(why),
        };
        if let Err(error) = done {
            tracing::warn!(
                reason = error.name(),
                "tokens in a service's answer could not become a session"
            );
        }
    }

    /// Replaces the refresh token of a session. Rotations of one session wait for each other: a client may send a token
    /// before the store has recorded it.
    async fn rotate_given(
        &self,
        issuer: usize,
        id: &SessionId,
        before: Digest,
        now: Digest,
        context: &RequestContext<'_>,
    ) -> Result<(), IssuedRefusal> {
        let at = context.at;
        let _turn = self.registry.seen.rotating.turn(id).await;
        let Some(session) = self.find_by_id(id, at).await? else {
            return self.deny_all([Some(now), None], at).await;
        };
        let stored = session.cookie;
        if !stored.is_some_and(|stored| self.was_given_after(before, stored)) {
            // The service accepted a token that had already been rotated: its successor belongs to the session too.
            self.registry.seen.former.insert(now, id.clone());
            return Ok(());
        }
        if self.renewed(id.clone(), Some(now), session.password_mark, at).await?.is_none() {
            return self.deny_all([Some(now), None], at).await;
        }
        for former in [stored, Some(before)].into_iter().flatten() {
            self.registry.seen.former.insert(former, id.clone());
        }
        if let Some(one) = self.registry.all.get(issuer) {
            context.note(EventKind::Adopted {
                session: id.clone(),
                user: session.identity.load().key.clone(),
                issuer: Arc::clone(&one.name),
                how: Adoption::Rotated,
            });
        }
        Ok(())
    }

    /// Whether this token is the stored one, or follows from it by rotations that the store has not recorded yet.
    fn was_given_after(&self, token: Digest, stored: Digest) -> bool {
        let given_for = |digest: &Digest| {
            let given = self.registry.seen.given.get(digest)?;
            (given.session != *digest).then_some(given.session)
        };
        std::iter::successors(Some(token), given_for)
            .take(ROTATIONS_AT_ONCE)
            .any(|digest| digest == stored)
    }

    /// Returns the session under this digest, or under an earlier one whose rotation is not in the store yet; `None` if there
    /// has been none so far.
    ///
    /// # Errors
    /// [`IssuedRefusal::Ended`] if there was one and it has ended.
    pub(super) async fn adopted_session(
        &self,
        digest: &Digest,
        at: Timestamp,
    ) -> Result<Option<Arc<Session>>, IssuedRefusal> {
        let mut digest = *digest;
        for _ in 0..ROTATIONS_AT_ONCE {
            let by = SessionBy::Cookie(&digest);
            if let Some(session) = self.store.find(by, at).await.map_err(down)? {
                return Ok(Some(session));
            }
            if let Some(id) = self.registry.seen.former.get(&digest) {
                // A session that has ended is not followed by another.
                let session = self.find_by_id(&id, at).await?;
                return session.map(Some).ok_or(IssuedRefusal::Ended);
            }
            match self.registry.seen.given.get(&digest) {
                Some(given) if given.session != digest => digest = given.session,
                Some(_) | None => break,
            }
        }
        Ok(None)
    }

    async fn deny_all(
        &self,
        digests: [Option<Digest>; 2],
        at: Timestamp,
    ) -> Result<(), IssuedRefusal> {
        for digest in digests.into_iter().flatten() {
            let until = self.registry.seen.given.get(&digest).map_or(at, |given| given.expires_at);
            self.registry.put(digest, at, until.max(at)).await?;
        }
        Ok(())
    }
}

impl super::OneIssuer {
    /// Returns the digest of a token.
    fn digest(&self, judged: &JudgedCredential) -> Option<Digest> {
        judged.token_id.as_ref().map(|id| keyed(&["token", &self.name, id]))
    }

    /// Checks an access or sliding token, but not its user.
    fn access(&self, token: &str, at: Timestamp) -> Option<JudgedCredential> {
        let CheckMethod::Said(issuer) = &self.way else { return None };
        match issuer.judge(token, at).ok()? {
            TokenContent::All(judged) => Some(judged),
            TokenContent::Session { .. } => None,
        }
    }

    /// Checks a refresh token, but not its user.
    fn refresh(&self, token: &str, at: Timestamp) -> Option<JudgedCredential> {
        self.refresh_tokens.as_ref()?.verify(token, at).ok()
    }
}
