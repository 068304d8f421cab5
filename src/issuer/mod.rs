//! Accepts credentials that a service has issued itself, so that nobody is signed out when the gateway is introduced.
//!
//! A service's own session becomes one of the gateway (`adopt`, `follow`). A token has no session here. These are checked
//! instead on every use, whether the token is cached or not:
//!
//! - **the credential**: verified once, then cached under a keyed hash (`cache`) until it expires. What only the service
//!   knows (does that session still exist?) is asked again after the directory's `refresh_interval`, a minute at most. Of
//!   concurrent requests one asks, and a service that cannot be asked changes nothing for what was known before;
//! - **its user**: looked up by id in the issuer's directory, and again after the directory's `refresh_interval`. A user who
//!   is inactive or does not exist is refused. A directory that cannot be asked changes nothing for users that it has known
//!   since the start, as with sessions; for others it is 503;
//! - **its end**: dates in the store ([`Stamps`]). A signed-out token is denied by its id. Ending all that a user has
//!   (`logout/all`, an operator, a disabled account) is a not-before date: an `iat` at or before its second is refused. So is
//!   an `iat` from before the last look-up of a password that has changed since; tokens from between that look-up and the
//!   change stay valid, or whoever signs in with a new password would have their new token refused.
//!
//! A hand-made token without `iat` and `exp` is the same bytes at every sign-in. Its age counts from when one of its user was
//! first seen, which is stored for good; signing out ends all such tokens of the user; and once ended they stay ended,
//! because a new sign-in cannot be distinguished from a copy of the old token. The user must then sign in at the gateway. A
//! changed password does not end them (Django raises its rounds at a sign-in, and that looks the same).
//!
//! A token that an alias made under an issuer's key (`mint`) has a session here, by its `sid`, and none of this applies: it
//! is valid as long as that session and its own `exp` allow, and is never treated as one from the service, even after its
//! session has ended.
//!
//! There are three ways to check a credential (`Way`). A token contains all that is needed, so checking it does no I/O, the
//! first time or later (unless its service has a blacklist, see `blacklisted`); for other kinds a service must be asked; a
//! name and a password are a sign-in each time, cached for a moment. A new kind is a file here with an `Issuer` or an
//! `Asked`, and a line in `open`.

mod adopt;
mod answer_tokens;
mod basic;
mod blacklisted;
mod cache;
pub mod credential;
mod django_session;
mod door;
mod drf_token;
mod follow;
mod jwt;
mod key;
mod knox;
mod look;
mod mint;
mod outstanding;
mod reading;
mod refresh;
mod refused;
mod simplejwt;
mod state;
pub(crate) mod take_over;
#[cfg(test)]
pub(crate) mod testkit;
mod turns;
mod user;
mod users;
mod validity;
mod verify;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;

pub use self::answer_tokens::{Adopting, AnswerRecipient, PresentedRefresh};
use self::blacklisted::blacklist;
use self::django_session::DjangoSessions;
pub use self::door::{IssuerParts, Issuers};
use self::drf_token::DrfTokens;
pub use self::follow::{AnswerOutcome, FollowedAnswer};
pub use self::key::IssuerKeyError;
use self::knox::KnoxTokens;
use self::look::LastLook;
pub(crate) use self::mint::Mints;
pub(crate) use self::outstanding::Outstanding;
use self::reading::Readings;
pub(crate) use self::reading::{PresentedCredential, Unreadable};
pub(crate) use self::refused::{is_anothers, public};
use self::simplejwt::{SimpleJwt, refresh_tokens, take_over};
pub use self::state::IssuerState;
use self::state::SeenCredentials;
pub use self::take_over::{NotTakenOver, RefreshSubject};
pub(crate) use self::user::KnownUser;
use self::user::User;
pub use self::validity::end_of_user;
use self::validity::{FOR_GOOD, keyed};
use crate::caller::{Assurance, AuthMethod, AuthMethods, IssuerName, Proof, SessionId, UserKey};
use crate::clock::Timestamp;
use crate::config::{CredentialPlace, IssuerKind, IssuerSettings, Refusals};
use crate::django::jws::NotAccepted;
use crate::django::session::{self, DjangoLogin};
use crate::django::signing::SecretKeys;
use crate::django::simplejwt::TokenType;
use crate::event::IssuedRefusal;
use crate::secret::Digest;
use crate::service::blacklist::TokenBlacklist;
use crate::service::database::Databases;
use crate::session::WatchedDirectory;
use crate::session::credential_cache::Space;
use crate::store::{Session, Stamps};

