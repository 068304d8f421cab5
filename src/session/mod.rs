//! Signs users in, checks the credentials of requests, and ends sessions.
//!
//! [`SessionManager`] is the only access to the gateway's own sessions. Credentials of others belong to `issuer`, a higher
//! layer that is called through two ports (`ports`). Every operation notes what happened in its caller's [`Events`]; nothing
//! here counts or logs.
//!
//! [`SessionManager::bearer`] and [`SessionManager::cookie`] check a request's credential. Both cache what they verified under
//! a keyed hash of the credential. The cache holds the store's own session record, so that expiry and the session's end are
//! checked at every use, cached or not.
//!
//! The manager itself has what every request needs, and the beginning and the end of every session. Each other capability is a
//! type of its own, which borrows the manager and is declared together with its functions:
//!
//! | function | type | for |
//! |---|---|---|
//! | `second_factors()` | [`SecondFactors`] | what a sign-in still requires, proving it, setting one up |
//! | `passkeys()` | [`PasskeyProofs`] | signing in and confirming with a passkey, setting one up |
//! | `mailed_codes()` | [`CodeOrders`] | who may have a code mailed, and what it proves |
//! | `mailed_links()` | [`LinkAdmissions`] | whom a mailed link would help, and what it allows |
//! | `step_up()` | [`StepUp`] | confirming the identity of a session's user again |
//! | `own_account()` | [`OwnAccount`] | activity, devices and sessions, as their owner sees them |
//! | `own_password()` | [`OwnPassword`] | changing one's own password |
//! | `personal_tokens()` | [`PersonalTokens`] | personal access tokens: creating, using, listing and revoking them |
//! | `refresh_tokens()` | [`OwnRefreshTokens`] | exchanging a refresh token for new tokens |
//! | `observed_sign_ins()` | [`ObservedSignIns`] | observing the service's own sign-ins |
//! | `blocks()` | [`CallerBlocks`] | who is blocked |

mod access_token;
pub mod account_notes;
mod binding;
mod blocked;
pub mod change_password;
mod claims;
pub mod cookies;
pub(crate) mod credential_cache;
pub mod devices;
mod ended_by_password;
mod jwt;
mod keyed_hash;
pub mod keys;
pub mod lockout;
pub mod mailed_code;
pub mod mailed_link;
pub mod observe;
mod own_account;
pub mod passkey;
pub mod personal_token;
mod ports;
mod read_only;
mod recheck;
pub(crate) mod refresh;
pub mod refresh_token;
pub mod second_factor;
pub mod service_cookies;
pub(crate) mod sign_in;
mod sign_in_ticket;
mod state;
pub mod step_up;
pub mod steps;
#[cfg(test)]
pub(crate) mod testkit;
mod trusted;
mod under_way;
mod upgrade;
mod users_named;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use blocked::CallerBlocks;
use http::Method;
pub use own_account::OwnAccount;
pub use ports::{EndIssued, MintTokens};
use quick_cache::sync::Cache;
pub use recheck::WatchedDirectory;
pub use refresh::{OwnRefreshTokens, RefreshLook};
pub use second_factor::{EnrolmentStep, SecondStep};
pub use sign_in::{Mint, SignIn, SignInRefused, SignedIn, TokenPair};
pub use sign_in_ticket::{PendingStep, SignInTicket};
pub use state::SessionState;
pub use steps::{Checked, Grants};
pub use under_way::UnderWay;

