//! Reads the compact form of the gateway's own tokens strictly (RFC 7515 section 7.1).
//!
//! Only what this program writes is accepted: a header of exactly `alg`, `typ` and (for access tokens) `kid`, and claims that
//! are all known, occur once and have the right type. So `crit`, `b64`, `zip`, `jku`, `jwk`, `x5u` and `x5c` need no rule of
//! their own: as unknown members they make the token invalid, as does an array for `iss` or a string for `exp`. A new claim
//! takes two releases: the first one reads it, the next one writes it.
//!
//! A token is never longer than 4 KiB. Its form and its signature are checked by `jose`.

use std::cell::RefCell;

use memchr::memchr_iter;
use serde::{Deserialize, Serialize};

use crate::jose::{Compact, VerifyingKey};

/// The longest token that is read.
pub(super) const MAX_TOKEN: usize = 4096;

/// How far the clock of another gateway may be ahead: a later `iat` is refused. `exp` has no leeway: a token expires at the
/// second that it names, as in SimpleJWT.
pub(super) const CLOCK_SKEW_SECS: u64 = 30;

/// `typ` of an access token (RFC 9068).
pub(super) const ACCESS: &str = "at+jwt";

/// `typ` of a refresh token.
pub(super) const REFRESH: &str = "rt+jwt";

/// The error for a token that is not the gateway's own. It has no details, because no client may learn them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Invalid;

/// The JOSE header of the gateway's own tokens.
#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct JoseHeader {
    pub(super) alg: String,
    pub(super) typ: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kid: Option<String>,
}

/// A parsed token. Nothing in it has been verified.
#[derive(Debug)]
pub(super) struct Unverified<'a> {
    pub(super) header: JoseHeader,
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

    /// Returns the payload's bytes, which may be used only after the signature was verified.
    pub(super) fn payload(&self) -> Result<Vec<u8>, Invalid> {
        self.compact.payload().map_err(|_| Invalid)
    }

    /// Whether this key signed the token.
    pub(super) fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        self.compact.is_signed_by(key).unwrap_or(false)
    }
}

/// Whether the token claims to be one of the gateway's own, valid or not.
pub(super) fn says_ours(token: &[u8]) -> bool {
    let mut dots = memchr_iter(b'.', token);
    let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
        return false;
    };
    let is_unsigned = second + 1 == token.len();
    if is_unsigned || token.len() > MAX_TOKEN {
        return false;
    }
    let encoded = token.get(..first).unwrap_or_default();
    if let Some(is_ours) = LAST_SAID.with_borrow(|last| last.of(encoded)) {
        return is_ours;
    }
    let is_ours = Compact::read_header(encoded).is_ok_and(|header: JoseHeader| {
        [ACCESS, REFRESH].iter().any(|ours| header.typ.eq_ignore_ascii_case(ours))
    });
    LAST_SAID.with_borrow_mut(|last| last.keep(encoded, is_ours));
    is_ours
}

/// The header parts of tokens that this thread parsed last. All tokens of one key begin with the same header, each request
/// checks its own several times, and parsing JSON costs as much as everything else done for it.
#[derive(Default)]
struct LastHeaders {
    ours: Vec<u8>,
    anothers: Vec<u8>,
}

thread_local! {
    static LAST_SAID: RefCell<LastHeaders> = RefCell::default();
}

impl LastHeaders {
    /// Returns whether this header is the gateway's own, if it was parsed before. An empty header never is.
    fn of(&self, encoded: &[u8]) -> Option<bool> {
        if encoded == self.ours {
            Some(!encoded.is_empty())
        } else {
            (encoded == self.anothers).then_some(false)
        }
    }

    fn keep(&mut self, encoded: &[u8], is_ours: bool) {
        let kept = if is_ours { &mut self.ours } else { &mut self.anothers };
        // A new allocation instead of reusing a longer one keeps each as small as possible.
        *kept = encoded.to_owned();
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    #[test]
    fn what_a_token_says_does_not_depend_on_what_was_read_before() {
        let tokens = [
            (r#"{"alg":"ES256","typ":"at+jwt","kid":"1"}"#, true),
            (r#"{"alg":"ES256","typ":"AT+JWT"}"#, true),
            (r#"{"alg":"ES256","typ":"\u0061t+jwt"}"#, true),
            (r#"{"alg":"HS256","typ":"rt+jwt"}"#, true),
            (r#"{"alg":"HS256","typ":"JWT"}"#, false),
            (r#"{"alg":"ES256","typ":"at+jwt","crit":[]}"#, false),
            (r#"{"alg":"ES256"}"#, false),
            ("at+jwt", false),
            ("", false),
        ];
        for (first, _) in tokens {
            for (header, is_ours) in tokens {
                says_ours(format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(first)).as_bytes());
                let token = URL_SAFE_NO_PAD.encode(header);
                for (token, says) in [
                    (format!("{token}.e30.c2ln"), is_ours),
                    (format!("{token}.e30.c2ln"), is_ours),
                    (format!("{token}.e30."), false),
                    (format!("{token}.e30"), false),
                    (format!("{token}.e30.c2ln.more"), false),
                    (format!("{token}.e30.{}", "A".repeat(MAX_TOKEN)), false),
                ] {
                    assert_eq!(says_ours(token.as_bytes()), says, "{header} after {first}");
                }
            }
        }
    }
}
