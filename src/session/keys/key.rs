//! A single signing key of the gateway: its use, and the form in which it is stored after it was retired.
//!
//! Key files are PKCS#8 in PEM, or for HS256 the secret itself. The public part of a key is a JWK, which is also the form in
//! which a retired key is stored; its `kid` names the key.

use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use crate::jose::{Algorithm, Jwk, SigningKey, VerifyingKey};

const MIN_HMAC_BYTES: usize = 32;

/// The public exponent 65537, in base64url.
const RSA_EXPONENT: &str = "AQAB";

/// A key that signs, and verifies its own signatures.
pub(super) struct TokenKey {
    pub(super) signing: SigningKey,
    pub(super) verifying: PublishedKey,
}

/// A key that verifies only.
pub(super) struct PublishedKey {
    pub(super) kid: String,
    pub(super) key: VerifyingKey,
    jwk: Jwk,
}

/// What is wrong with a key, without the path of its file.
pub(super) type KeyFault = String;

impl TokenKey {
    /// Reads a key from the bytes of its file.
    pub(super) fn read(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyFault> {
        let signing = if algorithm.is_shared() {
            let secret = bytes.strip_suffix(b"\n").unwrap_or(bytes);
            check_secret(secret)?;
            SigningKey::shared(algorithm, secret)
        } else {
            PrivatePkcs8KeyDer::from_pem_slice(bytes).map_err(|_| {
                "it is no PKCS#8 key in PEM (`-----BEGIN PRIVATE KEY-----`); \
                 `openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW` makes one of other forms"
                    .to_owned()
            })?;
            SigningKey::read(algorithm, bytes).map_err(|_| unfit(algorithm))?
        };
        if let Jwk::Rsa { e, .. } = signing.jwk()
            && (e != RSA_EXPONENT || signing.verifying().is_err())
        {
            return Err("an RSA key has 2048 bits or more and the exponent 65537".into());
        }
        let verifying = PublishedKey::from_jwk(signing.jwk().clone())?;
        Ok(Self { signing, verifying })
    }
}

impl PublishedKey {
    /// Creates the key from its public part, or for HS256 from the secret.
    pub(super) fn from_jwk(jwk: Jwk) -> Result<Self, KeyFault> {
        if let Some(secret) = jwk.shared()? {
            check_secret(&secret)?;
        }
        Ok(Self { kid: jwk.kid()?, key: jwk.verifying()?, jwk })
    }

    /// Returns the public JWK of the key; `None` for a shared secret.
    pub(super) fn published(&self) -> Option<serde_json::Value> {
        self.jwk.published(&self.kid, self.key.algorithm())
    }

    /// Returns the content of the file that is stored after the key was retired.
    pub(super) fn retired_file(&self) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
        serde_json::to_vec(&self.jwk).map(Zeroizing::new).map_err(|error| error.to_string())
    }
}

fn unfit(algorithm: Algorithm) -> KeyFault {
    let kind = match algorithm {
        Algorithm::Es256 => "P-256 key",
        Algorithm::EdDsa => "Ed25519 key",
        Algorithm::Rs256 | Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => {
            "RSA key that can be used"
        }
    };
    format!("it is no {kind}, which {} needs", algorithm.name())
}

/// Rejects common placeholder secrets, because length alone does not make a secret strong.
fn check_secret(secret: &[u8]) -> Result<(), KeyFault> {
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
        return Err("it is a well-known or repetitive text, not a secret; \
                    remove it, and the next start makes a good one"
            .into());
    }
    Ok(())
}
