//! Authenticates operators: a program with the operator's token, or a browser that exchanged the token for a cookie.
//!
//! | | a program | the page |
//! |---|---|---|
//! | authenticated by | `Authorization: Bearer` and the token | a cookie that stands for a session of [`PageSessions`] |
//! | cross-site request | has an `Origin`: refused | has another `Origin` or `Sec-Fetch-Site`, or lacks the header [`CSRF`] |
//!
//! The browser never stores the token itself. The cookie is `HttpOnly` and `SameSite=Strict`, expires after [`IDLE`] without
//! use, after [`LONGEST`] in any case and at a restart, and is not derived from the token. A browser sends a cookie to every
//! port of a host, so other programs on this machine see it if the browser contacts them: the gateway removes it from forwarded
//! requests, and the header that a change needs is a hash of the cookie that pages of those programs cannot compute.

use std::collections::HashMap;
use std::time::Duration;

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use parking_lot::Mutex;

use super::Operator;
use crate::clock::Timestamp;
use crate::refusal::Refusal;
use crate::secret::{Digest, NoRandomness, Secret};
use crate::session::cookies::OPERATOR_COOKIE;
use crate::wire::cookie::{self, CookieValue};
use crate::wire::host::Host;

/// The idle timeout: after this time without use, the operator has to sign in to the page again.
const IDLE: Duration = Duration::from_secs(30 * 60);

/// The absolute timeout of a session of the page.
pub(super) const LONGEST: Duration = Duration::from_secs(8 * 3600);

/// The most sessions at once; a new one replaces the one that was used longest ago.
const MOST: usize = 32;

/// The request header by which the page proves that a change is its own.
pub(super) const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The browsers that are signed in to the page, by the digests of their cookies.
#[derive(Debug, Default)]
pub(super) struct PageSessions(Mutex<HashMap<Digest, PageSession>>);

#[derive(Clone, Copy, Debug)]
struct PageSession {
    began: Timestamp,
    used: Timestamp,
}

impl PageSessions {
    /// Begins a session and returns the value of its cookie.
    pub(super) fn begin(&self, at: Timestamp) -> Result<Secret, NoRandomness> {
        let cookie = Secret::random()?;
        let mut all = self.0.lock();
        all.retain(|_, session| session.is_live(at));
        while all.len() >= MOST {
            let oldest = all.iter().min_by_key(|(_, session)| session.used).map(|(key, _)| *key);
            oldest.and_then(|oldest| all.remove(&oldest));
        }
        all.insert(cookie.digest(), PageSession { began: at, used: at });
        Ok(cookie)
    }

    /// Whether the cookie stands for a live session. Counts as a use of it.
    fn is_live(&self, cookie: &Secret, at: Timestamp) -> bool {
        let mut all = self.0.lock();
        let Some(session) = all.get_mut(&cookie.digest()).filter(|session| session.is_live(at))
        else {
            return false;
        };
        session.used = session.used.max(at);
        true
    }

    /// Ends the session of the cookie.
    pub(super) fn end(&self, cookie: &Secret) {
        self.0.lock().remove(&cookie.digest());
    }
}

impl PageSession {
    fn is_live(&self, at: Timestamp) -> bool {
        at.since(self.used) < IDLE && at.since(self.began) < LONGEST
    }
}

impl Operator {
    /// Checks that the operator sent the request.
    ///
    /// # Errors
    /// The [`Refusal`] for everyone else.
    pub fn admit(
        &self,
        method: &Method,
        headers: &HeaderMap,
        at: Timestamp,
    ) -> Result<(), Refusal> {
        host_of(headers)?;
        let Some(authorization) = headers.get(AUTHORIZATION) else {
            return self.admit_page(method, headers, at);
        };
        if headers.contains_key(ORIGIN) {
            return Err(Refusal::CrossSite);
        }
        let token = authorization.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
        if self.is_token(token.ok_or(Refusal::NotAuthenticated)?) {
            Ok(())
        } else {
            Err(Refusal::TokenNotValid)
        }
    }

    /// Whether the text is the operator's token. Both sides are hashed, so that the time of the comparison reveals nothing
    /// about it.
    pub(super) fn is_token(&self, text: &str) -> bool {
        Secret::new(text).digest() == self.token
    }

