//! What a service has issued itself, accepted as a credential: so that nobody is signed out when the gateway comes.
//!
//! Such a token has no session here. What stands in for one is looked at on every use, warm or cold:
//!
//! - **the token**: verified once, then remembered under a keyed hash (`auth::memory`) until it expires;
//! - **its user**: asked for in the issuer's directory by id, and again after the directory's `recheck`. Who is not active
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
//! A new kind is a file here with an `Issuer`, and a line in `open`.

mod jwt;
mod key;
mod reading;
mod refused;
mod simplejwt;
mod user;

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;

pub use self::key::IssuerKeyError;
use self::reading::Readings;
pub(super) use self::reading::{Shown, Unreadable};
use self::refused::{is_anothers, public};
use self::user::{Known, User};
use super::{Auth, Watched};
use crate::caller::{Identity, Proof, UserKey};
use crate::clock::Timestamp;
use crate::config::{IssuerKind, IssuerSettings};
use crate::django::jws::NotAccepted;
use crate::event::{IssuedRefusal, What};
use crate::refusal::Refusal;
use crate::secret::Digest;
use crate::store::{Keep, NewStamp, Stamps, StoreError};

/// Users of such tokens who are remembered.
const USERS: usize = 65_536;

/// A date that is kept for good.
const FOR_GOOD: Timestamp = Timestamp::from_secs(253_402_300_799);

/// Verifies the tokens of one kind.
pub(super) trait Issuer: Send + Sync {
    /// Everything about a token but its user.
    fn judge(&self, token: &str, at: Timestamp) -> Result<Judged, NotAccepted>;
}

/// What a good token says.
#[derive(Debug)]
pub(super) struct Judged {
    /// The user's id in the issuer's directory.
    user: String,
    /// `iat`
    issued_at: Option<Timestamp>,
    /// `exp` and the leeway.
    expires_at: Option<Timestamp>,
    /// `jti`
    token_id: Option<String>,
    password: PasswordPrint,
    /// A token without `exp` ages from when one of its user was first seen.
    max_age: Option<Duration>,
}

/// What a token says of the password that its user had.
#[derive(Debug, PartialEq, Eq)]
enum PasswordPrint {
    /// It is not asked.
    Ignored,
    /// This, or nothing; it must be the present password's.
    Claimed(Option<String>),
}

/// A good token of a user who was there when it was looked at.
pub struct Issued {
    index: usize,
    /// The issuer's name.
    issuer: Arc<str>,
    user: Arc<User>,
    issued_at: Option<Timestamp>,
    expires_at: Timestamp,
    password: PasswordPrint,
    /// The dates that can end it.
    ends: Vec<Digest>,
    /// The one of them that ends it without others of its user, where it has an id.
    own_end: Digest,
    own_end_kept_until: Timestamp,
    /// It has no `exp`, and `expires_at` is the issuer's `max_age`.
    is_too_old_after: bool,
}

/// Everything that issuers have to do with.
pub(super) struct Issuers {
    all: Vec<One>,
    pub(super) readings: Readings,
    users: Cache<UserKey, Arc<User>>,
    stamps: Arc<dyn Stamps>,
}

struct One {
    name: Arc<str>,
    directory: Watched,
    accept_until: Option<Timestamp>,
    issuer: Box<dyn Issuer>,
}

/// Opens an issuer's key. Here is the list of kinds.
fn open(settings: &IssuerSettings) -> Result<Box<dyn Issuer>, IssuerKeyError> {
    let key = key::read(settings)?;
    Ok(match &settings.kind {
        IssuerKind::SimpleJwt(kind) => {
            Box::new(simplejwt::SimpleJwt::new(key, kind, settings.leeway))
        }
        IssuerKind::Jwt { claim, max_age } => {
            Box::new(jwt::HandMade::new(key, claim, *max_age, settings.leeway))
        }
    })
}

/// Can its key be read and used?
///
/// # Errors
/// [`IssuerKeyError`] if not.
pub fn try_key(settings: &IssuerSettings) -> Result<(), IssuerKeyError> {
    open(settings).map(drop)
}