/// Verifies the tokens of one kind.
pub(crate) trait Issuer: Send + Sync {
    /// Checks everything about a token but its user.
    fn judge(&self, token: &str, at: Timestamp) -> Result<TokenContent, NotAccepted>;
}

/// The content of a valid token.
#[derive(Debug)]
pub(crate) enum TokenContent {
    /// A token with all that is needed.
    All(JudgedCredential),
    /// A token of the gateway itself (`mint`), which belongs to this session; its session decides whether it is valid.
    Session { session: SessionId, user: String, expires_at: Option<Timestamp> },
}

/// Checks the credentials of a kind for which a service must be asked.
#[async_trait]
pub(crate) trait CredentialCheck: Send + Sync {
    /// Checks everything about a credential but its user. [`IssuedRefusal::Unavailable`] if the service cannot be asked now.
    async fn ask(&self, credential: &str, at: Timestamp)
    -> Result<JudgedCredential, IssuedRefusal>;

    /// Asks about a credential that nobody has; the error is why that cannot be asked.
    async fn try_out(&self) -> Result<(), String>;
}

/// How an issuer's credentials are checked.
enum CheckMethod {
    /// The credentials contain all that is needed.
    Said(Box<dyn Issuer>),
    /// A service must be asked.
    Asked(Box<dyn CredentialCheck>),
    /// They are a name and a password; a right one is cached for this long.
    Password(Duration),
}

/// What a valid credential says.
#[derive(Debug)]
pub(crate) struct JudgedCredential {
    /// The user's id in the issuer's directory.
    user: String,
    /// `iat`
    issued_at: Option<Timestamp>,
    /// `exp` and the leeway.
    expires_at: Option<Timestamp>,
    /// `jti`, or another id that distinguishes it from all others.
    token_id: Option<String>,
    /// The shortest time for which a denied credential stays denied, because the service may extend its life.
    deny_for: Duration,
    password: Password,
    /// For a token without `exp`: its age counts from when one of its user was first seen.
    max_age: Option<Duration>,
}

/// What a credential says about its user's password.
#[derive(Debug)]
enum Password {
    /// Nothing. The credential still ends with the password, if it says when it was issued.
    Unsaid,
    /// A hash, or none; it must match the current password.
    Print(Option<String>),
    /// A session's hash of it.
    Noted(Box<SessionAuthHash>),
    /// The password was sent with the credential and checked; this is its mark.
    Checked(Digest),
    /// The credential does not end when the password changes.
    Independent,
}

/// The hash of the password in a Django session, and the keys to check it with.
#[derive(Debug)]
struct SessionAuthHash {
    login: DjangoLogin,
    keys: Arc<SecretKeys>,
    /// The mark of the password that the session was last found to match.
    proved: OnceLock<Digest>,
}

/// A valid credential, whose user existed when it was last checked.
pub struct IssuedCredential {
    proof: Proof,
    /// The cache space of the credential.
    space: Space,
    /// The issuer's name.
    issuer: Arc<str>,
    user: Arc<User>,
    issued_at: Option<Timestamp>,
    expires_at: Timestamp,
    password: Password,
    /// The dates that end what was issued before them.
    ends: Vec<Digest>,
    /// The date that ends it without others of its user. If it has an id, any date ends it.
    own_end: Option<Digest>,
    own_end_kept_until: Timestamp,
    deny_for: Duration,
    /// The id, stored only if a blacklist may list it.
    token_id: Option<Box<str>>,
    has_id: bool,
    /// Whether it has no `exp`, so that `expires_at` is from the issuer's `max_age`.
    is_too_old_after: bool,
    look: LastLook,
    /// The session that it was adopted as, once that has been looked up.
    session: ArcSwapOption<Session>,
}

/// The configured issuers, with what is known of their credentials and users.
pub(crate) struct IssuerRegistry {
    all: Arc<[OneIssuer]>,
    pub(crate) readings: Arc<Readings>,
    /// The issuers whose tokens `/verify` accepts, whatever their header.
    verified: Arc<[usize]>,
    stamps: Arc<dyn Stamps>,
    seen: SeenCredentials,
}

struct OneIssuer {
    name: Arc<str>,
    space: Space,
    /// The upstreams whose answers are trusted about its sessions; empty: all.
    upstreams: Vec<usize>,
    directory: WatchedDirectory,
    accept_until: Option<Timestamp>,
    proof: Proof,
    /// Whether its credentials are sessions, in which nobody may be signed in, rather than tokens.
    is_session: bool,
    /// Whether its tokens can be the gateway's own.
    has_sessions: bool,
    refusals: Refusals,
    way: CheckMethod,
    /// Verifies refresh tokens to take over, if that is configured.
    take_over: Option<SimpleJwt>,
    /// Verifies the refresh tokens that its service gives.
    refresh_tokens: Option<SimpleJwt>,
    /// The service's blacklist, if one is configured.
    blacklist: Option<TokenBlacklist>,
}

