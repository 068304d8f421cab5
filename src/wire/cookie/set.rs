//! `Set-Cookie` lines: writes the gateway's own, and reads the upstream's.

use std::fmt::Write;
use std::time::Duration;

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};

/// A cookie to set: `Secure`, `HttpOnly`, `SameSite=Lax` and `Path=/` unless changed.
///
/// The `__Host-` prefix requires these (RFC 6265bis section 4.1.3.2), and no `Domain`. A service's cookie may have a
/// `Domain`, and can only be deleted with the same one.
#[derive(Clone, Copy, Debug)]
pub struct SetCookie<'a> {
    name: &'a str,
    value: &'a str,
    path: &'a str,
    domain: Option<&'a str>,
    max_age: Option<Duration>,
    secure: bool,
    http_only: bool,
    same_site: SameSite,
    partitioned: bool,
}

/// The values of the `SameSite` attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SameSite {
    /// Sent with navigations from other sites, but with none of their other requests.
    #[default]
    Lax,
    /// Sent only with requests from the same site.
    Strict,
    /// Sent with all requests.
    None,
}

impl<'a> SetCookie<'a> {
    /// Creates a cookie that lives until the browser is closed.
    pub const fn new(name: &'a str, value: &'a str) -> Self {
        Self {
            name,
            value,
            path: "/",
            domain: None,
            max_age: None,
            secure: true,
            http_only: true,
            same_site: SameSite::Lax,
            partitioned: false,
        }
    }

    /// Creates the line that deletes the cookie of this name.
    pub const fn removal(name: &'a str) -> Self {
        Self::new(name, "").max_age(Duration::ZERO)
    }

    /// Sets the lifetime, in whole seconds.
    #[must_use]
    pub const fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Limits the cookie to this path and those below it.
    #[must_use]
    pub const fn path(mut self, path: &'a str) -> Self {
        self.path = path;
        self
    }

    /// Extends the cookie to this host and those below it.
    #[must_use]
    pub const fn domain(mut self, domain: &'a str) -> Self {
        self.domain = Some(domain);
        self
    }

    /// Sets whether the cookie is sent only over TLS (and to localhost).
    #[must_use]
    pub const fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// Sets whether the cookie is hidden from scripts.
    #[must_use]
    pub const fn http_only(mut self, http_only: bool) -> Self {
        self.http_only = http_only;
        self
    }

    /// Sets when the cookie is sent with requests from other sites.
    #[must_use]
    pub const fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// Sets whether the cookie is stored apart for each top-level site (CHIPS). Browsers without support for `Partitioned`
    /// ignore it.
    #[must_use]
    pub const fn partitioned(mut self, partitioned: bool) -> Self {
        self.partitioned = partitioned;
        self
    }

    /// Returns the header value; `None` if name, value or path contain a character that would end them.
    pub fn header(&self) -> Option<HeaderValue> {
        // RFC 6265 section 4.1.1: a token, cookie-octets, and a path without controls and `;`.
        let octet = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte);
        let token = |byte: u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
        let legal = !self.name.is_empty()
            && self.name.bytes().all(token)
            && self.value.bytes().all(octet)
            && self.path.starts_with('/')
            && self.path.bytes().all(octet)
            && self.domain.is_none_or(|domain| !domain.is_empty() && domain.bytes().all(octet));
        if !legal {
            return None;
        }
        let mut text = format!("{}={}; Path={}", self.name, self.value, self.path);
        if let Some(domain) = self.domain {
            // Writing to a String cannot fail.
            let _ = write!(text, "; Domain={domain}");
        }
        if let Some(max_age) = self.max_age {
            let _ = write!(text, "; Max-Age={}", max_age.as_secs());
        }
        if self.http_only {
            text.push_str("; HttpOnly");
        }
        if self.secure {
            text.push_str("; Secure");
        }
        text.push_str(match self.same_site {
            SameSite::Lax => "; SameSite=Lax",
            SameSite::Strict => "; SameSite=Strict",
            SameSite::None => "; SameSite=None",
        });
        if self.partitioned {
            text.push_str("; Partitioned");
        }
        HeaderValue::try_from(text).ok()
    }
}

/// Returns the name under which a later request would send this cookie back.
///
/// A browser sends a nameless cookie as its bare value, so `=__Host-a=x` comes back as `__Host-a=x`: leading equals
/// signs and spaces do not count. It returns `None` if nothing is left.
pub fn set_cookie_name(set_cookie: &HeaderValue) -> Option<&[u8]> {
    let pair = set_cookie.as_bytes().split(|byte| *byte == b';').next()?;
    let start = pair.iter().position(|byte| *byte != b'=' && !byte.is_ascii_whitespace())?;
    let name = pair.get(start..)?.split(|byte| *byte == b'=').next()?;
    Some(name.trim_ascii_end())
}

/// Whether the line sets the cookie `name`, in any case. Browsers treat the `__Host-` prefix without regard to case.
pub fn sets_cookie(set_cookie: &HeaderValue, name: &str) -> bool {
    set_cookie_name(set_cookie).is_some_and(|set| set.eq_ignore_ascii_case(name.as_bytes()))
}

/// Returns the value that an answer sets for the cookie `name`; as in a browser, the last line counts. `Some(None)`
/// means that the answer deletes the cookie, and `None` that it does not mention it.
pub fn last_set<'h>(headers: &'h HeaderMap, name: &str) -> Option<Option<&'h str>> {
    let all = headers.get_all(SET_COOKIE).iter();
    all.filter_map(|value| set_cookie_value(value, name)).next_back()
}

/// Returns the value that the line sets for the cookie `name`; `Some(None)` if it deletes that cookie, and `None` if it sets
/// another.
pub fn set_cookie_value<'v>(set_cookie: &'v HeaderValue, name: &str) -> Option<Option<&'v str>> {
    if set_cookie_name(set_cookie)? != name.as_bytes() {
        return None;
    }
    let text = std::str::from_utf8(set_cookie.as_bytes()).ok()?;
    let mut parts = text.split(';');
    let (_, value) = parts.next()?.split_once('=')?;
    let value = value.trim().trim_matches('"');
    let is_over = parts.filter_map(|part| part.split_once('=')).any(|(attribute, value)| {
        attribute.trim().eq_ignore_ascii_case("max-age")
            && value.trim().parse::<i64>().is_ok_and(|age| age <= 0)
    });
    Some((!value.is_empty() && !is_over).then_some(value))
}