use self::account_notes::AccountNotes;
use self::change_password::OwnPassword;
use self::cookies::CookieNames;
use self::credential_cache::{CredentialCache, Remembered, Space};
use self::devices::Devices;
use self::ended_by_password::EndedByPassword;
use self::keys::KeyRing;
use self::lockout::Lockout;
use self::mailed_code::CodeOrders;
use self::mailed_link::LinkAdmissions;
use self::observe::ObservedSignIns;
use self::passkey::PasskeyProofs;
use self::personal_token::{PersonalTokenRules, PersonalTokens};
use self::refresh_token::RefreshKey;
use self::second_factor::SecondFactors;
use self::service_cookies::ServiceCookies;
use self::sign_in_ticket::SignInTickets;
use self::step_up::StepUp;
use self::under_way::RequestsUnderWay;
use crate::caller::{Proof, SessionId};
use crate::clock::Timestamp;
use crate::config::{Login, SessionSettings, Tokens};
use crate::context::Events;
use crate::directory::password::PasswordPool;
use crate::event::EndReason;
use crate::factor::Factors;
use crate::geo::Places;
use crate::refusal::Refusal;
use crate::secret::{Digest, Secret};
use crate::store::records::AccountRecords;
use crate::store::{
    BlockList, Blocks, RefreshTokens, Renewal, Session, SessionBy, SessionSelection, Sessions,
    StoreError,
};

/// Signs users in, issues their credentials and checks them, and ends sessions.
pub struct SessionManager {
    store: Arc<dyn Sessions>,
    refresh_tokens: Arc<dyn RefreshTokens>,
    blocks: Arc<BlockList>,
    kept_blocks: Arc<dyn Blocks>,
    /// When callers who are slowed down were last let through.
    paced: Arc<Cache<Digest, Timestamp>>,
    devices: Arc<Devices>,
    places: Arc<dyn Places>,
    directories: Vec<WatchedDirectory>,
    passwords: PasswordPool,
    keys: Arc<KeyRing>,
    refresh_key: Arc<RefreshKey>,
    tokens: Tokens,
    settings: SessionSettings,
    personal_tokens: PersonalTokenRules,
    cookies: CookieNames,
    lockout: Lockout,
    factors: Arc<Factors>,
    records: Arc<dyn AccountRecords>,
    account_notes: AccountNotes,
    ends: Arc<dyn EndIssued>,
    mints: Arc<dyn MintTokens>,
    kept: Arc<ServiceCookies>,
    under_way: RequestsUnderWay,
    /// Whether the users of all sessions were checked once against these directories.
    has_rechecked: AtomicBool,
    verified: Arc<CredentialCache>,
    ended_by_password: EndedByPassword,
    /// The cache space of the gateway's own access tokens; it changes with the keys and `[tokens]`.
    tokens_space: Space,
}

/// The parts of a [`SessionManager`].
pub struct SessionParts {
    /// The store of sessions.
    pub store: Arc<dyn Sessions>,
    /// The store of refresh tokens, which is the same store.
    pub refresh_tokens: Arc<dyn RefreshTokens>,
    /// The blocks, of the same store.
    pub blocks: Arc<dyn Blocks>,
    /// The known devices.
    pub devices: Arc<Devices>,
    /// Finds the country and the network of an address.
    pub places: Arc<dyn Places>,
    /// The cookies that services gave for sessions.
    pub kept: Arc<ServiceCookies>,
    /// Ends what issuers have issued.
    pub ends: Arc<dyn EndIssued>,
    /// Issues tokens under issuers' keys.
    pub mints: Arc<dyn MintTokens>,
    /// The second factors.
    pub factors: Arc<Factors>,
    /// The account activity that users see, in the same store.
    pub records: Arc<dyn AccountRecords>,
    /// The queue for account activity.
    pub account_notes: AccountNotes,
    /// The directories, in the order in which they are asked.
    pub directories: Vec<WatchedDirectory>,
    /// The pool that checks passwords.
    pub passwords: PasswordPool,
    /// The keys that sign access tokens.
    pub keys: KeyRing,
    /// The key that signs refresh tokens.
    pub refresh_key: Arc<RefreshKey>,
    /// `[tokens]`
    pub tokens: Tokens,
    /// `[session]`
    pub session: SessionSettings,
    /// `[personal_tokens]`, and the routes that accept them.
    pub personal_tokens: PersonalTokenRules,
    /// The names of the session cookie.
    pub cookies: CookieNames,
    /// `[login]`
    pub login: Login,
    /// The state that outlives a reload.
    pub state: SessionState,
}