impl OneIssuer {
    /// Returns the key of the user that a credential names, in any spelling.
    async fn key_of(&self, id: &str) -> Result<UserKey, IssuedRefusal> {
        self.directory.directory.key(id).await.map_err(|error| {
            tracing::warn!(%error, "a directory cannot be asked");
            IssuedRefusal::Unavailable
        })
    }
}

/// Opens an issuer's key or database. All kinds of issuers are listed here.
fn open(settings: &IssuerSettings, databases: &Databases) -> Result<CheckMethod, IssuerKeyError> {
    Ok(match &settings.kind {
        IssuerKind::SimpleJwt(kind) => {
            let key = key::read(settings, &kind.signature)?;
            CheckMethod::Said(Box::new(SimpleJwt::new(key, kind)))
        }
        IssuerKind::Jwt { signature, claim, max_age, .. } => {
            let key = key::read(settings, signature)?;
            CheckMethod::Said(Box::new(jwt::HandMade::new(key, claim, *max_age, signature)))
        }
        IssuerKind::DjangoSession(kind) => {
            CheckMethod::Asked(Box::new(DjangoSessions::open(settings, kind, databases)?))
        }
        IssuerKind::DrfToken { database, table } => {
            CheckMethod::Asked(Box::new(DrfTokens::open(settings, database, table, databases)?))
        }
        IssuerKind::Knox { database, table, version } => CheckMethod::Asked(Box::new(
            KnoxTokens::open(settings, database, table, *version, databases)?,
        )),
        IssuerKind::Basic { cache_for, .. } => CheckMethod::Password(*cache_for),
    })
}

/// Checks whether an issuer's keys can be used, without asking any service.
///
/// # Errors
/// Why they cannot be used.
pub fn read_keys(settings: &IssuerSettings, databases: &Databases) -> Result<(), String> {
    open(settings, databases).map_err(|error| error.to_string())?;
    take_over(settings).map_err(|error| error.to_string())?;
    blacklist(settings, databases).map(drop).map_err(|error| error.to_string())
}

/// Returns an error that lists all that is missing.
fn all_there(missing: Vec<String>) -> Result<(), String> {
    if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
}

/// Checks whether an issuer can be used: its key, and its service's database.
///
/// # Errors
/// Why it cannot be used.
pub async fn try_out(settings: &IssuerSettings, databases: &Databases) -> Result<(), String> {
    if let CheckMethod::Asked(asked) =
        open(settings, databases).map_err(|error| error.to_string())?
    {
        let named = |why| format!("the issuer {}: {why}", settings.name);
        asked.try_out().await.map_err(named)?;
    }
    let blacklist = blacklist(settings, databases).map_err(|error| error.to_string())?;
    if let Some(blacklist) = blacklist {
        let named = |error: String| format!("the issuer {}: its blacklist: {error}", settings.name);
        all_there(blacklist.missing().await.map_err(named)?).map_err(named)?;
        let named = |error| format!("the issuer {}: its blacklist: {error}", settings.name);
        blacklist.holds("").await.map_err(named)?;
    }
    Ok(())
}

