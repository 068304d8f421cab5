//! The names of the session cookie, and its values in a request.
//!
//! The session cookie has the gateway's own name (`session.cookie`), and one name for each alias of a service's own sign-in:
//! the cookie that such a front end holds *is* the gateway's session cookie, under the name that the service gave its own
//! (`sessionid`). Under the gateway's own name, every value belongs to the gateway. Under the name of an alias, the service may
//! still set cookies, so only values in the gateway's form count: 43 characters of base64url, which no session key of Django
//! can be. Other values are left in place, for an `[[issuer]]` that reads them or for the service.

use http::{HeaderMap, HeaderValue};

use crate::config::{Config, SessionSettings, Shape};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::wire::cookie::{self, CookieValue, Pair, set_cookie_name, sets_cookie};

/// The length of a cookie's value: 256 bits in base64url without padding.
const LENGTH: usize = 43;

/// The name of the cookie of the operator's page on the admin listener. A browser sends it to every port of that host.
pub const OPERATOR_COOKIE: &str = "doorwarden-operator";

/// All names of the session cookie, and the names of the gateway's other cookies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CookieNames {
    own: String,
    aliases: Vec<String>,
    /// The name of the device cookie, by which a browser is recognised.
    device: String,
    /// The name of the cookie of a browser that asked for a mailed link.
    link: String,
    /// The names of the cookies in which an alias puts the access token.
    access: Vec<String>,
    /// The names of the cookies in which an alias puts the access token or the refresh token.
    tokens: Vec<String>,
}

impl CookieNames {
    /// Returns the names of this configuration.
    pub fn of(config: &Config) -> Self {
        let shapes = || config.paths.iter().map(|entry| &entry.shape);
        let once = |names: &mut Vec<String>| {
            names.sort_unstable();
            names.dedup();
        };
        let mut access: Vec<String> =
            shapes().filter_map(Shape::access_cookie).map(Into::into).collect();
        let mut tokens: Vec<String> =
            shapes().flat_map(Shape::token_cookies).map(Into::into).collect();
        once(&mut access);
        once(&mut tokens);
        let sessions = shapes().filter_map(Shape::cookie);
        Self { access, tokens, ..Self::new(&config.session, sessions) }
    }