impl SessionManager {
    /// Creates a manager from its parts.
    pub fn new(parts: SessionParts) -> Self {
        let SessionState { verified, counters, paced, ended_by_password, under_way } = parts.state;
        Self {
            verified,
            lockout: Lockout::new(&parts.login, counters),
            tokens_space: tokens_space(&parts.tokens, &parts.keys),
            store: parts.store,
            refresh_tokens: parts.refresh_tokens,
            blocks: parts.blocks.list(),
            kept_blocks: parts.blocks,
            paced,
            devices: parts.devices,
            places: parts.places,
            directories: parts.directories,
            passwords: parts.passwords,
            keys: Arc::new(parts.keys),
            refresh_key: parts.refresh_key,
            tokens: parts.tokens,
            settings: parts.session,
            personal_tokens: parts.personal_tokens,
            cookies: parts.cookies,
            ends: parts.ends,
            mints: parts.mints,
            factors: parts.factors,
            records: parts.records,
            account_notes: parts.account_notes,
            kept: parts.kept,
            under_way,
            has_rechecked: AtomicBool::new(false),
            ended_by_password,
        }
    }

    /// Returns the live session of an access token, without I/O while the token is cached.
    ///
    /// # Errors
    /// A [`Refusal`] of the token, or [`Refusal::StoreUnavailable`].
    pub async fn bearer(
        &self,
        token: &str,
        client: IpAddr,
        at: Timestamp,
        events: &Events,
    ) -> Result<Arc<Session>, Refusal> {
        let live = self.live_access(token, at).await?;
        self.is_within_binding(&live.session, client, events)?;
        Ok(live.used(Proof::AccessToken, client, at, events))
    }

    /// Returns the live session of a cookie's value.
    ///
    /// # Errors
    /// [`Refusal::SessionEnded`] if there is none, or [`Refusal::StoreUnavailable`].
    pub async fn cookie(
        &self,
        value: &str,
        client: IpAddr,
        at: Timestamp,
        events: &Events,
    ) -> Result<Arc<Session>, Refusal> {
        let proof = Proof::SessionCookie;
        // A session with tokens lives as long as they can be refreshed; its cookie still has its own idle timeout.
        let idle = |session: &Session| at.since(session.last_used()) >= self.settings.idle_timeout;
        if let Some(live) = self.verified.recall(Space::COOKIE, value, at) {
            if idle(&live.session) {
                return Err(Refusal::SessionEnded);
            }
            self.is_within_binding(&live.session, client, events)?;
            return Ok(live.used(proof, client, at, events));
        }
        if !CookieNames::is_ours(value.as_bytes()) {
            return Err(Refusal::SessionEnded);
        }
        let digest = Secret::new(value).digest();
        let by = SessionBy::Cookie(&digest);
        let session = self.store.find(by, at).await.map_err(store_failed)?;
        let is_cookies = |session: &Arc<Session>| !session.is_token() && !idle(session);
        let session = session.filter(is_cookies).ok_or(Refusal::SessionEnded)?;
        self.is_within_binding(&session, client, events)?;
        let expires_at = session.expires_at;
        let live = self.verified.remember(Space::COOKIE, value, session, expires_at);
        Ok(live.used(proof, client, at, events))
    }

    /// Verifies an access token, and returns it with its live session.
    pub(super) async fn live_access(
        &self,
        token: &str,
        at: Timestamp,
    ) -> Result<Remembered, Refusal> {
        if let Some(live) = self.verified.recall(self.tokens_space, token, at) {
            return Ok(live);
        }
        let verified = access_token::verify(&self.keys, &self.tokens, token, at)?;
        let by = SessionBy::Id(&verified.session);
        let session = self.store.find(by, at).await.map_err(store_failed)?;
        let session = session.ok_or(Refusal::SessionEnded)?;
        if *session.identity.load().key.id != *verified.user_id {
            return Err(Refusal::TokenNotValid);
        }
        Ok(self.verified.remember(self.tokens_space, token, session, verified.expires_at))
    }

