//! Fixtures for tests of this folder, and of higher layers, that need a signed-in user.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::pbkdf2;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;

use super::account_notes::account_notes;
use super::cookies::CookieNames;
use super::devices::Devices;
use super::keys::KeyRing;
use super::personal_token::PersonalTokenRules;
use super::refresh_token::RefreshKey;
use super::service_cookies::ServiceCookies;
use super::{
    EndIssued, Grants, Mint, MintTokens, SessionManager, SessionParts, SessionState, SignIn,
    SignInRefused, SignedIn, WatchedDirectory,
};
use crate::caller::{Assurance, AuthMethod, AuthMethods, Identity, SessionId, UserKey};
use crate::clock::Timestamp;
use crate::config::{
    FactorMode, Issues, Login, PersonalTokenSettings, RotationPolicy, SessionSettings, Tokens,
};
use crate::context::{Events, RequestContext};
use crate::directory::password::PasswordPool;
use crate::directory::{Account, Directory, DirectoryError, Users};
use crate::django::hashers::{PasswordHasher, dummy_like};
use crate::factor::testkit::factors;
use crate::jose::Algorithm;
use crate::refusal::Refusal;
use crate::secret::{Digest, Secret};
use crate::store::counters::memory::CountersInMemory;
use crate::store::memory::Memory;
use crate::store::records::AccountRecords;
use crate::store::{
    Blocks, NewSession, RefreshTokens, Session, SessionAttachments, Sessions, Stamps, StoreError,
};

/// 2026-11-23T08:34:39Z
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_795_422_879);

/// Returns token settings with a key in `directory`.
pub(crate) fn tokens(directory: &Path) -> Tokens {
    Tokens {
        algorithm: Algorithm::EdDsa,
        signing_key_file: directory.join("signing-key"),
        access_lifetime: Duration::from_secs(300),
        refresh_lifetime: Duration::from_secs(14 * 86_400),
        rotation: RotationPolicy::SingleUse,
        refresh_grace: Duration::from_secs(10),
        bind: crate::config::Binding::None,
        refuse_unknown: false,
        issuer: "doorwarden".into(),
        audience: "doorwarden".into(),
        user_id_claim: "user_id".into(),
        claims: crate::config::Members::default(),
    }
}

/// Returns session settings with the defaults.
pub(crate) fn session_settings() -> SessionSettings {
    SessionSettings {
        cookie: "__Host-doorwarden".into(),
        idle_timeout: Duration::from_secs(86_400),
        absolute_timeout: Duration::from_secs(30 * 86_400),
        trusted_origins: Vec::new(),
        same_site: crate::wire::cookie::SameSite::Lax,
        danger_plain_http_cookies: false,
    }
}

/// Returns sign-in settings: one hashing thread, and limits that few tests reach.
pub(crate) fn login() -> Login {
    Login {
        token_delivery: Issues::Both,
        title: String::new(),
        links: Vec::new(),
        hash_threads: 1,
        hash_queue: 64,
        account_failures: 5,
        address_failures: 50,
        network_failures: 100,
        guesses_per_day: 100,
        backoff_initial: Duration::from_secs(1),
        backoff_max: Duration::from_secs(900),
        reset_after: Duration::from_secs(3600),
    }
}

/// Returns a user of the directory `django` called `user<id>`.
pub(crate) fn identity(id: &str) -> Arc<Identity> {
    Arc::new(Identity {
        key: UserKey::new("django", id),
        name: format!("user{id}"),
        groups: Vec::new(),
        staff: false,
        superuser: false,
        attributes: std::collections::BTreeMap::new(),
    })
}

/// Begins a session of user `user` at [`NOW`].
pub(crate) fn session(id: &str, user: &str) -> Arc<Session> {
    Session::begin(&new_session(id, user))
}

/// Returns the same session before it begins.
pub(crate) fn new_session(id: &str, user: &str) -> NewSession {
    NewSession {
        id: SessionId::new(id),
        identity: identity(user),
        password_mark: Digest::of(b"password"),
        cookie: None,
        issuer: None,
        at: NOW,
        expires_at: NOW.plus(session_settings().absolute_timeout),
        idle_timeout: session_settings().idle_timeout,
        client: None,
        agent: String::new(),
        assurance: Assurance::now(AuthMethods::only(AuthMethod::Password), NOW),
        grant: None,
        refresh: None,
        kept: None,
    }
}

