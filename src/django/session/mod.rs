//! Reads and writes Django's sessions: rows of `django_session`, cookies, and cache entries.
//!
//! Rows and cookies are a signed text (see [`signing`](super::signing)) over JSON, usually compressed. Only the three members
//! of the JSON that name the signed-in user are read; the rest belongs to the application. What a session claims is not yet
//! an identity. Django's `get_user()` checks four more things, in this order, and the first three need what this module does
//! not have: that [`DjangoLogin::backend`] is among the service's `AUTHENTICATION_BACKENDS`, that the user exists, that it is
//! active, and that [`DjangoLogin::proof`] against the user's current password is not [`SessionProof::Void`].
//!
//! A row expires at its `expire_date`, a column; the time in its signature does not count. A cookie has only that time. A
//! session that is stored only in a cache is a pickle ([`pickle`](self)) without a signature: whoever can write there can
//! impersonate any user, to Django and to this reader.

mod json;
mod pickle;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod vectors;

use std::io::Read as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::read::ZlibDecoder;
use subtle::ConstantTimeEq;

use super::signing::{NotSigned, SecretKeys, Signed, Signer, salted_hmac};
use crate::clock::Timestamp;
use crate::secret::Secret;

/// Django's salt for rows, whichever engine stores them. A project's own subclass of `SessionStore` with another name has
/// another salt.
const ROW_SALT: &str = "django.contrib.sessions.SessionStore";
const COOKIE_SALT: &str = "django.contrib.sessions.backends.signed_cookies";
const AUTH_HASH_SALT: &str = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash";

/// The lengths of a session's key: Django requires at least 8 characters, and its table has room for 40.
pub const KEY_LENGTHS: std::ops::RangeInclusive<usize> = 8..=40;

/// The member with the user's id.
const USER_ID: &str = "_auth_user_id";

/// The largest session that is read, in bytes after decompression. A small signed text can decompress to a very large one.
const MAX_JSON: u64 = 1 << 20;

/// The user that a session claims is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DjangoLogin {
    /// The user's primary key, as text.
    pub user_id: String,
    /// The authentication backend that signed the user in, as a dotted path.
    pub backend: String,
    /// When the session was last saved, if the format records it.
    pub saved_at: Option<Timestamp>,
    auth_hash: Option<Secret>,
}

/// Whether the user's current password is the one that the session began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionProof {
    /// The password is the same.
    Current,
    /// The password is the same, by a former secret key. Django moves such a session to a new key when it reads it.
    Former,
    /// The password has changed, or the session does not record one. Django ends such a session when it reads it.
    Void,
}

/// Why a session cannot be read. Django treats such a session as empty, and its visitor as not signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableSession {
    /// The session is not signed by this service for this purpose.
    #[error("the session is not signed: {0}")]
    NotSigned(#[from] NotSigned),
    /// The cookie is older than allowed.
    #[error("the session has expired")]
    Expired,
    /// The signature is valid, but the signed text is not a session.
    #[error("the signed text is not a session")]
    Malformed,
}

/// Returns the user that is signed in, from the column `session_data` of a row that has not expired.
///
/// `None` if nobody is signed in.
///
/// # Errors
/// [`UnreadableSession`], but never [`UnreadableSession::Expired`].
pub fn read_row(
    session_data: &str,
    keys: &SecretKeys,
) -> Result<Option<DjangoLogin>, UnreadableSession> {
    read(Signer::new(keys, ROW_SALT).unsign(session_data)?)
}

/// Returns the user that is signed in, from a cookie of the engine `signed_cookies` that may be `max_age` old
/// (`SESSION_COOKIE_AGE`).
///
/// Such a session cannot be revoked: signing out only deletes the browser's copy.
///
/// # Errors
/// [`UnreadableSession`].
pub fn read_cookie(
    cookie: &str,
    keys: &SecretKeys,
    now: Timestamp,
    max_age: Duration,
) -> Result<Option<DjangoLogin>, UnreadableSession> {
    let signed = Signer::new(keys, COOKIE_SALT).unsign(cookie)?;
    if now.since(signed.at) > max_age {
        return Err(UnreadableSession::Expired);
    }
    read(signed)
}

/// Returns the same session as a cookie of the engine `signed_cookies`, signed at another time.
///
/// # Errors
/// [`UnreadableSession::NotSigned`]
pub fn sign_cookie_again(
    cookie: &str,
    keys: &SecretKeys,
    at: Timestamp,
) -> Result<String, UnreadableSession> {
    let signer = Signer::new(keys, COOKIE_SALT);
    let value = signer.unsign(cookie)?.value;
    Ok(signer.sign(value, at))
}

/// Returns the user that is signed in, from the value of a session that is stored in a cache.
///
/// A pickle contains the names of a dictionary's members as they are. A pickle that holds more than plain data is not read,
/// but if the name of the member with the user's id does not occur in it, nobody is signed in.
///
/// # Errors
/// [`UnreadableSession::Malformed`], also for a session with a user that holds anything but plain data.
pub fn read_cached(value: &[u8]) -> Result<Option<DjangoLogin>, UnreadableSession> {
    let Some(members) = pickle::members(value) else {
        let names_a_user = value.windows(USER_ID.len()).any(|part| part == USER_ID.as_bytes());
        let is_pickle = value.starts_with(&[pickle::PROTOCOL]);
        return if is_pickle && !names_a_user {
            Ok(None)
        } else {
            Err(UnreadableSession::Malformed)
        };
    };
    login(members, None)
}

