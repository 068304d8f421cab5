//! Reads keys from the contents of their files, and generates new keys.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, EncodingKey};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use zeroize::Zeroizing;

use super::{Algorithm, Jwk};
use crate::secret::random_bytes;

/// The smallest modulus, in bytes, of an RSA key that is accepted.
const MIN_RSA_BYTES: usize = 256;

/// A key that verifies token signatures.
#[derive(Clone)]
pub struct VerifyingKey {
    algorithm: Algorithm,
    key: Verifier,
}

#[derive(Clone)]
enum Verifier {
    /// A shared secret with its HMAC key set up once: anyone can force a verification by sending a forged token, and the
    /// set-up costs half as much as the signature itself.
    Shared(Arc<hmac::Key>),
    /// A public key.
    Public(DecodingKey),
}

/// A key that signs tokens.
pub struct SigningKey {
    algorithm: Algorithm,
    key: EncodingKey,
    public: Jwk,
    /// The key that verifies; `None` for an RSA key that is too short to be accepted.
    verifying: Option<VerifyingKey>,
}

/// Why a key cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyProblem {
    /// The file is empty.
    #[error("it is empty")]
    Empty,
    /// The shared secret is the text of another kind of key: whoever has that public key could sign.
    #[error(
        "it is a key of another kind (PEM, SSH or JWK), which as a shared secret would be no secret"
    )]
    NotASecret,
    /// The file is not a public key in PEM.
    #[error(
        "it is no public key in PEM (`-----BEGIN PUBLIC KEY-----`) that fits the algorithm; RSA keys have 2048 bits or more"
    )]
    NotAPublicKey,
    /// The file is not a private key in PEM.
    #[error(
        "it is no PKCS#8 key in PEM (`-----BEGIN PRIVATE KEY-----`) that fits the algorithm; RSA keys have 2048 bits or more"
    )]
    NotAPrivateKey,
    /// The algorithm has a shared secret, and so no public key.
    #[error("an algorithm with a shared secret has no public key")]
    NoPublicKey,
    /// The signature could not be made.
    #[error("signing failed")]
    CannotSign,
    /// The key could not be made.
    #[error("the key could not be made")]
    CannotMake,
}

impl VerifyingKey {
    /// Reads a public key in PEM.
    ///
    /// # Errors
    /// [`KeyProblem`]
    pub fn public(algorithm: Algorithm, file: &[u8]) -> Result<Self, KeyProblem> {
        if algorithm.is_shared() {
            return Err(KeyProblem::NoPublicKey);
        }
        let no_key = |_| KeyProblem::NotAPublicKey;
        let der = SubjectPublicKeyInfoDer::from_pem_slice(file).map_err(no_key)?;
        // The file may contain more than the key, so only the key's section is passed on.
        let pem = pem("PUBLIC KEY", &der);
        let no_key = |_| KeyProblem::NotAPublicKey;
        let (fits, key) = match algorithm {
            Algorithm::Es256 => (
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &*der),
                DecodingKey::from_ec_pem(&pem),
            ),
            Algorithm::EdDsa => {
                (ParsedPublicKey::new(&ED25519, &*der), DecodingKey::from_ed_pem(&pem))
            }
            Algorithm::Rs256 | Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => (
                ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &*der),
                DecodingKey::from_rsa_pem(&pem),
            ),
        };
        fits.map_err(no_key)?;
        let key = key.map_err(|_| KeyProblem::NotAPublicKey)?;
        Ok(Self { algorithm, key: Verifier::Public(key) })
    }

    /// Makes a key from a shared secret.
    pub(super) fn shared(algorithm: Algorithm, secret: &[u8]) -> Self {
        let digest = match algorithm {
            Algorithm::Hs384 => hmac::HMAC_SHA384,
            Algorithm::Hs512 => hmac::HMAC_SHA512,
            Algorithm::Hs256 | Algorithm::Es256 | Algorithm::EdDsa | Algorithm::Rs256 => {
                hmac::HMAC_SHA256
            }
        };
        Self { algorithm, key: Verifier::Shared(Arc::new(hmac::Key::new(digest, secret))) }
    }

    /// Makes a key from an uncompressed point of P-256.
    pub(super) fn ec(point: &[u8]) -> Self {
        Self { algorithm: Algorithm::Es256, key: Verifier::Public(DecodingKey::from_ec_der(point)) }
    }

    /// Makes a key from a point of Ed25519.
    pub(super) fn ed25519(point: &[u8]) -> Self {
        Self { algorithm: Algorithm::EdDsa, key: Verifier::Public(DecodingKey::from_ed_der(point)) }
    }

    /// Makes a key from an RSA modulus and exponent.
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Self {
        let key = DecodingKey::from_rsa_raw_components(n, e);
        Self { algorithm: Algorithm::Rs256, key: Verifier::Public(key) }
    }

    /// Returns the only algorithm that the key verifies.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature`, in base64url, is this key's signature over `signed`; `bytes` is the decoded signature.
    pub(super) fn verifies(&self, signed: &str, signature: &str, bytes: &[u8]) -> bool {
        match &self.key {
            // The comparison takes constant time and covers the whole signature: a shorter one is refused.
            Verifier::Shared(key) => hmac::verify(key, signed.as_bytes(), bytes).is_ok(),
            Verifier::Public(key) => {
                let algorithm = self.algorithm.of_library();
                jsonwebtoken::crypto::verify(signature, signed.as_bytes(), key, algorithm)
                    .unwrap_or(false)
            }
        }
    }
}