impl IssuerRegistry {
    /// Opens the issuers of a configuration.
    pub(crate) fn open(
        settings: &[IssuerSettings],
        directories: &[WatchedDirectory],
        databases: &Databases,
        stamps: Arc<dyn Stamps>,
        state: &IssuerState,
    ) -> Result<Self, IssuerKeyError> {
        let mut all = Vec::with_capacity(settings.len());
        let mut readings = Readings::default();
        for (index, settings) in settings.iter().enumerate() {
            let directory = directories
                .iter()
                .find(|watched| watched.directory.name() == settings.directory)
                .ok_or_else(|| IssuerKeyError::no_directory(settings))?;
            readings.add(settings, index)?;
            let name = IssuerName::new(&settings.name);
            let keys = key::contents(settings)?;
            all.push(OneIssuer {
                name: settings.name.as_str().into(),
                space: Space::of(&[
                    format!("{settings:?}").as_bytes(),
                    &directory.settings,
                    keys.as_bytes(),
                ]),
                upstreams: settings.upstreams.clone(),
                directory: directory.beside(),
                accept_until: settings.accept_until,
                proof: match (&settings.place, &settings.kind) {
                    (_, IssuerKind::Basic { .. }) => Proof::Password(name),
                    (CredentialPlace::Header { .. }, _) => Proof::Issued(name),
                    (CredentialPlace::Cookie(_), _) => Proof::IssuedCookie(name),
                },
                is_session: matches!(settings.kind, IssuerKind::DjangoSession(_)),
                has_sessions: match &settings.kind {
                    IssuerKind::Jwt { .. } => true,
                    IssuerKind::SimpleJwt(kind) => kind.token_types.contains(&TokenType::Sliding),
                    IssuerKind::DjangoSession(_)
                    | IssuerKind::DrfToken { .. }
                    | IssuerKind::Knox { .. }
                    | IssuerKind::Basic { .. } => false,
                },
                refusals: match &settings.kind {
                    IssuerKind::Jwt { refusals, .. } => *refusals,
                    IssuerKind::DrfToken { .. } | IssuerKind::Knox { .. } => Refusals::Opaque,
                    _ => Refusals::Gateway,
                },
                way: open(settings, databases)?,
                take_over: take_over(settings)?,
                refresh_tokens: refresh_tokens(settings)?,
                blacklist: blacklist(settings, databases)?,
            });
        }
        let is_simplejwt = |one: &IssuerSettings| matches!(one.kind, IssuerKind::SimpleJwt(_));
        let is_verified = |&(index, one): &(usize, &IssuerSettings)| {
            !one.is_token_in_cookie() && (is_simplejwt(one) || readings.is_bearer(index))
        };
        let verified =
            settings.iter().enumerate().filter(is_verified).map(|(index, _)| index).collect();
        let (all, readings) = (all.into(), Arc::new(readings));
        Ok(Self { all, readings, verified, stamps, seen: state.seen.clone() })
    }

    /// Presents a token to all issuers of self-contained tokens, whatever its header. `None` if there are no such issuers.
    pub(crate) fn as_posted<'a>(&'a self, token: &'a str) -> Option<PresentedCredential<'a>> {
        (!self.verified.is_empty()).then_some(PresentedCredential::alone(token, &self.verified))
    }

    /// Returns a copy with the same issuers and users; what it learns afterwards stays in the copy.
    pub(crate) fn read_only(&self, stamps: Arc<dyn Stamps>) -> Self {
        Self {
            all: Arc::clone(&self.all),
            readings: Arc::clone(&self.readings),
            verified: Arc::clone(&self.verified),
            stamps,
            seen: self.seen.read_only(),
        }
    }

    /// Returns the issuer of a credential; `None` if it is no longer configured.
    fn of(&self, issued: &IssuedCredential) -> Option<&OneIssuer> {
        self.all.iter().find(|one| one.proof == issued.proof)
    }

    /// Returns the cache space for credentials with this proof.
    fn space_of(&self, proof: Proof) -> Option<Space> {
        self.all.iter().find(|one| one.proof == proof).map(|one| one.space)
    }

    /// Whether the proof is a cookie of one of these issuers.
    fn is_one_of(&self, issuers: &[usize], proof: Proof) -> bool {
        let mut issuers = issuers.iter().filter_map(|index| self.all.get(*index));
        proof.is_cookie() && issuers.any(|one| one.proof == proof)
    }

    /// Returns the store of dates about what the issuers issued.
    pub(crate) fn stamps(&self) -> Arc<dyn Stamps> {
        Arc::clone(&self.stamps)
    }

