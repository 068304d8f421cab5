//! `django-session`: a real session in the service's own table, for views and an admin that want one.
//!
//! **The key** is made from the gateway's session id under a secret of the gateway's own. Nobody else can know it, only
//! the upstream ever sees it, and after a restart the same row is found again: with what the application keeps in it, and
//! to be deleted when the session ends.
//!
//! **Whose end is whose.** The gateway's session ends: the row goes. The service ends its session (its own sign-out, a
//! changed password, a row taken away): it tells so by taking the cookie away, or the row is missing when it is renewed,
//! and the gateway's session ends, instead of a new row undoing it. A row that had expired unseen is simply made again.
//!
//! **The cookie** never reaches the client. A new key (Django changes it when a password is changed) is taken over if the
//! session under it is the same user's; another user's is deleted, and the gateway's session ends.

mod rows;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use dashmap::DashMap;
use quick_cache::sync::Cache;

use self::rows::{Kept, Row, Rows};
use super::account;
use crate::caller::{Known, SessionId};
use crate::clock::Timestamp;
use crate::config;
use crate::directory::{Directory, private_file};
use crate::django::session::{Login, Proof, read_row};
use crate::django::signing::SecretKeys;
use crate::refusal::Refusal;
use crate::secret::Secret;

/// As Django's own keys are written.
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const KEY_LENGTH: usize = 32;

/// Sessions that ended a moment ago, so that a request of theirs on its way makes no new row.
const ENDED: usize = 16_384;

/// Tries of a deletion, each after twice the wait of the last.
const DELETIONS: u32 = 6;

pub(super) struct DjangoSessions {
    rows: Rows,
    access: Access,
    cookie: String,
    backend: String,
    keys: Arc<SecretKeys>,
    lifetime: Duration,
    names: hmac::Key,
    live: DashMap<SessionId, Live>,
    ended: Cache<SessionId, ()>,
}

/// What is done to the service's rows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Write,
    /// It is said what would come of writing, and nothing is written.
    Look,
}

#[derive(Clone)]
struct Live {
    key: Secret,
    renew_at: Timestamp,
    expires_at: Timestamp,
}

