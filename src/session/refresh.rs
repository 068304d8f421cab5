//! Exchanges refresh tokens for new tokens.
//!
//! A refresh token is used once: using it stores its successor, and seals the answer for requests that race with it. The store
//! decides atomically which request was first. Every request prepares a successor, and only the winner's is ever sent. Where an
//! alias stands in for a service that does not rotate, the token stays valid and only an access token is returned; a token that
//! was spent elsewhere counts as reused there too.

use std::sync::Arc;

use super::refresh_token::PresentedRefreshToken;
use super::{SessionManager, TokenPair, store_failed};
use crate::clock::Timestamp;
use crate::config::RotationPolicy as Rule;
use crate::context::{Events, RequestContext};
use crate::event::{EndReason, EventKind, Refresh, RefreshRefusal};
use crate::refusal::Refusal;
use crate::store::{RefreshState, Rotate, RotationOutcome, Session, SessionBy, SessionSelection};

/// The gateway's own refresh tokens: exchanging them for new tokens, and inspecting them.
#[derive(Clone, Copy)]
pub struct OwnRefreshTokens<'s>(pub(super) &'s SessionManager);

/// What using a refresh token would do now.
#[derive(Debug)]
pub enum RefreshLook {
    /// The token is unspent and would return new tokens.
    Fresh(Arc<Session>),
    /// The token was spent at this time; presented again after the grace, it ends its session.
    Spent(Arc<Session>, Timestamp),
}

impl OwnRefreshTokens<'_> {
    /// Exchanges a refresh token for new tokens. Racing callers within the grace window get equal answers; a later one ends the
    /// session ([`Refusal::TokenBlacklisted`]).
    ///
    /// # Errors
    /// A [`Refusal`] of the token, or [`Refusal::StoreUnavailable`].
    pub async fn refresh(
        self,
        token: &str,
        rotation: Rule,
        context: &RequestContext<'_>,
    ) -> Result<TokenPair, Refusal> {
        let presented = match self.0.refresh_key.verify(&self.0.tokens, token, context.at) {
            Ok(presented) => presented,
            Err(refusal) => return Err(not_taken(refusal, context.events)),
        };
        let session = self.session_of(&presented, context.at).await?;
        self.exchange(&presented, session, rotation, context).await
    }

    /// Exchanges a verified token of this session for new tokens; without a session, the session has ended.
    pub(crate) async fn exchange(
        self,
        presented: &PresentedRefreshToken,
        session: Option<Arc<Session>>,
        rotation: Rule,
        context: &RequestContext<'_>,
    ) -> Result<TokenPair, Refusal> {
        let Some(session) = session else {
            let why = RefreshRefusal::SessionEnded;
            return Err(refused(why, Refusal::TokenBlacklisted, context.events));
        };
        self.0.blocks().may_use(&session, context.at)?;
        self.0.blocks().may_refresh(&session, context.at)?;
        self.0.is_within_binding(&session, context.client, context.events)?;
        match rotation {
            Rule::SingleUse => self.rotate(presented, &session, context).await,
            Rule::None => self.keep(presented, context).await,
        }
    }

    async fn rotate(
        self,
        presented: &PresentedRefreshToken,
        session: &Arc<Session>,
        context: &RequestContext<'_>,
    ) -> Result<TokenPair, Refusal> {
        let (at, events) = (context.at, context.events);
        let (access, access_expires_in) = self.0.issue_access(session, at)?;
        let successor = self.0.refresh_key.issue(
            &self.0.tokens,
            &session.id,
            &presented.user_id,
            session.expires_at,
            at,
        )?;
        let pair = TokenPair {
            access,
            access_expires_in,
            refresh: Some(successor.token),
            refresh_expires_in: successor.good_for,
        };
        let rotate = Rotate {
            session: session.id.clone(),
            presented: presented.digest(),
            successor: successor.remembered,
            sealed_answer: presented.seal(&pair)?,
            grace: self.0.tokens.refresh_grace,
            at,
        };
        match self.0.refresh_tokens.rotate(rotate).await.map_err(store_failed)? {
            RotationOutcome::Rotated(session) => {
                refreshed(&session, Refresh::Rotated, context);
                Ok(pair)
            }
            RotationOutcome::Replayed(session, sealed) => {
                let pair = presented.open(sealed)?;
                refreshed(&session, Refresh::ReplayedInGrace, context);
                Ok(pair)
            }
            RotationOutcome::Reused(session) => {
                reused(&session, events);
                ended(&session, EndReason::RefreshReused, events);
                Err(Refusal::TokenBlacklisted)
            }
            RotationOutcome::Expired => {
                Err(refused(RefreshRefusal::Expired, Refusal::TokenExpired, events))
            }
            RotationOutcome::Unknown => Err(unknown(session, context)),
        }
    }

    async fn keep(
        self,
        presented: &PresentedRefreshToken,
        context: &RequestContext<'_>,
    ) -> Result<TokenPair, Refusal> {
        let (at, events) = (context.at, context.events);
        match self.state_of(presented, at).await? {
            RefreshState::Fresh(session) => {
                let (access, access_expires_in) = self.0.issue_access(&session, at)?;
                refreshed(&session, Refresh::Kept, context);
                Ok(TokenPair {
                    access,
                    access_expires_in,
                    refresh: None,
                    refresh_expires_in: presented.expires_at.since(at),
                })
            }
            RefreshState::Spent(session, _) => {
                // The session ends first: a reuse is reported only after the session has ended durably.
                let which = SessionSelection::Session(session.id.clone());
                let ends = Events::default();
                self.0.end(&which, EndReason::RefreshReused, at, &ends).await?;
                reused(&session, events);
                events.note_all(ends.take());
                Err(Refusal::TokenBlacklisted)
            }
            RefreshState::Expired => {
                Err(refused(RefreshRefusal::Expired, Refusal::TokenExpired, events))
            }
            RefreshState::Unknown => {
                Err(refused(RefreshRefusal::Unknown, Refusal::TokenNotValid, events))
            }
        }
    }

    /// Returns what using a refresh token would do, without spending it.
    ///
    /// # Errors
    /// The [`Refusal`] that using it would return.
    pub async fn look(self, token: &str, at: Timestamp) -> Result<RefreshLook, Refusal> {
        let presented: PresentedRefreshToken =
            self.0.refresh_key.verify(&self.0.tokens, token, at)?;
        if self.session_of(&presented, at).await?.is_none() {
            return Err(Refusal::SessionEnded);
        }
        match self.state_of(&presented, at).await? {
            RefreshState::Fresh(session) => Ok(RefreshLook::Fresh(session)),
            RefreshState::Spent(session, spent_at) => Ok(RefreshLook::Spent(session, spent_at)),
            RefreshState::Expired => Err(Refusal::TokenExpired),
            RefreshState::Unknown => Err(Refusal::TokenNotValid),
        }
    }

    /// Checks that a verified token would be accepted at `/refresh`.
    pub(crate) async fn is_unspent(
        self,
        presented: &PresentedRefreshToken,
        at: Timestamp,
    ) -> Result<(), Refusal> {
        if self.session_of(presented, at).await?.is_none() {
            return Err(Refusal::TokenBlacklisted);
        }
        match self.state_of(presented, at).await? {
            RefreshState::Fresh(_) => Ok(()),
            RefreshState::Spent(..) => Err(Refusal::TokenBlacklisted),
            RefreshState::Expired => Err(Refusal::TokenExpired),
            RefreshState::Unknown => Err(Refusal::TokenNotValid),
        }
    }

    /// Returns the live session that a token names, if it belongs to the token's user.
    pub(crate) async fn session_of(
        self,
        presented: &PresentedRefreshToken,
        at: Timestamp,
    ) -> Result<Option<Arc<Session>>, Refusal> {
        let by = SessionBy::Id(&presented.session);
        let session = self.0.store.find(by, at).await.map_err(store_failed)?;
        Ok(session.filter(|session| *session.identity.load().key.id == *presented.user_id))
    }

    /// Returns the state of a verified token in the store.
    pub(crate) async fn state_of(
        self,
        presented: &PresentedRefreshToken,
        at: Timestamp,
    ) -> Result<RefreshState, Refusal> {
        self.0
            .refresh_tokens
            .look(&presented.session, &presented.digest(), at)
            .await
            .map_err(store_failed)
    }
}

