//! The compact form of our own tokens (RFC 7515 section 7.1), read strictly.
//!
//! Only what this program writes is accepted: a header of exactly `alg`, `typ` and (for access tokens) `kid`, and claims of
//! which each is known, occurs once and has its type. So `crit`, `b64`, `zip`, `jku`, `jwk`, `x5u` and `x5c` need no rule of
//! their own: they are unknown members and refuse the token, as does an array for `iss` or a text for `exp`. A claim is
//! added in two releases: first it is read, then it is written.
//!
//! A token is never longer than 4 KiB. Its form and its signature are `jose`'s to judge.

use serde::{Deserialize, Serialize};

use crate::jose::{Compact, VerifyingKey};

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
    compact: Compact<'a>,
}

impl<'a> Unverified<'a> {
    pub(super) fn read(token: &'a str) -> Result<Self, Invalid> {
        let compact = Compact::read(token, MAX_TOKEN).map_err(|_| Invalid)?;
        if compact.is_unsigned() {
            return Err(Invalid);
        }
        let header = compact.header().map_err(|_| Invalid)?;
        Ok(Self { header, compact })
    }

    /// The payload's bytes; of use only after the signature was verified.
    pub(super) fn payload(&self) -> Result<Vec<u8>, Invalid> {
        self.compact.payload().map_err(|_| Invalid)
    }

    /// Did this key sign it?
    pub(super) fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        self.compact.is_signed_by(key).unwrap_or(false)
    }
}
