//! Who is this? Signing in, tokens, sessions and their ends.
//!
//! [`Auth`] is the one door: endpoints and the gate ask it and nothing below it. Every operation says what happened by
//! pushing [`What`]s; nothing here counts or logs.
//!
//! A request's credential is judged in [`Auth::bearer`] and [`Auth::cookie`]. Both remember what they verified under a
//! keyed hash of the credential; the memory holds the store's own session record, so that expiry and the session's end
//! are looked at on every use, warm or cold.

mod access_token;
mod blocked;
mod claims;
pub mod cookies;
pub(crate) mod credential_cache;
mod jwt;
pub mod keys;
pub mod lockout;
pub mod observe;
mod read_only;
mod recheck;
mod refresh;
pub mod refresh_token;
pub mod service_cookies;
pub(crate) mod sign_in;
mod state;
#[cfg(test)]
pub(crate) mod testkit;
mod under_way;
mod upgrade;
mod users_named;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http::{HeaderMap, Method};
pub use read_only::RefreshLook;
pub use recheck::Watched;
pub use state::State;
pub use under_way::UnderWay;

use self::cookies::CookieNames;
use self::credential_cache::{Memory, Remembered, Space};
use self::keys::{KeyError, KeyRing};
use self::lockout::Lockout;
use self::refresh_token::RefreshKey;
use self::service_cookies::ServiceCookies;
use self::under_way::RequestsUnderWay;
use crate::caller::{Proof, SessionId};
use crate::clock::Timestamp;
use crate::config::{Credentials, IssuerSettings, Login, SessionSettings, Tokens};
use crate::directory::password::PasswordPool;
use crate::event::{EndReason, What};
use crate::issuer::{IssuerKeyError, Issuers, Mints};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::service::database::Databases;
use crate::store::{
    BlockList, RefreshTokens, Session, SessionBy, Sessions, Stamps, StoreError, Which,
};

/// Signs people in, issues and checks what proves it, and ends it.
pub struct Auth {
    pub(crate) sessions: Arc<dyn Sessions>,
    refresh_tokens: Arc<dyn RefreshTokens>,
    blocks: Arc<BlockList>,
    directories: Vec<Watched>,
    passwords: PasswordPool,
    keys: Arc<KeyRing>,
    pub(crate) refresh_key: Arc<RefreshKey>,
    pub(crate) tokens: Tokens,
    pub(crate) session: SessionSettings,
    pub(crate) cookies: CookieNames,
    lockout: Lockout,
    pub(crate) issuers: Issuers,
    pub(crate) mints: Arc<Mints>,
    kept: Arc<ServiceCookies>,
    under_way: RequestsUnderWay,
    /// Were the users of all sessions looked at once, by these directories?
    has_rechecked: AtomicBool,
    pub(crate) memory: Arc<Memory>,
    /// Our own access tokens, as long as keys and `[tokens]` stay as they are.
    tokens_space: Space,
}

/// What [`Auth`] is made of.
pub struct Parts {
    /// Keeps sessions.
    pub sessions: Arc<dyn Sessions>,
    /// Keeps refresh tokens: the same store.
    pub refresh_tokens: Arc<dyn RefreshTokens>,
    /// Keeps dates about what others have issued: the same store.
    pub stamps: Arc<dyn Stamps>,
    /// Who is refused for a time: of the same store.
    pub blocks: Arc<BlockList>,
    /// The cookies that services gave.
    pub kept: Arc<ServiceCookies>,
    /// The services' databases.
    pub databases: Arc<Databases>,
    /// `[[issuer]]`
    pub issuers: Vec<IssuerSettings>,
    /// Asked in this order.
    pub directories: Vec<Watched>,
    /// Checks passwords.
    pub passwords: PasswordPool,
    /// Signs access tokens.
    pub keys: KeyRing,
    /// Signs refresh tokens.
    pub refresh_key: Arc<RefreshKey>,
    /// `[tokens]`
    pub tokens: Tokens,
    /// `[session]`
    pub session: SessionSettings,
    /// The names of its cookie.
    pub cookies: CookieNames,
    /// `[login]`
    pub login: Login,
    /// What is known already.
    pub state: State,
}

