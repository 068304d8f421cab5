//! Refresh tokens, and the sealing of the answer to one.
//!
//! A refresh token is a JWT in SimpleJWT's shape, because front ends read its `exp`. It is signed with a key that nothing else
//! trusts, so that it is worth nothing anywhere else, and its `typ` is `rt+jwt`. The store says whether it is valid: its `jti`
//! is 256 random bits, of which only the SHA-256 is stored.
//!
//! **The grace window.** Callers that race with one token must get the same answer, so the first answer is stored for some
//! seconds, sealed with AES-256-GCM under a key that is derived (HKDF-SHA256) from the spent token's `jti` and bound to its
//! session. The store alone holds only the hash of the `jti` and cannot open the answer; a client with the token was going to
//! get the answer anyway.

use std::path::Path;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hkdf, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::TokenPair;
use super::claims::{AccessClaims, NamedClaims};
use super::jwt::{ACCESS, CLOCK_SKEW_SECS, Invalid, JoseHeader, REFRESH, Unverified};
use super::keys::KeyError;
use crate::caller::SessionId;
use crate::clock::Timestamp;
use crate::config::Tokens;
use crate::jose::{Algorithm, Compact, KeyProblem, SigningKey, VerifyingKey};
use crate::private_file::{self, PrivateFileError};
use crate::refusal::Refusal;
use crate::secret::{Digest, Secret, random_bytes};
use crate::store::NewRefreshToken;

const KEY_BYTES: usize = 32;

/// The key that signs refresh tokens.
pub struct RefreshKey {
    signing: SigningKey,
    verifying: VerifyingKey,
    /// Derives secrets for tokens that another system issued.
    naming: hmac::Key,
}

/// One of the gateway's own tokens that has not expired; whether it is unspent is in the store.
#[derive(Debug)]
pub(crate) struct PresentedRefreshToken {
    pub(crate) session: SessionId,
    pub(crate) user_id: String,
    pub(crate) expires_at: Timestamp,
    digest: Digest,
    /// Known only to the holder of the token; the key of the grace window is derived from it.
    secret: Secret,
}

/// A new token: the token for the client, and its record for the store.
pub(super) struct IssuedRefreshToken {
    pub(super) token: Secret,
    pub(super) good_for: Duration,
    pub(super) remembered: NewRefreshToken,
}

/// A [`TokenPair`] in the form in which it is sealed.
#[derive(Serialize, Deserialize)]
struct SealedRefreshToken {
    access: String,
    access_secs: u64,
    refresh: String,
    refresh_secs: u64,
}

