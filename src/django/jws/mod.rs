//! Signs and verifies JSON texts as PyJWT does (RFC 7515, compact form).
//!
//! A service is set to one algorithm, which its key carries (`jose`). Beyond what PyJWT refuses, three things are refused
//! that no service issues: base64 with its `=` (so that a token has one spelling), a `typ` other than `JWT` (the gateway's
//! own tokens have one, and may be signed with the same secret), and the members `crit` and `b64`, whatever their values are.
//!
//! Times are compared as PyJWT compares them: a token expires at the very second of its `exp`, and the leeway applies in both
//! directions.

use std::fmt;
use std::time::Duration;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::jose::{Compact, KeyProblem, NotCompact, SigningKey, VerifyingKey};
use crate::secret::Secret;

/// The longest token that is read. Services add claims of their own to their tokens; no header can be longer.
const MAX_TOKEN: usize = 8192;

/// The first second of the year 10000. Django fails on a date from then on.
const YEAR_10000: i64 = 253_402_300_800;

/// Why a token is not accepted. The reason is for the operator: a client learns only that the token is not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum NotAccepted {
    /// The text does not have the form of a signed token.
    #[error("malformed")]
    Malformed,
    /// The algorithm is not the one that the service signs with.
    #[error("bad_algorithm")]
    BadAlgorithm,
    /// The service's key did not make the signature.
    #[error("bad_signature")]
    BadSignature,
    /// A claim has an invalid type or value, or the token is for another recipient or from another issuer (`aud`, `iss`).
    #[error("bad_claim")]
    BadClaim,
    /// `nbf` or `iat` is in the future.
    #[error("not_yet_valid")]
    NotYetValid,
    /// `exp` has passed.
    #[error("expired")]
    Expired,
    /// There is no `exp`.
    #[error("no_exp")]
    NoExpiry,
    /// There is no `jti`.
    #[error("no_jti")]
    NoTokenId,
    /// The token is of another type, or has no type.
    #[error("wrong_type")]
    WrongType,
    /// The token names no user.
    #[error("no_user")]
    NoUser,
}

/// The values that a token's registered claims are compared with.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The audiences of which `aud` must contain one. If empty, `aud` is not required.
    pub audience: Vec<String>,
    /// The value that `iss` must have; with `None`, `iss` is not checked.
    pub issuer: Option<String>,
    /// The tolerated difference between clocks.
    pub leeway: Duration,
    /// Whether `sub` and `jti` may be numbers, as before PyJWT 2.10.
    pub takes_numeric_ids: bool,
}

/// Claims whose signature has been verified.
#[derive(Debug)]
pub(super) struct VerifiedClaims(Map<String, Value>);

/// The members of a header that are checked. It is parsed without a map, which is cheaper: forged tokens are parsed too.
#[derive(Default)]
struct ReadHeader {
    alg: HeaderMember,
    typ: HeaderMember,
    kid: HeaderMember,
    crit: HeaderMember,
    b64: HeaderMember,
}

/// A member of a header. A member that is `null` counts as present.
#[derive(Default, PartialEq, Eq)]
enum HeaderMember {
    #[default]
    Absent,
    Text(String),
    Other,
}

impl<'de> Deserialize<'de> for HeaderMember {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::String(text) => Self::Text(text),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => Self::Other,
        })
    }
}

