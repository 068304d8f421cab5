//! Stores the cookies that services gave for users who signed in there (`directory.kind = "http"`).
//!
//! **Nothing is lost.** A jar is written with its session, and again before the answer that changed it is forwarded to the
//! client: if an application has just changed its session id and the gateway lost the new one in a crash, the user would be
//! signed out. The jar is sealed in the store, with AES-256-GCM under a key derived (HKDF-SHA256) from a secret of the gateway
//! that is not in the store, and bound to the session's id: a copy of the store gives no access to the service, and a jar moved
//! to another session cannot be opened.
//!
//! **No read per request.** The sealed jar is in the session's record; the opened jar stays in memory while the session lives.
//!
//! **Two answers at once** are ordered as in a browser: the last one that sets a cookie counts. Removing a cookie counts only
//! if the request had its current value: an application removes a session id that it no longer knows, also in answer to a
//! request that was in flight while another changed the id.
//!
//! **The end** of a session, for any reason, ends the service's session (`directory.logout`), outside of the requests and with
//! several tries. If the gateway is killed at that moment, the service's own timeout ends it.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf;
use dashmap::DashMap;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::caller::SessionId;
use crate::clock::Timestamp;
use crate::directory::Directory;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::store::notifying::SessionEnded;
use crate::store::{Session, SessionAttachments, SessionBy, Sessions};
use crate::wire::jar::{CookieChange, Jar};

/// The number of tries to sign out at the service; the wait doubles after each.
const SIGN_OUTS: u32 = 6;

/// The cookies of services, by session.
pub struct ServiceCookies {
    key: Arc<RandomizedNonceKey>,
    sessions: Arc<dyn Sessions>,
    store: Arc<dyn SessionAttachments>,
    directories: Vec<Directory>,
    open: Arc<DashMap<SessionId, Arc<OpenJar>>>,
}

/// The jar of one session.
struct OpenJar {
    /// The directory of the service that gave the cookies.
    directory: Arc<str>,
    jar: Mutex<Jar>,
    /// The lock that is held while the jar is written, so that the last change is written last.
    writing: tokio::sync::Mutex<()>,
}

/// The effect of a service's answer on its session cookie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TakenCookies {
    /// The session in the service goes on.
    GoesOn,
    /// The service has removed its session cookie.
    TakenAway,
}

impl ServiceCookies {
    /// Creates the cookies of services. `secret` is the gateway's own.
    ///
    /// # Errors
    /// If no key can be derived from it.
    pub fn new(
        secret: &[u8],
        sessions: Arc<dyn Sessions>,
        store: Arc<dyn SessionAttachments>,
        directories: Vec<Directory>,
    ) -> Result<Self, String> {
        let mut key = Zeroizing::new([0; 32]);
        let key = hkdf::Salt::new(hkdf::HKDF_SHA256, b"doorwarden kept cookies")
            .extract(secret)
            .expand(&[b"seal"], &AES_256_GCM)
            .and_then(|okm| okm.fill(key.as_mut_slice()))
            .and_then(|()| RandomizedNonceKey::new(&AES_256_GCM, key.as_slice()))
            .map_err(|_| "no key can be derived for stored cookies".to_owned())?;
        let (key, open) = (Arc::new(key), Arc::default());
        Ok(Self { key, sessions, store, directories, open })
    }

    /// Returns the same cookies for services of these directories.
    #[must_use]
    pub fn of(&self, directories: Vec<Directory>) -> Self {
        Self {
            key: Arc::clone(&self.key),
            sessions: Arc::clone(&self.sessions),
            store: Arc::clone(&self.store),
            directories,
            open: Arc::clone(&self.open),
        }
    }

    /// Seals the jar of a session that is about to begin.
    pub(super) fn seal(&self, session: &SessionId, jar: &Jar) -> Result<Arc<Vec<u8>>, Refusal> {
        let mut bytes = jar.to_bytes();
        let bound_to = Aad::from(session.as_str().as_bytes());
        let nonce = self
            .key
            .seal_in_place_append_tag(bound_to, &mut bytes)
            .map_err(|_| Refusal::Internal)?;
        bytes.extend_from_slice(nonce.as_ref());
        Ok(Arc::new(bytes))
    }

    /// Returns the jar of a session. `None` if it has no jar, or none that can be opened.
    ///
    /// # Errors
    /// [`Refusal::SessionEnded`] if the session is not live, [`Refusal::StoreUnavailable`]
    pub async fn jar(&self, session: &SessionId, at: Timestamp) -> Result<Option<Jar>, Refusal> {
        Ok(self.open(session, at).await?.map(|open| open.jar.lock().clone()))
    }