    /// Checks that one of the gateway's own tokens is valid: an access token, or a refresh token that is unspent. This is no
    /// use of the session.
    ///
    /// # Errors
    /// A [`Refusal`] of the token, or [`Refusal::StoreUnavailable`].
    pub async fn verify(&self, token: &str, at: Timestamp) -> Result<(), Refusal> {
        if personal_token::says_token(token.as_bytes()) {
            return self.personal_tokens().verify(token, at).await;
        }
        // The token states its own kind, and the check for that kind verifies it.
        let typ = jwt::Unverified::read(token).map_err(|_| Refusal::TokenNotValid)?.header.typ;
        match typ.as_str() {
            jwt::ACCESS => self.blocks().may_use(&self.live_access(token, at).await?.session, at),
            jwt::REFRESH => {
                let presented = self.refresh_key.verify(&self.tokens, token, at)?;
                self.refresh_tokens().is_unspent(&presented, at).await
            }
            _ => Err(Refusal::TokenNotValid),
        }
    }

    /// Ends sessions immediately and for good, and reports each end. Returns how many there were.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn end(
        &self,
        which: &SessionSelection,
        why: EndReason,
        at: Timestamp,
        events: &Events,
    ) -> Result<usize, Refusal> {
        if let SessionSelection::User(user) | SessionSelection::SignIns { user, kept: None } = which
        {
            self.ends.end_user(user, at).await.map_err(store_failed)?;
        }
        let sessions = self.store.end(which, why, at).await.map_err(store_failed)?;
        for session in &sessions {
            if why == EndReason::DirectoryChanged {
                // The user has a new password or may not sign in, so their known devices are void.
                let user = session.identity.load().key.clone();
                self.devices.forget(&user, at).await.map_err(store_failed)?;
            }
            self.ends.end_of_session(session, at).await;
            refresh::ended(session, why, events);
        }
        Ok(sessions.len())
    }

    /// Whether this session has ended; `false` if the store cannot say.
    pub async fn has_ended(&self, session: &SessionId, at: Timestamp) -> bool {
        let found = self.store.find(SessionBy::Id(session), at).await.map_err(store_failed);
        found.is_ok_and(|session| session.is_none())
    }

    /// Marks that a request of this session is being sent to an upstream, until the returned value is dropped. `None` if the
    /// request can change nothing.
    pub fn goes(&self, session: &SessionId, method: &Method, at: Timestamp) -> Option<UnderWay> {
        self.under_way.begin(session, method, at)
    }

    /// Returns the directory with this name.
    pub fn directory(&self, name: &str) -> Option<&WatchedDirectory> {
        self.directories.iter().find(|one| one.directory.name() == name)
    }

    /// Returns what finds the country and the network of an address.
    pub fn places(&self) -> &dyn Places {
        &*self.places
    }

    /// Returns the pool that checks passwords.
    pub const fn passwords(&self) -> &PasswordPool {
        &self.passwords
    }

    /// Returns the names of the session cookie.
    pub const fn cookie_names(&self) -> &CookieNames {
        &self.cookies
    }

    /// Returns the second factors.
    pub fn factors(&self) -> &Arc<Factors> {
        &self.factors
    }

    /// Returns the keys of access tokens: to list, publish and rotate them.
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// Renews the caller's session under the password with this mark, after the service's answer to the caller's own request
    /// proved that its session belongs to that password.
    pub async fn password_proved(&self, session: &SessionId, mark: Digest, at: Timestamp) {
        let found = self.store.find(SessionBy::Id(session), at).await;
        if found.is_ok_and(|found| found.is_some_and(|session| session.is_token())) {
            // A personal access token ends when the password changes, whoever changed it.
            return;
        }
        let renewal = Renewal {
            session: session.clone(),
            cookie: None,
            password_mark: mark,
            assurance: None,
            at,
        };
        // A store failure is logged; the next recheck of the directory then ends the session.
        let _ = self.store.renew(renewal).await.map_err(store_failed);
    }

    /// Returns the settings of `[session]`.
    pub(crate) const fn settings(&self) -> &SessionSettings {
        &self.settings
    }

    /// Returns the settings of `[tokens]`.
    pub(crate) const fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Returns the key that signs refresh tokens and derives identifiers for foreign ones.
    pub(crate) fn refresh_key(&self) -> &RefreshKey {
        &self.refresh_key
    }

    /// Returns the cache of verified credentials.
    pub(crate) fn verified(&self) -> &CredentialCache {
        &self.verified
    }

    /// Whether the session ended a moment ago because its user has a new password.
    pub(crate) fn ended_by_password(&self, session: &SessionId) -> bool {
        self.ended_by_password.has(session)
    }
}

