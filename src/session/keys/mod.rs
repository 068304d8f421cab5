//! The keys that sign access tokens, and those that still verify.
//!
//! One key signs: the one in `tokens.signing_key_file`, created at the first start. Rotation puts a new key there and stores
//! what is needed to verify the old key's tokens in a file next to it, named
//!
//! ```text
//! signing-key.pem.<kid>.<seconds since 1970>.retired
//! ```
//!
//! where the time is that at which the last token signed with it will have expired; the file is removed afterwards. It contains
//! the public part (a JWK), or for HS256, which has none, the secret. All files have mode 0600. The retired file is durable
//! before the new key is, so a crash between the two leaves a key that is both active and retired, which does no harm.
//!
//! A token's `kid` must match exactly, and the key that it finds determines the algorithm. There is no other way to choose a
//! key, so `jku`, `jwk` and `x5u` have no effect here. A running gateway loads new files with [`KeyRing::reload`].

mod key;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use self::key::{PublishedKey, TokenKey};
use super::jwt::{Invalid, JoseHeader, Unverified};
use crate::clock::Timestamp;
use crate::config::Tokens;
use crate::jose::{Algorithm, Compact, Jwk, SigningKey};
use crate::private_file::{self, PrivateFileError};

/// How long after a rotation another process may still sign with the old key because it has not reloaded yet.
const RELOAD_MARGIN: Duration = Duration::from_secs(300);

const RETIRED: &str = ".retired";

/// All keys for the gateway's own access tokens.
pub struct KeyRing {
    path: PathBuf,
    algorithm: Algorithm,
    access_lifetime: Duration,
    keys: ArcSwap<KeySet>,
    rotating: Mutex<()>,
}

/// One key in the output of `key list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedKey {
    /// The key's id, as in tokens.
    pub kid: String,
    /// The signature algorithm of the key.
    pub algorithm: Algorithm,
    /// How long the key verifies after it was retired; `None` for the key that signs.
    pub retired_until: Option<Timestamp>,
}

/// An error of a key that cannot be used: which key, what is wrong, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written, or its permissions are not safe.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// The file does not contain an acceptable key.
    #[error("{path}: {wrong}", path = path.display())]
    Unusable {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong with the content.
        wrong: String,
    },
}

struct KeySet {
    signing: TokenKey,
    retired: HashMap<String, (PublishedKey, Timestamp)>,
}

impl KeyRing {
    /// Reads the keys, and creates the first one if there is none.
    ///
    /// # Errors
    /// [`KeyError`] if a file cannot be used.
    pub fn open(tokens: &Tokens, now: Timestamp) -> Result<Self, KeyError> {
        let path = tokens.signing_key_file.clone();
        match Self::generate(&path, tokens.algorithm) {
            Err(KeyError::File(PrivateFileError::Io { source, .. }))
                if source.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        let keys = ArcSwap::from_pointee(KeySet::read(&path, tokens.algorithm, now)?);
        let (algorithm, access_lifetime) = (tokens.algorithm, tokens.access_lifetime);
        Ok(Self { path, algorithm, access_lifetime, keys, rotating: Mutex::default() })
    }

    /// Creates a key's file; an existing file is left alone and is an error.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn generate(path: &Path, algorithm: Algorithm) -> Result<(), KeyError> {
        if path.exists() {
            let source = io::ErrorKind::AlreadyExists.into();
            return Err(PrivateFileError::Io { path: path.to_owned(), source }.into());
        }
        let bytes = SigningKey::generate(algorithm)
            .map_err(|problem| unusable(path)(problem.to_string()))?;
        Ok(private_file::create(path, &bytes)?)
    }

    /// Signs with a new key from now on, and verifies with the old one until its last token has expired. Returns the new key's
    /// id. Another process loads it with [`Self::reload`].
    ///
    /// # Errors
    /// [`KeyError`]; the old key then still signs.
    pub fn rotate(&self, now: Timestamp) -> Result<String, KeyError> {
        let _one_at_a_time = self.rotating.lock();
        let _nor_in_two_processes = private_file::lock_directory_of(&self.path)?;
        // The file is read again, because another process may have written a new key there.
        let old = KeySet::read(&self.path, self.algorithm, now)?.signing.verifying;
        let until = now.plus(self.access_lifetime).plus(RELOAD_MARGIN);
        let retired = retired_path(&self.path, &old.kid, until);
        private_file::replace(&retired, &old.retired_file().map_err(unusable(&retired))?)?;
        let new = SigningKey::generate(self.algorithm)
            .map_err(|problem| unusable(&self.path)(problem.to_string()))?;
        private_file::replace(&self.path, &new)?;
        self.reload(now)?;
        Ok(self.keys.load().signing.verifying.kid.clone())
    }

    /// Loads the keys that are in the files now, and removes those that no token can need any more.
    ///
    /// # Errors
    /// [`KeyError`]; the keys that were in use stay in use.
    pub fn reload(&self, now: Timestamp) -> Result<(), KeyError> {
        self.keys.store(Arc::new(KeySet::read(&self.path, self.algorithm, now)?));
        Ok(())
    }

