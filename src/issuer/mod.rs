//! What a service has issued itself, accepted as a credential: so that nobody is signed out when the gateway comes.
//!
//! A session of a service's own becomes one of the gateway's (`adopt`, `follow`). A token has no session here. What stands in
//! for one is looked at on every use, warm or cold:
//!
//! - **the credential**: verified once, then remembered under a keyed hash (`cache`) until it expires. What only the
//!   service can say (does that session still exist?) is asked again after the directory's `refresh_interval`, a minute at most;
//!   of many requests at once one asks, and a service that cannot be asked changes nothing for what it knew before;
//! - **its user**: asked for in the issuer's directory by id, and again after the directory's `refresh_interval`. Who is not active
//!   or not there does not pass. A directory that cannot be asked changes nothing for whom it has known since the start,
//!   as with sessions; for others it is 503;
//! - **its end**: dates in the store ([`Stamps`]). A signed-out token is denied by its id. Ending all that a user has
//!   (`logout/all`, an operator, an account that was switched off) is a not-before date: an `iat` at or before its
//!   second is refused. So is one from before the last look at a password that has changed since; the time between that
//!   look and the change stays good, or whoever signs in with a new password would be refused what they just got.
//!
//! A hand-made token without `iat` and `exp` is the same bytes at every sign-in. It ages from when one of its user was
//! first seen, which is kept for good; signing out ends those of its user, not its bytes; and once ended they stay ended,
//! because nothing tells a new sign-in from a copy of the old token. The way back is to sign in at the gateway. A changed
//! password does not end them (Django raises its rounds at a sign-in, and that looks the same).
//!
//! A token that an alias made under an issuer's key (`mint`) has a session here, by its `sid`, and none of this applies: it is
//! good as long as that session and its own `exp` say, and is never taken for one from outside, whatever became of the
//! session.
//!
//! There are three ways to judge (`Way`): a token says all itself, and neither the first look nor a later one does any I/O
//! of its own (unless its service keeps a blacklist, see `blacklisted`); for other kinds somebody must be asked; a name and a password are a sign-in each time, remembered for a
//! moment. A new kind is a file here with an `Issuer` or an `Asked`, and a line in `open`.

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
    /// Everything about a token but its user.
    fn judge(&self, token: &str, at: Timestamp) -> Result<TokenContent, NotAccepted>;
}

/// What a good token says.
#[derive(Debug)]
pub(crate) enum TokenContent {
    /// All that there is to know.
    All(JudgedCredential),
    /// That it is the gateway's own (`mint`), and of this session; whether it counts is for that to say.
    Session { session: SessionId, user: String, expires_at: Option<Timestamp> },
}

/// Judges the credentials of one kind that somebody must be asked about.
#[async_trait]
pub(crate) trait CredentialCheck: Send + Sync {
    /// Everything about a credential but its user. [`IssuedRefusal::Unavailable`]: it cannot be said now.
    async fn ask(&self, credential: &str, at: Timestamp)
    -> Result<JudgedCredential, IssuedRefusal>;

    /// Asks about what nobody has; the error is why that cannot be asked.
    async fn try_out(&self) -> Result<(), String>;
}

/// How an issuer's credentials are judged.
enum CheckMethod {
    /// They say all themselves.
    Said(Box<dyn Issuer>),
    /// Somebody must be asked.
    Asked(Box<dyn CredentialCheck>),
    /// They are a name and a password; what was right is remembered for so long.
    Password(Duration),
}

/// What a good credential says.
#[derive(Debug)]
pub(crate) struct JudgedCredential {
    /// The user's id in the issuer's directory.
    user: String,
    /// `iat`
    issued_at: Option<Timestamp>,
    /// `exp` and the leeway.
    expires_at: Option<Timestamp>,
    /// `jti`, or whatever else tells it from all others.
    token_id: Option<String>,
    /// Once denied, it is denied so long at least: the service may give it more time meanwhile.
    deny_for: Duration,
    password: Password,
    /// A token without `exp` ages from when one of its user was first seen.
    max_age: Option<Duration>,
}

/// What a credential says of the password that its user had.
#[derive(Debug)]
enum Password {
    /// Nothing. It ends with the password all the same, if it says when it was issued.
    Unsaid,
    /// This print, or nothing; it must be the present password's.
    Print(Option<String>),
    /// A session's note of it.
    Noted(Box<SessionAuthHash>),
    /// It was this one, which was given with it.
    Checked(Digest),
    /// It ends with no password.
    Independent,
}

/// What Django notes of the password in a session, and under which keys.
#[derive(Debug)]
struct SessionAuthHash {
    login: DjangoLogin,
    keys: Arc<SecretKeys>,
    /// The password that it was last held against, and that it is of.
    proved: OnceLock<Digest>,
}

/// A good credential of a user who was there when it was looked at.
pub struct IssuedCredential {
    proof: Proof,
    /// Where it is remembered.
    space: Space,
    /// The issuer's name.
    issuer: Arc<str>,
    user: Arc<User>,
    issued_at: Option<Timestamp>,
    expires_at: Timestamp,
    password: Password,
    /// The dates that end what was issued before them.
    ends: Vec<Digest>,
    /// The date that ends it without others of its user; where it has an id, whatever the date.
    own_end: Option<Digest>,
    own_end_kept_until: Timestamp,
    deny_for: Duration,
    /// Kept where a blacklist knows it by that.
    token_id: Option<Box<str>>,
    has_id: bool,
    /// It has no `exp`, and `expires_at` is the issuer's `max_age`.
    is_too_old_after: bool,
    look: LastLook,
    /// The session that it was adopted as, once that was looked for.
    session: ArcSwapOption<Session>,
}

