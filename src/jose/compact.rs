//! Reads and writes the compact form (RFC 7515 section 7.1): header, payload and signature in base64url, with dots.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::memchr_iter;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{KeyProblem, SigningKey, VerifyingKey};

/// A token split into its parts. Nothing in it has been verified.
#[derive(Clone, Copy, Debug)]
pub struct Compact<'a> {
    header: &'a str,
    payload: &'a str,
    signed: &'a str,
    signature: &'a str,
}

/// The error for a token that is not in compact form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotCompact;

impl<'a> Compact<'a> {
    /// Splits a token that has at most `longest` bytes.
    ///
    /// # Errors
    /// [`NotCompact`]
    pub fn read(token: &'a str, longest: usize) -> Result<Self, NotCompact> {
        if token.len() > longest {
            return Err(NotCompact);
        }
        let mut dots = memchr_iter(b'.', token.as_bytes());
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(NotCompact);
        };
        let part = |from: usize, to: usize| token.get(from..to).ok_or(NotCompact);
        let (header, payload) = (part(0, first)?, part(first + 1, second)?);
        let (signed, signature) = (part(0, second)?, part(second + 1, token.len())?);
        Ok(Self { header, payload, signed, signature })
    }

    /// Whether the signature is empty.
    pub const fn is_unsigned(&self) -> bool {
        self.signature.is_empty()
    }

    /// Decodes a token's header from its base64url form.
    ///
    /// # Errors
    /// [`NotCompact`]
    pub fn read_header<T: DeserializeOwned>(encoded: &[u8]) -> Result<T, NotCompact> {
        serde_json::from_slice(&decoded(encoded)?).map_err(|_| NotCompact)
    }

    /// Decodes this token's header, which is not verified.
    ///
    /// # Errors
    /// [`NotCompact`]
    pub fn header<T: DeserializeOwned>(&self) -> Result<T, NotCompact> {
        Self::read_header(self.header.as_bytes())
    }

    /// Decodes the payload's bytes. They may be trusted only after the signature was verified.
    ///
    /// # Errors
    /// [`NotCompact`]
    pub fn payload(&self) -> Result<Vec<u8>, NotCompact> {
        decoded(self.payload)
    }

    /// Whether this key made the signature.
    ///
    /// # Errors
    /// [`NotCompact`] if the signature is not valid base64url.
    pub fn is_signed_by(&self, key: &VerifyingKey) -> Result<bool, NotCompact> {
        let bytes = decoded(self.signature)?;
        Ok(key.verifies(self.signed, self.signature, &bytes))
    }

    /// Returns a signed token with this header and payload.
    ///
    /// # Errors
    /// [`KeyProblem::CannotSign`]
    pub fn signed_by(
        key: &SigningKey,
        header: &impl Serialize,
        payload: &impl Serialize,
    ) -> Result<String, KeyProblem> {
        let json = |part| serde_json::to_vec(part).map_err(|_| KeyProblem::CannotSign);
        let header = serde_json::to_vec(header).map_err(|_| KeyProblem::CannotSign)?;
        let mut token = URL_SAFE_NO_PAD.encode(header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(json(payload)?, &mut token);
        let signature = key.sign(&token)?;
        token.push('.');
        token.push_str(&signature);
        Ok(token)
    }
}

fn decoded(part: impl AsRef<[u8]>) -> Result<Vec<u8>, NotCompact> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| NotCompact)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::{Algorithm, random_key};

    #[test]
    fn three_parts_and_no_more_are_a_token() {
        for token in ["", ".", "a", "a.b", "a.b.c.d", "....", "a..b.c", "aaaaaaaa.b.c"] {
            assert!(Compact::read(token, 8).is_err(), "{token:?}");
        }
        for token in ["..", "a.b.c", "a..c", "a.b."] {
            let read = Compact::read(token, 8).unwrap();
            assert_eq!(read.is_unsigned(), token.ends_with('.'), "{token:?}");
        }
    }

    #[test]
    fn what_is_signed_is_read_back_and_has_one_spelling() {
        for algorithm in Algorithm::OF_SERVICES.into_iter().chain([Algorithm::EdDsa]) {
            let (key, other) = (random_key(algorithm), random_key(algorithm));
            let token = Compact::signed_by(&key, &"header", &["payload"]).unwrap();
            let read = Compact::read(&token, 8192).unwrap();
            assert_eq!(read.header::<String>().unwrap(), "header");
            assert_eq!(read.payload().unwrap(), br#"["payload"]"#);
            let verifying = key.verifying().unwrap();
            assert_eq!(read.is_signed_by(&verifying), Ok(true), "{algorithm:?}");
            assert_eq!(read.is_signed_by(&other.verifying().unwrap()), Ok(false));
            let (signed, signature) = token.rsplit_once('.').unwrap();
            for (signature, expected) in [
                (format!("{signature}="), Err(NotCompact)),
                (format!("{signature} "), Err(NotCompact)),
                (format!("{signature}+/"), Err(NotCompact)),
                (String::new(), Ok(false)),
                (format!("{signature}AAAA"), Ok(false)),
            ] {
                let spoiled = format!("{signed}.{signature}");
                let read = Compact::read(&spoiled, 8192).unwrap();
                assert_eq!(read.is_signed_by(&verifying), expected, "{spoiled}");
            }
        }
    }

    #[test]
    fn a_key_of_one_algorithm_verifies_nothing_of_another() {
        let all: Vec<SigningKey> = Algorithm::OF_SERVICES
            .into_iter()
            .map(|algorithm| match algorithm.is_shared() {
                true => SigningKey::shared(algorithm, b"0123456789abcdefghijklmnopqrstuv"),
                false => random_key(algorithm),
            })
            .collect();
        for (index, key) in all.iter().enumerate() {
            let token = Compact::signed_by(key, &"h", &"p").unwrap();
            let read = Compact::read(&token, 8192).unwrap();
            for (other, verifying) in all.iter().enumerate() {
                let verifying = verifying.verifying().unwrap();
                assert_eq!(read.is_signed_by(&verifying), Ok(index == other), "{index} {other}");
            }
        }
    }
}