    /// Returns the issuers' names, in the order of the configuration.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.all.iter().map(|one| &one.name)
    }

    /// Returns the user as the directory has them, asked at most every `refresh_interval`.
    async fn known(
        &self,
        directory: &WatchedDirectory,
        user: &User,
        at: Timestamp,
    ) -> Result<Arc<KnownUser>, IssuedRefusal> {
        let known = user.look(directory, at).await?;
        self.judged(user, known).await
    }

    /// Returns the user as the directory has them now.
    async fn known_now(
        &self,
        directory: &WatchedDirectory,
        user: &User,
        at: Timestamp,
    ) -> Result<Arc<KnownUser>, IssuedRefusal> {
        let known = user.look_now(directory, at).await?;
        self.judged(user, known).await
    }

    /// Returns the user that was found, after the store has recorded which older tokens ended by that.
    async fn judged(
        &self,
        user: &User,
        known: Option<Arc<KnownUser>>,
    ) -> Result<Arc<KnownUser>, IssuedRefusal> {
        for end in user.owed() {
            self.put(end.0, end.1, FOR_GOOD).await?;
            user.paid(&end);
        }
        match known {
            Some(known) if known.active => Ok(known),
            Some(_) => Err(IssuedRefusal::InactiveUser),
            None => Err(IssuedRefusal::UnknownUser),
        }
    }

    /// Completes a credential that was just checked with its user.
    async fn settle(
        &self,
        index: usize,
        judged: JudgedCredential,
        at: Timestamp,
    ) -> Result<IssuedCredential, IssuedRefusal> {
        let one = self.all.get(index).ok_or(IssuedRefusal::NoLongerAccepted)?;
        let key = one.key_of(&judged.user).await?;
        let user = match self.seen.users.get(&one.directory, &key) {
            Some(user) => user,
            None => {
                let user = Arc::new(User::new(key.clone()));
                // Only existing users are cached, since a token can name anybody.
                self.known(&one.directory, &user, at).await?;
                self.seen.users.insert(&one.directory, key, Arc::clone(&user));
                user
            }
        };
        let (expires_at, is_too_old_after) = match (judged.expires_at, judged.max_age) {
            (Some(expires_at), _) => (expires_at, false),
            (None, Some(max_age)) => (self.first_seen(one, &user, at).await?.plus(max_age), true),
            (None, None) => (FOR_GOOD, false),
        };
        let has_id = judged.token_id.is_some();
        let own_end = match (&judged.token_id, &judged.password) {
            // Such a credential has no end of its own: the password proves its user each time.
            (_, Password::Checked(_)) => None,
            (Some(id), _) => Some(keyed(&["token", &one.name, id])),
            (None, _) => Some(keyed(&["user", &one.name, &user.key.directory, &user.key.id])),
        };
        let own_end_kept_until = if has_id { expires_at } else { FOR_GOOD };
        let ends = match (&judged.password, judged.issued_at) {
            (Password::Checked(_), _) => Vec::new(),
            (Password::Unsaid | Password::Print(_), Some(_)) => vec![user.end, user.password_end],
            (Password::Unsaid | Password::Print(_), None)
            | (Password::Noted(_) | Password::Independent, _) => vec![user.end],
        };
        Ok(IssuedCredential {
            proof: one.proof,
            space: one.space,
            issuer: Arc::clone(&one.name),
            user,
            issued_at: judged.issued_at,
            expires_at,
            password: judged.password,
            ends,
            own_end,
            own_end_kept_until,
            deny_for: judged.deny_for,
            token_id: judged.token_id.filter(|_| one.blacklist.is_some()).map(Into::into),
            has_id,
            is_too_old_after,
            look: LastLook::at(at),
            session: ArcSwapOption::empty(),
        })
    }
}

impl Password {
    /// Whether the credential is for the user's current password.
    fn is_that_of(&self, known: &KnownUser) -> bool {
        match self {
            Self::Unsaid => true,
            Self::Print(print) => print.as_ref() == Some(&known.password_print),
            Self::Noted(noted) => noted.is_of(known),
            Self::Checked(mark) => *mark == known.password_mark,
            Self::Independent => true,
        }
    }
}

impl SessionAuthHash {
    const fn new(login: DjangoLogin, keys: Arc<SecretKeys>) -> Self {
        Self { login, keys, proved: OnceLock::new() }
    }

    fn is_of(&self, known: &KnownUser) -> bool {
        if self.proved.get() == Some(&known.password_mark) {
            return true;
        }
        let is_of =
            self.login.proof(known.password.expose(), &self.keys) != session::SessionProof::Void;
        if is_of {
            let _ = self.proved.set(known.password_mark);
        }
        is_of
    }
}

impl IssuedCredential {
    /// Returns the issuer's name.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the kind of credential.
    pub const fn proof(&self) -> Proof {
        self.proof
    }

    /// Returns how its user was authenticated if it has no session: a name and a password were checked here, and everything
    /// else by the service.
    pub fn assurance(&self) -> Assurance {
        match (&self.password, self.issued_at) {
            (Password::Checked(_), Some(at)) => {
                Assurance::now(AuthMethods::only(AuthMethod::Password), at)
            }
            _ => Assurance::BY_SERVICE,
        }
    }

    /// Returns when it expires, if nothing ends it before.
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

impl std::fmt::Debug for IssuedCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("issuer", &self.issuer)
            .field("user", &self.user.key)
            .finish()
    }
}

#[cfg(test)]
mod session_vectors;
#[cfg(test)]
mod tests;