/// Everything that a [`SessionManager`] needs, in memory: user 7 is called `kim` and has the password `right`.
pub(crate) struct Kit {
    pub(crate) sessions: Arc<SessionManager>,
    pub(crate) store: Arc<Memory>,
    pub(crate) directory: Arc<FakeDirectory>,
    pub(crate) passwords: PasswordPool,
    _keep: tempfile::TempDir,
}

/// The parts of a manager, and the fakes behind them.
pub(crate) struct Base {
    pub(crate) store: Arc<Memory>,
    pub(crate) directory: Arc<FakeDirectory>,
    pub(crate) keep: tempfile::TempDir,
    pub(crate) parts: SessionParts,
}

/// Issuers that have issued nothing.
struct NoIssuers;

/// A directory whose users a test can change.
pub(crate) struct FakeDirectory {
    name: &'static str,
    pub(crate) accounts: Mutex<Vec<Account>>,
    pub(crate) is_down: AtomicBool,
    pub(crate) keeps_at_upgrade: AtomicBool,
}

/// Returns the cookies of services, with a store without sessions.
pub(crate) fn kept_cookies() -> Arc<ServiceCookies> {
    kept_in(&Memory::new(), Vec::new())
}

/// Returns the cookies of services behind these directories, with this store.
pub(crate) fn kept_in(store: &Arc<Memory>, directories: Vec<Directory>) -> Arc<ServiceCookies> {
    let sessions = Arc::clone(store) as Arc<dyn Sessions>;
    let kept = Arc::clone(store) as Arc<dyn SessionAttachments>;
    Arc::new(ServiceCookies::new(b"secret", sessions, kept, directories).unwrap())
}

/// Signs in for tokens and a cookie.
pub(crate) async fn enter(
    sessions: &SessionManager,
    username: &str,
    password: &str,
    events: &Events,
) -> Result<SignedIn, SignInRefused> {
    enter_in_browser(sessions, (username, password), "", &context(events)).await
}

/// Does the same in the browser with this device cookie.
pub(crate) async fn enter_in_browser(
    sessions: &SessionManager,
    (username, password): (&str, &str),
    device: &str,
    context: &RequestContext<'_>,
) -> Result<SignedIn, SignInRefused> {
    let request = SignIn {
        is_typed: false,
        username,
        password: &Secret::new(password),
        grants: Grants { tokens: true, cookie: true, issued: None },
        device,
        otp: None,
    };
    sessions.sign_in(request, context).await
}

/// The address from which sign-ins come.
pub(crate) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Returns the context of a request at [`NOW`].
pub(crate) fn context(events: &Events) -> RequestContext<'_> {
    RequestContext { at: NOW, client: CLIENT, agent: "test", request_id: "r1", events }
}

/// Returns the context of a request at another time.
pub(crate) fn context_at(at: Timestamp, events: &Events) -> RequestContext<'_> {
    RequestContext { at, ..context(events) }
}

impl Base {
    pub(crate) fn new() -> Self {
        let keep = tempfile::tempdir().unwrap();
        let store = Memory::new();
        let directory = FakeDirectory::new("django", vec![account("7", "kim", "right")]);
        let watched = Directory::Users(Arc::clone(&directory) as Arc<dyn Users>);
        let tokens = tokens(keep.path());
        let parts = SessionParts {
            kept: kept_in(&store, Vec::new()),
            store: Arc::clone(&store) as Arc<dyn Sessions>,
            refresh_tokens: Arc::clone(&store) as Arc<dyn RefreshTokens>,
            blocks: Arc::clone(&store) as Arc<dyn Blocks>,
            devices: Arc::new(Devices::new(b"secret", Arc::clone(&store) as Arc<dyn Stamps>)),
            places: Arc::new(crate::geo::NoPlaces),
            ends: Arc::new(NoIssuers),
            mints: Arc::new(NoIssuers),
            factors: factors(&store, FactorMode::Off, |_| {}),
            records: Arc::clone(&store) as Arc<dyn AccountRecords>,
            account_notes: account_notes().0,
            personal_tokens: PersonalTokenRules {
                settings: PersonalTokenSettings::default(),
                routes: vec!["api".into(), "files".into()],
            },
            directories: vec![WatchedDirectory::new(watched, Duration::from_secs(60))],
            passwords: PasswordPool::start(1, 64).unwrap(),
            keys: KeyRing::open(&tokens, NOW).unwrap(),
            refresh_key: Arc::new(RefreshKey::random().unwrap()),
            tokens,
            session: session_settings(),
            cookies: CookieNames::new(&session_settings(), std::iter::empty()),
            login: login(),
            state: SessionState::new(CountersInMemory::new()).unwrap(),
        };
        Self { store, directory, keep, parts }
    }
}