impl Issuers {
    /// Reads the keys.
    pub(super) fn open(
        settings: &[IssuerSettings],
        directories: &[Watched],
        stamps: Arc<dyn Stamps>,
    ) -> Result<Self, IssuerKeyError> {
        let mut all = Vec::with_capacity(settings.len());
        let mut readings = Readings::default();
        for (index, settings) in settings.iter().enumerate() {
            let directory = directories
                .iter()
                .find(|watched| watched.directory.name() == settings.directory)
                .ok_or_else(|| IssuerKeyError::no_directory(settings))?;
            readings.add(settings, index)?;
            all.push(One {
                name: settings.name.as_str().into(),
                directory: directory.beside(),
                accept_until: settings.accept_until,
                issuer: open(settings)?,
            });
        }
        Ok(Self { all, readings, users: Cache::new(USERS), stamps })
    }

    /// Whether nothing has ended it, and neither time has run out.
    fn holds(&self, issued: &Issued, at: Timestamp) -> Result<(), IssuedRefusal> {
        let accept_until = self.all.get(issued.index).and_then(|one| one.accept_until);
        if accept_until.is_some_and(|until| at >= until) {
            return Err(IssuedRefusal::NoLongerAccepted);
        }
        if at >= issued.expires_at {
            let is_old = issued.is_too_old_after;
            return Err(if is_old { IssuedRefusal::TooOld } else { IssuedRefusal::Expired });
        }
        let is_before = |end: Timestamp| {
            issued.issued_at.is_none_or(|issued_at| issued_at.as_secs() <= end.as_secs())
        };
        if issued.ends.iter().filter_map(|key| self.stamps.stamp(key)).any(is_before) {
            return Err(IssuedRefusal::Ended);
        }
        Ok(())
    }

    /// The user as the directory has them, asked at most every `recheck`.
    async fn known(
        &self,
        directory: &Watched,
        user: &User,
        at: Timestamp,
    ) -> Result<Arc<Known>, IssuedRefusal> {
        let known = user.look(directory, at).await?;
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

    async fn put(
        &self,
        key: Digest,
        at: Timestamp,
        kept_until: Timestamp,
    ) -> Result<(), IssuedRefusal> {
        let stamp = NewStamp { key, at, keep: Keep::Latest, kept_until };
        self.stamps.put(stamp).await.map(|_| ()).map_err(|error| unavailable(&error))
    }

    /// Ends all that issuers have given a user.
    pub(super) async fn end_user(&self, user: &UserKey, at: Timestamp) -> Result<(), StoreError> {
        if !self.all.iter().any(|one| one.directory.directory.name() == &*user.directory) {
            return Ok(());
        }
        self.stamps.put(end_of_user(user, at)).await.map(|_| ())
    }

    /// A token that was not remembered, with its user.
    async fn cold(
        &self,
        index: usize,
        token: &str,
        at: Timestamp,
    ) -> Result<Issued, IssuedRefusal> {
        let one = self.all.get(index).ok_or(IssuedRefusal::NoLongerAccepted)?;
        if one.accept_until.is_some_and(|until| at >= until) {
            return Err(IssuedRefusal::NoLongerAccepted);
        }
        let judged = one.issuer.judge(token, at)?;
        let key = UserKey::new(one.directory.directory.name(), &judged.user);
        let user = match self.users.get(&key) {
            Some(user) => user,
            None => {
                let user = Arc::new(User::new(key.clone()));
                // Only who is there is remembered: a token can name anybody.
                self.known(&one.directory, &user, at).await?;
                self.users.insert(key, Arc::clone(&user));
                user
            }
        };
        let (expires_at, is_too_old_after) = match (judged.expires_at, judged.max_age) {
            (Some(expires_at), _) => (expires_at, false),
            (None, Some(max_age)) => (self.first_seen(one, &user, at).await?.plus(max_age), true),
            (None, None) => (FOR_GOOD, false),
        };
        let own_end = match &judged.token_id {
            Some(id) => keyed(&["token", &one.name, id]),
            None => keyed(&["user", &one.name, &user.key.directory, &user.key.id]),
        };
        let own_end_kept_until = if judged.token_id.is_some() { expires_at } else { FOR_GOOD };
        let mut ends = vec![user.end, own_end];
        if judged.issued_at.is_some() {
            ends.push(user.password_end);
        }
        Ok(Issued {
            index,
            issuer: Arc::clone(&one.name),
            user,
            issued_at: judged.issued_at,
            expires_at,
            password: judged.password,
            ends,
            own_end,
            own_end_kept_until,
            is_too_old_after,
        })
    }

    async fn first_seen(
        &self,
        one: &One,
        user: &User,
        at: Timestamp,
    ) -> Result<Timestamp, IssuedRefusal> {
        let key = keyed(&["seen", &one.name, &user.key.directory, &user.key.id]);
        if let Some(seen) = self.stamps.stamp(&key) {
            return Ok(seen);
        }
        let stamp = NewStamp { key, at, keep: Keep::First, kept_until: FOR_GOOD };
        self.stamps.put(stamp).await.map_err(|error| unavailable(&error))
    }
}

impl Auth {
    /// The issuers' keys, one after another, until one has signed the token.
    pub(super) async fn issued(
        &self,
        shown: &Shown<'_>,
        at: Timestamp,
        happened: &mut Vec<What>,
    ) -> Result<(Arc<Issued>, Arc<Identity>), (Refusal, Proof)> {
        let mut refused: Vec<(usize, IssuedRefusal)> = Vec::new();
        for index in shown.issuers {
            match self.issued_by(*index, shown.token, at).await {
                Ok(found) => return Ok(found),
                Err(why) => {
                    refused.push((*index, why));
                    if !is_anothers(why) {
                        break;
                    }
                }
            }
        }
        // The last is the one that knew the token, if any did.
        let (index, why) = refused.last().copied().unwrap_or((0, IssuedRefusal::Malformed));
        for (index, why) in refused {
            if let Some(one) = self.issuers.all.get(index) {
                happened.push(What::IssuedRefused { issuer: Arc::clone(&one.name), why });
            }
        }
        Err((public(why), Proof::Issued(index)))
    }