    /// Returns the name from the settings together with the names of these aliases.
    pub fn new<'n>(settings: &SessionSettings, aliases: impl Iterator<Item = &'n str>) -> Self {
        let own = settings.cookie.clone();
        let mut aliases: Vec<String> =
            aliases.filter(|name| *name != own).map(Into::into).collect();
        aliases.sort_unstable();
        aliases.dedup();
        let (device, link) = (format!("{own}-device"), format!("{own}-link"));
        Self { own, aliases, device, link, access: Vec::new(), tokens: Vec::new() }
    }

    /// Whether a value has the form of the gateway's own cookie values.
    pub fn is_ours(value: &[u8]) -> bool {
        let in_alphabet =
            |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_';
        value.len() == LENGTH && value.iter().all(in_alphabet)
    }

    /// Returns the value of a service's cookie, which is not in the gateway's form. If there are several, it is the last,
    /// because Django and similar frameworks read that one. The other values under the name do not reach the service.
    pub fn theirs<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
        let values = cookie::values(headers, name).map(unquoted);
        values.filter(|value| !value.is_empty() && !Self::is_ours(value)).last()
    }

    /// Whether a pair is the cookie that [`Self::theirs`] returns.
    pub fn is_the_one(headers: &HeaderMap, name: &str, pair: Pair<'_>) -> bool {
        let value = pair.plain_value(name).map(unquoted);
        value.is_some() && value == Self::theirs(headers, name)
    }

    /// Returns the gateway's own access tokens of a request: in the cookies of aliases, and among these other values.
    pub fn access_tokens<'h>(
        &self,
        headers: &'h HeaderMap,
        others: impl Iterator<Item = &'h str>,
    ) -> Vec<&'h str> {
        let aliases = self.access.iter().filter_map(|name| Self::theirs(headers, name));
        let aliases = aliases.filter_map(|value| str::from_utf8(value).ok());
        let mut all: Vec<&str> = aliases.chain(others).filter(super::looks_like_ours).collect();
        all.dedup();
        all
    }

    /// Returns the gateway's own name for the session cookie.
    pub fn own(&self) -> &str {
        &self.own
    }

    /// Returns the name of the device cookie.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Returns the device cookie of a request; empty if there is none that can be read.
    pub fn device_of<'h>(&self, headers: &'h HeaderMap) -> &'h str {
        let last = cookie::values(headers, &self.device).last();
        last.and_then(|value| str::from_utf8(value).ok()).unwrap_or_default()
    }

    /// Returns the name of the cookie of a browser that asked for a mailed link.
    pub fn link(&self) -> &str {
        &self.link
    }

    /// Returns the cookie of a browser that asked for a mailed link, if the request has one in the gateway's form.
    pub fn link_of(&self, headers: &HeaderMap) -> Option<Secret> {
        match cookie::read(headers, &self.link) {
            CookieValue::One(value) if Self::is_ours(value.as_bytes()) => Some(Secret::new(value)),
            _ => None,
        }
    }

    /// Returns the different values of the session cookie in a request.
    ///
    /// # Errors
    /// [`Refusal::BadCookie`] if one name has two different values, or the header cannot be read.
    pub fn values<'h>(&self, headers: &'h HeaderMap) -> Result<Vec<&'h str>, Refusal> {
        let mut all = Vec::new();
        match cookie::read(headers, &self.own) {
            CookieValue::Absent => {}
            CookieValue::One(value) => all.push(value),
            CookieValue::Conflicting | CookieValue::Malformed => return Err(Refusal::BadCookie),
        }
        for name in &self.aliases {
            let mut found: Option<&str> = None;
            for value in ours(headers, name) {
                if found.is_some_and(|other| other != value) {
                    return Err(Refusal::BadCookie);
                }
                found = Some(value);
            }
            all.extend(found.filter(|value| !all.contains(value)));
        }
        Ok(all)
    }

    /// Returns the names under which a request has a session cookie.
    pub fn brought<'n>(&'n self, headers: &'n HeaderMap) -> impl Iterator<Item = &'n str> {
        let own = (cookie::read(headers, &self.own) != CookieValue::Absent).then_some(&*self.own);
        own.into_iter().chain(self.brought_aliases(headers))
    }

    /// Returns the same names as [`Self::brought`], without the gateway's own.
    pub fn brought_aliases<'n>(&'n self, headers: &'n HeaderMap) -> impl Iterator<Item = &'n str> {
        let aliases = self.aliases.iter().map(String::as_str);
        aliases.filter(|name| ours(headers, name).next().is_some())
    }

    /// Whether a cookie must be removed before the request goes to an upstream.
    pub fn take(&self, pair: Pair<'_>) -> bool {
        let is_token = || super::looks_like_ours(pair.value());
        pair.is_called(&self.own)
            || pair.is_called(&self.device)
            || pair.is_called(&self.link)
            || pair.is_called(OPERATOR_COOKIE)
            || self.aliases.iter().any(|name| pair.is_called(name) && Self::is_ours(pair.value()))
            || self.tokens.iter().any(|name| pair.is_called(name) && is_token())
    }

    /// Returns the alias under which an upstream's `Set-Cookie` would give a browser a session cookie in the gateway's form.
    pub fn planted(&self, set_cookie: &HeaderValue) -> Option<&str> {
        set_cookie_name(set_cookie)?;
        let pair = set_cookie.as_bytes().split(|byte| *byte == b';').next()?;
        let value = pair.rsplit(|byte| *byte == b'=').next()?.trim_ascii();
        let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
        let name = self.aliases.iter().find(|name| sets_cookie(set_cookie, name))?;
        Self::is_ours(value).then_some(name)
    }
}

