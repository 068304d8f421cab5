//! Verifies and mints SimpleJWT's tokens, and the hand-made token that services used before.
//!
//! Both are accepted as the service's own settings require. A token is refused where Django fails with 500, and where Django
//! accepts a user id that no service issues (a fraction, a list, `true` for user 1). What only the user's row can show (that
//! the user is active, and has the password of which [`VerifiedSimpleJwt::password`] is the hash) is for the caller to check.

use md5::{Digest as _, Md5};
use serde_json::{Value, json};

use super::jws::{self, Expected, NotAccepted};
use crate::clock::Timestamp;
use crate::jose::{KeyProblem, SigningKey, VerifyingKey};
use crate::secret::Secret;

/// The kinds of SimpleJWT token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum TokenType {
    /// A short-lived token for requests.
    #[default]
    Access,
    /// A long-lived token that is exchanged for another access token.
    Refresh,
    /// A token that is used for requests and can itself be refreshed.
    Sliding,
}

/// The claim that names the session of a sliding token that the gateway made. It is not `sid`, which a service may use too.
const SESSION: &str = "doorwarden_session";

/// The claim with the time until which the service may give a sliding token a later `exp`.
const REFRESH_EXP: &str = "refresh_exp";

/// The settings of a service's SimpleJWT.
#[derive(Clone, Debug)]
pub struct SimpleJwtRules {
    /// The types of token that are accepted: SimpleJWT's `AUTH_TOKEN_CLASSES`.
    pub token_types: Vec<TokenType>,
    /// `USER_ID_CLAIM`
    pub user_id_claim: String,
    /// `AUDIENCE`, `ISSUER` and `LEEWAY`.
    pub expected: Expected,
}

/// The claims of a SimpleJWT token that has been verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedSimpleJwt {
    /// The user's id as text; refresh tokens may have none.
    pub user: Option<String>,
    /// `jti`
    pub token_id: String,
    /// `iat`
    pub issued_at: Option<Timestamp>,
    /// `exp`
    pub expires_at: Timestamp,
    /// `refresh_exp`: the time until which the service gives a sliding token a later `exp`. The token's `jti` stays the same.
    pub refresh_expires_at: Option<Timestamp>,
    /// The claim `SESSION` of a sliding token.
    pub session: Option<String>,
    /// `hash_password`: with `CHECK_REVOKE_TOKEN`, it must equal [`password_print`] of the user's password.
    pub password: Option<String>,
}

/// The claims of a hand-made token that has been verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HandMadeToken {
    /// The user's id as text.
    pub user: String,
    /// `jti`, which the original does not write.
    pub token_id: Option<String>,
    /// `iat`, which the original does not write.
    pub issued_at: Option<Timestamp>,
    /// `exp`, which the original does not write.
    pub expires_at: Option<Timestamp>,
    /// `sid`, which the original does not write: the gateway's session that the token belongs to.
    pub session: Option<String>,
}

/// A SimpleJWT token to mint.
#[derive(Clone, Debug)]
pub struct NewToken<'a> {
    /// The type. Sliding tokens are made by [`mint_sliding`].
    pub token_type: TokenType,
    /// `exp`
    pub expires_at: Timestamp,
    /// `iat`
    pub issued_at: Timestamp,
    /// `jti`
    pub token_id: &'a str,
    /// `USER_ID_CLAIM`
    pub user_id_claim: &'a str,
    /// The user's id.
    pub user: &'a str,
    /// The claim `hash_password`; see [`VerifiedSimpleJwt::password`].
    pub password: Option<&'a str>,
    /// `aud`
    pub audience: Option<&'a str>,
    /// `iss`
    pub issuer: Option<&'a str>,
}

/// A hand-made token to mint, with the times and ids that the original lacks.
#[derive(Clone, Debug)]
pub struct NewHandMade<'a> {
    /// The claim that holds the user's id (`id`).
    pub claim: &'a str,
    /// The user's id.
    pub user: &'a str,
    /// `username`
    pub name: &'a str,
    /// `exp`
    pub expires_at: Timestamp,
    /// `iat`
    pub issued_at: Timestamp,
    /// `jti`
    pub token_id: &'a str,
    /// `sid`
    pub session: Option<&'a str>,
}

