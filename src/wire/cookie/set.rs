//! `Set-Cookie`, ours and the upstream's.

use std::fmt::Write;
use std::time::Duration;

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};

/// A cookie to be set: `Secure`, `HttpOnly`, `SameSite=Lax` and `Path=/` unless it says otherwise.
///
/// These are what the `__Host-` prefix asks for (RFC 6265bis section 4.1.3.2), and so does having no `Domain`. A service's
/// cookie may have one, and is only taken away under the one that it has.
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

/// `SameSite`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SameSite {
    /// With navigations from other sites, but with no other request of theirs.
    #[default]
    Lax,
    /// With requests from the same site alone.
    Strict,
    /// With all requests.
    None,
}

impl<'a> SetCookie<'a> {
    /// A cookie that lives until the browser is closed.
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

    /// Takes the cookie of this name away.
    pub const fn removal(name: &'a str) -> Self {
        Self::new(name, "").max_age(Duration::ZERO)
    }

    /// Lives this long, in whole seconds.
    #[must_use]
    pub const fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// For this path and those below it.
    #[must_use]
    pub const fn path(mut self, path: &'a str) -> Self {
        self.path = path;
        self
    }

    /// For this host and those below it.
    #[must_use]
    pub const fn domain(mut self, domain: &'a str) -> Self {
        self.domain = Some(domain);
        self
    }

    /// Sent over TLS (and to localhost) alone?
    #[must_use]
    pub const fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// Hidden from scripts?
    #[must_use]
    pub const fn http_only(mut self, http_only: bool) -> Self {
        self.http_only = http_only;
        self
    }

    /// When it goes with requests from other sites.
    #[must_use]
    pub const fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// Kept apart for each site under whose pages it was set (CHIPS)? Browsers that know no `Partitioned` pass over it.
    #[must_use]
    pub const fn partitioned(mut self, partitioned: bool) -> Self {
        self.partitioned = partitioned;
        self
    }

    /// The header; none if name, value or path hold a character that would end them.
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

/// The name under which a later request would bring this cookie back.
///
/// A browser sends a nameless cookie as its bare value, so `=__Host-a=x` comes back as `__Host-a=x`: signs and spaces in
/// front do not count. None if there is nothing.
pub fn set_cookie_name(set_cookie: &HeaderValue) -> Option<&[u8]> {
    let pair = set_cookie.as_bytes().split(|byte| *byte == b';').next()?;
    let start = pair.iter().position(|byte| *byte != b'=' && !byte.is_ascii_whitespace())?;
    let name = pair.get(start..)?.split(|byte| *byte == b'=').next()?;
    Some(name.trim_ascii_end())
}

/// Does it set the cookie `name`, in any case? Browsers treat the `__Host-` prefix without regard to case.
pub fn sets_cookie(set_cookie: &HeaderValue, name: &str) -> bool {
    set_cookie_name(set_cookie).is_some_and(|set| set.eq_ignore_ascii_case(name.as_bytes()))
}

/// What an answer sets the cookie `name` to; as in a browser the last one counts. `Some(None)` if it takes it away, and
/// `None` if it says nothing of it.
pub fn last_set<'h>(headers: &'h HeaderMap, name: &str) -> Option<Option<&'h str>> {
    let all = headers.get_all(SET_COOKIE).iter();
    all.filter_map(|value| set_cookie_value(value, name)).next_back()
}

/// What it sets the cookie `name` to; `Some(None)` if it takes that cookie away, and `None` if it is about another.
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