/// Removes the quotes around a value, as Python does.
fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

/// Returns the values in the gateway's form under an alias' name.
fn ours<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h str> {
    cookie::values(headers, name)
        .filter(|value| CookieNames::is_ours(value))
        .filter_map(|value| std::str::from_utf8(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::testkit::session_settings;

    const A: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const B: &str = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB-_";
    const DJANGOS: &str = "s49sbe7nu4m5dqvgmyfs8eiwk4mmt2xl";

    fn names() -> CookieNames {
        CookieNames::new(&session_settings(), ["sessionid", "sid", "sessionid"].into_iter())
    }

    fn headers(line: &str) -> HeaderMap {
        let line = line.replace("OWN", "__Host-doorwarden").replace("$A", A).replace("$B", B);
        let mut headers = HeaderMap::new();
        headers.append("cookie", HeaderValue::from_str(&line.replace("$D", DJANGOS)).unwrap());
        headers
    }

    #[test]
    fn it_is_found_under_each_name_and_a_services_own_is_not_it() {
        for (line, values, brought) in [
            ("a=$A", Ok(vec![]), vec![]),
            ("OWN=$A", Ok(vec![A]), vec!["__Host-doorwarden"]),
            ("sessionid=$A", Ok(vec![A]), vec!["sessionid"]),
            ("sessionid=$D", Ok(vec![]), vec![]),
            ("sessionid=$A=", Ok(vec![]), vec![]),
            // A browser sends both if the service's cookie has a `Domain`.
            ("sessionid=$D; sessionid=$A", Ok(vec![A]), vec!["sessionid"]),
            ("sessionid=$A; sessionid=$A", Ok(vec![A]), vec!["sessionid"]),
            ("sessionid=$A; sessionid=$B", Err(Refusal::BadCookie), vec!["sessionid"]),
            ("sessionid=$A; OWN=$A", Ok(vec![A]), vec!["__Host-doorwarden", "sessionid"]),
            ("sessionid=$A; OWN=$B", Ok(vec![B, A]), vec!["__Host-doorwarden", "sessionid"]),
            ("OWN=$D; sid=$A", Ok(vec![DJANGOS, A]), vec!["__Host-doorwarden", "sid"]),
            ("OWN=$A; OWN=$B", Err(Refusal::BadCookie), vec!["__Host-doorwarden"]),
        ] {
            let headers = headers(line);
            assert_eq!(names().values(&headers), values, "{line}");
            assert_eq!(names().brought(&headers).collect::<Vec<_>>(), brought, "{line}");
        }
    }

    #[test]
    fn an_upstream_gets_a_services_own_and_none_of_ours() {
        for (line, left) in [
            ("OWN=x; sessionid=$D", Some("sessionid=$D")),
            ("sessionid=$A; csrftoken=c", Some("csrftoken=c")),
            ("sessionid=\"$A\"; sessionid=$D", Some("sessionid=$D")),
            ("sid=$A; \u{a0}sessionid=$B", None),
        ] {
            let kept = cookie::strip_where(&headers(line), |pair| names().take(pair));
            let left = left.map(|left| headers(left)["cookie"].clone());
            assert_eq!(kept, left, "{line}");
        }
    }

    #[test]
    fn an_upstream_plants_none() {
        for (line, planted) in [
            ("sessionid=$A; Path=/", Some("sessionid")),
            ("=sessionid=$A", Some("sessionid")),
            ("sid=\"$B\"", Some("sid")),
            ("sessionid=$D; Path=/", None),
            ("sessionid=\"\"; Max-Age=0", None),
            ("other=$A", None),
        ] {
            assert_eq!(names().planted(&headers(line)["cookie"]), planted, "{line}");
        }
    }
}
