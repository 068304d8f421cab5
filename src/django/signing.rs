//! Signs and verifies texts as Django does: `value:time:signature` (`django.core.signing`, from
//! Django 3.1 on).
//!
//! The signature is HMAC-SHA-256 under a key made from a salt, which names the purpose, and one of
//! the service's secret keys. Django compares signatures as text, so a signature with padding or
//! another spelling is refused; it is refused here too. The time is part of the signed text, and
//! the reader of the text decides whether it matters.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use crate::clock::Timestamp;
use crate::secret::Secret;

/// The digits of the signature's time, from zero up.
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A service's `SECRET_KEY`, and the `SECRET_KEY_FALLBACKS` with which it still verifies.
#[derive(Clone, Debug)]
pub struct SecretKeys {
    current: Secret,
    fallbacks: Vec<Secret>,
}

/// Signs and verifies texts for one purpose.
#[derive(Clone, Copy, Debug)]
pub struct Signer<'a> {
    keys: &'a SecretKeys,
    salt: &'a str,
}

/// A text whose signature is valid, split into its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<'t> {
    /// The text before the time and the signature.
    pub value: &'t str,
    /// When it was signed, to the second.
    pub at: Timestamp,
}

/// Why a signed text is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// None of the service's keys made this signature for this purpose.
    #[error("the signature was not made with a key of this service")]
    BadSignature,
    /// The signature is valid, but the signed text has no time.
    #[error("the signed text has no time")]
    NoTime,
}

impl SecretKeys {
    /// Combines the key in use with the former ones, in the order of the setting.
    #[must_use]
    pub fn new(current: Secret, fallbacks: Vec<Secret>) -> Self {
        Self { current, fallbacks }
    }

    pub(super) fn current(&self) -> &Secret {
        &self.current
    }

    pub(super) fn fallbacks(&self) -> &[Secret] {
        &self.fallbacks
    }
}

impl<'a> Signer<'a> {
    /// Makes a signer for the purpose that `salt` names.
    #[must_use]
    pub fn new(keys: &'a SecretKeys, salt: &'a str) -> Self {
        Self { keys, salt }
    }

    /// Signs with the key in use. `value` may contain any character, including `:`.
    #[must_use]
    pub fn sign(&self, value: &str, at: Timestamp) -> String {
        let timed = format!("{value}:{}", base62(at.as_secs()));
        let signature = self.signature(self.keys.current(), &timed);
        format!("{timed}:{signature}")
    }

    /// Returns the parts of `text`, if the key in use or a fallback signed it.
    ///
    /// # Errors
    /// [`NotSigned`] if no key signed it, or if it has no time.
    pub fn unsign<'t>(&self, text: &'t str) -> Result<Signed<'t>, NotSigned> {
        let (timed, signature) = text.rsplit_once(':').ok_or(NotSigned::BadSignature)?;
        let mut keys = std::iter::once(self.keys.current()).chain(self.keys.fallbacks());
        let signed = keys
            .any(|key| self.signature(key, timed).as_bytes().ct_eq(signature.as_bytes()).into());
        if !signed {
            return Err(NotSigned::BadSignature);
        }
        let (value, time) = timed.rsplit_once(':').ok_or(NotSigned::NoTime)?;
        let seconds = from_base62(time).ok_or(NotSigned::NoTime)?;
        Ok(Signed { value, at: Timestamp::from_secs(seconds) })
    }

    fn signature(&self, key: &Secret, message: &str) -> String {
        let salt = format!("{}signer", self.salt);
        URL_SAFE_NO_PAD.encode(salted_hmac(&salt, key, message))
    }
}

/// Computes HMAC-SHA-256 under the SHA-256 of salt and key: Django's `salted_hmac`.
pub(super) fn salted_hmac(salt: &str, key: &Secret, message: &str) -> hmac::Tag {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(salt.as_bytes());
    context.update(key.expose().as_bytes());
    let key = hmac::Key::new(hmac::HMAC_SHA256, context.finish().as_ref());
    hmac::sign(&key, message.as_bytes())
}