fn refreshed(session: &Session, how: Refresh, context: &RequestContext<'_>) {
    session.touch(context.at);
    let user = session.identity.load().key.clone();
    context.note(EventKind::Refreshed { session: session.id.clone(), user, how });
}

fn reused(session: &Session, events: &Events) {
    let user = session.identity.load().key.clone();
    events.note(EventKind::RefreshReused { session: session.id.clone(), user });
}

pub(super) fn ended(session: &Session, why: EndReason, events: &Events) {
    let user = session.identity.load().key.clone();
    let session_id = session.id.clone();
    events.note(match session.is_token() {
        true => EventKind::PersonalTokenEnded { token: session_id, user, why },
        false => EventKind::SessionEnded { session: session_id, user, why },
    });
}

fn refused(why: RefreshRefusal, refusal: Refusal, events: &Events) -> Refusal {
    events.note(EventKind::RefreshRefused { why });
    refusal
}

/// Notes that a token is not valid. A failed lookup says nothing about the token and is not noted.
pub(crate) fn not_taken(refusal: Refusal, events: &Events) -> Refusal {
    if refusal.status().is_server_error() {
        return refusal;
    }
    let why = if refusal == Refusal::TokenExpired {
        RefreshRefusal::Expired
    } else if refusal == Refusal::TokenBlacklisted {
        RefreshRefusal::SessionEnded
    } else {
        RefreshRefusal::Unknown
    };
    refused(why, refusal, events)
}

/// Refuses a token that was never seen, or whose session ended after it was looked up, in a race that signing out wins.
fn unknown(session: &Session, context: &RequestContext<'_>) -> Refusal {
    if session.is_live(context.at) {
        refused(RefreshRefusal::Unknown, Refusal::TokenNotValid, context.events)
    } else {
        refused(RefreshRefusal::SessionEnded, Refusal::TokenBlacklisted, context.events)
    }
}
