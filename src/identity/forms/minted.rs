//! The forms `simplejwt` and `jwt`: send a token that the service verifies with its own key.
//!
//! A token is minted for a session when it is first needed and cached until a quarter of its life is left, so that few
//! requests pay for a signature and a view that reads it late still finds it valid. A cached token is for exactly one
//! identity: another name or another list of groups is another [`Arc`], and the token is minted again. The gate checks
//! whether a session has ended before any form is asked, so a cached token of an ended session is never sent.
//!
//! `iat` is slightly in the past: PyJWT refuses a token from the future, and the service's clock may be behind.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use quick_cache::sync::Cache;

use super::account;
use crate::caller::{Identity, Known, SessionId, UserKey};
use crate::clock::Timestamp;
use crate::config::{FormKey, HandMadeJwt, Members, SimpleJwtFormSettings};
use crate::directory::Directory;
use crate::django::simplejwt::{self, NewHandMade, NewToken, TokenType};
use crate::jose::SigningKey;
use crate::private_file;
use crate::refusal::Refusal;
use crate::secret::{Secret, random_id};

/// The most sessions whose token is cached. The least used is removed first, and minted again.
const KEPT: usize = 16_384;

const CLOCK_SKEW: Duration = Duration::from_secs(10);

/// Django's own check of `SECRET_KEY` (`security.W009`) demands as many different characters; the length is HMAC-SHA-256's.
const MIN_SECRET_BYTES: usize = 32;
const MIN_DIFFERENT_BYTES: usize = 5;

pub(super) struct Minted {
    key: SigningKey,
    header: HeaderName,
    scheme: String,
    lifetime: Duration,
    claims: MintedClaims,
    more: Members,
    /// The cached tokens by session, or by user for callers without a session.
    kept: Cache<(Option<SessionId>, UserKey), KeptToken>,
}

enum MintedClaims {
    SimpleJwt {
        user_id: String,
        audience: Option<String>,
        issuer: Option<String>,
        /// `CHECK_REVOKE_TOKEN`
        password: bool,
        token_type: TokenType,
    },
    HandMade {
        user_id: String,
    },
}

#[derive(Clone)]
struct KeptToken {
    value: HeaderValue,
    identity: Arc<Identity>,
    until: Timestamp,
}

impl Minted {
    pub(super) fn simplejwt(settings: &SimpleJwtFormSettings) -> Result<Self, String> {
        let claims = MintedClaims::SimpleJwt {
            user_id: settings.user_id_claim.clone(),
            audience: settings.audience.clone(),
            issuer: settings.issuer.clone(),
            password: settings.check_revoke_token,
            token_type: settings.token_type,
        };
        let scheme = format!("{} ", settings.scheme);
        let made = Self::new(&settings.key, &settings.header, scheme, settings.lifetime, claims)?;
        Ok(Self { more: settings.claims.clone(), ..made })
    }

    pub(super) fn hand_made(settings: &HandMadeJwt) -> Result<Self, String> {
        let claims = MintedClaims::HandMade { user_id: settings.user_id_claim.clone() };
        let lifetime = settings.lifetime;
        let made = Self::new(&settings.key, &settings.header, String::new(), lifetime, claims)?;
        Ok(Self { more: settings.claims.clone(), ..made })
    }

    fn new(
        key: &FormKey,
        header: &str,
        scheme: String,
        lifetime: Duration,
        claims: MintedClaims,
    ) -> Result<Self, String> {
        let header = HeaderName::from_bytes(header.as_bytes())
            .map_err(|_| format!("{header:?} is no header name"))?;
        let (more, kept) = (Members::default(), Cache::new(KEPT));
        Ok(Self { key: read(key)?, header, scheme, lifetime, claims, more, kept })
    }

    pub(super) const fn header(&self) -> &HeaderName {
        &self.header
    }

