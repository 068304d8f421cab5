//! Keys of such tokens. The service has them already; none is ever made here.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

/// How a service signs its tokens (`SIMPLE_JWT["ALGORITHM"]`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Algorithm {
    /// HMAC with SHA-256: SimpleJWT's default.
    #[default]
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA with P-256 and SHA-256.
    Es256,
}

/// What a service's tokens are verified with.
pub struct VerifyingKey {
    algorithm: Algorithm,
    key: Verifies,
}

/// What tokens for a service are signed with.
pub struct SigningKey {
    algorithm: Algorithm,
    key: Signs,
}

/// Why a key cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyProblem {
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// An HMAC secret that is the text of another kind of key: whoever has that public key could sign.
    #[error(
        "it is a key of another kind (PEM, SSH or JWK), which as a shared secret would be no secret"
    )]
    NotASecret,
    /// No public key in PEM.
    #[error(
        "it is no public key in PEM (`-----BEGIN PUBLIC KEY-----`) that fits the algorithm; RSA keys have 2048 bits or more"
    )]
    NotAPublicKey,
    /// No private key in PEM.
    #[error(
        "it is no PKCS#8 key in PEM (`-----BEGIN PRIVATE KEY-----`) that fits the algorithm; RSA keys have 2048 bits or more"
    )]
    NotAPrivateKey,
    /// A shared secret has no public part.
    #[error("an algorithm with a shared secret has no public key")]
    NoPublicKey,
    /// The signature could not be made.
    #[error("signing failed")]
    CannotSign,
}

enum Verifies {
    Shared(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

enum Signs {
    Shared(Box<hmac::Key>),
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

impl Algorithm {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Hs256, Self::Hs384, Self::Hs512, Self::Rs256, Self::Es256];

    /// As `alg` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }

    /// Is the key that signs also the key that verifies?
    #[must_use]
    pub const fn is_shared(self) -> bool {
        self.hmac().is_some()
    }

    const fn hmac(self) -> Option<hmac::Algorithm> {
        match self {
            Self::Hs256 => Some(hmac::HMAC_SHA256),
            Self::Hs384 => Some(hmac::HMAC_SHA384),
            Self::Hs512 => Some(hmac::HMAC_SHA512),
            Self::Rs256 | Self::Es256 => None,
        }
    }
}

impl VerifyingKey {
    /// Reads a public key in PEM.
    ///
    /// # Errors
    /// [`KeyProblem`]
    pub fn public(algorithm: Algorithm, pem: &[u8]) -> Result<Self, KeyProblem> {
        let der =
            || SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| KeyProblem::NotAPublicKey);
        match algorithm {
            Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => Err(KeyProblem::NoPublicKey),
            Algorithm::Rs256 | Algorithm::Es256 => Self::parsed(algorithm, &der()?),
        }
    }

    fn parsed(algorithm: Algorithm, key: &[u8]) -> Result<Self, KeyProblem> {
        let key = match algorithm {
            Algorithm::Es256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key),
            _ => ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key),
        };
        let key = Verifies::Public(key.map_err(|_| KeyProblem::NotAPublicKey)?);
        Ok(Self { algorithm, key })
    }

    /// The one algorithm that it verifies.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            Verifies::Shared(key) => hmac::verify(key, signed, signature).is_ok(),
            Verifies::Public(key) => key.verify_sig(signed, signature).is_ok(),
        }
    }
}

impl SigningKey {
    /// Reads a shared secret (the very bytes), or a private key in PEM.
    ///
    /// # Errors
    /// [`KeyProblem`]
    pub fn read(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyProblem> {
        if bytes.is_empty() {
            return Err(KeyProblem::Empty);
        }
        if let Some(hmac) = algorithm.hmac() {
            if is_another_kind(bytes) {
                return Err(KeyProblem::NotASecret);
            }
            return Ok(Self {
                algorithm,
                key: Signs::Shared(Box::new(hmac::Key::new(hmac, bytes))),
            });
        }
        let der = PrivatePkcs8KeyDer::from_pem_slice(bytes);
        let der = der.map_err(|_| KeyProblem::NotAPrivateKey)?;
        let der = der.secret_pkcs8_der();
        let key = match algorithm {
            Algorithm::Es256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map(Signs::Ec)
            }
            _ => RsaKeyPair::from_pkcs8(der).map(Signs::Rsa),
        };
        Ok(Self { algorithm, key: key.map_err(|_| KeyProblem::NotAPrivateKey)? })
    }

    /// What verifies what this signs.
    ///
    /// # Errors
    /// [`KeyProblem`], for an RSA key that is too short to be believed.
    pub fn verifying(&self) -> Result<VerifyingKey, KeyProblem> {
        match &self.key {
            Signs::Shared(key) => {
                Ok(VerifyingKey { algorithm: self.algorithm, key: Verifies::Shared(key.clone()) })
            }
            Signs::Rsa(key) => VerifyingKey::parsed(self.algorithm, key.public_key().as_ref()),
            Signs::Ec(key) => VerifyingKey::parsed(self.algorithm, key.public_key().as_ref()),
        }
    }

    /// The one algorithm that it signs with.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn sign(&self, signed: &[u8]) -> Result<Vec<u8>, KeyProblem> {
        let random = SystemRandom::new();
        match &self.key {
            Signs::Shared(key) => Ok(hmac::sign(key, signed).as_ref().to_vec()),
            Signs::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, signed, &mut signature)
                    .map_err(|_| KeyProblem::CannotSign)?;
                Ok(signature)
            }
            Signs::Ec(key) => {
                let signature = key.sign(&random, signed).map_err(|_| KeyProblem::CannotSign)?;
                Ok(signature.as_ref().to_vec())
            }
        }
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

/// PyJWT refuses these as HMAC secrets as well.
fn is_another_kind(secret: &[u8]) -> bool {
    let has = |text: &[u8]| secret.windows(text.len()).any(|window| window == text);
    let ssh: [&[u8]; 4] = [b"ssh-rsa", b"ssh-ed25519", b"ssh-dss", b"ecdsa-sha2-"];
    has(b"-----BEGIN ")
        || ssh.iter().any(|kind| secret.starts_with(kind))
        || serde_json::from_slice::<serde_json::Value>(secret)
            .is_ok_and(|json| json.get("kty").is_some())
}

#[cfg(test)]
pub(in crate::django) mod tests {
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::rsa::{KeyPair, KeySize};

    use super::*;
    use crate::secret::{Secret, random_bytes};

    fn pem(der: &[u8]) -> String {
        use base64::Engine as _;
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
    }

    fn private_pem(algorithm: Algorithm) -> String {
        let random = SystemRandom::new();
        match algorithm {
            Algorithm::Rs256 => {
                pem(KeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap().as_ref())
            }
            _ => {
                let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
                pem(made.unwrap().as_ref())
            }
        }
    }

    /// A fresh key.
    pub(in crate::django) fn random_key(algorithm: Algorithm) -> SigningKey {
        let bytes = if algorithm.is_shared() {
            random_bytes::<32>().unwrap().to_vec()
        } else {
            private_pem(algorithm).into_bytes()
        };
        SigningKey::read(algorithm, &bytes).unwrap()
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
        ] {
            assert_eq!(SigningKey::read(algorithm, bytes.as_bytes()).unwrap_err(), problem);
        }
        for (algorithm, problem) in [
            (Algorithm::Hs256, KeyProblem::NoPublicKey),
            (Algorithm::Rs256, KeyProblem::NotAPublicKey),
            (Algorithm::Es256, KeyProblem::NotAPublicKey),
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