    /// Checks a request of the page.
    fn admit_page(
        &self,
        method: &Method,
        headers: &HeaderMap,
        at: Timestamp,
    ) -> Result<(), Refusal> {
        is_same_origin(headers)?;
        let cookie = self.signed_in(headers, at).ok_or(Refusal::NotAuthenticated)?;
        let changes = *method != Method::GET && *method != Method::HEAD;
        let sent = headers.get(CSRF).and_then(|value| value.to_str().ok());
        let is_its_own = sent.is_some_and(|sent| Secret::new(sent) == csrf(&cookie));
        if !changes || is_its_own { Ok(()) } else { Err(Refusal::CrossSite) }
    }

    /// Returns the cookie of a browser that is signed in.
    pub(super) fn signed_in(&self, headers: &HeaderMap, at: Timestamp) -> Option<Secret> {
        let CookieValue::One(value) = cookie::read(headers, OPERATOR_COOKIE) else { return None };
        let cookie = Secret::new(value);
        self.pages.is_live(&cookie, at).then_some(cookie)
    }
}

/// Returns the value that the page sends with a change.
pub(super) fn csrf(cookie: &Secret) -> Secret {
    let digest = Digest::of(format!("operator's page\n{}", cookie.expose()).as_bytes());
    let hex: String = digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    Secret::new(hex)
}

/// Returns `Host` if it is an address or `localhost`. A page whose name was rebound to this address (DNS rebinding) sends its
/// own name.
pub(super) fn host_of(headers: &HeaderMap) -> Result<&HeaderValue, Refusal> {
    let value = headers.get(HOST).ok_or(Refusal::BadHost)?;
    let host = Host::parse(value.as_bytes()).map_err(|_| Refusal::BadHost)?;
    let name = host.name();
    let is_address =
        name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>().is_ok();
    if name == "localhost" || is_address { Ok(value) } else { Err(Refusal::BadHost) }
}

/// Checks that the request comes from a page of this listener, or from no page.
pub(super) fn is_same_origin(headers: &HeaderMap) -> Result<(), Refusal> {
    let host = host_of(headers)?.as_bytes();
    let is_ours = |origin: &HeaderValue| {
        let origin = origin.as_bytes();
        let authority =
            origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
        authority == Some(host)
    };
    let is_own_fetch = |site: &HeaderValue| site == "same-origin" || site == "none";
    let good = headers.get_all(ORIGIN).iter().all(is_ours)
        && headers.get_all(FETCH_SITE).iter().all(is_own_fetch);
    if good { Ok(()) } else { Err(Refusal::CrossSite) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(1_000_000 + secs)
    }

    #[test]
    fn a_page_is_signed_out_by_time() {
        let pages = PageSessions::default();
        let cookie = pages.begin(at(0)).unwrap();
        assert!(!pages.is_live(&Secret::new("guess"), at(0)));
        assert!(pages.is_live(&cookie, at(1799)));
        assert!(pages.is_live(&cookie, at(1799 + 1799)), "a use keeps it");
        assert!(!pages.is_live(&cookie, at(3600 + 1800)), "idle");
        let cookie = pages.begin(at(0)).unwrap();
        for secs in (0..8 * 3600).step_by(600) {
            assert!(pages.is_live(&cookie, at(secs)), "{secs}");
        }
        assert!(!pages.is_live(&cookie, at(8 * 3600)), "whatever was used");
        let cookie = pages.begin(at(0)).unwrap();
        pages.end(&cookie);
        assert!(!pages.is_live(&cookie, at(0)));
    }

    #[test]
    fn there_are_only_so_many_pages() {
        let pages = PageSessions::default();
        let all: Vec<Secret> = (0..2 * MOST as u64).map(|n| pages.begin(at(n)).unwrap()).collect();
        let live = all.iter().filter(|cookie| pages.is_live(cookie, at(99))).count();
        assert_eq!(live, MOST);
        assert!(pages.is_live(&all[2 * MOST - 1], at(99)));
    }

    #[test]
    fn only_pages_of_this_listener_are_of_one_origin() {
        for (fields, good) in [
            (&[][..], true),
            (&[("origin", "http://localhost:9090")], true),
            (&[("origin", "http://localhost:8080")], false),
            (&[("origin", "http://evil.test")], false),
            (&[("origin", "null")], false),
            (&[("origin", "http://localhost:9090"), ("origin", "http://evil.test")], false),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("localhost:9090"));
            for (name, value) in fields {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            assert_eq!(is_same_origin(&headers).is_ok(), good, "{fields:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("evil.test:9090"));
        assert_eq!(is_same_origin(&headers), Err(Refusal::BadHost));
    }
}
