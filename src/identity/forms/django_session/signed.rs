//! Makes sessions of the engine `signed_cookies`: the session *is* the cookie, and nothing is written anywhere.
//!
//! **Its age.** Django accepts such a cookie until `SESSION_COOKIE_AGE` after its signature's time. So the gateway dates the
//! signature back, which makes the cookie valid for the form's `lifetime` only; after half of that it is signed again. It
//! cannot be revoked, but nobody has it who could use it: the client never sees it, and the gateway no longer sends it.
//!
//! **What the application stores** in its session comes back in a new cookie, which stays in the gateway's memory and is sent
//! with the caller's next request. It is lost when the gateway restarts.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;

use super::super::account;
use super::{ENDED, Set, is_theirs, marked, one_of};
use crate::caller::{Known, SessionId};
use crate::clock::Timestamp;
use crate::directory::Directory;
use crate::django::session::{DjangoLogin, read_cookie, sign_cookie_again};
use crate::django::signing::SecretKeys;
use crate::refusal::Refusal;
use crate::secret::Secret;
use quick_cache::sync::Cache;

pub(super) struct SignedCookies {
    keys: Arc<SecretKeys>,
    backend: String,
    lifetime: Duration,
    max_age: Duration,
    live: DashMap<SessionId, LiveSignedSession>,
    ended: Cache<SessionId, ()>,
}

#[derive(Clone)]
struct LiveSignedSession {
    cookie: Secret,
    renew_at: Timestamp,
}

impl SignedCookies {
    pub(super) fn new(
        keys: Arc<SecretKeys>,
        backend: &str,
        lifetime: Duration,
        max_age: Duration,
    ) -> Self {
        Self {
            keys,
            backend: backend.to_owned(),
            lifetime: lifetime.min(max_age),
            max_age,
            live: DashMap::new(),
            ended: Cache::new(ENDED),
        }
    }

    /// Returns a copy for one session. What the copy stores from then on affects nobody else.
    pub(super) fn read_only(&self, session: &SessionId) -> Self {
        Self {
            keys: Arc::clone(&self.keys),
            backend: self.backend.clone(),
            lifetime: self.lifetime,
            max_age: self.max_age,
            live: one_of(&self.live, session),
            ended: marked(&self.ended, session),
        }
    }

    /// Returns the caller's cookie, and whether it is the first.
    pub(super) async fn cookie(
        &self,
        session: &SessionId,
        known: &Known,
        directory: Option<&Directory>,
        at: Timestamp,
    ) -> Result<(Secret, bool), Refusal> {
        let live = self.live.get(session).map(|live| live.clone());
        if let Some(live) = live.as_ref().filter(|live| at < live.renew_at) {
            return Ok((live.cookie.clone(), false));
        }
        let account = account(known, directory).await?;
        let user = known.identity.key.id.to_string();
        let signed_at = at.plus(self.lifetime).minus(self.max_age);
        // The application's data is carried over, if the cookie is still for this user with this password.
        let again = live.and_then(|live| {
            let cookie = live.cookie.expose();
            let login = read_cookie(cookie, &self.keys, at, self.max_age).ok().flatten()?;
            let password = account.password.expose();
            let good = is_theirs(&login, &user, &self.backend, password, &self.keys);
            good.then(|| sign_cookie_again(cookie, &self.keys, signed_at).ok()).flatten()
        });
        let is_first = again.is_none();
        let cookie = Secret::new(again.unwrap_or_else(|| {
            let password = account.password.expose();
            DjangoLogin::new(user.clone(), self.backend.clone(), password, &self.keys)
                .to_cookie(&self.keys, signed_at)
        }));
        self.keep(session, cookie.clone(), at.plus(self.lifetime / 2));
        Ok((cookie, is_first))
    }

    /// Whether the cookie is a session in which nobody is signed in.
    pub(super) fn is_nobodys(&self, cookie: &str, at: Timestamp) -> bool {
        matches!(read_cookie(cookie, &self.keys, at, self.max_age), Ok(None))
    }

    pub(super) const fn keys(&self) -> &Arc<SecretKeys> {
        &self.keys
    }

    /// Handles that the service has set the cookie, or deleted it (`None`).
    pub(super) fn set_to(
        &self,
        session: &SessionId,
        known: &Known,
        set: Option<&str>,
        at: Timestamp,
    ) -> Set {
        let Some(new) = set else { return Set::Ended };
        let login = read_cookie(new, &self.keys, at, self.max_age).ok().flatten();
        let login = login.filter(|login| login.user_id == *known.identity.key.id);
        let Some(login) = login else { return Set::Ended };
        // The service's own signature is used now; the gateway signs it with its own time when it is next needed.
        self.keep(session, Secret::new(new), at.plus(self.lifetime / 2));
        Set::To(Box::new(login))
    }

    pub(super) fn session_ended(&self, session: &SessionId) {
        self.ended.insert(session.clone(), ());
        self.live.remove(session);
    }

    fn keep(&self, session: &SessionId, cookie: Secret, renew_at: Timestamp) {
        self.live.insert(session.clone(), LiveSignedSession { cookie, renew_at });
        if self.ended.get(session).is_some() {
            self.live.remove(session);
        }
    }
}
