//! The cookies that services gave for users who signed in there (`directory.kind = "http"`).
//!
//! **Nothing is lost.** A jar is written with its session, and again before the answer that changed it goes on to the
//! client: an application that has just changed its session id would sign the user out if the gateway forgot the new one in
//! a crash. The store has it sealed, with AES-256-GCM under a key derived (HKDF-SHA256) from a secret of the gateway's own
//! that is not in the store, and bound to the session's id: a copy of the store is no way into the service, and a jar put
//! beside another session opens nothing.
//!
//! **No read for each request.** The sealed jar is in the session's record; opened, it is kept here while the session lives.
//!
//! **Two answers at once** are ordered as in a browser: the last that sets a cookie counts. That a cookie is taken away
//! counts only if the request had the current value: an application takes away what it does not know any more, also from
//! a request that was on its way while another had its session id changed.
//!
//! **The end** of a session, whatever ended it, ends the service's (`directory.logout`), beside the requests and with some
//! tries. A gateway that is killed in that moment leaves it to the service's own timeout.

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

/// Tries of a sign-out at the service, each after twice the wait of the last.
const SIGN_OUTS: u32 = 6;

/// Keeps the cookies of services.
pub struct ServiceCookies {
    key: Arc<RandomizedNonceKey>,
    sessions: Arc<dyn Sessions>,
    store: Arc<dyn SessionAttachments>,
    directories: Vec<Directory>,
    open: Arc<DashMap<SessionId, Arc<OpenJar>>>,
}

/// The jar of one session.
struct OpenJar {
    /// Whose cookies they are.
    directory: Arc<str>,
    jar: Mutex<Jar>,
    /// Held while the jar is written: what is written last is the last.
    writing: tokio::sync::Mutex<()>,
}

/// What came of an answer of the service's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TakenCookies {
    /// The session goes on.
    GoesOn,
    /// The service has taken the cookie away that was asked about.
    TakenAway,
}

impl ServiceCookies {
    /// `secret` is the gateway's own.
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
            .map_err(|_| "no key can be made for kept cookies".to_owned())?;
        let (key, open) = (Arc::new(key), Arc::default());
        Ok(Self { key, sessions, store, directories, open })
    }

    /// The same cookies, of services behind these directories.
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

    /// A jar for a session that is about to begin.
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

    /// The jar of a session. `None`: it has none, or none that can be opened.
    ///
    /// # Errors
    /// [`Refusal::SessionEnded`] if it does not live, [`Refusal::StoreUnavailable`]
    pub async fn jar(&self, session: &SessionId, at: Timestamp) -> Result<Option<Jar>, Refusal> {
        Ok(self.open(session, at).await?.map(|open| open.jar.lock().clone()))
    }

    /// Takes what the service says about its cookies, in answer to a request that `sent` these. Durable when this returns,
    /// and made so even if whoever waits for the answer goes away. If the store fails, the change is in memory and is
    /// written with the next.
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
                tracing::error!(%error, "a service's cookies were not kept");
            }
        }
        taken
    }

    /// Ends at the service, beside the requests, what a sign-in began there.
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
                    Err(error) => tracing::warn!(%error, "a session in the service goes on yet"),
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
            // It ended while the service was at work: what the service made then goes too.
            Ok(false) => self.sign_out(&open.directory, jar, at),
            Err(error) => tracing::warn!(%error, "a service's cookies cannot be kept"),
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
            // Its end was told before it was here, so nobody else takes it out.
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
            tracing::warn!(session = %session.id, "kept cookies cannot be opened: another secret sealed them");
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
