//! Sets and removes the session cookie.
//!
//! Both use the same attributes, because a browser removes a cookie only under the name, path and `Secure` attribute it was
//! set with. `__Host-` requires `Secure`; with `danger_plain_http_cookies` the name has no such prefix.
//!
//! An alias of a service's own sign-in sets the cookie under the service's name for its own ([`CookieNames`]). A browser
//! that has it under two names loses both at a sign-out, and the other at a sign-in: it has one session.
//!
//! With `same_site = "none"` the cookie is `Partitioned`: a browser stores one for each site under whose pages the gateway
//! is called, so no other site's requests bring it. To the browser, an older one without that attribute is another cookie of
//! the same name, and two of one name are refused; so a reply that replaces or removes a cookie removes that one too.

use std::time::Duration;

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::config::SessionSettings;
use crate::notify::LINK;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::session::cookies::CookieNames;
use crate::session::devices::LIFETIME;
use crate::wire::arrival::Arrival;
use crate::wire::cookie::{SameSite, SetCookie};
use crate::wire::reply::Reply;

/// The names and attributes of the session cookie.
#[derive(Clone, Debug)]
pub(super) struct SessionCookie {
    names: CookieNames,
    max_age: Duration,
    secure: bool,
    same_site: SameSite,
}

impl SessionCookie {
    pub(super) fn new(settings: &SessionSettings, names: CookieNames) -> Self {
        Self {
            names,
            max_age: settings.absolute_timeout,
            secure: !settings.danger_plain_http_cookies,
            same_site: settings.same_site,
        }
    }

    /// Returns the values that a request brought, under any of the cookie's names.
    pub(super) fn read<'h>(&self, headers: &'h HeaderMap) -> Result<Vec<&'h str>, Refusal> {
        self.names.values(headers)
    }

    /// Adds to another cookie the attributes that decide when browsers send the session cookie.
    pub(super) const fn with_attributes<'c>(&self, cookie: SetCookie<'c>) -> SetCookie<'c> {
        cookie.secure(self.secure).same_site(self.same_site).partitioned(self.is_partitioned())
    }

    /// Whether browsers accept the cookie from encrypted connections only.
    pub(super) const fn is_secure(&self) -> bool {
        self.secure
    }

    const fn is_partitioned(&self) -> bool {
        matches!(self.same_site, SameSite::None)
    }

    /// Returns the reply to a sign-in, which sets the cookie under the gateway's own name or an alias's. Cookies that the
    /// request brought under other names are removed.
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
        if self.is_partitioned() && self.names.brought(&arrival.headers).any(|one| one == name) {
            reply = with_cookie(reply, self.unpartitioned_removal(name));
        }
        Ok(reply.with_header(SET_COOKIE, self.header(name, value)?))
    }

    /// Returns the `Set-Cookie`. The cookie lasts as long as a session can; the server decides if the session ends earlier.
    fn header(&self, name: &str, value: &Secret) -> Result<HeaderValue, Refusal> {
        let cookie = SetCookie::new(name, value.expose()).max_age(self.max_age);
        let mut header = self.with_attributes(cookie).header().ok_or(Refusal::Internal)?;
        header.set_sensitive(true);
        Ok(header)
    }

    /// Returns the reply to a sign-in, which sets the cookie by which the browser is known from now on. With the attributes of
    /// the session cookie, it goes only where that one would.
    pub(super) fn set_device(&self, reply: Reply, value: Option<&Secret>) -> Reply {
        let Some(value) = value else { return reply };
        let cookie = SetCookie::new(self.names.device(), value.expose()).max_age(LIFETIME);
        let header = self.with_attributes(cookie).header().map(|mut header| {
            header.set_sensitive(true);
            header
        });
        with_cookie(reply, header)
    }

    /// Returns the reply to a request for a mailed link, which sets its cookie. A browser sends it when it follows the link
    /// from a web mail page, whatever `session.same_site` says.
    pub(super) fn set_link(&self, reply: Reply, value: &Secret) -> Reply {
        let cookie = SetCookie::new(self.names.link(), value.expose()).max_age(LINK);
        let header = cookie.secure(self.secure).header().map(|mut header| {
            header.set_sensitive(true);
            header
        });
        with_cookie(reply, header)
    }

    /// Returns the reply to an opened link, which removes its cookie.
    pub(super) fn remove_link(&self, reply: Reply) -> Reply {
        with_cookie(reply, SetCookie::removal(self.names.link()).secure(self.secure).header())
    }

    /// Returns each `Set-Cookie` that removes what a request brought.
    pub(super) fn removals(&self, arrival: &Arrival) -> Vec<HeaderValue> {
        let brought = self.names.brought(&arrival.headers);
        brought.flat_map(|name| self.removals_of(name)).flatten().collect()
    }

    /// Returns the reply, which removes what the request brought.
    pub(super) fn remove_brought(&self, mut reply: Reply, arrival: &Arrival) -> Reply {
        for removal in self.removals(arrival) {
            reply = reply.with_header(SET_COOKIE, removal);
        }
        reply
    }

    /// Whether a request brought the cookie under the gateway's own name.
    pub(super) fn is_brought(&self, arrival: &Arrival) -> bool {
        self.brought(arrival).any(|name| name == self.names.own())
    }

    /// Returns the names under which a request brought the cookie.
    pub(super) fn brought<'n>(&'n self, arrival: &'n Arrival) -> impl Iterator<Item = &'n str> {
        self.names.brought(&arrival.headers)
    }

    /// Returns the reply, which removes the cookie under the gateway's own name.
    pub(super) fn remove(&self, reply: Reply) -> Reply {
        self.removed(reply, self.names.own())
    }

    /// Returns the reply, which removes a cookie of this name.
    pub(super) fn removed(&self, reply: Reply, name: &str) -> Reply {
        self.removals_of(name).into_iter().fold(reply, with_cookie)
    }

    /// Returns the reply, which removes a cookie of this name for this domain.
    pub(super) fn removed_from(&self, reply: Reply, name: &str, domain: &str) -> Reply {
        let removal = SetCookie::removal(name).domain(domain);
        with_cookie(reply, self.with_attributes(removal).header())
    }

    fn removals_of(&self, name: &str) -> [Option<HeaderValue>; 2] {
        let unpartitioned = self.is_partitioned().then(|| self.unpartitioned_removal(name));
        [unpartitioned.flatten(), self.with_attributes(SetCookie::removal(name)).header()]
    }

    fn unpartitioned_removal(&self, name: &str) -> Option<HeaderValue> {
        self.with_attributes(SetCookie::removal(name)).partitioned(false).header()
    }
}

