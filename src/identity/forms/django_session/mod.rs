//! `django-session`: a real session of the service's own, for views and an admin that want one.
//!
//! **The key** is made from the gateway's session id under a secret of the gateway's own. Nobody else can know it, only
//! the upstream ever sees it, and after a restart the same session is found again: with what the application keeps in it,
//! and to be deleted when the session ends. Where it is kept is [`kept`]'s; a session that is its cookie is [`signed`]'s.
//!
//! **Whose end is whose.** The gateway's session ends: the row goes. The service ends its session (its own sign-out, a
//! changed password, a row taken away): it tells so by taking the cookie away, or the row is missing when it is renewed,
//! and the gateway's session ends, instead of a new row undoing it. A row that had expired unseen is simply made again.
//!
//! **The cookie** never reaches the client. A new key (Django changes it when a password is changed) is taken over if the
//! session under it is the same user's; another user's is deleted, and the gateway's session ends.
//!
//! **`last_login`** is noted when a session is made, where that is asked for. It tells nobody who is calling, so that a
//! service where it cannot be written is only warned of.

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

/// As Django's own keys are written.
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const KEY_LENGTH: usize = 32;

/// Sessions that ended a moment ago, so that a request of theirs on its way makes no new row.
const ENDED: usize = 16_384;

/// Tries of a deletion, each after twice the wait of the last.
const DELETIONS: u32 = 6;

/// The form.
pub(super) struct DjangoSessionForm {
    cookie: String,
    way: SessionStorage,
    sign_ins: Option<SignIns>,
}

/// How the service keeps its sessions.
enum SessionStorage {
    /// Under a key, which is the cookie.
    Keyed(Box<Keyed>),
    /// In the cookie.
    Signed(Box<SignedCookies>),
}

/// What is done to the service's sessions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SessionsAccess {
    Write,
    /// It is said what would come of writing, and nothing is written.
    Look,
}

/// What the service has set the cookie to.
enum Set {
    AsBefore,
    /// A new session of the same user's.
    To(Box<DjangoLogin>),
    /// Nothing, or a session of somebody else's.
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
    /// `secret` is the gateway's own.
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
            (_, None) => return Err("this engine keeps no sessions".into()),
        };
        let sign_ins = settings.last_login.as_ref();
        let sign_ins = sign_ins.map(|settings| SignIns::new(settings, databases)).transpose()?;
        Ok(Self { cookie: settings.cookie.clone(), way, sign_ins })
    }

    /// The same form, that says what this session's caller would get and makes nothing.
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

    /// The name of the cookie.
    pub(super) fn cookie(&self) -> &str {
        &self.cookie
    }

    /// The value of the caller's cookie, which the service accepts.
    pub(super) async fn value(
        &self,
        known: &Known,
        directory: Option<&Directory>,
        at: Timestamp,
    ) -> Result<Secret, Refusal> {
        // Without a session of ours nothing would end the one that is made.
        let Some(session) = &known.session else {
            tracing::warn!("a caller without a session can have none in the service");
            return Err(Refusal::IdentityUnavailable);
        };
        let (value, is_new) = match &self.way {
            SessionStorage::Keyed(keyed) => keyed.key(session, known, directory, at).await?,
            SessionStorage::Signed(signed) => signed.cookie(session, known, directory, at).await?,
        };
        if let Some(sign_ins) = self.sign_ins.as_ref().filter(|_| is_new)
            && let Err(error) = sign_ins.note(&known.identity.key.id, at).await
        {
            tracing::warn!(%error, "the time of a sign-in cannot be noted in the service");
        }
        Ok(value)
    }

    /// Is it a session of the service's in which nobody is signed in? One that is not there may be in a copy that is not
    /// looked at, and one that cannot be read may be anybody's.
    pub(super) async fn is_nobodys(&self, cookie: &[u8], at: Timestamp) -> Result<bool, Refusal> {
        let Ok(cookie) = std::str::from_utf8(cookie) else { return Ok(false) };
        match &self.way {
            SessionStorage::Keyed(keyed) if is_a_key(cookie) => {
                keyed.kept.is_nobodys(cookie, &keyed.keys).await.map_err(|error| {
                    tracing::warn!(%error, "a stranger's session in the service cannot be read");
                    Refusal::IdentityUnavailable
                })
            }
            SessionStorage::Keyed(_) => Ok(false),
            SessionStorage::Signed(signed) => Ok(signed.is_nobodys(cookie, at)),
        }
    }

    /// The service has set the cookie, or taken it away (`None`), in answer to a request with the value `sent`.
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
            // Of which password it is says whether the caller's own request changed that.
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

    /// The gateway's session has ended.
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

    /// The key of the caller's session, and whether that was made now.
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
            tracing::warn!(%error, "a session in the service cannot be kept");
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
            // A request that began before the key changed: what is said of the old key is no news.
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
                // Ours ended while the service was at work: what it made then goes too.
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

    /// Deletes a row beside the requests; one that cannot be deleted now is tried again.
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

    /// The key of this session's row: 165 bits in Django's alphabet.
    fn name_of(&self, session: &SessionId) -> Secret {
        let mut name = String::with_capacity(KEY_LENGTH);
        let mut block: u8 = 0;
        while name.len() < KEY_LENGTH {
            let message = [&[block], session.as_str().as_bytes()].concat();
            let tag = hmac::sign(&self.names, &message);
            // 252 is the largest multiple of 36 below 256: no letter is likelier than another.
            let fair = tag.as_ref().iter().filter(|byte| **byte < 252);
            let letters = fair.filter_map(|byte| ALPHABET.get(usize::from(byte % 36)));
            name.extend(letters.take(KEY_LENGTH - name.len()).copied().map(char::from));
            block = block.wrapping_add(1);
        }
        Secret::new(name)
    }
}

/// Can the service have such a key?
fn is_a_key(text: &str) -> bool {
    session::KEY_LENGTHS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether a session is this user's, as the service would find today.
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

/// What is remembered of one session.
fn one_of<T: Clone>(live: &DashMap<SessionId, T>, session: &SessionId) -> DashMap<SessionId, T> {
    live.get(session).map(|known| (session.clone(), known.clone())).into_iter().collect()
}

/// Whether one session ended a moment ago.
fn marked(ended: &Cache<SessionId, ()>, session: &SessionId) -> Cache<SessionId, ()> {
    let one = Cache::new(1);
    if ended.get(session).is_some() {
        one.insert(session.clone(), ());
    }
    one
}

/// The service's `SECRET_KEY`, out of its file.
fn read_keys(settings: &config::DjangoSession) -> Result<SecretKeys, String> {
    let (bytes, _) = private_file::read(&settings.key_file).map_err(|error| error.to_string())?;
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| format!("{}: no SECRET_KEY", settings.key_file.display()))?;
    Ok(SecretKeys::new(Secret::new(text), Vec::new()))
}

#[cfg(test)]
mod tests;
