//! The form `django-session`: makes a real session of the service, for views and an admin that need one.
//!
//! **The key** is derived from the gateway's session id under a secret of the gateway's own. Nobody else can compute it and
//! only the upstream ever sees it. After a restart the same session is found again, with what the application has stored in
//! it, so that it can be deleted when the gateway's session ends. [`kept`] stores it; [`signed`] has sessions that are their
//! cookie.
//!
//! **Ends.** When the gateway's session ends, the row is deleted. When the service ends its session (its own sign-out, a
//! changed password, a deleted row), it deletes the cookie, or the row is missing when it is renewed; the gateway's session
//! then ends, because a new row would undo that. A row that had expired unnoticed is simply made again.
//!
//! **The cookie** never reaches the client. A new key (Django changes it when a password is changed) is adopted if the
//! session under it is the same user's; another user's session is deleted, and the gateway's session ends.
//!
//! **`last_login`** is written when a session is made, if that is configured. It does not affect who the caller is, so if it
//! cannot be written, there is only a warning.

mod kept;
mod rows;
mod signed;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use dashmap::DashMap;
use quick_cache::sync::Cache;

use self::kept::{KeptChange, KeptSession, WantedSession};
use self::rows::SignIns;
use self::signed::SignedCookies;
use super::{FormOutcome, account};
use crate::caller::{Known, SessionId};
use crate::clock::Timestamp;
use crate::config::{self, FormEngine};
use crate::directory::Directory;
use crate::django::session::{self, DjangoLogin, SessionProof};
use crate::django::signing::SecretKeys;
use crate::private_file;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::service::database::Databases;

/// The alphabet of Django's own keys.
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const KEY_LENGTH: usize = 32;

/// The number of recently ended sessions that are remembered, so that a late request of theirs makes no new row.
const ENDED: usize = 16_384;

/// The number of attempts to delete a row, each after twice the wait of the one before.
const DELETIONS: u32 = 6;

/// The form `django-session`.
pub(super) struct DjangoSessionForm {
    cookie: String,
    way: SessionStorage,
    sign_ins: Option<SignIns>,
}

/// How the service stores its sessions.
enum SessionStorage {
    /// Under a key, which is the cookie's value.
    Keyed(Box<Keyed>),
    /// In the cookie itself.
    Signed(Box<SignedCookies>),
}

/// Whether the service's sessions may be changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SessionsAccess {
    Write,
    /// Nothing is written; the form only reports what writing would give.
    Look,
}

/// What the service has set its cookie to.
enum Set {
    AsBefore,
    /// A new session of the same user.
    To(Box<DjangoLogin>),
    /// No session, or another user's session.
    Ended,
}

struct Keyed {
    kept: Arc<KeptSession>,
    access: SessionsAccess,
    backend: String,
    keys: Arc<SecretKeys>,
    lifetime: Duration,
    names: hmac::Key,
    live: DashMap<SessionId, LiveDjangoSession>,
    ended: Cache<SessionId, ()>,
}

#[derive(Clone)]
struct LiveDjangoSession {
    key: Secret,
    renew_at: Timestamp,
    expires_at: Timestamp,
}

impl DjangoSessionForm {
    /// Makes the form. `secret` is the gateway's own.
    pub(super) fn new(
        settings: &config::DjangoSession,
        secret: &[u8],
        databases: &Databases,
    ) -> Result<Self, String> {
        let keys = Arc::new(read_keys(settings)?);
        let way = match (&settings.engine, KeptSession::open(&settings.engine, databases)?) {
            (_, Some(kept)) => SessionStorage::Keyed(Box::new(Keyed {
                kept: Arc::new(kept),
                access: SessionsAccess::Write,
                backend: settings.backend.clone(),
                keys,
                lifetime: settings.lifetime,
                names: hmac::Key::new(hmac::HMAC_SHA256, secret),
                live: DashMap::new(),
                ended: Cache::new(ENDED),
            })),
            (FormEngine::SignedCookies { max_age }, None) => {
                let (backend, lifetime) = (&settings.backend, settings.lifetime);
                SessionStorage::Signed(Box::new(SignedCookies::new(
                    keys, backend, lifetime, *max_age,
                )))
            }
            (_, None) => return Err("this engine stores no sessions".into()),
        };
        let sign_ins = settings.last_login.as_ref();
        let sign_ins = sign_ins.map(|settings| SignIns::new(settings, databases)).transpose()?;
        Ok(Self { cookie: settings.cookie.clone(), way, sign_ins })
    }

    /// Returns a copy of the form that reports what this session's caller would get, and writes nothing.
    pub(super) fn read_only(&self, session: &SessionId) -> Self {
        let way = match &self.way {
            SessionStorage::Keyed(keyed) => {
                SessionStorage::Keyed(Box::new(keyed.read_only(session)))
            }
            SessionStorage::Signed(signed) => {
                SessionStorage::Signed(Box::new(signed.read_only(session)))
            }
        };
        Self { cookie: self.cookie.clone(), way, sign_ins: None }
    }