fn with_cookie(reply: Reply, set_cookie: Option<HeaderValue>) -> Reply {
    match set_cookie {
        Some(set_cookie) => reply.with_header(SET_COOKIE, set_cookie),
        None => reply,
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
            same_site: SameSite::Lax,
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
    fn another_sites_pages_bring_it_where_they_may() {
        let with = |same_site| SessionCookie { same_site, ..cookie("__Host-doorwarden", false) };
        let (empty, request) = (Reply::empty(StatusCode::OK), arrival("POST", "/login", &[]));
        let value = Secret::new("v");
        let reply = with(SameSite::Strict).set(empty.clone(), None, &value, &request).unwrap();
        assert!(cookies(&reply)[0].ends_with("; HttpOnly; Secure; SameSite=Strict"));
        let none = with(SameSite::None);
        let apart = "HttpOnly; Secure; SameSite=None; Partitioned";
        let set = format!("__Host-doorwarden=v; Path=/; Max-Age=2592000; {apart}");
        let removal = format!("__Host-doorwarden=; Path=/; Max-Age=0; {apart}");
        // A cookie from before the setting would otherwise stay beside the new one.
        let (old, _) = removal.rsplit_once("; Partitioned").unwrap();
        let reply = none.set(empty.clone(), None, &value, &request).unwrap();
        assert_eq!(cookies(&reply), [&set]);
        assert_eq!(cookies(&none.remove(empty.clone())), [old, &removal]);
        let line = format!("__Host-doorwarden={VALUE}");
        let request = arrival("POST", "/login", &[("cookie", &line)]);
        let reply = none.set(empty.clone(), None, &value, &request).unwrap();
        assert_eq!(cookies(&reply), [old, &set]);
        assert_eq!(cookies(&none.remove_brought(empty, &request)), [old, &removal]);
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
        // Only Django removes Django's own cookie.
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
