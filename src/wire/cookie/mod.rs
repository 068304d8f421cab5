//! Cookies: reads and sets the gateway's own, and stops it from reaching an upstream or being set by one.
//!
//! Servers read the header differently: the first of two equal names or the last, lines joined with `,` or `;`. So the
//! gateway's cookie is searched for in all lines (HTTP/2 sends one per pair), two different values of it are a conflict
//! and never a choice, and what is forwarded is one line, in which the application's own cookies are unchanged. Names
//! are compared byte for byte; spaces around them do not count, because Django and others do not count them.

use bytes::{BufMut, BytesMut};
use http::header::{COOKIE, HeaderMap, HeaderValue};

mod set;

pub use set::{SameSite, SetCookie, last_set, set_cookie_name, set_cookie_value, sets_cookie};

#[cfg(test)]
mod tests;

/// The most bytes of all Cookie lines together.
const MAX_BYTES: usize = 16 * 1024;
/// The most cookies of a request. Browsers store up to 180 for a site, and as many again in each partition.
const MAX_PAIRS: usize = 400;

/// The value of one cookie name in a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CookieValue<'h> {
    /// The request has no such cookie.
    Absent,
    /// The cookie has one value, or several equal ones. Quotes are part of it.
    One(&'h str),
    /// The cookie has two different values, and no choice between them would be safe.
    Conflicting,
    /// The header breaks a limit, has a control character, or the value is not visible ASCII.
    Malformed,
}

/// One cookie of a request, in any way that a server might read it.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'p>(&'p [u8]);

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

/// Returns every value of the cookie `name`, equal and odd ones included. Limits are checked by [`read`].
pub fn values<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h [u8]> {
    let lines = headers.get_all(COOKIE).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .filter_map(move |pair| value_of(pair, name))
}

/// Returns the Cookie header for the upstream: all lines as one, without the cookies called `names`.
///
/// It returns `None` if nothing is left. The other cookies stay byte-identical, with the spaces between them.
pub fn strip(headers: &HeaderMap, names: &[&str]) -> Option<HeaderValue> {
    strip_where(headers, |pair| names.iter().any(|name| pair.is_called(name)))
}

/// Does the same as [`strip`] for the cookies that `is_taken` selects.
pub fn strip_where(
    headers: &HeaderMap,
    is_taken: impl Fn(Pair<'_>) -> bool,
) -> Option<HeaderValue> {
    let ours = |pair: &[u8]| is_taken(Pair(pair));
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
    // The parts come from header values, so the whole is a legal one.
    HeaderValue::from_maybe_shared(kept.freeze()).ok()
}

impl<'p> Pair<'p> {
    /// Whether some server would read it as the cookie `name`. Python trims Unicode spaces (a no-break space, say) off
    /// a name, so everything that cannot be part of a name is trimmed here.
    pub fn is_called(self, name: &str) -> bool {
        let called = self.0.split(|byte| *byte == b'=').next().unwrap_or_default();
        graphic(called) == name.as_bytes()
    }

    /// Returns the cookie's value if [`values`] would read it as the cookie `name` too.
    pub fn plain_value(self, name: &str) -> Option<&'p [u8]> {
        value_of(self.0, name)
    }

    /// Returns the value as the most lenient server reads it: without quotes, and without bytes at its ends that no value can
    /// have.
    pub fn value(self) -> &'p [u8] {
        let mut parts = self.0.splitn(2, |byte| *byte == b'=');
        let value = graphic(parts.nth(1).unwrap_or_default());
        value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
    }
}

/// Trims bytes at the ends that are not visible ASCII.
fn graphic(text: &[u8]) -> &[u8] {
    let start = text.iter().position(u8::is_ascii_graphic).unwrap_or(text.len());
    let end = text.iter().rposition(u8::is_ascii_graphic).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

/// Returns the value of `pair` if its name is `name`.
fn value_of<'p>(pair: &'p [u8], name: &str) -> Option<&'p [u8]> {
    let rest = pair.trim_ascii_start().strip_prefix(name.as_bytes())?.trim_ascii_start();
    Some(rest.strip_prefix(b"=")?.trim_ascii())
}