/// A name and a password, and what is wanted for them.
#[derive(Debug)]
pub struct SignIn<'a> {
    /// The name as given.
    pub username: &'a str,
    /// Was it typed into the gateway's own form?
    pub is_typed: bool,
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
    /// Issue a token as an `[[issuer]]` does?
    pub issued: Option<Mint>,
}

/// A token to be made under an issuer's key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mint {
    /// The issuer's index in the configuration.
    pub issuer: usize,
    /// How long it is good, as long as its session is.
    pub lifetime: Duration,
    /// For how long a sliding one can be refreshed.
    pub refresh_lifetime: Duration,
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
    /// The token under an issuer's key, if wanted.
    pub issued: Option<Secret>,
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

/// Why there is no [`Auth`].
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// An issuer cannot be used.
    #[error(transparent)]
    Issuer(#[from] IssuerKeyError),
}

impl Auth {
    /// Puts the parts together.
    ///
    /// # Errors
    /// [`AuthError`]
    pub fn new(parts: Parts) -> Result<Self, AuthError> {
        let State { memory, counts, .. } = &parts.state;
        Ok(Self {
            memory: Arc::clone(memory),
            lockout: Lockout::new(&parts.login, counts.clone()),
            tokens_space: tokens_space(&parts.tokens, &parts.keys),
            mints: Arc::new(Mints::open(&parts.issuers)?),
            issuers: Issuers::open(
                &parts.issuers,
                &parts.directories,
                &parts.databases,
                parts.stamps,
                &parts.state,
            )?,
            sessions: parts.sessions,
            refresh_tokens: parts.refresh_tokens,
            blocks: parts.blocks,
            directories: parts.directories,
            passwords: parts.passwords,
            keys: Arc::new(parts.keys),
            refresh_key: parts.refresh_key,
            tokens: parts.tokens,
            session: parts.session,
            cookies: parts.cookies,
            kept: parts.kept,
            under_way: parts.state.under_way.clone(),
            has_rechecked: AtomicBool::new(false),
        })
    }

    /// The live session of an access token. Does no I/O while it remembers the token.
    ///
    /// # Errors
    /// A [`Refusal`] of the token, or [`Refusal::StoreUnavailable`].
    pub async fn bearer(
        &self,
        token: &str,
        client: IpAddr,
        at: Timestamp,
        happened: &mut Vec<What>,
    ) -> Result<Arc<Session>, Refusal> {
        let live = self.live_access(token, at).await?;
        Ok(live.used(Proof::AccessToken, client, at, happened))
    }

    /// The live session of a cookie's value.
    ///
    /// # Errors
    /// [`Refusal::SessionEnded`] if there is none, or [`Refusal::StoreUnavailable`].
    pub async fn cookie(
        &self,
        value: &str,
        client: IpAddr,
        at: Timestamp,
        happened: &mut Vec<What>,
    ) -> Result<Arc<Session>, Refusal> {
        let proof = Proof::SessionCookie;
        // A session with tokens lives as long as they can be refreshed; its cookie keeps its own idle timeout.
        let idle = |session: &Session| at.since(session.last_used()) >= self.session.idle_timeout;
        if let Some(live) = self.memory.recall(Space::COOKIE, value, at) {
            if idle(&live.session) {
                return Err(Refusal::SessionEnded);
            }
            return Ok(live.used(proof, client, at, happened));
        }
        if !CookieNames::is_ours(value.as_bytes()) {
            return Err(Refusal::SessionEnded);
        }
        let digest = Secret::new(value).digest();
        let by = SessionBy::Cookie(&digest);
        let session = self.sessions.find(by, at).await.map_err(store_failed)?;
        let session = session.filter(|session| !idle(session)).ok_or(Refusal::SessionEnded)?;
        let expires_at = session.expires_at;
        let live = self.memory.remember(Space::COOKIE, value, session, expires_at);
        Ok(live.used(proof, client, at, happened))
    }