    /// Applies the cookie changes in the service's answer to a request that `sent` these cookies. The changes are durable when
    /// this returns, even if the waiting client disconnects. If the store fails, they stay in memory and are written with the
    /// next.
    pub async fn answered(
        self: &Arc<Self>,
        session: &SessionId,
        sent: &[(String, Secret)],
        changes: Vec<CookieChange>,
        session_cookie: &str,
        at: Timestamp,
    ) -> TakenCookies {
        let Ok(Some(open)) = self.open(session, at).await else { return TakenCookies::GoesOn };
        let mut taken = TakenCookies::GoesOn;
        let mut changed = false;
        {
            let mut jar = open.jar.lock();
            for change in changes {
                let was =
                    sent.iter().find(|(name, _)| *name == change.name).map(|(_, value)| value);
                if change.to.is_none() && jar.get(&change.name, at) != was {
                    continue;
                }
                if change.name == session_cookie {
                    // The last line counts, as in a browser.
                    let is_over = change.to.is_none();
                    taken = if is_over { TakenCookies::TakenAway } else { TakenCookies::GoesOn };
                }
                changed |= jar.apply(change);
            }
        }
        if changed {
            let (this, session) = (Arc::clone(self), session.clone());
            let written = tokio::spawn(async move { this.write(&session, &open, at).await });
            if let Err(error) = written.await {
                tracing::error!(%error, "a service's cookies were not stored");
            }
        }
        taken
    }

    /// Ends the service's session in the background.
    pub(super) fn sign_out(&self, directory: &str, jar: Jar, at: Timestamp) {
        let found = self.directories.iter().find(|one| one.name() == directory);
        let Some(Directory::Service(service)) = found.filter(|_| !jar.is_empty()).cloned() else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            for tried in 0..SIGN_OUTS {
                match service.sign_out(jar.clone(), at).await {
                    Ok(()) => return,
                    Err(error) => tracing::warn!(%error, "a service's session has not ended yet"),
                }
                tokio::time::sleep(Duration::from_secs(1 << tried)).await;
            }
        });
    }

    async fn write(&self, session: &SessionId, open: &OpenJar, at: Timestamp) {
        let _last = open.writing.lock().await;
        let jar = open.jar.lock().clone();
        let Ok(sealed) = self.seal(session, &jar) else { return };
        match self.store.keep(session, sealed).await {
            Ok(true) => {}
            // The session ended while the service was at work, so whatever the service created then is ended too.
            Ok(false) => self.sign_out(&open.directory, jar, at),
            Err(error) => tracing::warn!(%error, "a service's cookies cannot be stored"),
        }
    }

    async fn open(
        &self,
        session: &SessionId,
        at: Timestamp,
    ) -> Result<Option<Arc<OpenJar>>, Refusal> {
        if let Some(open) = self.open.get(session) {
            return Ok(Some(Arc::clone(&open)));
        }
        let found = self.sessions.find(SessionBy::Id(session), at).await;
        let found = found.map_err(super::store_failed)?.ok_or(Refusal::SessionEnded)?;
        let Some(jar) = self.unseal(&found) else { return Ok(None) };
        let new = OpenJar {
            directory: Arc::clone(&found.identity.load().key.directory),
            jar: Mutex::new(jar),
            writing: tokio::sync::Mutex::default(),
        };
        let held = self.open.entry(session.clone()).or_insert_with(|| Arc::new(new));
        let open = Arc::clone(&held);
        drop(held);
        if !found.is_live(at) {
            // The end was reported before the jar was inserted, so nobody else removes it.
            self.open.remove(session);
            return Err(Refusal::SessionEnded);
        }
        Ok(Some(open))
    }

    fn unseal(&self, session: &Session) -> Option<Jar> {
        let mut sealed = session.kept.load().as_ref()?.to_vec();
        let nonce = sealed.split_off(sealed.len().checked_sub(NONCE_LEN)?);
        let nonce = Nonce::try_assume_unique_for_key(&nonce).ok()?;
        let bound_to = Aad::from(session.id.as_str().as_bytes());
        let opened = self.key.open_in_place(nonce, bound_to, &mut sealed).ok();
        let jar = opened.and_then(|bytes| Jar::from_bytes(bytes));
        if jar.is_none() {
            tracing::warn!(session = %session.id, "stored cookies cannot be decrypted: another secret encrypted them");
        }
        jar
    }
}

impl SessionEnded for ServiceCookies {
    fn session_ended(&self, session: &Session) {
        let open = self.open.remove(&session.id);
        let jar = open.map(|(_, open)| open.jar.lock().clone()).or_else(|| self.unseal(session));
        if let Some(jar) = jar {
            let directory = Arc::clone(&session.identity.load().key.directory);
            self.sign_out(&directory, jar, session.last_used());
        }
    }
}
