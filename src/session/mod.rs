//! Who is this? Signing in, tokens, sessions and their ends.
//!
//! [`SessionManager`] is the one door to sessions of our own; what others have issued is `issuer`'s, which stands above and is
//! asked through two ports (`ports`). Every operation notes what happened in its caller's [`Events`]; nothing here counts or logs.
//!
//! A request's credential is judged in [`SessionManager::bearer`] and [`SessionManager::cookie`]. Both remember what they verified under a
//! keyed hash of the credential; the memory holds the store's own session record, so that expiry and the session's end
//! are looked at on every use, warm or cold.
//!
//! The manager itself has what every request needs, and the beginning and end of every session. Each other capability is a type
//! of its own, which borrows it and is declared where its functions are:
//!
//! | asked by | type | for |
//! |---|---|---|
//! | `second_factors()` | [`SecondFactors`] | what a sign-in still owes, proving it, setting one up |
//! | `passkeys()` | [`PasskeyProofs`] | signing in and confirming with a passkey, setting one up |
//! | `mailed_codes()` | [`CodeOrders`] | who may have a code mailed, and what it proves |
//! | `mailed_links()` | [`LinkAdmissions`] | whom a mailed link would help, and what it gives |
//! | `step_up()` | [`StepUp`] | confirming that it is still them |
//! | `own_account()` | [`OwnAccount`] | activity, devices and sessions, as their owner sees them |
//! | `own_password()` | [`OwnPassword`] | changing one's own password |
//! | `personal_tokens()` | [`PersonalTokens`] | personal access tokens: made, used, listed, revoked |
//! | `refresh_tokens()` | [`OwnRefreshTokens`] | exchanging a refresh token for new tokens |
//! | `observed_sign_ins()` | [`ObservedSignIns`] | the service's own sign-ins, watched |
//! | `blocks()` | [`CallerBlocks`] | who is refused for a time |

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

/// Signs people in, issues and checks what proves it, and ends it.
pub struct SessionManager {
    store: Arc<dyn Sessions>,
    refresh_tokens: Arc<dyn RefreshTokens>,
    blocks: Arc<BlockList>,
    kept_blocks: Arc<dyn Blocks>,
    /// When those who are to be slower were last let do it.
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
    /// Were the users of all sessions looked at once, by these directories?
    has_rechecked: AtomicBool,
    verified: Arc<CredentialCache>,
    ended_by_password: EndedByPassword,
    /// Our own access tokens, as long as keys and `[tokens]` stay as they are.
    tokens_space: Space,
}

/// What a [`SessionManager`] is made of.
pub struct SessionParts {
    /// Keeps sessions.
    pub store: Arc<dyn Sessions>,
    /// Keeps refresh tokens: the same store.
    pub refresh_tokens: Arc<dyn RefreshTokens>,
    /// Who is refused for a time: of the same store.
    pub blocks: Arc<dyn Blocks>,
    /// Knows browsers in which somebody signed in before.
    pub devices: Arc<Devices>,
    /// Where addresses are.
    pub places: Arc<dyn Places>,
    /// The cookies that services gave.
    pub kept: Arc<ServiceCookies>,
    /// Ends what others have issued.
    pub ends: Arc<dyn EndIssued>,
    /// Makes tokens under issuers' keys.
    pub mints: Arc<dyn MintTokens>,
    /// What proves more than a password.
    pub factors: Arc<Factors>,
    /// What people are shown of their account: of the same store.
    pub records: Arc<dyn AccountRecords>,
    /// The way there for what happens.
    pub account_notes: AccountNotes,
    /// Asked in this order.
    pub directories: Vec<WatchedDirectory>,
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
    /// `[personal_tokens]`, and the routes that take them.
    pub personal_tokens: PersonalTokenRules,
    /// The names of its cookie.
    pub cookies: CookieNames,
    /// `[login]`
    pub login: Login,
    /// What is known already.
    pub state: SessionState,
}

impl SessionManager {
    /// Puts the parts together.
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

    /// The live session of an access token. Does no I/O while it remembers the token.
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

    /// The live session of a cookie's value.
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
        // A session with tokens lives as long as they can be refreshed; its cookie keeps its own idle timeout.
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

    /// An access token that verifies, with its live session.
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