impl SigningKey {
    /// Reads a shared secret (the bytes as they are), or a private key in PEM.
    ///
    /// # Errors
    /// [`KeyProblem`]
    pub fn read(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyProblem> {
        if bytes.is_empty() {
            return Err(KeyProblem::Empty);
        }
        if algorithm.is_shared() {
            if is_another_kind(bytes) {
                return Err(KeyProblem::NotASecret);
            }
            return Ok(Self::shared(algorithm, bytes));
        }
        Self::private(algorithm, bytes).ok_or(KeyProblem::NotAPrivateKey)
    }

    /// Makes a key from a shared secret without checking what it looks like.
    pub fn shared(algorithm: Algorithm, secret: &[u8]) -> Self {
        Self {
            algorithm,
            key: EncodingKey::from_secret(secret),
            public: Jwk::secret(secret),
            verifying: Some(VerifyingKey::shared(algorithm, secret)),
        }
    }

    fn private(algorithm: Algorithm, file: &[u8]) -> Option<Self> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(file).ok()?;
        let der = der.secret_pkcs8_der();
        let (key, public, verifying) = match algorithm {
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).ok()?;
                let point = pair.public_key().as_ref();
                let jwk = Jwk::ec(point.get(1..33)?, point.get(33..65)?);
                (EncodingKey::from_ec_der(der), jwk, Some(VerifyingKey::ec(point)))
            }
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8(der).ok()?;
                let point = pair.public_key().as_ref();
                let verifying = VerifyingKey::ed25519(point);
                (EncodingKey::from_ed_der(der), Jwk::ed25519(point), Some(verifying))
            }
            Algorithm::Rs256 | Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => {
                let pair = rsa::KeyPair::from_pkcs8(der).ok()?;
                let public = pair.public_key();
                let n = public.modulus().big_endian_without_leading_zero();
                let e = public.exponent().big_endian_without_leading_zero();
                let verifying = (n.len() >= MIN_RSA_BYTES).then(|| VerifyingKey::rsa(n, e));
                let key = EncodingKey::from_rsa_pem(&pem("PRIVATE KEY", der)).ok()?;
                (key, Jwk::rsa(n, e), verifying)
            }
        };
        Some(Self { algorithm, key, public, verifying })
    }

    /// Generates a new key and returns the contents of its file: PKCS#8 in PEM, or a secret as text, which survives editors
    /// and can be copied into an application's settings.
    ///
    /// # Errors
    /// [`KeyProblem::CannotMake`]
    pub fn generate(algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>, KeyProblem> {
        let random = SystemRandom::new();
        let pem = |der: &[u8]| pem("PRIVATE KEY", der);
        let made = match algorithm {
            Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => {
                let secret = random_bytes::<32>().map_err(|_| KeyProblem::CannotMake)?;
                let secret = Zeroizing::new(secret);
                return Ok(Zeroizing::new(
                    format!("{}\n", URL_SAFE_NO_PAD.encode(secret.as_slice())).into(),
                ));
            }
            Algorithm::Es256 => {
                EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
                    .map(|key| pem(key.as_ref()))
            }
            // Version 1 of PKCS#8, which every tool can read.
            Algorithm::EdDsa => {
                Ed25519KeyPair::generate_pkcs8v1(&random).map(|key| pem(key.as_ref()))
            }
            Algorithm::Rs256 => rsa::KeyPair::generate(rsa::KeySize::Rsa3072)
                .and_then(|key| key.as_der().map(|der| pem(der.as_ref()))),
        };
        made.map_err(|_| KeyProblem::CannotMake)
    }

    /// Returns the key that verifies this key's signatures.
    ///
    /// # Errors
    /// [`KeyProblem`], for an RSA key that is too short to be accepted.
    pub fn verifying(&self) -> Result<VerifyingKey, KeyProblem> {
        self.verifying.clone().ok_or(KeyProblem::NotAPublicKey)
    }

    /// Returns the public key, or the secret itself for a shared secret.
    pub const fn jwk(&self) -> &Jwk {
        &self.public
    }

    /// Returns the only algorithm that the key signs with.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the signature over `signed`, in base64url.
    pub(crate) fn sign(&self, signed: &str) -> Result<String, KeyProblem> {
        jsonwebtoken::crypto::sign(signed.as_bytes(), &self.key, self.algorithm.of_library())
            .map_err(|_| KeyProblem::CannotSign)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Whether the secret is the text of another kind of key. PyJWT refuses the same texts as HMAC secrets.
fn is_another_kind(secret: &[u8]) -> bool {
    let has = |text: &[u8]| secret.windows(text.len()).any(|window| window == text);
    let ssh: [&[u8]; 4] = [b"ssh-rsa", b"ssh-ed25519", b"ssh-dss", b"ecdsa-sha2-"];
    has(b"-----BEGIN ")
        || ssh.iter().any(|kind| secret.starts_with(kind))
        || serde_json::from_slice::<serde_json::Value>(secret)
            .is_ok_and(|json| json.get("kty").is_some())
}

fn pem(label: &str, der: &[u8]) -> Zeroizing<Vec<u8>> {
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut pem = Zeroizing::new(Vec::with_capacity(body.len() * 2 + 64));
    pem.extend_from_slice(format!("-----BEGIN {label}-----\n").as_bytes());
    for line in body.as_bytes().chunks(64) {
        pem.extend_from_slice(line);
        pem.push(b'\n');
    }
    pem.extend_from_slice(format!("-----END {label}-----\n").as_bytes());
    pem
}

/// Generates a key and reads it.
#[cfg(test)]
pub(crate) fn random_key(algorithm: Algorithm) -> SigningKey {
    SigningKey::read(algorithm, &SigningKey::generate(algorithm).unwrap()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn private_pem(algorithm: Algorithm) -> String {
        String::from_utf8(SigningKey::generate(algorithm).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn a_key_is_of_its_algorithms_kind_or_refused() {
        for (algorithm, bytes, problem) in [
            (Algorithm::Hs256, "", KeyProblem::Empty),
            (Algorithm::Hs512, &*private_pem(Algorithm::Es256), KeyProblem::NotASecret),
            (Algorithm::Hs256, "ssh-ed25519 AAAA kim", KeyProblem::NotASecret),
            (Algorithm::Hs256, r#"{"kty":"oct","k":"AA"}"#, KeyProblem::NotASecret),
            (Algorithm::Rs256, "a secret", KeyProblem::NotAPrivateKey),
            (Algorithm::Rs256, &private_pem(Algorithm::Es256), KeyProblem::NotAPrivateKey),
            (Algorithm::Es256, &private_pem(Algorithm::Rs256), KeyProblem::NotAPrivateKey),
            (Algorithm::EdDsa, &private_pem(Algorithm::Es256), KeyProblem::NotAPrivateKey),
        ] {
            assert_eq!(SigningKey::read(algorithm, bytes.as_bytes()).unwrap_err(), problem);
        }
        for (algorithm, problem) in [
            (Algorithm::Hs256, KeyProblem::NoPublicKey),
            (Algorithm::Rs256, KeyProblem::NotAPublicKey),
            (Algorithm::Es256, KeyProblem::NotAPublicKey),
            (Algorithm::EdDsa, KeyProblem::NotAPublicKey),
        ] {
            let refused = VerifyingKey::public(algorithm, b"no key").unwrap_err();
            assert_eq!(refused, problem);
        }
    }

    #[test]
    fn a_key_prints_nothing_of_itself() {
        let secret = Secret::random().unwrap();
        let key = SigningKey::read(Algorithm::Hs256, secret.expose().as_bytes()).unwrap();
        let printed = format!("{key:?} {:?}", key.verifying().unwrap());
        assert!(printed.contains("Hs256") && !printed.contains(secret.expose()));
    }
}
