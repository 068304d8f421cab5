//! The session cookie, as it is set and taken away.
//!
//! Both carry the same attributes, because a browser takes a cookie away only under the name, path and security it was
//! set with. `__Host-` asks for `Secure`; an operator who chose `danger_plain_http_cookies` has a name without it.

use std::time::Duration;

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::config::SessionSettings;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::wire::cookie::{self, CookieValue, SetCookie};
use crate::wire::reply::Reply;

/// Name and attributes.
#[derive(Clone, Debug)]
pub(super) struct SessionCookie {
    name: String,
    max_age: Duration,
    secure: bool,
}

impl SessionCookie {
    pub(super) fn new(settings: &SessionSettings) -> Self {
        Self {
            name: settings.cookie.clone(),
            max_age: settings.absolute_timeout,
            secure: !settings.danger_plain_http_cookies,
        }
    }

    /// One with another name, that of a session of somebody else's.
    pub(super) fn called(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What a request brought.
    pub(super) fn read<'h>(&self, headers: &'h HeaderMap) -> Result<Option<&'h str>, Refusal> {
        match cookie::read(headers, &self.name) {
            CookieValue::Absent => Ok(None),
            CookieValue::One(value) => Ok(Some(value)),
            CookieValue::Conflicting | CookieValue::Malformed => Err(Refusal::BadCookie),
        }
    }

    /// `Set-Cookie` for a new session. It lives as long as a session can; that the session may end earlier is for the
    /// server to say.
    pub(super) fn set(&self, value: &Secret) -> Result<HeaderValue, Refusal> {
        let cookie = SetCookie::new(&self.name, value.expose()).max_age(self.max_age);
        let mut header = cookie.secure(self.secure).header().ok_or(Refusal::Internal)?;
        header.set_sensitive(true);
        Ok(header)
    }

    /// `Set-Cookie` that takes it away.
    pub(super) fn removal(&self) -> Option<HeaderValue> {
        SetCookie::removal(&self.name).secure(self.secure).header()
    }

    /// The reply, which takes it away.
    pub(super) fn remove(&self, reply: Reply) -> Reply {
        match self.removal() {
            Some(removal) => {
                let mut reply = reply;
                reply.headers.append(SET_COOKIE, removal);
                reply
            }
            None => reply,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(name: &str, plain: bool) -> SessionCookie {
        SessionCookie::new(&SessionSettings {
            cookie: name.into(),
            idle_timeout: Duration::from_secs(86_400),
            absolute_timeout: Duration::from_secs(2_592_000),
            trusted_origins: vec![],
            danger_plain_http_cookies: plain,
        })
    }

    #[test]
    fn it_is_set_and_taken_away_with_the_same_attributes() {
        for (cookie, set, removal) in [
            (
                cookie("__Host-doorwarden", false),
                "__Host-doorwarden=v; Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Lax",
                "__Host-doorwarden=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax",
            ),
            (
                cookie("doorwarden", true),
                "doorwarden=v; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax",
                "doorwarden=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax",
            ),
        ] {
            assert_eq!(cookie.set(&Secret::new("v")).unwrap(), set);
            let reply = cookie.remove(Reply::empty(http::StatusCode::NO_CONTENT));
            assert_eq!(reply.headers[SET_COOKIE], removal);
        }
    }

    #[test]
    fn a_value_that_ends_the_cookie_is_never_written() {
        assert_eq!(cookie("a", false).set(&Secret::new("v; Domain=x")), Err(Refusal::Internal));
    }

    #[test]
    fn two_values_are_refused() {
        let cookie = cookie("a", false);
        let mut headers = HeaderMap::new();
        assert_eq!(cookie.read(&headers), Ok(None));
        headers.append("cookie", HeaderValue::from_static("a=1; b=2"));
        assert_eq!(cookie.read(&headers), Ok(Some("1")));
        headers.append("cookie", HeaderValue::from_static("a=3"));
        assert_eq!(cookie.read(&headers), Err(Refusal::BadCookie));
    }
}
