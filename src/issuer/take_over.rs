//! Takes over refresh tokens that a service issued before the gateway stood in front of it.
//!
//! When such a token is first presented, it begins a session of the gateway and is that session's first refresh token. From
//! then on it is treated like one of the gateway's own, by the rotation of the path where it is used. Without rotation it
//! stays valid until its own `exp`. With rotation it is exchanged for a successor; within the grace window all its callers
//! get the same answer, and after that its use is a reuse.
//!
//! - **Once.** The session and its mark begin in one step of the store ([`BeginOutcome`]); a crash between this step and the
//!   rotation leaves a session whose token is unspent. Whatever ends the session, the mark prevents the token from beginning
//!   another.
//! - **Like a sign-in.** The user is looked up at that moment, and the service's blacklist is asked if there is one. If
//!   either cannot be asked, the result is 503. Later only the token's own signature and times are checked: its user is
//!   rechecked like those of all sessions.
//! - **The sealed answer** of a rotation must not be decryptable with what the service's database holds: `jti`, and where
//!   SimpleJWT stores outstanding tokens the whole text of the token. So its key is derived from the token's names and
//!   signature under the gateway's own refresh key, which is in a file of its own and in no backup of the store.

use std::sync::Arc;

use super::{Issuers, KnownUser, Outstanding, public};
use crate::caller::{Assurance, Proof};
use crate::clock::Timestamp;
use crate::context::{Events, RequestContext};
use crate::event::{EndReason, EventKind, IssuedRefusal};
use crate::refusal::Refusal;
use crate::session::refresh_token::PresentedRefreshToken;
use crate::session::sign_in::{MAX_AGENT, cut};
use crate::session::{looks_like_ours, store_failed};
use crate::store::{
    BeginOutcome, NewRefreshToken, NewSession, RefreshState, Session, SessionBy, SessionSelection,
};

/// A refresh token that was verified.
pub(crate) enum VerifiedRefreshToken {
    /// A refresh token of the gateway itself.
    Own(PresentedRefreshToken),
    /// A refresh token of an issuer.
    Outstanding(Box<Outstanding>, PresentedRefreshToken),
}

/// The state of an issuer's refresh token.
enum Begun {
    /// Its session is live.
    Session(Arc<Session>),
    /// Its session has ended, or was prevented from beginning.
    Over,
    /// The token was never presented.
    NotYet,
}

/// What ends when a refresh token is revoked.
#[derive(Debug)]
pub enum RefreshSubject {
    /// A session.
    Session {
        /// The session.
        session: Arc<Session>,
        /// Whether the token already has a successor.
        is_spent: bool,
    },
    /// A token whose session has not begun.
    Nothing(NotTakenOver),
}

/// A valid refresh token of an issuer that has no session here.
pub struct NotTakenOver(Box<Outstanding>);

impl std::fmt::Debug for NotTakenOver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("NotTakenOver").field(&self.0.user).finish()
    }
}

impl NotTakenOver {
    /// Returns the user that the token belongs to.
    pub const fn user(&self) -> &crate::caller::UserKey {
        &self.0.user
    }
}

impl Issuers {
    /// Checks everything about a refresh token that needs neither the store nor a directory.
    pub(crate) async fn verified_refresh(
        &self,
        token: &str,
        at: Timestamp,
        events: &Events,
    ) -> Result<VerifiedRefreshToken, Refusal> {
        if !self.registry.take_over() || looks_like_ours(token) {
            let (key, tokens) = (self.sessions.refresh_key(), self.sessions.tokens());
            return key.verify(tokens, token, at).map(VerifiedRefreshToken::Own);
        }
        match self.registry.outstanding(token, at).await {
            Ok(outstanding) => {
                let signature = token.rsplit_once('.').map_or("", |(_, signature)| signature);
                let [issuer, token_id] = outstanding.names();
                let parts = [issuer, token_id, signature.trim_end_matches('=')];
                let presented = PresentedRefreshToken::taken_over(
                    outstanding.session.clone(),
                    &outstanding.user.id,
                    outstanding.expires_at,
                    outstanding.digest,
                    self.sessions.refresh_key().derived(&parts),
                );
                Ok(VerifiedRefreshToken::Outstanding(Box::new(outstanding), presented))
            }
            Err(refused) => {
                let why = refused.last().map_or(IssuedRefusal::Malformed, |(_, why)| *why);
                for (issuer, why) in refused {
                    events.note(EventKind::IssuedRefused { issuer, why });
                }
                Err(refusal(why))
            }
        }
    }