/// Everything that issuers have to do with.
pub(crate) struct IssuerRegistry {
    all: Arc<[OneIssuer]>,
    pub(crate) readings: Arc<Readings>,
    /// Whose tokens `/verify` takes, whatever their header.
    verified: Arc<[usize]>,
    stamps: Arc<dyn Stamps>,
    seen: SeenCredentials,
}

struct OneIssuer {
    name: Arc<str>,
    space: Space,
    /// Whose answers are believed about its sessions; empty: all.
    upstreams: Vec<usize>,
    directory: WatchedDirectory,
    accept_until: Option<Timestamp>,
    proof: Proof,
    /// Are its credentials sessions, in which nobody may be signed in, and no tokens?
    is_session: bool,
    /// Can its tokens be the gateway's own?
    has_sessions: bool,
    refusals: Refusals,
    way: CheckMethod,
    /// What takes refresh tokens over, if that is wanted.
    take_over: Option<SimpleJwt>,
    /// What reads the refresh tokens that its service gives.
    refresh_tokens: Option<SimpleJwt>,
    /// What the service itself has taken back, if that is asked for.
    blacklist: Option<TokenBlacklist>,
}

impl OneIssuer {
    /// The user whom a credential names, in whatever spelling.
    async fn key_of(&self, id: &str) -> Result<UserKey, IssuedRefusal> {
        self.directory.directory.key(id).await.map_err(|error| {
            tracing::warn!(%error, "a directory cannot be asked");
            IssuedRefusal::Unavailable
        })
    }
}

/// Opens an issuer's key. Here is the list of kinds.
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

/// Can its keys be used? Nobody is asked.
///
/// # Errors
/// Why not.
pub fn read_keys(settings: &IssuerSettings, databases: &Databases) -> Result<(), String> {
    open(settings, databases).map_err(|error| error.to_string())?;
    take_over(settings).map_err(|error| error.to_string())?;
    blacklist(settings, databases).map(drop).map_err(|error| error.to_string())
}

/// Nothing is missing, or all that is.
fn all_there(missing: Vec<String>) -> Result<(), String> {
    if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
}

/// Can it be used: its key, and what it asks a service about?
///
/// # Errors
/// Why not.
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
    /// Reads the keys.
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

    /// A token as if it had come where its issuers' come. None: there are no issuers whose tokens say what they are.
    pub(crate) fn as_posted<'a>(&'a self, token: &'a str) -> Option<PresentedCredential<'a>> {
        (!self.verified.is_empty()).then_some(PresentedCredential::alone(token, &self.verified))
    }

    /// The same issuers, who know the same users; what is found out from there on is known here alone.
    pub(crate) fn read_only(&self, stamps: Arc<dyn Stamps>) -> Self {
        Self {
            all: Arc::clone(&self.all),
            readings: Arc::clone(&self.readings),
            verified: Arc::clone(&self.verified),
            stamps,
            seen: self.seen.read_only(),
        }
    }

    /// Whose it is; none if that issuer is not configured any more.
    fn of(&self, issued: &IssuedCredential) -> Option<&OneIssuer> {
        self.all.iter().find(|one| one.proof == issued.proof)
    }

    /// Where what was presented with this proof is remembered.
    fn space_of(&self, proof: Proof) -> Option<Space> {
        self.all.iter().find(|one| one.proof == proof).map(|one| one.space)
    }

    /// Is it a cookie of one of these?
    fn is_one_of(&self, issuers: &[usize], proof: Proof) -> bool {
        let mut issuers = issuers.iter().filter_map(|index| self.all.get(*index));
        proof.is_cookie() && issuers.any(|one| one.proof == proof)
    }

    /// Where dates about what they issued are kept.
    pub(crate) fn stamps(&self) -> Arc<dyn Stamps> {
        Arc::clone(&self.stamps)
    }

    /// Their names, in the order of the configuration.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.all.iter().map(|one| &one.name)
    }

    /// The user as the directory has them, asked at most every `refresh_interval`.
    async fn known(
        &self,
        directory: &WatchedDirectory,
        user: &User,
        at: Timestamp,
    ) -> Result<Arc<KnownUser>, IssuedRefusal> {
        let known = user.look(directory, at).await?;
        self.judged(user, known).await
    }

    /// The user as the directory has them at this moment.
    async fn known_now(
        &self,
        directory: &WatchedDirectory,
        user: &User,
        at: Timestamp,
    ) -> Result<Arc<KnownUser>, IssuedRefusal> {
        let known = user.look_now(directory, at).await?;
        self.judged(user, known).await
    }

    /// What a look found, once the store knows what it meant for older tokens.
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

    /// A credential that was judged just now, with its user.
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
                // Only who is there is remembered: a token can name anybody.
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
            // The password proves its user anew.
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
    /// Is the present password the one that the credential speaks of?
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
    /// The issuer's name.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What is presented with it.
    pub const fn proof(&self) -> Proof {
        self.proof
    }

    /// How its user was authenticated where it has no session: a name and a password were checked here, and everything else
    /// was the service's.
    pub fn assurance(&self) -> Assurance {
        match (&self.password, self.issued_at) {
            (Password::Checked(_), Some(at)) => {
                Assurance::now(AuthMethods::only(AuthMethod::Password), at)
            }
            _ => Assurance::BY_SERVICE,
        }
    }

    /// When it ends, if nothing happens.
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