    /// An access token that verifies, with its live session.
    pub(crate) async fn live_access(
        &self,
        token: &str,
        at: Timestamp,
    ) -> Result<Remembered, Refusal> {
        if let Some(live) = self.memory.recall(self.tokens_space, token, at) {
            return Ok(live);
        }
        let verified = access_token::verify(&self.keys, &self.tokens, token, at)?;
        let by = SessionBy::Id(&verified.session);
        let session = self.sessions.find(by, at).await.map_err(store_failed)?;
        let session = session.ok_or(Refusal::SessionEnded)?;
        if *session.identity.load().key.id != *verified.user_id {
            return Err(Refusal::TokenNotValid);
        }
        Ok(self.memory.remember(self.tokens_space, token, session, verified.expires_at))
    }

    /// Ends sessions, at once and for good; tells each end. Gives how many there were.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn end(
        &self,
        which: &Which,
        why: EndReason,
        at: Timestamp,
        happened: &mut Vec<What>,
    ) -> Result<usize, Refusal> {
        if let Which::User(user) = which {
            self.issuers.end_user(user, at).await.map_err(store_failed)?;
        }
        let sessions = self.sessions.end(which, why, at).await.map_err(store_failed)?;
        for session in &sessions {
            self.end_given(session, at).await;
            refresh::ended(session, why, happened);
        }
        Ok(sessions.len())
    }

    /// Is this session over? A store that cannot say is no end.
    pub async fn has_ended(&self, session: &SessionId, at: Timestamp) -> bool {
        let found = self.sessions.find(SessionBy::Id(session), at).await.map_err(store_failed);
        found.is_ok_and(|session| session.is_none())
    }

    /// A request of this session goes to an upstream now, which has it until the answer lives no more. None: it can change
    /// nothing.
    pub fn goes(&self, session: &SessionId, method: &Method, at: Timestamp) -> Option<UnderWay> {
        self.under_way.begin(session, method, at)
    }

    /// Whether a token says of itself that it is one of ours, good or not. For keeping it from upstreams; proves nothing.
    pub fn looks_like_ours(token: &str) -> bool {
        jwt::Unverified::read(token).is_ok_and(|read| {
            [jwt::ACCESS, jwt::REFRESH]
                .iter()
                .any(|ours| read.header.typ.eq_ignore_ascii_case(ours))
        })
    }

    /// The directory of this name.
    pub fn directory(&self, name: &str) -> Option<&Watched> {
        self.directories.iter().find(|one| one.directory.name() == name)
    }

    /// Checks passwords.
    pub const fn passwords(&self) -> &PasswordPool {
        &self.passwords
    }

    /// The names under which the session cookie comes.
    pub const fn cookie_names(&self) -> &CookieNames {
        &self.cookies
    }

    /// Is what `Authorization` holds read here, good or not, where these credentials are looked at? Then it is nothing for
    /// upstreams.
    pub fn reads_authorization(&self, headers: &HeaderMap, looks_at: &Credentials) -> bool {
        self.issuers.readings.read_authorization(headers, looks_at)
    }

    /// The public keys, as a JWK set (RFC 7517).
    pub fn jwks(&self) -> serde_json::Value {
        self.keys.jwks()
    }

    /// The keys of access tokens, to list them.
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// Signs with a new key from now on; gives its id.
    ///
    /// # Errors
    /// [`KeyError`]; nothing has changed then.
    pub fn rotate_keys(&self, now: Timestamp) -> Result<String, KeyError> {
        self.keys.rotate(now)
    }
}

/// Another key or another claim makes other tokens good.
fn tokens_space(tokens: &Tokens, keys: &KeyRing) -> Space {
    let keys: Vec<String> = keys.list().into_iter().map(|key| key.kid).collect();
    Space::of(&[b"access tokens", format!("{tokens:?}").as_bytes(), keys.join(" ").as_bytes()])
}

/// The inner text is for the operator; the client gets 503.
pub(crate) fn store_failed(error: StoreError) -> Refusal {
    tracing::warn!(%error, "the store failed");
    Refusal::StoreUnavailable
}

#[cfg(test)]
mod tests;