impl TokenType {
    /// Every type.
    pub const ALL: [Self; 3] = [Self::Access, Self::Refresh, Self::Sliding];

    /// Returns the type's name as the claim `token_type` spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
            Self::Sliding => "sliding",
        }
    }
}

/// Verifies a SimpleJWT token as far as possible without its user.
///
/// # Errors
/// [`NotAccepted`]
pub fn verify(
    key: &VerifyingKey,
    rules: &SimpleJwtRules,
    token: &str,
    at: Timestamp,
) -> Result<VerifiedSimpleJwt, NotAccepted> {
    let claims = jws::open(key, token)?;
    claims.check(&rules.expected, at)?;
    let expires_at = claims.date("exp")?.ok_or(NotAccepted::NoExpiry)?;
    // SimpleJWT reads `exp` once more, as the number that it writes, and fails if it is a text.
    if !claims.is_number("exp") {
        return Err(NotAccepted::BadClaim);
    }
    let token_id = claims.token_id().ok_or(NotAccepted::NoTokenId)?;
    let found = claims.get("token_type").and_then(Value::as_str).ok_or(NotAccepted::WrongType)?;
    let is_accepted = |accepted: &&TokenType| accepted.name() == found;
    let token_type = rules.token_types.iter().find(is_accepted).ok_or(NotAccepted::WrongType)?;
    let user = claims.user(&rules.user_id_claim)?;
    if user.is_none() && *token_type != TokenType::Refresh {
        return Err(NotAccepted::NoUser);
    }
    let password = claims.get("hash_password").and_then(Value::as_str).map(str::to_owned);
    let is_sliding = *token_type == TokenType::Sliding;
    let refresh_expires_at = if is_sliding { claims.date(REFRESH_EXP)? } else { None };
    let session = match claims.get(SESSION).filter(|_| is_sliding) {
        None => None,
        Some(Value::String(session)) => Some(session.clone()),
        Some(_) => return Err(NotAccepted::BadClaim),
    };
    let issued_at = claims.date("iat")?;
    Ok(VerifiedSimpleJwt {
        user,
        token_id,
        issued_at,
        expires_at,
        refresh_expires_at,
        session,
        password,
    })
}

/// Verifies a hand-made token whose user's id is in `claim`.
///
/// # Errors
/// [`NotAccepted`]
pub fn verify_hand_made(
    key: &VerifyingKey,
    claim: &str,
    expected: &Expected,
    token: &str,
    at: Timestamp,
) -> Result<HandMadeToken, NotAccepted> {
    let claims = jws::open(key, token)?;
    claims.check(expected, at)?;
    // PyJWT refuses a token that has an audience if the caller names none.
    if claims.get("aud").is_some_and(|audience| !audience.is_null()) {
        return Err(NotAccepted::BadClaim);
    }
    // The original treats 0 as "no id", even if there is a user 0.
    let user = match claims.get(claim) {
        Some(Value::Bool(false)) => None,
        _ => claims.user(claim)?.filter(|user| user != "0"),
    };
    let session = match claims.get("sid") {
        None => None,
        Some(Value::String(session)) => Some(session.clone()),
        Some(_) => return Err(NotAccepted::BadClaim),
    };
    Ok(HandMadeToken {
        user: user.ok_or(NotAccepted::NoUser)?,
        token_id: claims.token_id(),
        issued_at: claims.date("iat")?,
        expires_at: claims.date("exp")?,
        session,
    })
}

/// Returns what `CHECK_REVOKE_TOKEN` puts into tokens: the upper-case hexadecimal MD5 of the encoded password. It serves to
/// distinguish two passwords, and keeps nothing secret.
#[must_use]
pub fn password_print(encoded: &Secret) -> String {
    use std::fmt::Write as _;
    let mut print = String::with_capacity(32);
    for byte in Md5::digest(encoded.expose().as_bytes()) {
        // Writing to a string cannot fail.
        let _ = write!(print, "{byte:02X}");
    }
    print
}

