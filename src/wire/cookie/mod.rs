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
/// The most cookies. Browsers keep up to 180 for a site, and as many again in each partition.
const MAX_PAIRS: usize = 400;

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

/// One cookie of a request, as some server might read it.
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

/// Every value of the cookie `name`, equal ones and odd ones too. Limits are for [`read`] to look at.
pub fn values<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h [u8]> {
    let lines = headers.get_all(COOKIE).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .filter_map(move |pair| value_of(pair, name))
}

/// The Cookie header for the upstream: all lines as one, without the cookies called `names`.
///
/// None if nothing is left. The other cookies stay byte-identical, with the spaces between them.
pub fn strip(headers: &HeaderMap, names: &[&str]) -> Option<HeaderValue> {
    strip_where(headers, |pair| names.iter().any(|name| pair.is_called(name)))
}

/// As [`strip`], without the cookies that `is_taken` says.
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
    // The parts come from header values, so the whole is one.
    HeaderValue::from_maybe_shared(kept.freeze()).ok()
}

impl<'p> Pair<'p> {
    /// Would some server read it as the cookie `name`? Python takes Unicode's spaces off a name (a no-break space, say),
    /// so here everything at its ends goes that no name has.
    pub fn is_called(self, name: &str) -> bool {
        let called = self.0.split(|byte| *byte == b'=').next().unwrap_or_default();
        graphic(called) == name.as_bytes()
    }

    /// Its value if it is the cookie `name` for [`values`] too.
    pub fn plain_value(self, name: &str) -> Option<&'p [u8]> {
        value_of(self.0, name)
    }

    /// Its value as the most generous server reads it: without quotes, or anything else at its ends that no value has.
    pub fn value(self) -> &'p [u8] {
        let mut parts = self.0.splitn(2, |byte| *byte == b'=');
        let value = graphic(parts.nth(1).unwrap_or_default());
        value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
    }
}

/// Less what is at its ends and no visible ASCII.
fn graphic(text: &[u8]) -> &[u8] {
    let start = text.iter().position(u8::is_ascii_graphic).unwrap_or(text.len());
    let end = text.iter().rposition(u8::is_ascii_graphic).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

/// The value of `pair` if it is called `name`.
fn value_of<'p>(pair: &'p [u8], name: &str) -> Option<&'p [u8]> {
    let rest = pair.trim_ascii_start().strip_prefix(name.as_bytes())?.trim_ascii_start();
    Some(rest.strip_prefix(b"=")?.trim_ascii())
}