impl RefreshKey {
    /// Reads the key, and creates it if there is none (32 random bytes, mode 0600).
    ///
    /// # Errors
    /// [`KeyError`] if it cannot be read or created, is readable by others, or is no key.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let unusable = |wrong: &str| KeyError::Unusable { path: path.into(), wrong: wrong.into() };
        if !path.exists() {
            let key = random_bytes::<KEY_BYTES>().map_err(|error| unusable(&error.to_string()))?;
            match private_file::create(path, Zeroizing::new(key).as_slice()) {
                Err(PrivateFileError::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
        }
        let (bytes, _) = private_file::read(path)?;
        if bytes.len() != KEY_BYTES {
            return Err(unusable(
                "it does not hold 32 bytes; remove it, and a new one is made at the next start \
                 (everybody then signs in again)",
            ));
        }
        Self::of(&bytes).map_err(|problem| unusable(&problem.to_string()))
    }

    /// Creates a key that is not saved, for a store that does not outlive the process either.
    ///
    /// # Errors
    /// [`KeyProblem`]
    pub fn random() -> Result<Self, KeyProblem> {
        let key = random_bytes::<KEY_BYTES>().map_err(|_| KeyProblem::CannotMake)?;
        Self::of(Zeroizing::new(key).as_slice())
    }

    fn of(key: &[u8]) -> Result<Self, KeyProblem> {
        let signing = SigningKey::shared(Algorithm::Hs256, key);
        let verifying = signing.verifying()?;
        Ok(Self { signing, verifying, naming: hmac::Key::new(hmac::HMAC_SHA256, key) })
    }

    /// Issues a refresh token for a session that ends at `session_end`.
    pub(super) fn issue(
        &self,
        settings: &Tokens,
        session: &SessionId,
        user_id: &str,
        session_end: Timestamp,
        at: Timestamp,
    ) -> Result<IssuedRefreshToken, Refusal> {
        let jti = Secret::random().map_err(|_| Refusal::Internal)?;
        let exp = at.plus(settings.refresh_lifetime).min(session_end).as_secs();
        let claims = AccessClaims {
            token_type: "refresh".into(),
            exp,
            iat: at.as_secs(),
            jti: jti.expose().into(),
            user_id: user_id.into(),
            sid: session.as_str().into(),
            ..AccessClaims::default()
        };
        let user_id_claim = &settings.user_id_claim;
        let named = NamedClaims { user_id_claim, claims: &claims, more: Vec::new() };
        let header = JoseHeader { alg: "HS256".into(), typ: REFRESH.into(), kid: None };
        let token = Compact::signed_by(&self.signing, &header, &named);
        Ok(IssuedRefreshToken {
            token: Secret::new(token.map_err(|_| Refusal::Internal)?),
            good_for: Duration::from_secs(exp.saturating_sub(claims.iat)),
            remembered: NewRefreshToken {
                digest: jti.digest(),
                expires_at: Timestamp::from_secs(exp),
            },
        })
    }

    /// Checks everything about a token that does not need the store.
    pub(crate) fn verify(
        &self,
        settings: &Tokens,
        token: &str,
        at: Timestamp,
    ) -> Result<PresentedRefreshToken, Refusal> {
        let refused = |_: Invalid| Refusal::TokenNotValid;
        let token = Unverified::read(token).map_err(refused)?;
        match (token.header.typ.as_str(), token.header.alg.as_str(), &token.header.kid) {
            (REFRESH, "HS256", None) => {}
            (ACCESS, ..) => return Err(Refusal::TokenWrongType),
            _ => return Err(Refusal::TokenNotValid),
        }
        if !token.is_signed_by(&self.verifying) {
            return Err(Refusal::TokenNotValid);
        }
        let payload = token.payload().map_err(refused)?;
        let claims = AccessClaims::read(&payload, &settings.user_id_claim).map_err(refused)?;
        if claims.token_type != "refresh" {
            return Err(Refusal::TokenWrongType);
        }
        let whole = !claims.jti.is_empty()
            && !claims.user_id.is_empty()
            && !claims.sid.is_empty()
            && claims.exp != 0
            && claims.iat != 0;
        if !whole || claims.iat > at.as_secs().saturating_add(CLOCK_SKEW_SECS) {
            return Err(Refusal::TokenNotValid);
        }
        let expires_at = Timestamp::from_secs(claims.exp);
        if at >= expires_at {
            return Err(Refusal::TokenExpired);
        }
        Ok(PresentedRefreshToken {
            session: SessionId::new(&claims.sid),
            user_id: claims.user_id,
            expires_at,
            digest: Digest::of(claims.jti.as_bytes()),
            secret: Secret::new(claims.jti),
        })
    }

    /// Derives a secret from the parts that identify a token without a `jti` of its own. No part may contain a NUL.
    pub(crate) fn derived(&self, parts: &[&str]) -> Secret {
        let mut context = hmac::Context::with_key(&self.naming);
        context.update(b"doorwarden taken-over token");
        for part in parts {
            context.update(b"\0");
            context.update(part.as_bytes());
        }
        Secret::new(URL_SAFE_NO_PAD.encode(context.sign()))
    }
}

impl PresentedRefreshToken {
    /// Creates the value for a token that another system issued; see `issuer::take_over`.
    pub(crate) fn taken_over(
        session: SessionId,
        user_id: &str,
        expires_at: Timestamp,
        digest: Digest,
        secret: Secret,
    ) -> Self {
        Self { session, user_id: user_id.to_owned(), expires_at, digest, secret }
    }