/// Mints a token that the service's `JWTAuthentication` accepts.
///
/// # Errors
/// [`KeyProblem::CannotSign`]
pub fn mint(key: &SigningKey, new: &NewToken<'_>) -> Result<Secret, KeyProblem> {
    mint_with(key, new, [])
}

/// Mints such a token with additional claims, which must not replace one of the token's own.
///
/// # Errors
/// [`KeyProblem::CannotSign`]
pub fn mint_with<'a>(
    key: &SigningKey,
    new: &NewToken<'a>,
    more: impl IntoIterator<Item = (&'a str, Value)>,
) -> Result<Secret, KeyProblem> {
    let mut claims = vec![
        ("token_type", json!(new.token_type.name())),
        ("exp", json!(new.expires_at.as_secs())),
        ("iat", json!(new.issued_at.as_secs())),
        ("jti", json!(new.token_id)),
        // A text since SimpleJWT 5.5; older versions accept both.
        (new.user_id_claim, json!(new.user)),
    ];
    let optional = [("hash_password", new.password), ("aud", new.audience), ("iss", new.issuer)];
    claims.extend(optional.into_iter().filter_map(|(name, value)| Some((name, json!(value?)))));
    claims.extend(more);
    jws::sign(key, &claims)
}

/// Mints a sliding token that can be refreshed until `refresh_until`. It belongs to the gateway's session `session`, if one
/// is given.
///
/// # Errors
/// [`KeyProblem::CannotSign`]
pub fn mint_sliding<'a>(
    key: &SigningKey,
    new: &NewToken<'a>,
    refresh_until: Timestamp,
    session: Option<&str>,
    more: impl IntoIterator<Item = (&'a str, Value)>,
) -> Result<Secret, KeyProblem> {
    let session = session.map(|session| (SESSION, json!(session)));
    let own = [(REFRESH_EXP, json!(refresh_until.as_secs()))].into_iter().chain(session);
    mint_with(key, new, own.chain(more).collect::<Vec<_>>())
}

/// Returns the same sliding token with a later `exp`, as the service's own view refreshes it: all other claims stay.
///
/// # Errors
/// [`NotAccepted`]; [`NotAccepted::Expired`] also if the token can no longer be refreshed.
pub fn slide(
    key: &SigningKey,
    verifying: &VerifyingKey,
    token: &str,
    until: Timestamp,
    at: Timestamp,
) -> Result<Secret, NotAccepted> {
    let claims = jws::open(verifying, token)?;
    let last = claims.date(REFRESH_EXP)?.ok_or(NotAccepted::NoExpiry)?;
    if at >= last {
        return Err(NotAccepted::Expired);
    }
    jws::sign_again(key, claims, "exp", json!(until.as_secs()))
        .map_err(|_| NotAccepted::BadAlgorithm)
}

/// Mints a token that the service's hand-made reader accepts.
///
/// # Errors
/// [`KeyProblem::CannotSign`]
pub fn mint_hand_made(key: &SigningKey, new: &NewHandMade<'_>) -> Result<Secret, KeyProblem> {
    mint_hand_made_with(key, new, [])
}

/// Mints such a token with additional claims, which must not replace one of the token's own.
///
/// # Errors
/// [`KeyProblem::CannotSign`]
pub fn mint_hand_made_with<'a>(
    key: &SigningKey,
    new: &NewHandMade<'a>,
    more: impl IntoIterator<Item = (&'a str, Value)>,
) -> Result<Secret, KeyProblem> {
    // The id has the type that the original writes, which is the key's type in the database.
    let number = new.user.parse::<i64>().ok().filter(|number| number.to_string() == new.user);
    let id = number.map_or_else(|| json!(new.user), |number| json!(number));
    let mut claims = vec![
        (new.claim, id),
        ("username", json!(new.name)),
        ("exp", json!(new.expires_at.as_secs())),
        ("iat", json!(new.issued_at.as_secs())),
        ("jti", json!(new.token_id)),
    ];
    claims.extend(new.session.map(|session| ("sid", json!(session))));
    claims.extend(more);
    jws::sign(key, &claims)
}

#[cfg(test)]
mod tests;