impl DjangoLogin {
    /// Returns what Django stores in the session of a user who signs in; `password` is the text of the password column.
    #[must_use]
    pub fn new(user_id: String, backend: String, password: &str, keys: &SecretKeys) -> Self {
        let auth_hash = Some(Secret::new(auth_hash(password, keys.current())));
        Self { user_id, backend, saved_at: None, auth_hash }
    }

    /// Compares the session with the user's current password, the text of the password column.
    #[must_use]
    pub fn proof(&self, password: &str, keys: &SecretKeys) -> SessionProof {
        let Some(noted) = &self.auth_hash else {
            return SessionProof::Void;
        };
        let made_with =
            |key| bool::from(auth_hash(password, key).as_bytes().ct_eq(noted.expose().as_bytes()));
        if made_with(keys.current()) {
            SessionProof::Current
        } else if keys.fallbacks().iter().any(made_with) {
            SessionProof::Former
        } else {
            SessionProof::Void
        }
    }

    /// Returns the column `session_data` of a row with this login and nothing else.
    #[must_use]
    pub fn to_row(&self, keys: &SecretKeys, at: Timestamp) -> String {
        Signer::new(keys, ROW_SALT).sign(&URL_SAFE_NO_PAD.encode(self.to_json()), at)
    }

    /// Returns the cookie of the engine `signed_cookies` with this login and nothing else.
    #[must_use]
    pub fn to_cookie(&self, keys: &SecretKeys, at: Timestamp) -> String {
        Signer::new(keys, COOKIE_SALT).sign(&URL_SAFE_NO_PAD.encode(self.to_json()), at)
    }

    /// Returns the value of a cache entry with this login and nothing else: a pickle of protocol 4.
    #[must_use]
    pub fn to_pickle(&self) -> Vec<u8> {
        let auth_hash = self.auth_hash.as_ref().map(Secret::expose);
        let members = [
            (USER_ID, Some(self.user_id.as_str())),
            ("_auth_user_backend", Some(self.backend.as_str())),
            ("_auth_user_hash", auth_hash),
        ];
        // A dictionary, to which all pairs are added at once.
        let mut pickle = b"\x80\x04}(".to_vec();
        for (name, value) in members {
            let Some(value) = value else { continue };
            for text in [name, value] {
                pickle.push(b'X');
                pickle.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
                pickle.extend(text.as_bytes());
            }
        }
        pickle.extend(b"u.");
        pickle
    }

    fn to_json(&self) -> String {
        let auth_hash = self.auth_hash.as_ref().map(Secret::expose);
        let members = [
            (USER_ID, Some(self.user_id.as_str())),
            ("_auth_user_backend", Some(self.backend.as_str())),
            ("_auth_user_hash", auth_hash),
        ];
        json::object(members.into_iter().filter_map(|(name, value)| Some((name, value?))))
    }
}

fn read(signed: Signed<'_>) -> Result<Option<DjangoLogin>, UnreadableSession> {
    let json = unpack(signed.value).ok_or(UnreadableSession::Malformed)?;
    // Django decodes the bytes as Latin-1; it writes only ASCII itself.
    let json: String = json.into_iter().map(char::from).collect();

    let members = json::members(&json).ok_or(UnreadableSession::Malformed)?;
    login(members, Some(signed.at))
}

/// Reads the login from a session's members. A user id that is not a text is an error, not "nobody": Django would look its
/// user up.
fn login(
    members: impl IntoIterator<Item = (String, Option<String>)>,
    saved_at: Option<Timestamp>,
) -> Result<Option<DjangoLogin>, UnreadableSession> {
    let (mut user_id, mut backend, mut auth_hash) = (None, None, None);
    for (name, value) in members {
        match name.as_str() {
            USER_ID => user_id = Some(value.ok_or(UnreadableSession::Malformed)?),
            "_auth_user_backend" => backend = value,
            "_auth_user_hash" => auth_hash = value.map(Secret::new),
            _ => {}
        }
    }
    let login = user_id.zip(backend);
    Ok(login.map(|(user_id, backend)| DjangoLogin { user_id, backend, saved_at, auth_hash }))
}

fn unpack(value: &str) -> Option<Vec<u8>> {
    let Some(compressed) = value.strip_prefix('.') else {
        return URL_SAFE_NO_PAD.decode(value).ok();
    };
    let compressed = URL_SAFE_NO_PAD.decode(compressed).ok()?;
    let mut json = Vec::new();
    ZlibDecoder::new(compressed.as_slice()).take(MAX_JSON + 1).read_to_end(&mut json).ok()?;
    (u64::try_from(json.len()).ok()? <= MAX_JSON).then_some(json)
}

fn auth_hash(password: &str, key: &Secret) -> String {
    let tag = salted_hmac(AUTH_HASH_SALT, key, password);
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