    /// Returns the digest by which the store knows the token.
    pub(super) const fn digest(&self) -> Digest {
        self.digest
    }

    /// Seals the answer for this token.
    pub(super) fn seal(&self, pair: &TokenPair) -> Result<Vec<u8>, Refusal> {
        let sealed = SealedRefreshToken {
            access: pair.access.expose().into(),
            access_secs: pair.access_expires_in.as_secs(),
            refresh: pair.refresh.as_ref().map_or("", Secret::expose).into(),
            refresh_secs: pair.refresh_expires_in.as_secs(),
        };
        let mut bytes = serde_json::to_vec(&sealed).map_err(|_| Refusal::Internal)?;
        let nonce = self
            .key()?
            .seal_in_place_append_tag(self.bound_to(), &mut bytes)
            .map_err(|_| Refusal::Internal)?;
        bytes.extend_from_slice(nonce.as_ref());
        Ok(bytes)
    }

    /// Opens the answer that was sealed for this token before.
    pub(super) fn open(&self, mut sealed: Vec<u8>) -> Result<TokenPair, Refusal> {
        let split = sealed.len().checked_sub(NONCE_LEN).ok_or(Refusal::Internal)?;
        let nonce = sealed.split_off(split);
        let nonce = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| Refusal::Internal)?;
        let opened = self
            .key()?
            .open_in_place(nonce, self.bound_to(), &mut sealed)
            .map_err(|_| Refusal::Internal)?;
        let opened: SealedRefreshToken =
            serde_json::from_slice(opened).map_err(|_| Refusal::Internal)?;
        Ok(TokenPair {
            access: Secret::new(opened.access),
            access_expires_in: Duration::from_secs(opened.access_secs),
            refresh: Some(Secret::new(opened.refresh)),
            refresh_expires_in: Duration::from_secs(opened.refresh_secs),
        })
    }

    fn key(&self) -> Result<RandomizedNonceKey, Refusal> {
        let mut key = Zeroizing::new([0; 32]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"doorwarden grace window")
            .extract(self.secret.expose().as_bytes())
            .expand(&[self.session.as_str().as_bytes()], &AES_256_GCM)
            .and_then(|okm| okm.fill(key.as_mut_slice()))
            .and_then(|()| RandomizedNonceKey::new(&AES_256_GCM, key.as_slice()))
            .map_err(|_| Refusal::Internal)
    }