/// Accepts only an object (a derived reader would accept an array too). The last of equal names counts, as in Python.
impl<'de> Deserialize<'de> for ReadHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = ReadHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<ReadHeader, A::Error> {
                let mut header = ReadHeader::default();
                while let Some(name) = members.next_key::<String>()? {
                    let member = members.next_value()?;
                    match &*name {
                        "alg" => header.alg = member,
                        "typ" => header.typ = member,
                        "kid" => header.kid = member,
                        "crit" => header.crit = member,
                        "b64" => header.b64 = member,
                        _ => {}
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// Returns the claims of a token, if `key` signed it.
pub(super) fn open(key: &VerifyingKey, token: &str) -> Result<VerifiedClaims, NotAccepted> {
    let read = Compact::read(token, MAX_TOKEN)?;
    let header: ReadHeader = read.header()?;
    let is_jwt = match header.typ {
        HeaderMember::Absent => true,
        HeaderMember::Text(typ) => typ.eq_ignore_ascii_case("JWT"),
        HeaderMember::Other => false,
    };
    let kid_is_text = header.kid != HeaderMember::Other;
    let is_special = [header.crit, header.b64].iter().any(|one| *one != HeaderMember::Absent);
    if !is_jwt || !kid_is_text || is_special {
        return Err(NotAccepted::Malformed);
    }
    if header.alg != HeaderMember::Text(key.algorithm().name().to_owned()) {
        return Err(NotAccepted::BadAlgorithm);
    }
    if !read.is_signed_by(key)? {
        return Err(NotAccepted::BadSignature);
    }
    serde_json::from_slice(&read.payload()?).map(VerifiedClaims).map_err(|_| NotAccepted::Malformed)
}

/// The header that PyJWT writes.
#[derive(Serialize)]
struct PyJwtHeader {
    alg: &'static str,
    typ: &'static str,
}

/// Returns a signed token with these claims, in this order.
pub(super) fn sign(key: &SigningKey, claims: &[(&str, Value)]) -> Result<Secret, KeyProblem> {
    /// Serializes the claims in their order, which a map would not preserve.
    struct Ordered<'a>(&'a [(&'a str, Value)]);
    impl Serialize for Ordered<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
        }
    }
    let header = PyJwtHeader { alg: key.algorithm().name(), typ: "JWT" };
    Compact::signed_by(key, &header, &Ordered(claims)).map(Secret::new)
}

/// Signs the same claims again, with one of them replaced.
pub(super) fn sign_again(
    key: &SigningKey,
    claims: VerifiedClaims,
    name: &str,
    value: Value,
) -> Result<Secret, KeyProblem> {
    let mut members = claims.0;
    members.insert(name.to_owned(), value);
    let all: Vec<(&str, Value)> =
        members.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    sign(key, &all)
}

/// Signs claims for tests, including claims that no service would issue.
#[cfg(test)]
pub(crate) fn sign_for_tests(key: &SigningKey, claims: &[(&str, Value)]) -> Secret {
    sign(key, claims).unwrap()
}

impl VerifiedClaims {
    /// Returns the value of a claim, of any type.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Makes the checks that PyJWT makes: times, `iss`, `aud`, and the types of `sub` and `jti`.
    pub(super) fn check(&self, expected: &Expected, at: Timestamp) -> Result<(), NotAccepted> {
        let now = i64::try_from(at.as_millis()).map_err(|_| NotAccepted::BadClaim)?;
        let leeway = i64::try_from(expected.leeway.as_millis()).unwrap_or(i64::MAX);
        for name in ["iat", "nbf"] {
            if self.time(name)?.is_some_and(|from| from > now.saturating_add(leeway)) {
                return Err(NotAccepted::NotYetValid);
            }
        }
        if self.time("exp")?.is_some_and(|end| end.saturating_add(leeway) <= now) {
            return Err(NotAccepted::Expired);
        }
        let issuer = expected.issuer.as_deref();
        if issuer.is_some() && self.get("iss").and_then(Value::as_str) != issuer {
            return Err(NotAccepted::BadClaim);
        }
        let is_meant = |audience: &Value| match audience {
            Value::String(one) => expected.audience.contains(one),
            Value::Array(all) => {
                all.iter().all(Value::is_string)
                    && all
                        .iter()
                        .filter_map(Value::as_str)
                        .any(|one| expected.audience.iter().any(|expected| expected == one))
            }
            _ => false,
        };
        if !expected.audience.is_empty() && !self.get("aud").is_some_and(is_meant) {
            return Err(NotAccepted::BadClaim);
        }
        // PyJWT checks these types since 2.10.
        let is_text = |name| self.get(name).is_none_or(Value::is_string);
        match expected.takes_numeric_ids || (is_text("sub") && is_text("jti")) {
            true => Ok(()),
            false => Err(NotAccepted::BadClaim),
        }
    }

    /// Returns the date in a claim that is a NumericDate, rounded down to a second.
    pub(super) fn date(&self, name: &str) -> Result<Option<Timestamp>, NotAccepted> {
        let millis = self.time(name)?;
        Ok(millis.map(|millis| Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))))
    }

    /// Returns the time in a claim in milliseconds, rounded down to a second.
    fn time(&self, name: &str) -> Result<Option<i64>, NotAccepted> {
        let Some(value) = self.get(name) else { return Ok(None) };
        // PyJWT accepts whatever Python's `int` accepts.
        let whole = match value {
            Value::String(text) => Some(whole_number(text).ok_or(NotAccepted::BadClaim)?),
            Value::Bool(flag) => Some(i64::from(*flag)),
            number => number.as_i64(),
        };
        let seconds = match (whole, value.as_f64()) {
            (Some(whole), _) => whole,
            #[expect(clippy::cast_possible_truncation, reason = "the truncation is intended")]
            (None, Some(fraction)) if fraction.abs() < 1e15 => fraction as i64,
            _ => return Err(NotAccepted::BadClaim),
        };
        if seconds >= YEAR_10000 {
            return Err(NotAccepted::BadClaim);
        }
        Ok(Some(seconds.saturating_mul(1000)))
    }

    /// Returns a user's id, which is a text or a whole number, or `None` if the claim is missing, null or empty.
    pub(super) fn user(&self, claim: &str) -> Result<Option<String>, NotAccepted> {
        match self.get(claim) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(id)) => Ok((!id.is_empty()).then(|| id.clone())),
            Some(Value::Number(id)) if id.is_i64() || id.is_u64() => Ok(Some(id.to_string())),
            Some(_) => Err(NotAccepted::BadClaim),
        }
    }

    /// Returns the token's own id (`jti`).
    pub(super) fn token_id(&self) -> Option<String> {
        match self.get("jti")? {
            Value::String(id) => (!id.is_empty()).then(|| id.clone()),
            Value::Number(id) if id.is_i64() || id.is_u64() => Some(id.to_string()),
            _ => None,
        }
    }

    /// Whether the claim is a JSON number, rather than a text with a number in it.
    pub(super) fn is_number(&self, name: &str) -> bool {
        self.get(name).is_some_and(Value::is_number)
    }
}

/// Parses an integer as Python does: with white space around it, a sign, and underscores between digits.
fn whole_number(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_one = !digits.is_empty()
        && digits
            .split('_')
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if !is_one {
        return None;
    }
    text.replace('_', "").parse().ok()
}

impl From<NotCompact> for NotAccepted {
    fn from(_: NotCompact) -> Self {
        Self::Malformed
    }
}

#[cfg(test)]
mod tests;
