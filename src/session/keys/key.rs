//! One signing key: how it is made, read, named and used.
//!
//! A key carries its one algorithm, as a type; a token's own `alg` is compared with it and chooses nothing. Key files are
//! PKCS#8 in PEM, or for HS256 the secret itself. The public part of a key is a JWK, which is also the form in which a
//! retired key is kept. `kid` is the RFC 7638 thumbprint; for HS256, where that would be a hash of the secret for everyone
//! to try guesses against, it is an HMAC under the secret.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use aws_lc_rs::{encoding::AsDer, hmac, rsa};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, EncodingKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::config::Algorithm;
use crate::secret::{Digest, Secret, random_bytes};

const MIN_HMAC_BYTES: usize = 32;
const MIN_RSA_BITS: usize = 2048;
const RSA_EXPONENT: &[u8] = &[1, 0, 1];

/// A key that signs, and verifies what it signed.
pub(super) struct SigningKey {
    encoding: EncodingKey,
    pub(super) verifying: VerifyingKey,
}

/// A key that verifies.
pub(super) struct VerifyingKey {
    pub(super) kid: String,
    pub(super) algorithm: Algorithm,
    decoding: DecodingKey,
    jwk: Jwk,
}

/// The members of a JSON Web Key (RFC 7517) that ours have. For HS256 it holds the secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kty", deny_unknown_fields)]
pub(super) enum Jwk {
    #[serde(rename = "EC")]
    Ec { crv: String, x: String, y: String },
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
    #[serde(rename = "OKP")]
    Okp { crv: String, x: String },
    #[serde(rename = "oct")]
    Oct { k: Secretish },
}

/// A base64url text that may be a secret.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub(super) struct Secretish(Secret);

/// What is wrong with a key, without its path.
pub(super) type Wrong = String;

