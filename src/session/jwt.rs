//! The compact form of our own tokens (RFC 7515 section 7.1), read strictly.
//!
//! Only what this program writes is accepted: a header of exactly `alg`, `typ` and (for access tokens) `kid`, and claims of
//! which each is known, occurs once and has its type. So `crit`, `b64`, `zip`, `jku`, `jwk`, `x5u` and `x5c` need no rule of
//! their own: they are unknown members and refuse the token, as does an array for `iss` or a text for `exp`. A claim is
//! added in two releases: first it is read, then it is written.
//!
//! The library signs and verifies; its own `decode` is not used, because it reads the wall clock, has a minute of
//! leeway, and skips `aud` and `iss` of a wrong type. A token is never longer than 4 KiB, and that is looked at before
//! anything is taken apart.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// The longest token that is looked at.
pub(super) const MAX_TOKEN: usize = 4096;

/// How far a clock of another gateway may run ahead: an `iat` beyond it is refused. `exp` has no leeway: a token
/// is over at the second that it names, as in SimpleJWT.
pub(super) const CLOCK_SKEW_SECS: u64 = 30;

/// `typ` of an access token (RFC 9068).
pub(super) const ACCESS: &str = "at+jwt";

/// `typ` of a refresh token.
pub(super) const REFRESH: &str = "rt+jwt";

/// A token that is none of ours. Says no more, because nobody may learn more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Invalid;

/// A JOSE header of ours.
#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) alg: String,
    pub(super) typ: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kid: Option<String>,
}

/// A token taken apart. Nothing of it has been verified.
#[derive(Debug)]
pub(super) struct Unverified<'a> {
    pub(super) header: Header,
    /// What the signature is over.
    pub(super) signed: &'a str,
    payload: &'a str,
    pub(super) signature: &'a str,
}

impl<'a> Unverified<'a> {
    pub(super) fn read(token: &'a str) -> Result<Self, Invalid> {
        if token.len() > MAX_TOKEN {
            return Err(Invalid);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Invalid)?;
        let (header, payload) = signed.split_once('.').ok_or(Invalid)?;
        if payload.contains('.') || signature.is_empty() {
            return Err(Invalid);
        }
        let header = serde_json::from_slice(&decoded(header)?).map_err(|_| Invalid)?;
        Ok(Self { header, signed, payload, signature })
    }

    /// The payload's bytes; of use only after the signature was verified.
    pub(super) fn payload(&self) -> Result<Vec<u8>, Invalid> {
        decoded(self.payload)
    }
}

/// What is to be signed: header and payload, encoded.
pub(super) fn to_be_signed(header: &Header, payload: &impl Serialize) -> Result<String, Invalid> {
    let header = serde_json::to_vec(header).map_err(|_| Invalid)?;
    let payload = serde_json::to_vec(payload).map_err(|_| Invalid)?;
    Ok(format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload)))
}

/// Strict: no padding, no stray bits, no other alphabet, so a token has one spelling.
fn decoded(part: &str) -> Result<Vec<u8>, Invalid> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Invalid)
}