    /// Returns the keys: the one that signs, then the retired ones.
    pub fn list(&self) -> Vec<ListedKey> {
        let keys = self.keys.load();
        let listed = |key: &PublishedKey, retired_until| ListedKey {
            kid: key.kid.clone(),
            algorithm: key.key.algorithm(),
            retired_until,
        };
        let mut list: Vec<_> =
            keys.retired.values().map(|(key, until)| listed(key, Some(*until))).collect();
        list.sort_by_key(|key| std::cmp::Reverse(key.retired_until));
        list.insert(0, listed(&keys.signing.verifying, None));
        list
    }

    /// Returns the public keys as a JWK set (RFC 7517); empty for HS256.
    pub fn jwks(&self) -> serde_json::Value {
        let keys = self.keys.load();
        let retired = keys.retired.values().map(|(key, _)| key);
        let all = std::iter::once(&keys.signing.verifying).chain(retired);
        serde_json::json!({ "keys": all.filter_map(PublishedKey::published).collect::<Vec<_>>() })
    }

    /// Signs a token of this type.
    pub(super) fn sign(
        &self,
        typ: &str,
        claims: &impl serde::Serialize,
    ) -> Result<String, Invalid> {
        let keys = self.keys.load();
        let TokenKey { signing, verifying } = &keys.signing;
        let alg = signing.algorithm().name().into();
        let header = JoseHeader { alg, typ: typ.into(), kid: Some(verifying.kid.clone()) };
        Compact::signed_by(signing, &header, claims).map_err(|_| Invalid)
    }

    /// Signs a Security Event Token (RFC 8417 section 2.3); its type keeps it from being taken for an access token.
    ///
    /// # Errors
    /// If it cannot be signed. The error text is for the log.
    pub fn sign_event(&self, claims: &serde_json::Value) -> Result<String, String> {
        self.sign("secevent+jwt", claims).map_err(|_| "the event cannot be signed".to_owned())
    }

    /// Returns the payload of a token that one of the keys signed.
    pub(super) fn verified(
        &self,
        token: &Unverified<'_>,
        now: Timestamp,
    ) -> Result<Vec<u8>, Invalid> {
        let keys = self.keys.load();
        let kid = token.header.kid.as_deref().ok_or(Invalid)?;
        let key = keys.verifying(kid, now).ok_or(Invalid)?;
        if token.header.alg != key.key.algorithm().name() || !token.is_signed_by(&key.key) {
            return Err(Invalid);
        }
        token.payload()
    }
}

impl KeySet {
    fn read(path: &Path, algorithm: Algorithm, now: Timestamp) -> Result<Self, KeyError> {
        let (bytes, _) = private_file::read(path)?;
        let signing = TokenKey::read(algorithm, &bytes).map_err(unusable(path))?;
        let mut retired = HashMap::new();
        for (file, kid, until) in retired_files(path)? {
            if until <= now {
                // Other processes that read the files do the same, so a file that is already gone is no error.
                let _ = std::fs::remove_file(&file);
                continue;
            }
            let (bytes, _) = private_file::read(&file)?;
            let jwk: Jwk = serde_json::from_slice(&bytes)
                .map_err(|_| unusable(&file)("it is not a key that was retired here".into()))?;
            let key = PublishedKey::from_jwk(jwk).map_err(unusable(&file))?;
            if key.kid != kid {
                return Err(unusable(&file)("its name does not belong to its content".into()));
            }
            retired.insert(kid, (key, until));
        }
        retired.remove(&signing.verifying.kid);
        Ok(Self { signing, retired })
    }

    fn verifying(&self, kid: &str, now: Timestamp) -> Option<&PublishedKey> {
        if kid == self.signing.verifying.kid {
            return Some(&self.signing.verifying);
        }
        self.retired.get(kid).filter(|(_, until)| now < *until).map(|(key, _)| key)
    }
}

fn unusable(path: &Path) -> impl Fn(String) -> KeyError {
    let path = path.to_owned();
    move |wrong| KeyError::Unusable { path: path.clone(), wrong }
}

fn retired_path(path: &Path, kid: &str, until: Timestamp) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{kid}.{}{RETIRED}", until.as_secs()));
    path.with_file_name(name)
}

fn retired_files(path: &Path) -> Result<Vec<(PathBuf, String, Timestamp)>, KeyError> {
    let io = |source| PrivateFileError::Io { path: path.to_owned(), source };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let prefix = format!("{}.", path.file_name().unwrap_or_default().to_string_lossy());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory.unwrap_or(Path::new("."))).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let Some(name) = name.to_str() else { continue };
        let middle = name.strip_prefix(&prefix).and_then(|name| name.strip_suffix(RETIRED));
        let Some((kid, until)) = middle.and_then(|middle| middle.split_once('.')) else { continue };
        if let Ok(until) = until.parse() {
            files.push((path.with_file_name(name), kid.to_owned(), Timestamp::from_secs(until)));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