    /// Returns the name of the cookie.
    pub(super) fn cookie(&self) -> &str {
        &self.cookie
    }

    /// Returns the value of the caller's cookie, which the service accepts.
    pub(super) async fn value(
        &self,
        known: &Known,
        directory: Option<&Directory>,
        at: Timestamp,
    ) -> Result<Secret, Refusal> {
        // Without a session of the gateway nothing would end the session made here.
        let Some(session) = &known.session else {
            tracing::warn!("a caller without a session cannot have one in the service");
            return Err(Refusal::IdentityUnavailable);
        };
        let (value, is_new) = match &self.way {
            SessionStorage::Keyed(keyed) => keyed.key(session, known, directory, at).await?,
            SessionStorage::Signed(signed) => signed.cookie(session, known, directory, at).await?,
        };
        if let Some(sign_ins) = self.sign_ins.as_ref().filter(|_| is_new)
            && let Err(error) = sign_ins.note(&known.identity.key.id, at).await
        {
            tracing::warn!(%error, "the time of a sign-in cannot be written to the service's database");
        }
        Ok(value)
    }

    /// Whether the cookie is a session of the service in which nobody is signed in. `false` for a missing session, which may
    /// be in a copy that is not read, and for one that cannot be read, which may be anybody's.
    pub(super) async fn is_nobodys(&self, cookie: &[u8], at: Timestamp) -> Result<bool, Refusal> {
        let Ok(cookie) = std::str::from_utf8(cookie) else { return Ok(false) };
        match &self.way {
            SessionStorage::Keyed(keyed) if is_a_key(cookie) => {
                keyed.kept.is_nobodys(cookie, &keyed.keys).await.map_err(|error| {
                    tracing::warn!(%error, "an anonymous session in the service cannot be read");
                    Refusal::IdentityUnavailable
                })
            }
            SessionStorage::Keyed(_) => Ok(false),
            SessionStorage::Signed(signed) => Ok(signed.is_nobodys(cookie, at)),
        }
    }

    /// Handles that the service has set the cookie, or deleted it (`None`), in its answer to a request with the value `sent`.
    pub(super) async fn answered(
        &self,
        known: &Known,
        directory: Option<&Directory>,
        sent: &Secret,
        set: Option<&str>,
        at: Timestamp,
    ) -> FormOutcome {
        let Some(session) = &known.session else { return FormOutcome::GoesOn };
        let (became, keys) = match &self.way {
            SessionStorage::Keyed(keyed) => {
                (keyed.set_to(session, known, sent, set, at).await, &keyed.keys)
            }
            SessionStorage::Signed(signed) => {
                (signed.set_to(session, known, set, at), signed.keys())
            }
        };
        match became {
            Set::AsBefore => FormOutcome::GoesOn,
            Set::Ended => FormOutcome::Ended,
            // The password that the session is for shows whether the caller's own request changed the password.
            Set::To(login) => match account(known, directory).await {
                Ok(account)
                    if login.proof(account.password.expose(), keys) == SessionProof::Current =>
                {
                    FormOutcome::Proved(account.password_mark())
                }
                Ok(_) | Err(_) => FormOutcome::GoesOn,
            },
        }
    }

    /// Handles the end of the gateway's session.
    pub(super) fn session_ended(&self, session: &SessionId) {
        match &self.way {
            SessionStorage::Keyed(keyed) => keyed.session_ended(session),
            SessionStorage::Signed(signed) => signed.session_ended(session),
        }
    }
}

impl Keyed {
    fn read_only(&self, session: &SessionId) -> Self {
        Self {
            kept: Arc::clone(&self.kept),
            access: SessionsAccess::Look,
            backend: self.backend.clone(),
            keys: Arc::clone(&self.keys),
            lifetime: self.lifetime,
            names: self.names.clone(),
            live: one_of(&self.live, session),
            ended: marked(&self.ended, session),
        }
    }

    /// Returns the key of the caller's session, and whether that was made just now.
    async fn key(
        &self,
        session: &SessionId,
        known: &Known,
        directory: Option<&Directory>,
        at: Timestamp,
    ) -> Result<(Secret, bool), Refusal> {
        let live = self.live.get(session).map(|live| live.clone());
        if let Some(live) = live.as_ref().filter(|live| at < live.renew_at) {
            return Ok((live.key.clone(), false));
        }
        let must_exist = live.as_ref().is_some_and(|live| at < live.expires_at);
        let key = live.map_or_else(|| self.name_of(session), |live| live.key);
        let account = account(known, directory).await?;
        let (user, password) = (known.identity.key.id.to_string(), account.password.expose());
        let login = DjangoLogin::new(user.clone(), self.backend.clone(), password, &self.keys);
        let fits =
            |login: &DjangoLogin| is_theirs(login, &user, &self.backend, password, &self.keys);
        let lifetime = self.lifetime;
        let wanted = WantedSession { key: key.expose(), login: &login, at, lifetime, must_exist };
        let became = match self.access {
            SessionsAccess::Write => self.kept.keep(&wanted, &self.keys, fits).await,
            SessionsAccess::Look => self.kept.look(&wanted).await,
        };
        let became = became.map_err(|error| {
            tracing::warn!(%error, "a session cannot be stored in the service");
            Refusal::IdentityUnavailable
        })?;
        if became == KeptChange::Gone {
            return Err(Refusal::SessionEnded);
        }
        let (renew_at, expires_at) = (at.plus(lifetime / 2), at.plus(lifetime));
        self.live
            .insert(session.clone(), LiveDjangoSession { key: key.clone(), renew_at, expires_at });
        if self.ended.get(session).is_some() {
            self.session_ended(session);
            return Err(Refusal::SessionEnded);
        }
        Ok((key, became == KeptChange::Made))
    }