    pub(super) async fn field(
        &self,
        known: &Known,
        directory: Option<&Directory>,
        at: Timestamp,
    ) -> Result<(HeaderName, HeaderValue), Refusal> {
        let holder = (known.session.clone(), known.identity.key.clone());
        let kept = self.kept.get(&holder);
        let good =
            kept.filter(|kept| at < kept.until && Arc::ptr_eq(&kept.identity, &known.identity));
        let value = match good {
            Some(kept) => kept.value,
            None => {
                let value = self.value(known, directory, at).await?;
                let until = at.plus(self.lifetime / 4 * 3);
                let identity = Arc::clone(&known.identity);
                let kept = KeptToken { value: value.clone(), identity, until };
                self.kept.insert(holder, kept);
                value
            }
        };
        Ok((self.header.clone(), value))
    }

    async fn value(
        &self,
        known: &Known,
        directory: Option<&Directory>,
        at: Timestamp,
    ) -> Result<HeaderValue, Refusal> {
        let token = self.mint(known, directory, at).await?;
        let text = format!("{}{}", self.scheme, token.expose());
        let mut value = HeaderValue::try_from(text).map_err(|_| Refusal::Internal)?;
        value.set_sensitive(true);
        Ok(value)
    }

    async fn mint(
        &self,
        known: &Known,
        directory: Option<&Directory>,
        at: Timestamp,
    ) -> Result<Secret, Refusal> {
        let token_id = random_id().map_err(|_| Refusal::Internal)?;
        let (issued_at, expires_at) = (at.minus(CLOCK_SKEW), at.plus(self.lifetime));
        let user = &*known.identity.key.id;
        let minted = match &self.claims {
            MintedClaims::SimpleJwt { user_id, audience, issuer, password, token_type } => {
                let print = if *password {
                    let account = account(known, directory).await?;
                    Some(simplejwt::password_print(&account.password))
                } else {
                    None
                };
                let new = NewToken {
                    token_type: *token_type,
                    expires_at,
                    issued_at,
                    token_id: &token_id,
                    user_id_claim: user_id,
                    user,
                    password: print.as_deref(),
                    audience: audience.as_deref(),
                    issuer: issuer.as_deref(),
                };
                let more = self.more.of(&known.identity);
                match token_type {
                    // No client refreshes this token: it is sent only to the service.
                    TokenType::Sliding => {
                        simplejwt::mint_sliding(&self.key, &new, expires_at, None, more)
                    }
                    TokenType::Access | TokenType::Refresh => {
                        simplejwt::mint_with(&self.key, &new, more)
                    }
                }
            }
            MintedClaims::HandMade { user_id } => {
                let new = NewHandMade {
                    claim: user_id,
                    user,
                    name: &known.identity.name,
                    expires_at,
                    issued_at,
                    token_id: &token_id,
                    session: known.session.as_ref().map(SessionId::as_str),
                };
                simplejwt::mint_hand_made_with(&self.key, &new, self.more.of(&known.identity))
            }
        };
        minted.map_err(|error| {
            tracing::error!(%error, "a token for a service could not be minted");
            Refusal::Internal
        })
    }
}

/// Reads a service's key.
fn read(key: &FormKey) -> Result<SigningKey, String> {
    let (bytes, _) = private_file::read(&key.file).map_err(|error| error.to_string())?;
    let mut bytes = bytes.as_slice();
    if key.algorithm.is_shared() {
        bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        if let (Some(why), false) = (weakness(bytes), key.danger_weak_key) {
            return Err(format!(
                "{}: the key {why}, so tokens can be forged; give the service a better one, or set danger_weak_key = true",
                key.file.display()
            ));
        }
    }
    SigningKey::read(key.algorithm, bytes)
        .map_err(|problem| format!("{}: {problem}", key.file.display()))
}

fn weakness(secret: &[u8]) -> Option<&'static str> {
    let different: std::collections::HashSet<_> = secret.iter().collect();
    if secret.len() < MIN_SECRET_BYTES {
        Some("is shorter than 32 bytes")
    } else if different.len() < MIN_DIFFERENT_BYTES {
        Some("repeats itself")
    } else if secret.starts_with(b"django-insecure-") {
        Some("was made by `startproject` for development")
    } else {
        None
    }
}
