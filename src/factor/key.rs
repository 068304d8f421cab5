//! Holds the key that is not in the store: it seals secrets, and hashes values that have few bits.
//!
//! A copy of the database alone is therefore nobody's second factor. Sealed data is bound to its purpose and its owner, so a
//! row that is moved to another user cannot be opened.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hkdf, hmac};
use zeroize::Zeroizing;

use crate::refusal::Refusal;
use crate::secret::Digest;

/// The key for second factors; see the head of this module.
pub struct FactorKey {
    seal: RandomizedNonceKey,
    hash: hmac::Key,
}

impl FactorKey {
    /// Derives the key from the content of the key file.
    ///
    /// # Errors
    /// If no key can be derived from it.
    pub fn new(secret: &[u8]) -> Result<Self, String> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"doorwarden second factors");
        let root = salt.extract(secret);
        let derive = |purpose: &'static [u8]| {
            let mut key = Zeroizing::new([0; 32]);
            root.expand(&[purpose], &AES_256_GCM)
                .and_then(|okm| okm.fill(key.as_mut_slice()))
                .map_err(|_| "no key can be made for second factors".to_owned())?;
            Ok::<_, String>(key)
        };
        let seal = RandomizedNonceKey::new(&AES_256_GCM, derive(b"seal")?.as_slice())
            .map_err(|_| "no key can be made for second factors".to_owned())?;
        let hash = hmac::Key::new(hmac::HMAC_SHA256, derive(b"hash")?.as_slice());
        Ok(Self { seal, hash })
    }

    /// Seals bytes for this purpose and owner.
    pub(super) fn seal(
        &self,
        purpose: &str,
        owner: &str,
        bytes: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let mut sealed = bytes.to_vec();
        let bound_to = Aad::from(bound_to(purpose, owner));
        let nonce = self
            .seal
            .seal_in_place_append_tag(bound_to, &mut sealed)
            .map_err(|_| Refusal::Internal)?;
        sealed.extend_from_slice(nonce.as_ref());
        Ok(sealed)
    }

    /// Opens what was sealed for this purpose and owner. `None` if it was sealed for others, or with another key.
    pub(super) fn open(
        &self,
        purpose: &str,
        owner: &str,
        sealed: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let (sealed, nonce) = sealed.split_last_chunk::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let bound_to = Aad::from(bound_to(purpose, owner));
        let length = self.seal.open_in_place(nonce, bound_to, &mut bytes).ok()?.len();
        bytes.truncate(length);
        Some(bytes)
    }

    /// Returns the keyed hash of a text, for this purpose and owner.
    pub(super) fn hash(&self, purpose: &str, owner: &str, text: &[u8]) -> Digest {
        let mut context = hmac::Context::with_key(&self.hash);
        context.update(&bound_to(purpose, owner));
        context.update(text);
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        Digest::from_bytes(bytes)
    }
}

/// Returns the bytes of the pair. Each part follows its length, so that no two pairs have the same bytes.
fn bound_to(purpose: &str, owner: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(purpose.len() + owner.len() + 16);
    for part in [purpose, owner] {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_for_its_purpose_and_owner_alone() {
        let key = FactorKey::new(b"a secret").unwrap();
        let sealed = key.seal("totp", "django/7", b"bytes").unwrap();
        assert_ne!(sealed, key.seal("totp", "django/7", b"bytes").unwrap(), "a nonce of its own");
        assert_eq!(key.open("totp", "django/7", &sealed).unwrap().as_slice(), b"bytes");
        for (purpose, owner) in [("totp", "django/8"), ("ticket", "django/7"), ("totpd", "jango/7")]
        {
            assert!(key.open(purpose, owner, &sealed).is_none(), "{purpose} {owner}");
        }
        let other = FactorKey::new(b"another secret").unwrap();
        assert!(other.open("totp", "django/7", &sealed).is_none());
        for wrong in [&sealed[1..], &sealed[..sealed.len() - 1], b"", b"short"] {
            assert!(key.open("totp", "django/7", wrong).is_none());
        }
    }

    #[test]
    fn a_hash_is_of_its_purpose_owner_and_key() {
        let (key, other) = (FactorKey::new(b"a").unwrap(), FactorKey::new(b"b").unwrap());
        let hash = key.hash("recovery", "django/7", b"code");
        assert_eq!(hash, key.hash("recovery", "django/7", b"code"));
        for other in [
            key.hash("recovery", "django/8", b"code"),
            key.hash("invitation", "django/7", b"code"),
            key.hash("recovery", "django/7", b"cod"),
            other.hash("recovery", "django/7", b"code"),
        ] {
            assert_ne!(hash, other);
        }
    }
}