    /// Whether a token of ours is good: an access token, or a refresh token that is unspent. No use of the session.
    ///
    /// # Errors
    /// A [`Refusal`] of the token, or [`Refusal::StoreUnavailable`].
    pub async fn verify(&self, token: &str, at: Timestamp) -> Result<(), Refusal> {
        if personal_token::says_token(token.as_bytes()) {
            return self.personal_tokens().verify(token, at).await;
        }
        // Which kind it says it is; each kind's own check then holds it to that.
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

    /// Ends sessions, at once and for good; tells each end. Gives how many there were.
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
                // Another password, or nobody who may sign in: what was known of their browsers is void.
                let user = session.identity.load().key.clone();
                self.devices.forget(&user, at).await.map_err(store_failed)?;
            }
            self.ends.end_of_session(session, at).await;
            refresh::ended(session, why, events);
        }
        Ok(sessions.len())
    }

    /// Is this session over? A store that cannot say is no end.
    pub async fn has_ended(&self, session: &SessionId, at: Timestamp) -> bool {
        let found = self.store.find(SessionBy::Id(session), at).await.map_err(store_failed);
        found.is_ok_and(|session| session.is_none())
    }

    /// A request of this session goes to an upstream now, which has it until the answer lives no more. None: it can change
    /// nothing.
    pub fn goes(&self, session: &SessionId, method: &Method, at: Timestamp) -> Option<UnderWay> {
        self.under_way.begin(session, method, at)
    }

    /// The directory of this name.
    pub fn directory(&self, name: &str) -> Option<&WatchedDirectory> {
        self.directories.iter().find(|one| one.directory.name() == name)
    }

    /// Where addresses are.
    pub fn places(&self) -> &dyn Places {
        &*self.places
    }

    /// Checks passwords.
    pub const fn passwords(&self) -> &PasswordPool {
        &self.passwords
    }

    /// The names under which the session cookie comes.
    pub const fn cookie_names(&self) -> &CookieNames {
        &self.cookies
    }

    /// What proves more than a password.
    pub fn factors(&self) -> &Arc<Factors> {
        &self.factors
    }

    /// The keys of access tokens: to list, publish and rotate them.
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// The service's session is of the password with this mark, and its answer to the caller's own request said so: the
    /// caller's session goes on with it.
    pub async fn password_proved(&self, session: &SessionId, mark: Digest, at: Timestamp) {
        let found = self.store.find(SessionBy::Id(session), at).await;
        if found.is_ok_and(|found| found.is_some_and(|session| session.is_token())) {
            // A personal access token ends with the password, whoever changed it.
            return;
        }
        let renewal = Renewal {
            session: session.clone(),
            cookie: None,
            password_mark: mark,
            assurance: None,
            at,
        };
        // A store that fails is told; then the next look at the directory ends the session.
        let _ = self.store.renew(renewal).await.map_err(store_failed);
    }

    /// `[session]`
    pub(crate) const fn settings(&self) -> &SessionSettings {
        &self.settings
    }

    /// `[tokens]`
    pub(crate) const fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Signs refresh tokens, and names what stands for one.
    pub(crate) fn refresh_key(&self) -> &RefreshKey {
        &self.refresh_key
    }

    /// What was verified a moment ago.
    pub(crate) fn verified(&self) -> &CredentialCache {
        &self.verified
    }

    /// Did it end a moment ago because its user has another password?
    pub(crate) fn ended_by_password(&self, session: &SessionId) -> bool {
        self.ended_by_password.has(session)
    }
}

/// What it can, each as a type of its own.
impl SessionManager {
    /// Second factors in sign-ins: what is due, proving it, and setting one up.
    pub const fn second_factors(&self) -> SecondFactors<'_> {
        SecondFactors(self)
    }

    /// Passkeys: signing in with one, confirming with one, and setting one up.
    pub const fn passkeys(&self) -> PasskeyProofs<'_> {
        PasskeyProofs(self)
    }

    /// Mailed codes: who may ask for one, and what using it proves.
    pub const fn mailed_codes(&self) -> CodeOrders<'_> {
        CodeOrders(self)
    }

    /// Mailed links: whom one would help, and what it gives.
    pub const fn mailed_links(&self) -> LinkAdmissions<'_> {
        LinkAdmissions(self)
    }

    /// Confirming that it is still them.
    pub const fn step_up(&self) -> StepUp<'_> {
        StepUp(self)
    }

    /// What somebody sees of their own account.
    pub const fn own_account(&self) -> OwnAccount<'_> {
        OwnAccount(self)
    }

    /// How somebody changes their own password.
    pub const fn own_password(&self) -> OwnPassword<'_> {
        OwnPassword(self)
    }

    /// Personal access tokens: made, used, listed and revoked.
    pub const fn personal_tokens(&self) -> PersonalTokens<'_> {
        PersonalTokens(self)
    }

    /// The refresh tokens of our own: exchanged for new tokens, and looked at.
    pub const fn refresh_tokens(&self) -> OwnRefreshTokens<'_> {
        OwnRefreshTokens(self)
    }

    /// The service's own sign-ins, watched.
    pub const fn observed_sign_ins(&self) -> ObservedSignIns<'_> {
        ObservedSignIns(self)
    }

    /// Who is refused for a time.
    pub const fn blocks(&self) -> CallerBlocks<'_> {
        CallerBlocks(self)
    }

    /// The tickets of sign-ins that are not over.
    const fn tickets(&self) -> SignInTickets<'_> {
        SignInTickets(self)
    }
}

/// Whether a token says of itself that it is one of ours, good or not. For keeping it from upstreams; proves nothing.
pub fn looks_like_ours<T: AsRef<[u8]> + ?Sized>(token: &T) -> bool {
    jwt::says_ours(token.as_ref()) || personal_token::says_token(token.as_ref())
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
