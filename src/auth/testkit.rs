//! What tests of this folder, and of those above it, need to have somebody signed in.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::caller::{Identity, SessionId, UserKey};
use crate::clock::Timestamp;
use crate::config::{Algorithm, Issues, Login, Rotation, SessionSettings, Tokens};
use crate::secret::Digest;
use crate::store::{NewSession, Session};

/// 2026-11-23T08:34:39Z
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_795_422_879);

/// Token settings with a key in `directory`.
pub(crate) fn tokens(directory: &Path) -> Tokens {
    Tokens {
        algorithm: Algorithm::EdDsa,
        signing_key_file: directory.join("signing-key"),
        access_lifetime: Duration::from_secs(300),
        refresh_lifetime: Duration::from_secs(14 * 86_400),
        rotation: Rotation::SingleUse,
        refresh_grace: Duration::from_secs(10),
        issuer: "doorwarden".into(),
        audience: "doorwarden".into(),
        user_id_claim: "user_id".into(),
    }
}

/// Session settings with the defaults.
pub(crate) fn session_settings() -> SessionSettings {
    SessionSettings {
        cookie: "__Host-doorwarden".into(),
        idle_timeout: Duration::from_secs(86_400),
        absolute_timeout: Duration::from_secs(30 * 86_400),
        trusted_origins: Vec::new(),
        danger_plain_http_cookies: false,
    }
}

/// Sign-in settings: one hashing thread, limits that few tests reach.
pub(crate) fn login() -> Login {
    Login {
        issues: Issues::Both,
        title: String::new(),
        links: Vec::new(),
        hash_threads: 1,
        hash_queue: 64,
        account_failures: 5,
        address_failures: 50,
        network_failures: 100,
        first_wait: Duration::from_secs(1),
        longest_wait: Duration::from_secs(900),
        forget_after: Duration::from_secs(3600),
    }
}

/// A user of the directory `django` called `user<id>`.
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

/// A session of user `user` that began at [`NOW`].
pub(crate) fn session(id: &str, user: &str) -> Arc<Session> {
    Session::begin(&NewSession {
        id: SessionId::new(id),
        identity: identity(user),
        password_mark: Digest::of(b"password"),
        cookie: None,
        at: NOW,
        expires_at: NOW.plus(session_settings().absolute_timeout),
        idle_timeout: session_settings().idle_timeout,
        client: None,
        agent: String::new(),
        refresh: None,
    })
}