    /// Returns the session of an issuer's refresh token, and begins it if the token was never presented before. `None` if it
    /// has ended.
    pub(crate) async fn taken_over(
        &self,
        token: &Outstanding,
        context: &RequestContext<'_>,
    ) -> Result<Option<Arc<Session>>, Refusal> {
        let at = context.at;
        match self.begun(token, at).await? {
            Begun::Session(session) => return Ok(Some(session)),
            Begun::Over => return Ok(None),
            Begun::NotYet => {}
        }
        let known = match self.may_be_taken_over(token, at).await {
            Ok(known) => known,
            Err(why) => {
                context.note(EventKind::IssuedRefused { issuer: Arc::clone(&token.issuer), why });
                return Err(refusal(why));
            }
        };
        let expires_at = at.plus(self.sessions.settings().absolute_timeout);
        let new = NewSession {
            id: token.session.clone(),
            identity: Arc::clone(&known.identity),
            password_mark: known.password_mark,
            cookie: None,
            issuer: None,
            at,
            expires_at,
            // The token is valid until its own expiry, and so are its successors.
            idle_timeout: self
                .sessions
                .settings()
                .idle_timeout
                .max(self.sessions.tokens().refresh_lifetime)
                .max(token.expires_at.since(at)),
            client: Some(context.client),
            agent: cut(context.agent, MAX_AGENT).to_owned(),
            assurance: Assurance::BY_SERVICE,
            grant: None,
            refresh: Some(NewRefreshToken { digest: token.digest, expires_at: token.expires_at }),
            kept: None,
        };
        let begun = self.store.create_once(new, token.new_mark(at)).await;
        let session = match begun.map_err(store_failed)? {
            BeginOutcome::Begun(session) => {
                let (id, user) = (session.id.clone(), token.user.clone());
                let issuer = Arc::clone(&token.issuer);
                context.note(EventKind::TakenOver { session: id, user, issuer });
                session
            }
            BeginOutcome::Before(session) => return Ok(session),
        };
        // All of the user's sessions may have ended since the look-up; then this one ends too.
        if self.registry.is_ended(token).is_err() {
            let which = SessionSelection::Session(session.id.clone());
            self.sessions.end(&which, EndReason::SignedOutEverywhere, at, context.events).await?;
            return Ok(None);
        }
        Ok(Some(session))
    }

    /// Returns its user, if neither they nor the service prevent the take-over.
    async fn may_be_taken_over(
        &self,
        token: &Outstanding,
        at: Timestamp,
    ) -> Result<Arc<KnownUser>, IssuedRefusal> {
        self.registry.is_blacklisted(token).await?;
        self.registry.user_of(token, at).await
    }

    /// Returns the token's state. If there is a mark, the session is looked up again: somebody else may have begun it after
    /// the first look-up, since the mark becomes visible after the session.
    async fn begun(&self, token: &Outstanding, at: Timestamp) -> Result<Begun, Refusal> {
        if let Some(session) = self.session_begun(token, at).await? {
            return Ok(Begun::Session(session));
        }
        if !self.registry.is_marked(token) {
            return Ok(Begun::NotYet);
        }
        Ok(self.session_begun(token, at).await?.map_or(Begun::Over, Begun::Session))
    }

    async fn session_begun(
        &self,
        token: &Outstanding,
        at: Timestamp,
    ) -> Result<Option<Arc<Session>>, Refusal> {
        let by = SessionBy::Id(&token.session);
        let session = self.store.find(by, at).await.map_err(store_failed)?;
        Ok(session.filter(|session| session.identity.load().key == token.user))
    }

    /// Returns what a refresh token stands for, without spending it. A spent token is accepted: whoever asks to end its
    /// session may do so.
    ///
    /// # Errors
    /// A [`Refusal`] of the token, [`Refusal::StoreUnavailable`] or [`Refusal::DirectoryUnavailable`].
    pub async fn held_by_refresh(
        &self,
        token: &str,
        at: Timestamp,
        events: &Events,
    ) -> Result<RefreshSubject, Refusal> {
        let presented = match self.verified_refresh(token, at, events).await? {
            VerifiedRefreshToken::Own(presented) => presented,
            VerifiedRefreshToken::Outstanding(token, presented) => {
                match self.begun(&token, at).await? {
                    Begun::Session(_) => presented,
                    Begun::Over => return Err(Refusal::SessionEnded),
                    Begun::NotYet => {
                        self.registry.is_ended(&token).map_err(refusal)?;
                        return Ok(RefreshSubject::Nothing(NotTakenOver(token)));
                    }
                }
            }
        };
        if self.sessions.refresh_tokens().session_of(&presented, at).await?.is_none() {
            return Err(Refusal::SessionEnded);
        }
        match self.sessions.refresh_tokens().state_of(&presented, at).await? {
            RefreshState::Fresh(session) => {
                Ok(RefreshSubject::Session { session, is_spent: false })
            }
            RefreshState::Spent(session, _) => {
                Ok(RefreshSubject::Session { session, is_spent: true })
            }
            RefreshState::Expired => Err(Refusal::TokenExpired),
            RefreshState::Unknown => Err(Refusal::TokenNotValid),
        }
    }