impl SigningKey {
    /// The bytes of a new key's file.
    pub(super) fn generate(algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>, Wrong> {
        let failed = |_| "the key could not be made".to_owned();
        let random = SystemRandom::new();
        Ok(match algorithm {
            Algorithm::Hs256 => {
                let secret =
                    Zeroizing::new(random_bytes::<32>().map_err(|error| error.to_string())?);
                // As text, so that it survives editors and can be given to the application.
                Zeroizing::new(format!("{}\n", URL_SAFE_NO_PAD.encode(secret.as_slice())).into())
            }
            Algorithm::Es256 => {
                let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
                pem(key.map_err(failed)?.as_ref())
            }
            Algorithm::EdDsa => {
                // Version 1, which every tool reads.
                pem(Ed25519KeyPair::generate_pkcs8v1(&random).map_err(failed)?.as_ref())
            }
            Algorithm::Rs256 => {
                let key = rsa::KeyPair::generate(rsa::KeySize::Rsa3072).map_err(failed)?;
                pem(key.as_der().map_err(failed)?.as_ref())
            }
        })
    }

    /// Reads the bytes of a key's file.
    pub(super) fn read(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, Wrong> {
        if algorithm == Algorithm::Hs256 {
            return Self::from_secret(bytes.strip_suffix(b"\n").unwrap_or(bytes));
        }
        let der = pkcs8(bytes)?;
        let der = der.secret_pkcs8_der();
        let (encoding, jwk) = match algorithm {
            Algorithm::Es256 => {
                let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
                    .map_err(|_| "it is no P-256 key, which ES256 needs".to_owned())?;
                let point = key.public_key().as_ref();
                let (Some(x), Some(y)) = (point.get(1..33), point.get(33..65)) else {
                    return Err("it is no P-256 key, which ES256 needs".into());
                };
                (
                    EncodingKey::from_ec_der(der),
                    Jwk::Ec { crv: "P-256".into(), x: text(x), y: text(y) },
                )
            }
            Algorithm::EdDsa => {
                let key = Ed25519KeyPair::from_pkcs8(der)
                    .map_err(|_| "it is no Ed25519 key, which EdDSA needs".to_owned())?;
                let x = text(key.public_key().as_ref());
                (EncodingKey::from_ed_der(der), Jwk::Okp { crv: "Ed25519".into(), x })
            }
            Algorithm::Hs256 | Algorithm::Rs256 => {
                let key = rsa::KeyPair::from_pkcs8(der).map_err(|_| {
                    "it is no RSA key that can be used, which RS256 needs".to_owned()
                })?;
                let public = key.public_key();
                let n = public.modulus().big_endian_without_leading_zero();
                let e = public.exponent().big_endian_without_leading_zero();
                if n.len() * 8 < MIN_RSA_BITS || e != RSA_EXPONENT {
                    return Err(format!(
                        "an RSA key has {MIN_RSA_BITS} bits or more and the exponent 65537"
                    ));
                }
                let jwk = Jwk::Rsa { n: text(n), e: text(e) };
                let encoding = EncodingKey::from_rsa_pem(bytes)
                    .map_err(|_| "it is no RSA key that can be used".to_owned())?;
                (encoding, jwk)
            }
        };
        Ok(Self { encoding, verifying: VerifyingKey::from_jwk(jwk)? })
    }

    fn from_secret(secret: &[u8]) -> Result<Self, Wrong> {
        let verifying =
            VerifyingKey::from_jwk(Jwk::Oct { k: Secretish(Secret::new(text(secret))) })?;
        Ok(Self { encoding: EncodingKey::from_secret(secret), verifying })
    }

    /// The signature over `signed`, encoded.
    pub(super) fn sign(&self, signed: &str) -> Result<String, Wrong> {
        let algorithm = library_name(self.verifying.algorithm);
        jsonwebtoken::crypto::sign(signed.as_bytes(), &self.encoding, algorithm)
            .map_err(|_| "signing failed".to_owned())
    }
}

impl VerifyingKey {
    /// From the public part; for HS256 from the secret.
    pub(super) fn from_jwk(jwk: Jwk) -> Result<Self, Wrong> {
        let (algorithm, decoding) = match &jwk {
            Jwk::Ec { crv, x, y } if crv == "P-256" => {
                let point = [[4].as_slice(), &bytes(x)?, &bytes(y)?].concat();
                (Algorithm::Es256, DecodingKey::from_ec_der(&point))
            }
            Jwk::Okp { crv, x } if crv == "Ed25519" => {
                (Algorithm::EdDsa, DecodingKey::from_ed_der(&bytes(x)?))
            }
            Jwk::Ec { crv, .. } | Jwk::Okp { crv, .. } => {
                return Err(format!("the curve {crv:?} is not supported"));
            }
            Jwk::Rsa { n, e } => {
                (Algorithm::Rs256, DecodingKey::from_rsa_raw_components(&bytes(n)?, &bytes(e)?))
            }
            Jwk::Oct { k } => {
                let secret = Zeroizing::new(bytes(k.0.expose())?);
                check_secret(&secret)?;
                (Algorithm::Hs256, DecodingKey::from_secret(&secret))
            }
        };
        Ok(Self { kid: jwk.kid()?, algorithm, decoding, jwk })
    }

    /// Whether `signature` (encoded) is this key's over `signed`.
    pub(super) fn verifies(&self, signed: &str, signature: &str) -> bool {
        let algorithm = library_name(self.algorithm);
        jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.decoding, algorithm)
            .unwrap_or(false)
    }

    /// How a token's header names the algorithm.
    pub(super) const fn alg(&self) -> &'static str {
        match self.algorithm {
            Algorithm::Hs256 => "HS256",
            Algorithm::Rs256 => "RS256",
            Algorithm::Es256 => "ES256",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    /// The key as others may see it; none for a secret.
    pub(super) fn published(&self) -> Option<serde_json::Value> {
        if matches!(self.jwk, Jwk::Oct { .. }) {
            return None;
        }
        let mut published = serde_json::to_value(&self.jwk).ok()?;
        let members = published.as_object_mut()?;
        members.insert("kid".into(), self.kid.as_str().into());
        members.insert("alg".into(), self.alg().into());
        members.insert("use".into(), "sig".into());
        Some(published)
    }

    /// What is kept of it when it no longer signs.
    pub(super) fn retired_file(&self) -> Result<Zeroizing<Vec<u8>>, Wrong> {
        serde_json::to_vec(&self.jwk).map(Zeroizing::new).map_err(|error| error.to_string())
    }
}

impl Jwk {
    fn kid(&self) -> Result<String, Wrong> {
        // RFC 7638 section 3: the required members in the order of their names, without white space.
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
}

impl From<String> for Secretish {
    fn from(text: String) -> Self {
        Self(Secret::new(text))
    }
}

impl Serialize for Secretish {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

const fn library_name(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
    }
}

/// Length alone does not make a secret: these are what people write when they mean to write one later.
fn check_secret(secret: &[u8]) -> Result<(), Wrong> {
    if secret.len() < MIN_HMAC_BYTES {
        return Err(format!("an HS256 key has {MIN_HMAC_BYTES} bytes or more"));
    }
    let lower = Zeroizing::new(secret.to_ascii_lowercase());
    let known = ["django-insecure-", "changeme", "change-me", "change_me", "your-256-bit-secret"];
    let different: std::collections::HashSet<_> = secret.iter().collect();
    let named = known
        .iter()
        .any(|known| lower.windows(known.len()).any(|window| window == known.as_bytes()));
    if named || different.len() < 8 {
        return Err("it is a well-known or repetitive text and no secret; \
                    remove it, and a good one is made at the next start"
            .into());
    }
    Ok(())
}

fn pkcs8(bytes: &[u8]) -> Result<PrivatePkcs8KeyDer<'static>, Wrong> {
    PrivatePkcs8KeyDer::from_pem_slice(bytes).map_err(|_| {
        "it is no PKCS#8 key in PEM (`-----BEGIN PRIVATE KEY-----`); \
         `openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW` makes one of other forms"
            .to_owned()
    })
}

fn pem(der: &[u8]) -> Zeroizing<Vec<u8>> {
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut pem = Zeroizing::new(Vec::with_capacity(body.len() * 2 + 64));
    pem.extend_from_slice(b"-----BEGIN PRIVATE KEY-----\n");
    for line in body.as_bytes().chunks(64) {
        pem.extend_from_slice(line);
        pem.push(b'\n');
    }
    pem.extend_from_slice(b"-----END PRIVATE KEY-----\n");
    pem
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn bytes(text: &str) -> Result<Vec<u8>, Wrong> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| "a member of the key is no base64url".to_owned())
}
