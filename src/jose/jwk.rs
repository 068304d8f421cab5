//! JSON Web Keys (RFC 7517): the form in which a public key is published and a retired key is stored.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Algorithm, VerifyingKey};
use crate::secret::{Digest, Secret};

/// A JSON Web Key with the members that our keys use. The one of a shared secret contains the secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kty", deny_unknown_fields)]
pub enum Jwk {
    /// An elliptic curve key.
    #[serde(rename = "EC")]
    Ec {
        /// `P-256`
        crv: String,
        /// The point's x coordinate.
        x: String,
        /// The point's y coordinate.
        y: String,
    },
    /// An RSA key.
    #[serde(rename = "RSA")]
    Rsa {
        /// The modulus.
        n: String,
        /// The exponent.
        e: String,
    },
    /// An Edwards curve key.
    #[serde(rename = "OKP")]
    Okp {
        /// `Ed25519`
        crv: String,
        /// The encoded point.
        x: String,
    },
    /// A shared secret, for HS256.
    #[serde(rename = "oct")]
    Oct {
        /// The secret.
        k: JwkSecret,
    },
}

/// A secret in base64url.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub struct JwkSecret(Secret);

impl Jwk {
    pub(super) fn ec(x: &[u8], y: &[u8]) -> Self {
        Self::Ec { crv: "P-256".into(), x: text(x), y: text(y) }
    }

    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Self {
        Self::Rsa { n: text(n), e: text(e) }
    }

    pub(super) fn ed25519(x: &[u8]) -> Self {
        Self::Okp { crv: "Ed25519".into(), x: text(x) }
    }

    pub(super) fn secret(secret: &[u8]) -> Self {
        Self::Oct { k: JwkSecret(Secret::new(text(secret))) }
    }

    /// Returns the decoded secret, or `None` for a public key.
    ///
    /// # Errors
    /// A description of what is wrong with the key.
    pub fn shared(&self) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
        match self {
            Self::Oct { k } => bytes(k.0.expose()).map(Zeroizing::new).map(Some),
            Self::Ec { .. } | Self::Rsa { .. } | Self::Okp { .. } => Ok(None),
        }
    }

    /// Returns the key that verifies signatures.
    ///
    /// # Errors
    /// A description of what is wrong with the key.
    pub fn verifying(&self) -> Result<VerifyingKey, String> {
        match self {
            Self::Ec { crv, x, y } if crv == "P-256" => {
                let point = [[4].as_slice(), &bytes(x)?, &bytes(y)?].concat();
                Ok(VerifyingKey::ec(&point))
            }
            Self::Okp { crv, x } if crv == "Ed25519" => Ok(VerifyingKey::ed25519(&bytes(x)?)),
            Self::Ec { crv, .. } | Self::Okp { crv, .. } => {
                Err(format!("the curve {crv:?} is not supported"))
            }
            Self::Rsa { n, e } => Ok(VerifyingKey::rsa(&bytes(n)?, &bytes(e)?)),
            Self::Oct { k } => {
                let secret = Zeroizing::new(bytes(k.0.expose())?);
                Ok(VerifyingKey::shared(Algorithm::Hs256, &secret))
            }
        }
    }

    /// Returns the key's `kid`: its thumbprint (RFC 7638). The thumbprint of a shared secret would be a hash that anyone
    /// could test guesses against, so its `kid` is an HMAC under the secret.
    ///
    /// # Errors
    /// A description of what is wrong with the key.
    pub fn kid(&self) -> Result<String, String> {
        // RFC 7638 section 3: the required members in lexicographic order, without white space.
        let canonical = match self {
            Self::Ec { crv, x, y } => {
                format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Self::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
            Self::Okp { crv, x } => format!(r#"{{"crv":"{crv}","kty":"OKP","x":"{x}"}}"#),
            Self::Oct { k } => {
                let secret = Zeroizing::new(bytes(k.0.expose())?);
                let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
                let name = hmac::sign(&key, b"doorwarden key id");
                return Ok(text(name.as_ref().get(..16).unwrap_or_default()));
            }
        };
        Ok(text(Digest::of(canonical.as_bytes()).as_bytes()))
    }

    /// Returns the key in the form that is published, or `None` for a shared secret.
    pub fn published(&self, kid: &str, algorithm: Algorithm) -> Option<serde_json::Value> {
        if matches!(self, Self::Oct { .. }) {
            return None;
        }
        let mut published = serde_json::to_value(self).ok()?;
        let members = published.as_object_mut()?;
        members.insert("kid".into(), kid.into());
        members.insert("alg".into(), algorithm.name().into());
        members.insert("use".into(), "sig".into());
        Some(published)
    }
}

impl From<String> for JwkSecret {
    fn from(text: String) -> Self {
        Self(Secret::new(text))
    }
}

impl Serialize for JwkSecret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn bytes(text: &str) -> Result<Vec<u8>, String> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| "a member of the key is not base64url".to_owned())
}
