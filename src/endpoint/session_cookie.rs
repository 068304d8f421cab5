//! The session cookie, as it is set and taken away.
//!
//! Both carry the same attributes, because a browser takes a cookie away only under the name, path and security it was
//! set with. `__Host-` asks for `Secure`; an operator who chose `danger_plain_http_cookies` has a name without it.
//!
//! An alias of a service's own sign-in sets it under the service's name for its own ([`CookieNames`]). A browser that has
//! it under two names loses both at a sign-out, and the other at a sign-in: it has one session.
//!
//! With `same_site = "none"` it is `Partitioned`: a browser keeps one for each site under whose pages the gateway is asked,
//! so that no other site's requests bring it. One from before, without that attribute, is another cookie of the same name
//! to the browser, and two of one name are refused; so whatever replaces or removes a cookie removes that one too.

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

/// Names and attributes.
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

    /// What a request brought, under any of its names.
    pub(super) fn read<'h>(&self, headers: &'h HeaderMap) -> Result<Vec<&'h str>, Refusal> {
        self.names.values(headers)
    }

    /// A cookie that goes along with it, with the attributes that decide when browsers send it.
    pub(super) const fn with_attributes<'c>(&self, cookie: SetCookie<'c>) -> SetCookie<'c> {
        cookie.secure(self.secure).same_site(self.same_site).partitioned(self.is_partitioned())
    }

    /// Do browsers keep it from encrypted connections alone?
    pub(super) const fn is_secure(&self) -> bool {
        self.secure
    }

    const fn is_partitioned(&self) -> bool {
        matches!(self.same_site, SameSite::None)
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
        if self.is_partitioned() && self.names.brought(&arrival.headers).any(|one| one == name) {
            reply = with_cookie(reply, self.unpartitioned_removal(name));
        }
        Ok(reply.with_header(SET_COOKIE, self.header(name, value)?))
    }

    /// It lives as long as a session can; that the session may end earlier is for the server to say.
    fn header(&self, name: &str, value: &Secret) -> Result<HeaderValue, Refusal> {
        let cookie = SetCookie::new(name, value.expose()).max_age(self.max_age);
        let mut header = self.with_attributes(cookie).header().ok_or(Refusal::Internal)?;
        header.set_sensitive(true);
        Ok(header)
    }

    /// The reply to a sign-in, by which the browser is known from now on. It goes to a browser only where the session cookie
    /// would.
    pub(super) fn set_device(&self, reply: Reply, value: Option<&Secret>) -> Reply {
        let Some(value) = value else { return reply };
        let cookie = SetCookie::new(self.names.device(), value.expose()).max_age(LIFETIME);
        let header = self.with_attributes(cookie).header().map(|mut header| {
            header.set_sensitive(true);
            header
        });
        with_cookie(reply, header)
    }

    /// The reply to whoever asked for a mailed link. A browser brings it when it follows the link from a page of mail, whatever
    /// `session.same_site` says.
    pub(super) fn set_link(&self, reply: Reply, value: &Secret) -> Reply {
        let cookie = SetCookie::new(self.names.link(), value.expose()).max_age(LINK);
        let header = cookie.secure(self.secure).header().map(|mut header| {
            header.set_sensitive(true);
            header
        });
        with_cookie(reply, header)
    }

    /// The reply to whoever opened it.
    pub(super) fn remove_link(&self, reply: Reply) -> Reply {
        with_cookie(reply, SetCookie::removal(self.names.link()).secure(self.secure).header())
    }

    /// Each `Set-Cookie` that takes away what a request brought.
    pub(super) fn removals(&self, arrival: &Arrival) -> Vec<HeaderValue> {
        let brought = self.names.brought(&arrival.headers);
        brought.flat_map(|name| self.removals_of(name)).flatten().collect()
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
        self.removals_of(name).into_iter().fold(reply, with_cookie)
    }

    /// The reply, which takes away a cookie of this name that is for this domain.
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
        // One from before the setting, which would stand beside it.
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