    async fn issued_by(
        &self,
        index: usize,
        token: &str,
        at: Timestamp,
    ) -> Result<(Arc<Issued>, Arc<Identity>), IssuedRefusal> {
        let issuers = &self.issuers;
        let (issued, is_new) = match self.memory.recall_issued(index, token) {
            Some(issued) => (issued, false),
            None => (Arc::new(issuers.cold(index, token, at).await?), true),
        };
        let one = issuers.all.get(index).ok_or(IssuedRefusal::NoLongerAccepted)?;
        let known = issuers.known(&one.directory, &issued.user, at).await?;
        if let PasswordPrint::Claimed(print) = &issued.password
            && print.as_ref() != Some(&known.password_print)
        {
            return Err(IssuedRefusal::PasswordChanged);
        }
        // After the user was looked at: that look may have ended it.
        issuers.holds(&issued, at)?;
        if is_new {
            self.memory.remember_issued(index, token, Arc::clone(&issued));
        }
        Ok((issued, Arc::clone(&known.identity)))
    }

    /// Takes a token back; one without an id with all that its issuer has given its user without one.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn end_issued(
        &self,
        issued: &Issued,
        at: Timestamp,
        happened: &mut Vec<What>,
    ) -> Result<(), Refusal> {
        // Whatever the token says of its age, it is over.
        let end = issued.issued_at.map_or(at, |issued_at| at.max(issued_at));
        let stamp = NewStamp {
            key: issued.own_end,
            at: end,
            keep: Keep::Latest,
            kept_until: issued.own_end_kept_until,
        };
        self.issuers.stamps.put(stamp).await.map_err(super::store_failed)?;
        let (issuer, user) = (Arc::clone(&issued.issuer), issued.user.key.clone());
        happened.push(What::IssuedEnded { issuer, user });
        Ok(())
    }
}

impl Issued {
    /// The issuer's name.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What is presented with it.
    pub const fn proof(&self) -> Proof {
        Proof::Issued(self.index)
    }

    /// When it ends, if nothing happens.
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("issuer", &self.issuer)
            .field("user", &self.user.key)
            .finish()
    }
}

fn unavailable(error: &StoreError) -> IssuedRefusal {
    tracing::warn!(%error, "the store failed");
    IssuedRefusal::Unavailable
}

/// The date that ends all that issuers have given a user, for a store that no gateway has open.
pub fn end_of_user(user: &UserKey, at: Timestamp) -> NewStamp {
    NewStamp { key: user::end_of(user), at, keep: Keep::Latest, kept_until: FOR_GOOD }
}

/// A key of the store, from parts that hold no NUL.
fn keyed(parts: &[&str]) -> Digest {
    Digest::of(parts.join("\0").as_bytes())
}

#[cfg(test)]
mod tests;
