//! Who is this? Signing in, tokens, sessions and their ends.
//!
//! [`Auth`] is the one door: endpoints and the gate ask it and nothing below it. Every operation says what happened by
//! pushing [`What`]s; nothing here counts or logs.
//!
//! A request's credential is judged in [`Auth::bearer`] and [`Auth::cookie`]. Both remember what they verified under a
//! keyed hash of the credential; the memory holds the store's own session record, so that expiry and the session's end
//! are looked at on every use, warm or cold.

mod access_token;
mod claims;
mod jwt;
pub mod keys;
pub mod lockout;
pub mod refresh_token;
#[cfg(test)]
pub(crate) mod testkit;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::Rotation;
use crate::event::{EndReason, What};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::store::{Session, Which};

/// Signs people in, issues and checks what proves it, and ends it.
pub struct Auth {}

/// A name and a password, and what is wanted for them.
#[derive(Debug)]
pub struct SignIn<'a> {
    /// The name as given.
    pub username: &'a str,
    /// The password as given: exact bytes, neither trimmed nor normalised.
    pub password: &'a Secret,
    /// From where.
    pub client: IpAddr,
    /// `User-Agent`.
    pub agent: &'a str,
    /// Now.
    pub at: Timestamp,
    /// Issue tokens?
    pub tokens: bool,
    /// Issue a session cookie?
    pub cookie: bool,
}

/// What a sign-in gave.
#[derive(Debug)]
pub struct SignedIn {
    /// The new session.
    pub session: Arc<Session>,
    /// Access and refresh token, if wanted.
    pub tokens: Option<TokenPair>,
    /// The cookie's value, if wanted.
    pub cookie: Option<Secret>,
}

/// Why a sign-in did not succeed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignInRefused {
    /// The answer. [`Refusal::BadCredentials`] for all four failures of name and password.
    pub refusal: Refusal,
    /// For 429 and 503: how long to wait.
    pub retry_after: Option<Duration>,
}

/// Tokens, as an answer shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPair {
    /// The access token.
    pub access: Secret,
    /// How long it is good, from its issue.
    pub access_expires_in: Duration,
    /// The refresh token; none where the presented one stays good.
    pub refresh: Option<Secret>,
    /// How long it is good, from its issue.
    pub refresh_expires_in: Duration,
}

impl Auth {
    /// Signs a user in: lockout, directories in their order, one password check, a new session.
    pub async fn sign_in(
        &self,
        _request: SignIn<'_>,
        _happened: &mut Vec<What>,
    ) -> Result<SignedIn, SignInRefused> {
        unimplemented!()
    }

    /// Gives new tokens for a refresh token. Racing callers within the grace window get equal answers; a later one ends the
    /// session ([`Refusal::TokenBlacklisted`]).
    pub async fn refresh(
        &self,
        _token: &str,
        _rotation: Rotation,
        _at: Timestamp,
        _happened: &mut Vec<What>,
    ) -> Result<TokenPair, Refusal> {
        unimplemented!()
    }

    /// Whether a token of ours (access or refresh, unspent) is good.
    pub async fn verify(&self, _token: &str, _at: Timestamp) -> Result<(), Refusal> {
        unimplemented!()
    }

    /// The live session of an access token. Does no I/O while it remembers the token.
    pub async fn bearer(&self, _token: &str, _at: Timestamp) -> Result<Arc<Session>, Refusal> {
        unimplemented!()
    }

    /// The live session of a cookie's value. [`Refusal::SessionEnded`] if there is none.
    pub async fn cookie(&self, _value: &str, _at: Timestamp) -> Result<Arc<Session>, Refusal> {
        unimplemented!()
    }

    /// The live session that a refresh token belongs to, without spending it (for signing out).
    pub async fn session_of_refresh(
        &self,
        _token: &str,
        _at: Timestamp,
    ) -> Result<Arc<Session>, Refusal> {
        unimplemented!()
    }

    /// Ends sessions, at once and for good; tells each end.
    pub async fn end(
        &self,
        _which: &Which,
        _why: EndReason,
        _at: Timestamp,
        _happened: &mut Vec<What>,
    ) -> Result<usize, Refusal> {
        unimplemented!()
    }

    /// The public keys, as a JWK set (RFC 7517).
    pub fn jwks(&self) -> serde_json::Value {
        unimplemented!()
    }
}