fn base62(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        let digit = usize::try_from(number % 62).ok().and_then(|at| BASE62.get(at));
        digits.extend(digit.copied().map(char::from));
        number /= 62;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

fn from_base62(digits: &str) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.bytes().try_fold(0_u64, |number, digit| {
        let digit = BASE62.iter().position(|known| *known == digit)?;
        number.checked_mul(62)?.checked_add(u64::try_from(digit).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(current: &str, fallbacks: &[&str]) -> SecretKeys {
        let fallbacks = fallbacks.iter().map(|key| Secret::new(*key)).collect();
        SecretKeys::new(Secret::new(current), fallbacks)
    }

    /// Recorded from Django 5.2.19: `TimestampSigner(key="key", salt="salt").sign("a:b")` with the
    /// clock at 1 780 000 000.
    const RECORDED: &str = "a:b:1wShJQ:sjBi1bqTO9MMjN7PAlkzkInQjg6IPpurwnWg7pckhRY";

    #[test]
    fn signs_as_django_does() {
        let keys = keys("key", &[]);
        let signer = Signer::new(&keys, "salt");
        let at = Timestamp::from_secs(1_780_000_000);
        assert_eq!(signer.sign("a:b", at), RECORDED);
        assert_eq!(signer.unsign(RECORDED), Ok(Signed { value: "a:b", at }));
    }

    #[test]
    fn believes_the_fallback_keys_and_no_other_key_or_purpose() {
        let unsign = |keys: &SecretKeys, salt| Signer::new(keys, salt).unsign(RECORDED).is_ok();
        assert!(unsign(&keys("new", &["newer", "key"]), "salt"));
        assert!(!unsign(&keys("new", &["newer"]), "salt"));
        assert!(!unsign(&keys("key", &[]), "pepper"));
        assert!(!unsign(&keys("", &[]), "salt"));
    }

    #[test]
    fn new_signatures_are_made_with_the_key_in_use() {
        let (both, old) = (keys("new", &["key"]), keys("key", &[]));
        let text = Signer::new(&both, "salt").sign("a", Timestamp::from_secs(1));
        assert_eq!(Signer::new(&old, "salt").unsign(&text), Err(NotSigned::BadSignature));
    }

    #[test]
    fn no_changed_text_is_believed() {
        let keys = keys("key", &[]);
        let signer = Signer::new(&keys, "salt");
        for at in 0..RECORDED.len() {
            for new in ["", "0", "A", ":", "=", "-", "é"] {
                let changed = format!("{}{new}{}", &RECORDED[..at], &RECORDED[at + 1..]);
                if changed != RECORDED {
                    assert_eq!(signer.unsign(&changed), Err(NotSigned::BadSignature), "{changed}");
                }
            }
        }
        for changed in [format!("{RECORDED}="), format!("{RECORDED}\n"), format!(" {RECORDED}")] {
            assert_eq!(signer.unsign(&changed), Err(NotSigned::BadSignature), "{changed}");
        }
    }

    #[test]
    fn a_signed_text_without_a_time_is_no_text_of_this_kind() {
        let keys = keys("key", &[]);
        let signer = Signer::new(&keys, "salt");
        for timed in ["", "a", "a:", "a:-1", "a:!", "a:zzzzzzzzzzzzzzzzzzzz"] {
            let text = format!("{timed}:{}", signer.signature(keys.current(), timed));
            assert_eq!(signer.unsign(&text), Err(NotSigned::NoTime), "{timed}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?}", Signer::new(&keys("hunter2", &["hunter1"]), "salt"));
        assert!(!shown.contains("hunter"), "{shown}");
    }

    proptest! {
        #[test]
        fn what_is_signed_is_read_again(value in any::<String>(), seconds in 0..u64::MAX / 1000) {
            let keys = keys("key", &[]);
            let signer = Signer::new(&keys, "salt");
            let at = Timestamp::from_secs(seconds);
            let text = signer.sign(&value, at);
            prop_assert_eq!(signer.unsign(&text), Ok(Signed { value: &value, at }));
        }

        #[test]
        fn no_text_panics_or_is_believed(text in any::<String>()) {
            prop_assert!(Signer::new(&keys("key", &[]), "salt").unsign(&text).is_err());
        }
    }
}