/// The capabilities of the manager, each as a type of its own.
impl SessionManager {
    /// Returns the second factors in sign-ins: what is required, proving it, and setting one up.
    pub const fn second_factors(&self) -> SecondFactors<'_> {
        SecondFactors(self)
    }

    /// Returns the passkeys: signing in with one, confirming with one, and setting one up.
    pub const fn passkeys(&self) -> PasskeyProofs<'_> {
        PasskeyProofs(self)
    }

    /// Returns the mailed codes: who may ask for one, and what using it proves.
    pub const fn mailed_codes(&self) -> CodeOrders<'_> {
        CodeOrders(self)
    }

    /// Returns the mailed links: whom one would help, and what it allows.
    pub const fn mailed_links(&self) -> LinkAdmissions<'_> {
        LinkAdmissions(self)
    }

    /// Returns the step-up, in which a session's user confirms their identity again.
    pub const fn step_up(&self) -> StepUp<'_> {
        StepUp(self)
    }

    /// Returns a user's view of their own account.
    pub const fn own_account(&self) -> OwnAccount<'_> {
        OwnAccount(self)
    }

    /// Returns the way in which users change their own password.
    pub const fn own_password(&self) -> OwnPassword<'_> {
        OwnPassword(self)
    }

    /// Returns the personal access tokens: creating, using, listing and revoking them.
    pub const fn personal_tokens(&self) -> PersonalTokens<'_> {
        PersonalTokens(self)
    }

    /// Returns the gateway's own refresh tokens: exchanging them for new tokens, and inspecting them.
    pub const fn refresh_tokens(&self) -> OwnRefreshTokens<'_> {
        OwnRefreshTokens(self)
    }

    /// Returns the service's own sign-ins, as observed by the gateway.
    pub const fn observed_sign_ins(&self) -> ObservedSignIns<'_> {
        ObservedSignIns(self)
    }

    /// Returns the blocks, and what a blocked caller may still do.
    pub const fn blocks(&self) -> CallerBlocks<'_> {
        CallerBlocks(self)
    }

    /// Returns the tickets of unfinished sign-ins.
    const fn tickets(&self) -> SignInTickets<'_> {
        SignInTickets(self)
    }
}

/// Whether a token claims to be one of the gateway's own, valid or not. Used to withhold it from upstreams; it proves nothing.
pub fn looks_like_ours<T: AsRef<[u8]> + ?Sized>(token: &T) -> bool {
    jwt::says_ours(token.as_ref()) || personal_token::says_token(token.as_ref())
}

/// Returns the cache space of access tokens: other keys or another claim make other tokens valid.
fn tokens_space(tokens: &Tokens, keys: &KeyRing) -> Space {
    let keys: Vec<String> = keys.list().into_iter().map(|key| key.kid).collect();
    Space::of(&[b"access tokens", format!("{tokens:?}").as_bytes(), keys.join(" ").as_bytes()])
}

/// Logs the error for the operator; the client gets 503.
pub(crate) fn store_failed(error: StoreError) -> Refusal {
    tracing::warn!(%error, "the store failed");
    Refusal::StoreUnavailable
}

#[cfg(test)]
mod tests;