    /// Checks whether it could begin a session now: a token that could not may end no more than itself.
    ///
    /// # Errors
    /// A [`Refusal`] of the token or its user, [`Refusal::DirectoryUnavailable`] if that cannot be asked.
    pub async fn may_begin(&self, token: &NotTakenOver, at: Timestamp) -> Result<(), Refusal> {
        self.may_be_taken_over(&token.0, at).await.map(|_| ()).map_err(refusal)
    }

    /// Prevents a token that has not begun a session from ever doing so.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn end_not_taken_over(
        &self,
        token: &NotTakenOver,
        at: Timestamp,
        events: &Events,
    ) -> Result<(), Refusal> {
        let NotTakenOver(token) = token;
        self.registry.mark(token, at).await.map_err(store_failed)?;
        let (issuer, user) = (Arc::clone(&token.issuer), token.user.clone());
        events.note(EventKind::IssuedEnded { issuer, user });
        // It may have begun a session since it was checked; after the mark it cannot.
        let which = SessionSelection::Session(token.session.clone());
        self.sessions.end(&which, EndReason::SignedOut, at, events).await.map(|_| ())
    }

    /// Ends what a refresh token stands for.
    ///
    /// # Errors
    /// A [`Refusal`] of the token: [`Refusal::TokenBlacklisted`] for one that is spent (its session ends all the same) and
    /// for one whose session is over. [`Refusal::StoreUnavailable`], [`Refusal::DirectoryUnavailable`].
    pub async fn blacklist(
        &self,
        token: &str,
        at: Timestamp,
        events: &Events,
    ) -> Result<(), Refusal> {
        match self.held_by_refresh(token, at, events).await {
            Ok(RefreshSubject::Session { session, is_spent }) => {
                let which = SessionSelection::Session(session.id.clone());
                self.sessions.end(&which, EndReason::SignedOut, at, events).await?;
                if is_spent { Err(Refusal::TokenBlacklisted) } else { Ok(()) }
            }
            Ok(RefreshSubject::Nothing(token)) => {
                let was_taken_back = self.registry.is_blacklisted(&token.0).await;
                self.end_not_taken_over(&token, at, events).await?;
                match was_taken_back {
                    Err(IssuedRefusal::Blacklisted) => Err(Refusal::TokenBlacklisted),
                    // Even if the blacklist could not be asked, the token is ended now.
                    Ok(()) | Err(_) => Ok(()),
                }
            }
            Err(Refusal::SessionEnded) => Err(Refusal::TokenBlacklisted),
            Err(refusal) => Err(refusal),
        }
    }

    /// Checks whether a refresh token would be accepted at `/refresh`. It begins and spends nothing.
    pub(crate) async fn verify_refresh(&self, token: &str, at: Timestamp) -> Result<(), Refusal> {
        let presented = match self.verified_refresh(token, at, &Events::default()).await? {
            VerifiedRefreshToken::Own(presented) => presented,
            VerifiedRefreshToken::Outstanding(token, presented) => {
                match self.begun(&token, at).await? {
                    Begun::Session(_) => presented,
                    Begun::Over => return Err(Refusal::TokenBlacklisted),
                    Begun::NotYet => {
                        let may = self.may_be_taken_over(&token, at).await;
                        return may.map(|_| ()).map_err(refusal);
                    }
                }
            }
        };
        self.sessions.refresh_tokens().is_unspent(&presented, at).await
    }
}

/// Returns what the client sees, in the words of SimpleJWT's refresh.
const fn refusal(why: IssuedRefusal) -> Refusal {
    match why {
        IssuedRefusal::UnknownUser | IssuedRefusal::InactiveUser => Refusal::NoActiveAccount,
        IssuedRefusal::Ended | IssuedRefusal::Blacklisted => Refusal::TokenBlacklisted,
        other => public(other, Proof::AccessToken),
    }
}
