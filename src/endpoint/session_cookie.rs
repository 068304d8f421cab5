//! The session cookie, as it is set and taken away.
//!
//! Both carry the same attributes, because a browser takes a cookie away only under the name, path and security it was
//! set with. `__Host-` asks for `Secure`; an operator who chose `danger_plain_http_cookies` has a name without it.
//!
//! An alias of a service's own sign-in sets it under the service's name for its own ([`CookieNames`]). A browser that has
//! it under two names loses both at a sign-out, and the other at a sign-in: it has one session.

use std::time::Duration;

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::auth::cookies::CookieNames;
use crate::config::SessionSettings;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::wire::arrival::Arrival;
use crate::wire::cookie::SetCookie;
use crate::wire::reply::Reply;

/// Names and attributes.
#[derive(Clone, Debug)]
pub(super) struct SessionCookie {
    names: CookieNames,
    max_age: Duration,
    secure: bool,
}

impl SessionCookie {
    pub(super) fn new(settings: &SessionSettings, names: CookieNames) -> Self {
        Self {
            names,
            max_age: settings.absolute_timeout,
            secure: !settings.danger_plain_http_cookies,
        }
    }

    /// What a request brought, under any of its names.
    pub(super) fn read<'h>(&self, headers: &'h HeaderMap) -> Result<Vec<&'h str>, Refusal> {
        self.names.values(headers)
    }

    /// Is it sent over TLS alone?
    pub(super) const fn secure(&self) -> bool {
        self.secure
    }

    /// The reply to a sign-in, which sets it: under the gateway's own name, or an alias'. Names under which the request
    /// brought another one are taken away.
    pub(super) fn set(
        &self,
        mut reply: Reply,
        alias: Option<&str>,
        value: &Secret,
        arrival: &Arrival,
    ) -> Result<Reply, Refusal> {
        let name = alias.unwrap_or_else(|| self.names.own());
        for other in self.names.brought(&arrival.headers).filter(|other| *other != name) {
            reply = self.removed(reply, other);
        }
        Ok(reply.with_header(SET_COOKIE, self.header(name, value)?))
    }

    /// It lives as long as a session can; that the session may end earlier is for the server to say.
    fn header(&self, name: &str, value: &Secret) -> Result<HeaderValue, Refusal> {
        let cookie = SetCookie::new(name, value.expose()).max_age(self.max_age);
        let mut header = cookie.secure(self.secure).header().ok_or(Refusal::Internal)?;
        header.set_sensitive(true);
        Ok(header)
    }

    /// Each `Set-Cookie` that takes away what a request brought.
    pub(super) fn removals(&self, arrival: &Arrival) -> Vec<HeaderValue> {
        let brought = self.names.brought(&arrival.headers);
        brought.filter_map(|name| self.removal(name)).collect()
    }

    /// The reply, which takes away what the request brought.
    pub(super) fn remove_brought(&self, mut reply: Reply, arrival: &Arrival) -> Reply {
        for removal in self.removals(arrival) {
            reply = reply.with_header(SET_COOKIE, removal);
        }
        reply
    }

    /// Did a request bring it under the gateway's own name?
    pub(super) fn is_brought(&self, arrival: &Arrival) -> bool {
        self.brought(arrival).any(|name| name == self.names.own())
    }

    /// The names under which a request brought it.
    pub(super) fn brought<'n>(&'n self, arrival: &'n Arrival) -> impl Iterator<Item = &'n str> {
        self.names.brought(&arrival.headers)
    }

    /// The reply, which takes it away under the gateway's own name.
    pub(super) fn remove(&self, reply: Reply) -> Reply {
        self.removed(reply, self.names.own())
    }

    /// The reply, which takes a cookie of this name away.
    pub(super) fn removed(&self, reply: Reply, name: &str) -> Reply {
        match self.removal(name) {
            Some(removal) => reply.with_header(SET_COOKIE, removal),
            None => reply,
        }
    }

    fn removal(&self, name: &str) -> Option<HeaderValue> {
        SetCookie::removal(name).secure(self.secure).header()
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::endpoint::tests::arrival;

    const VALUE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn cookie(name: &str, plain: bool) -> SessionCookie {
        let settings = SessionSettings {
            cookie: name.into(),
            idle_timeout: Duration::from_secs(86_400),
            absolute_timeout: Duration::from_secs(2_592_000),
            trusted_origins: vec![],
            danger_plain_http_cookies: plain,
        };
        SessionCookie::new(&settings, CookieNames::new(&settings, ["sessionid"].into_iter()))
    }

    fn cookies(reply: &Reply) -> Vec<&str> {
        reply.headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect()
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
            let (empty, request) = (Reply::empty(StatusCode::OK), arrival("POST", "/login", &[]));
            let reply = cookie.set(empty.clone(), None, &Secret::new("v"), &request).unwrap();
            assert_eq!(cookies(&reply), [set]);
            assert_eq!(cookies(&cookie.remove(empty)), [removal]);
        }
    }

    #[test]
    fn a_browser_has_it_under_one_name() {
        let cookie = cookie("doorwarden", true);
        let line = format!("doorwarden={VALUE}; sessionid={VALUE}");
        let request = arrival("POST", "/in", &[("cookie", &line)]);
        let empty = Reply::empty(StatusCode::OK);
        let (own, alias) = (
            "doorwarden=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax",
            "sessionid=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax",
        );
        let value = Secret::new("v");
        let reply = cookie.set(empty.clone(), Some("sessionid"), &value, &request).unwrap();
        assert_eq!(
            cookies(&reply),
            [own, "sessionid=v; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"]
        );
        let reply = cookie.set(empty.clone(), None, &value, &request).unwrap();
        assert_eq!(cookies(&reply)[0], alias);
        assert_eq!(cookies(&cookie.remove_brought(empty.clone(), &request)), [own, alias]);
        // Django's own is Django's to take away.
        let request =
            arrival("POST", "/in", &[("cookie", "sessionid=s49sbe7nu4m5dqvgmyfs8eiwk4mmt2xl")]);
        assert!(cookies(&cookie.remove_brought(empty, &request)).is_empty());
    }

    #[test]
    fn a_value_that_ends_the_cookie_is_never_written() {
        let (empty, request) = (Reply::empty(StatusCode::OK), arrival("POST", "/login", &[]));
        let set = cookie("a", false).set(empty, None, &Secret::new("v; Domain=x"), &request);
        assert_eq!(set.unwrap_err(), Refusal::Internal);
    }
}