#[async_trait]
impl EndIssued for NoIssuers {
    async fn end_user(&self, _: &UserKey, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    async fn end_of_session(&self, _: &Session, _: Timestamp) {}
}

impl MintTokens for NoIssuers {
    fn can_mint(&self, _: &Mint, _: &UserKey) -> Result<(), Refusal> {
        Err(Refusal::Internal)
    }

    fn mint(&self, _: &Mint, _: &Session, _: Timestamp) -> Result<Secret, Refusal> {
        Err(Refusal::Internal)
    }
}

impl Kit {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// Creates a kit with some parts changed.
    pub(crate) fn with(change: impl FnOnce(&mut SessionParts)) -> Self {
        let Base { store, directory, keep, mut parts } = Base::new();
        change(&mut parts);
        let passwords = parts.passwords.clone();
        let sessions = Arc::new(SessionManager::new(parts));
        Self { sessions, store, directory, passwords, _keep: keep }
    }

    /// Signs in for tokens and a cookie.
    pub(crate) async fn sign_in(
        &self,
        username: &str,
        password: &str,
        events: &Events,
    ) -> Result<SignedIn, SignInRefused> {
        enter(&self.sessions, username, password, events).await
    }

    /// Signs Kim in.
    pub(crate) async fn signed_in(&self) -> SignedIn {
        self.sign_in("kim", "right", &Events::default()).await.unwrap()
    }
}

impl FakeDirectory {
    pub(crate) fn new(name: &'static str, accounts: Vec<Account>) -> Arc<Self> {
        Arc::new(Self {
            name,
            accounts: Mutex::new(accounts),
            is_down: AtomicBool::new(false),
            keeps_at_upgrade: AtomicBool::new(false),
        })
    }

    fn first(&self, is: impl Fn(&Account) -> bool) -> Result<Option<Account>, DirectoryError> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(DirectoryError { directory: self.name.into(), reason: "down".into() });
        }
        Ok(self.accounts.lock().iter().find(|account| is(account)).cloned())
    }
}

/// Returns a user of the directory `django` whose password is cheap to check.
pub(crate) fn account(id: &str, name: &str, password: &str) -> Account {
    let identity = Identity { name: name.into(), ..(*identity(id)).clone() };
    Account {
        identity: Arc::new(identity),
        active: true,
        has_second_factor: false,
        password: cheap(password),
    }
}

/// Hashes a password with PBKDF2 in one round.
pub(crate) fn cheap(password: &str) -> Secret {
    hashed(password, NonZeroU32::MIN, "salt")
}

/// Hashes a password with PBKDF2.
pub(crate) fn hashed(password: &str, rounds: NonZeroU32, salt: &str) -> Secret {
    let mut digest = [0; 32];
    let (salted, password) = (salt.as_bytes(), password.as_bytes());
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salted, password, &mut digest);
    Secret::new(format!("pbkdf2_sha256${rounds}${salt}${}", STANDARD.encode(digest)))
}

#[async_trait]
impl Users for FakeDirectory {
    fn name(&self) -> &str {
        self.name
    }

    fn hashers(&self) -> Arc<[PasswordHasher]> {
        PasswordHasher::DEFAULT.into()
    }

    fn decoy(&self) -> Secret {
        Secret::new(dummy_like(cheap("anything").expose()))
    }

    fn as_typed<'n>(&self, name: &'n str) -> Cow<'n, str> {
        Cow::Borrowed(name)
    }

    async fn key(&self, id: &str) -> Result<UserKey, DirectoryError> {
        Ok(UserKey::new(self.name, id))
    }

    async fn with_address(&self, address: &str) -> Result<usize, DirectoryError> {
        let has = |account: &&Account| {
            account.identity.attributes.get("email").is_some_and(|one| one == address)
        };
        Ok(self.accounts.lock().iter().filter(has).count())
    }

    fn upgrades_to(&self) -> Option<PasswordHasher> {
        self.keeps_at_upgrade.load(Ordering::SeqCst).then_some(PasswordHasher::Pbkdf2Sha256)
    }

    fn password_store(&self) -> Option<&dyn crate::directory::PasswordStore> {
        None
    }

    async fn missing(&self) -> Result<Vec<String>, DirectoryError> {
        Ok(Vec::new())
    }

    async fn find(&self, name: &str) -> Result<Option<Account>, DirectoryError> {
        self.first(|account| account.identity.name == name)
    }

    async fn by_id(&self, user: &UserKey) -> Result<Option<Account>, DirectoryError> {
        self.first(|account| account.identity.key == *user)
    }
}
