//! Cookies: reading ours, keeping it from the upstream, setting it, and keeping the upstream from setting it.
//!
//! Servers read the header differently: the first of two equal names or the last, lines joined with `,` or `;`. So ours
//! is found in all lines (HTTP/2 sends one per pair), two values of it are a conflict and never a choice, and what is
//! forwarded is one line, in which the application's own cookies keep every byte. Names are compared byte for byte;
//! spaces around them do not count, because Django and others do not count them.

use bytes::{BufMut, BytesMut};
use http::header::{COOKIE, HeaderMap, HeaderValue};

mod set;

pub use set::{SameSite, SetCookie, last_set, set_cookie_name, set_cookie_value, sets_cookie};

#[cfg(test)]
mod tests;

/// The most bytes of all Cookie lines together.
const MAX_BYTES: usize = 16 * 1024;
/// The most cookies.
const MAX_PAIRS: usize = 100;

/// What a request says for one cookie name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CookieValue<'h> {
    /// No such cookie.
    Absent,
    /// One value, or several equal ones. Quotes belong to it.
    One(&'h str),
    /// Two values: whoever takes one takes the wrong one.
    Conflicting,
    /// The header breaks a limit, has a control character, or the value is not visible ASCII.
    Malformed,
}

/// Reads the cookie `name` from all Cookie lines.
pub fn read<'h>(headers: &'h HeaderMap, name: &str) -> CookieValue<'h> {
    let (mut bytes, mut pairs) = (0, 0);
    let mut found: Option<&[u8]> = None;
    let mut conflict = false;
    for line in headers.get_all(COOKIE) {
        let line = line.as_bytes();
        bytes += line.len();
        if bytes > MAX_BYTES || line.iter().any(u8::is_ascii_control) {
            return CookieValue::Malformed;
        }
        for pair in line.split(|byte| *byte == b';') {
            pairs += 1;
            if pairs > MAX_PAIRS {
                return CookieValue::Malformed;
            }
            let Some(value) = value_of(pair, name) else { continue };
            conflict |= found.is_some_and(|other| other != value);
            found = Some(value);
        }
    }
    match found {
        None => CookieValue::Absent,
        Some(_) if conflict => CookieValue::Conflicting,
        Some(value) => match std::str::from_utf8(value) {
            Ok(text) if value.iter().all(|byte| matches!(byte, b' '..=b'~')) => {
                CookieValue::One(text)
            }
            _ => CookieValue::Malformed,
        },
    }
}

/// The Cookie header for the upstream: all lines as one, without the cookies called `names`.
///
/// None if nothing is left. The other cookies stay byte-identical, with the spaces between them.
pub fn strip(headers: &HeaderMap, names: &[&str]) -> Option<HeaderValue> {
    let ours = |pair: &[u8]| names.iter().any(|name| is_called(pair, name));
    let mut lines = headers.get_all(COOKIE).iter();
    let first = lines.next()?;
    let single = lines.next().is_none();
    if single && !first.as_bytes().split(|byte| *byte == b';').any(ours) {
        return Some(first.clone());
    }
    let mut kept = BytesMut::new();
    for line in headers.get_all(COOKIE) {
        let mut at_start = true;
        for pair in line.as_bytes().split(|byte| *byte == b';').filter(|pair| !ours(pair)) {
            let pair = if at_start { pair.trim_ascii_start() } else { pair };
            if !kept.is_empty() {
                kept.put_slice(if at_start { b"; " } else { b";" });
            }
            kept.put_slice(pair);
            at_start = false;
        }
    }
    if kept.is_empty() {
        return None;
    }
    // The parts come from header values, so the whole is one.
    HeaderValue::from_maybe_shared(kept.freeze()).ok()
}

/// Would some server read `pair` as the cookie `name`? Python takes Unicode's spaces off a name (a no-break space, say),
/// so here everything at its ends goes that no name has.
fn is_called(pair: &[u8], name: &str) -> bool {
    let called = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
    let start = called.iter().position(u8::is_ascii_graphic).unwrap_or(called.len());
    let end = called.iter().rposition(u8::is_ascii_graphic).map_or(start, |last| last + 1);
    called.get(start..end) == Some(name.as_bytes())
}

/// The value of `pair` if it is called `name`.
fn value_of<'p>(pair: &'p [u8], name: &str) -> Option<&'p [u8]> {
    let rest = pair.trim_ascii_start().strip_prefix(name.as_bytes())?.trim_ascii_start();
    Some(rest.strip_prefix(b"=")?.trim_ascii())
}