impl DjangoSessions {
    /// `secret` is the gateway's own.
    pub(super) fn new(settings: &config::DjangoSession, secret: &[u8]) -> Result<Self, String> {
        let (bytes, _) =
            private_file::read(&settings.key_file).map_err(|error| error.to_string())?;
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let text = std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| format!("{}: no SECRET_KEY", settings.key_file.display()))?;
        Ok(Self {
            rows: Rows::new(settings.database.clone(), &settings.table),
            access: Access::Write,
            cookie: settings.cookie.clone(),
            backend: settings.backend.clone(),
            keys: Arc::new(SecretKeys::new(Secret::new(text), Vec::new())),
            lifetime: settings.lifetime,
            names: hmac::Key::new(hmac::HMAC_SHA256, secret),
            live: DashMap::new(),
            ended: Cache::new(ENDED),
        })
    }

    /// The same form, that says what this session's caller would get and makes nothing.
    pub(super) fn aside(&self, session: &SessionId) -> Self {
        let live = DashMap::new();
        if let Some(known) = self.live.get(session) {
            live.insert(session.clone(), known.clone());
        }
        let ended = Cache::new(1);
        if self.ended.get(session).is_some() {
            ended.insert(session.clone(), ());
        }
        Self {
            rows: self.rows.clone(),
            access: Access::Look,
            cookie: self.cookie.clone(),
            backend: self.backend.clone(),
            keys: Arc::clone(&self.keys),
            lifetime: self.lifetime,
            names: self.names.clone(),
            live,
            ended,
        }
    }

    /// The name of the cookie.
    pub(super) fn cookie(&self) -> &str {
        &self.cookie
    }

    /// The key of the caller's session, which the service accepts.
    pub(super) async fn key(
        &self,
        known: &Known,
        directory: Option<&dyn Directory>,
        at: Timestamp,
    ) -> Result<Secret, Refusal> {
        // Without a session of ours nothing would end the one that is made.
        let Some(session) = &known.session else {
            tracing::warn!("a caller without a session can have none in the service");
            return Err(Refusal::IdentityUnavailable);
        };
        let live = self.live.get(session).map(|live| live.clone());
        if let Some(live) = live.as_ref().filter(|live| at < live.renew_at) {
            return Ok(live.key.clone());
        }
        let must_exist = live.as_ref().is_some_and(|live| at < live.expires_at);
        let key = live.map_or_else(|| self.name_of(session), |live| live.key);
        let account = account(known, directory).await?;
        let user = known.identity.key.id.to_string();
        let login =
            Login::new(user.clone(), self.backend.clone(), account.password.expose(), &self.keys);
        let expires_at = at.plus(self.lifetime);
        let row =
            Row { key: key.expose().to_owned(), data: login.to_row(&self.keys, at), expires_at };
        let (keys, backend, password) =
            (Arc::clone(&self.keys), self.backend.clone(), account.password);
        if self.access == Access::Look {
            return match self.rows.read(key.expose().to_owned()).await {
                Ok(None) if must_exist => Err(Refusal::SessionEnded),
                Ok(_) if self.ended.get(session).is_some() => Err(Refusal::SessionEnded),
                Ok(_) => Ok(key),
                Err(error) => {
                    tracing::warn!(%error, "the service's sessions cannot be looked at");
                    Err(Refusal::IdentityUnavailable)
                }
            };
        }
        let fits = move |data: &str| {
            matches!(read_row(data, &keys), Ok(Some(login)) if login.user_id == user
                && login.backend == backend
                && login.proof(password.expose(), &keys) == Proof::Current)
        };
        match self.rows.keep(row, must_exist, fits).await {
            Ok(Kept::There) => {}
            Ok(Kept::Gone) => return Err(Refusal::SessionEnded),
            Err(error) => {
                tracing::warn!(%error, "a session in the service cannot be kept");
                return Err(Refusal::IdentityUnavailable);
            }
        }
        let renew_at = at.plus(self.lifetime / 2);
        self.live.insert(session.clone(), Live { key: key.clone(), renew_at, expires_at });
        if self.ended.get(session).is_some() {
            self.session_ended(session);
            return Err(Refusal::SessionEnded);
        }
        Ok(key)
    }

    /// The service has set the cookie, or taken it away (`None`), in answer to a request with the key `sent`. Has it ended
    /// the session?
    pub(super) async fn ended_by(
        &self,
        known: &Known,
        sent: &Secret,
        set: Option<&str>,
        at: Timestamp,
    ) -> bool {
        let Some(session) = &known.session else { return false };
        let current = self.live.get(session).map(|live| live.key.clone());
        if current.is_some_and(|current| current != *sent) {
            // A request that began before the key changed: what is said of the old key is no news.
            return false;
        }
        let Some(new) = set else { return true };
        if new == sent.expose() {
            return false;
        }
        let theirs = match self.rows.read(new.to_owned()).await {
            Ok(Some(data)) => read_row(&data, &self.keys).ok().flatten(),
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(%error, "the service's new session cannot be read");
                None
            }
        };
        if theirs.is_some_and(|login| login.user_id == *known.identity.key.id) {
            let key = Secret::new(new);
            let live = Live { key, renew_at: at, expires_at: at.plus(self.lifetime) };
            self.live.insert(session.clone(), live);
            if self.ended.get(session).is_some() {
                // Ours ended while the service was at work: what it made then goes too.
                self.session_ended(session);
            }
            return false;
        }
        self.delete(Secret::new(new));
        true
    }

    /// The gateway's session has ended.
    pub(super) fn session_ended(&self, session: &SessionId) {
        self.ended.insert(session.clone(), ());
        let key = match self.live.remove(session) {
            Some((_, live)) => live.key,
            None => self.name_of(session),
        };
        self.delete(key);
    }

    /// Deletes a row beside the requests; one that cannot be deleted now is tried again.
    fn delete(&self, key: Secret) {
        if self.access == Access::Look {
            return;
        }
        let rows = self.rows.clone();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            for tried in 0..DELETIONS {
                match rows.delete(key.expose().to_owned()).await {
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

#[cfg(test)]
mod tests;