    fn bound_to(&self) -> Aad<&[u8]> {
        Aad::from(self.session.as_str().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::testkit::{NOW, tokens};

    fn settings() -> Tokens {
        tokens(Path::new("/nonexistent"))
    }

    fn end() -> Timestamp {
        NOW.plus(Duration::from_secs(30 * 86_400))
    }

    fn issued(key: &RefreshKey) -> IssuedRefreshToken {
        key.issue(&settings(), &SessionId::new("s1"), "7", end(), NOW).unwrap()
    }

    #[test]
    fn a_token_names_its_session_and_the_store_keeps_a_hash() {
        let key = RefreshKey::random().unwrap();
        let issued = issued(&key);
        let presented = key.verify(&settings(), issued.token.expose(), NOW).unwrap();
        assert_eq!((presented.session.as_str(), presented.user_id.as_str()), ("s1", "7"));
        assert_eq!(presented.digest(), issued.remembered.digest);
        assert_eq!(presented.secret.expose().len(), 43, "256 bits");
        assert_eq!(issued.remembered.expires_at, NOW.plus(settings().refresh_lifetime));
    }

    #[test]
    fn it_is_over_at_the_second_it_names_and_never_after_its_session() {
        let key = RefreshKey::random().unwrap();
        let token = issued(&key).token;
        let exp = NOW.plus(settings().refresh_lifetime);
        assert!(
            key.verify(&settings(), token.expose(), exp.minus(Duration::from_millis(1))).is_ok()
        );
        let expired = key.verify(&settings(), token.expose(), exp).unwrap_err();
        assert_eq!(expired, Refusal::TokenExpired);
        let soon = NOW.plus(Duration::from_secs(60));
        let short = key.issue(&settings(), &SessionId::new("s1"), "7", soon, NOW).unwrap();
        assert_eq!(short.good_for, Duration::from_secs(60));
    }

    #[test]
    fn another_key_kind_or_spelling_is_refused() {
        let (key, other) = (RefreshKey::random().unwrap(), RefreshKey::random().unwrap());
        let token = issued(&key).token;
        let token = token.expose();
        let refused =
            |key: &RefreshKey, token: &str| key.verify(&settings(), token, NOW).unwrap_err();
        assert_eq!(refused(&other, token), Refusal::TokenNotValid);
        let (signed, _) = token.rsplit_once('.').unwrap();
        for spoiled in
            [format!("{signed}."), format!("{token}="), format!("{token} "), signed.to_owned()]
        {
            assert_eq!(refused(&key, &spoiled), Refusal::TokenNotValid, "{spoiled}");
        }
        let header = |alg: &str, typ: &str| {
            let header = JoseHeader { alg: alg.into(), typ: typ.into(), kid: None };
            Compact::signed_by(&key.signing, &header, &"claims").unwrap()
        };
        assert_eq!(refused(&key, &header("none", REFRESH)), Refusal::TokenNotValid);
        assert_eq!(refused(&key, &header("HS512", REFRESH)), Refusal::TokenNotValid);
        assert_eq!(refused(&key, &header("HS256", "JWT")), Refusal::TokenNotValid);
        assert_eq!(refused(&key, &header("HS256", ACCESS)), Refusal::TokenWrongType);
    }

    fn pair() -> TokenPair {
        TokenPair {
            access: Secret::new("a"),
            access_expires_in: Duration::from_secs(300),
            refresh: Some(Secret::new("r")),
            refresh_expires_in: Duration::from_secs(86_400),
        }
    }

    #[test]
    fn a_sealed_answer_opens_for_the_same_token_only() {
        let key = RefreshKey::random().unwrap();
        let presented = |token: &Secret| key.verify(&settings(), token.expose(), NOW).unwrap();
        let (one, two) = (issued(&key).token, issued(&key).token);
        let sealed = presented(&one).seal(&pair()).unwrap();
        assert_eq!(presented(&one).open(sealed.clone()), Ok(pair()));
        assert_eq!(presented(&two).open(sealed.clone()), Err(Refusal::Internal));
        let elsewhere = PresentedRefreshToken { session: SessionId::new("s2"), ..presented(&one) };
        assert_eq!(elsewhere.open(sealed.clone()), Err(Refusal::Internal));
        for index in 0..sealed.len() {
            let mut spoiled = sealed.clone();
            spoiled[index] ^= 1;
            assert_eq!(presented(&one).open(spoiled), Err(Refusal::Internal), "byte {index}");
        }
        assert_eq!(presented(&one).open(Vec::new()), Err(Refusal::Internal));
    }

    #[test]
    fn the_key_is_made_once_and_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("refresh-key");
        let token = issued(&RefreshKey::open(&path).unwrap()).token;
        let again = RefreshKey::open(&path).unwrap();
        assert!(again.verify(&settings(), token.expose(), NOW).is_ok());
        private_file::replace(&path, b"short").unwrap();
        let Err(error) = RefreshKey::open(&path) else { panic!("opened") };
        assert!(error.to_string().contains("32 bytes"), "{error}");
    }
}