    async fn set_to(
        &self,
        session: &SessionId,
        known: &Known,
        sent: &Secret,
        set: Option<&str>,
        at: Timestamp,
    ) -> Set {
        let current = self.live.get(session).map(|live| live.key.clone());
        if current.is_some_and(|current| current != *sent) {
            // The request began before the key changed, so an answer about the old key is outdated.
            return Set::AsBefore;
        }
        let Some(new) = set else { return Set::Ended };
        if new == sent.expose() {
            return Set::AsBefore;
        }
        let theirs = self.kept.read(new, &self.keys).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the service's new session cannot be read");
            None
        });
        let theirs = theirs.filter(|login| login.user_id == *known.identity.key.id);
        if let Some(login) = theirs {
            let key = Secret::new(new);
            let live = LiveDjangoSession { key, renew_at: at, expires_at: at.plus(self.lifetime) };
            self.live.insert(session.clone(), live);
            if self.ended.get(session).is_some() {
                // The gateway's session ended while the service was at work: the session that it made is deleted too.
                self.session_ended(session);
            }
            return Set::To(Box::new(login));
        }
        self.delete(Secret::new(new));
        Set::Ended
    }

    fn session_ended(&self, session: &SessionId) {
        self.ended.insert(session.clone(), ());
        let key = match self.live.remove(session) {
            Some((_, live)) => live.key,
            None => self.name_of(session),
        };
        self.delete(key);
    }

    /// Deletes a row in the background, with several attempts.
    fn delete(&self, key: Secret) {
        if self.access == SessionsAccess::Look {
            return;
        }
        let kept = Arc::clone(&self.kept);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            for tried in 0..DELETIONS {
                match kept.delete(key.expose()).await {
                    Ok(()) => return,
                    Err(error) => {
                        tracing::warn!(%error, "a session in the service cannot be deleted yet");
                    }
                }
                tokio::time::sleep(Duration::from_secs(1 << tried)).await;
            }
        });
    }

    /// Derives the key of this session's row: 165 bits in Django's alphabet.
    fn name_of(&self, session: &SessionId) -> Secret {
        let mut name = String::with_capacity(KEY_LENGTH);
        let mut block: u8 = 0;
        while name.len() < KEY_LENGTH {
            let message = [&[block], session.as_str().as_bytes()].concat();
            let tag = hmac::sign(&self.names, &message);
            // 252 is the largest multiple of 36 below 256, so that all letters are equally likely.
            let fair = tag.as_ref().iter().filter(|byte| **byte < 252);
            let letters = fair.filter_map(|byte| ALPHABET.get(usize::from(byte % 36)));
            name.extend(letters.take(KEY_LENGTH - name.len()).copied().map(char::from));
            block = block.wrapping_add(1);
        }
        Secret::new(name)
    }
}

/// Whether the service can have such a key.
fn is_a_key(text: &str) -> bool {
    session::KEY_LENGTHS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether the service would now accept the session as this user's.
fn is_theirs(
    login: &DjangoLogin,
    user: &str,
    backend: &str,
    password: &str,
    keys: &SecretKeys,
) -> bool {
    login.user_id == user
        && login.backend == backend
        && login.proof(password, keys) == SessionProof::Current
}

/// Copies the entry of one session.
fn one_of<T: Clone>(live: &DashMap<SessionId, T>, session: &SessionId) -> DashMap<SessionId, T> {
    live.get(session).map(|known| (session.clone(), known.clone())).into_iter().collect()
}

/// Copies the mark that one session has recently ended.
fn marked(ended: &Cache<SessionId, ()>, session: &SessionId) -> Cache<SessionId, ()> {
    let one = Cache::new(1);
    if ended.get(session).is_some() {
        one.insert(session.clone(), ());
    }
    one
}

/// Reads the service's `SECRET_KEY` from its file.
fn read_keys(settings: &config::DjangoSession) -> Result<SecretKeys, String> {
    let (bytes, _) = private_file::read(&settings.key_file).map_err(|error| error.to_string())?;
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| format!("{}: no SECRET_KEY", settings.key_file.display()))?;
    Ok(SecretKeys::new(Secret::new(text), Vec::new()))
}

#[cfg(test)]
mod tests;
