//! The form `cookies`: sends the cookies that the service itself set when its user signed in through a directory `http`.
//!
//! The service sees the very session that it made, and the client sees none of it: neither the cookies nor what the service
//! later sets in them. The setting `cookies` lists them; without it they are all cookies that the service set at the sign-in.
//! Other cookies pass to the client, which is why a service whose scripts read a cookie (`XSRF-TOKEN`) needs the list.
//!
//! **The service ends its session** by deleting the first of these cookies, or by redirecting the caller to its login page
//! (`login_path`), and the gateway's session ends with it, so that nobody is stuck at a form that the gateway fills in. The
//! answer to a request that was sent before the cookie changed does not end the session: see `session::service_cookies`.

use std::sync::Arc;

use http::header::LOCATION;
use http::{HeaderMap, StatusCode};

use crate::caller::{Known, SessionId};
use crate::clock::Timestamp;
use crate::config::CookiesForm;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::session::service_cookies::{ServiceCookies, TakenCookies};
use crate::wire::jar::CookieChange;

pub(super) struct FormCookies {
    settings: CookiesForm,
    kept: Arc<ServiceCookies>,
}

impl FormCookies {
    pub(super) fn new(settings: &CookiesForm, kept: &Arc<ServiceCookies>) -> Self {
        Self { settings: settings.clone(), kept: Arc::clone(kept) }
    }

    /// Returns the cookies to send for this caller.
    pub(super) async fn cookies(
        &self,
        known: &Known,
        at: Timestamp,
    ) -> Result<Vec<(String, Secret)>, Refusal> {
        let Some(session) = &known.session else {
            tracing::warn!("a caller without a session has no cookies of the service");
            return Err(Refusal::IdentityUnavailable);
        };
        // Without them the service would treat the caller as not signed in; only signing in again gets new ones.
        let jar = self.kept.jar(session, at).await?.ok_or(Refusal::SessionEnded)?;
        if jar.get(&self.settings.session_cookie, at).is_none() {
            return Err(Refusal::SessionEnded);
        }
        let all = jar.cookies(at).filter(|(name, _)| self.is_one(name));
        Ok(all.map(|(name, value)| (name.to_owned(), value.clone())).collect())
    }

    /// Reads the cookies of the service's answer to a request. Returns whether the service has ended the session.
    pub(super) async fn ended_by(
        &self,
        known: &Known,
        sent: &[(String, Secret)],
        status: StatusCode,
        answer: &HeaderMap,
        at: Timestamp,
    ) -> bool {
        let Some(session) = &known.session else { return false };
        let was_sent = |name: &str| sent.iter().any(|(sent, _)| sent == name);
        let changes = CookieChange::all(answer, at)
            .filter(|change| was_sent(&change.name) || self.is_listed(&change.name))
            .collect();
        let session_cookie = &self.settings.session_cookie;
        let sends_to_login = status.is_redirection() && self.leads_to_login(answer);
        // This is checked before the change is made, because it is about the cookies as they were sent.
        let is_current = sends_to_login && self.is_current(session, sent, at).await;
        let taken = self.kept.answered(session, sent, changes, session_cookie, at).await;
        taken == TakenCookies::TakenAway || is_current
    }

    async fn is_current(
        &self,
        session: &SessionId,
        sent: &[(String, Secret)],
        at: Timestamp,
    ) -> bool {
        let name = &self.settings.session_cookie;
        let Ok(Some(jar)) = self.kept.jar(session, at).await else { return false };
        jar.get(name, at) == sent.iter().find(|(sent, _)| sent == name).map(|(_, value)| value)
    }

    fn leads_to_login(&self, answer: &HeaderMap) -> bool {
        let Some(login) = &self.settings.login_path else { return false };
        let location = answer.get(LOCATION).and_then(|value| value.to_str().ok());
        location.is_some_and(|location| leads_to(location, login))
    }

    fn is_one(&self, name: &str) -> bool {
        self.settings.cookies.is_empty() || self.is_listed(name)
    }

    fn is_listed(&self, name: &str) -> bool {
        name == self.settings.session_cookie || self.settings.cookies.iter().any(|one| one == name)
    }
}

/// Whether a `Location` leads to this path. A relative one is resolved against a path that only the service knows, so only
/// its last segment is compared.
fn leads_to(location: &str, path: &str) -> bool {
    let location = location.split(['?', '#']).next().unwrap_or_default();
    let absolute = location.split_once("//").map(|(_, behind)| behind);
    let found = match absolute {
        Some(behind) => behind.find('/').and_then(|at| behind.get(at..)).unwrap_or("/"),
        None => location,
    };
    if found.starts_with('/') {
        return found == path;
    }
    let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    !found.is_empty() && last(found) == last(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_page_is_known_however_it_is_written() {
        for (location, leads) in [
            ("/login.php", true),
            ("/login.php?next=/home", true),
            ("/login.php#x", true),
            ("http://app.test/login.php?a=//b", true),
            ("//app.test/login.php", true),
            ("login.php", true),
            ("../login.php?x", true),
            ("/x/login.php", false),
            ("/login.php/x", false),
            ("/home?next=/login.php", false),
            ("http://login.php", false),
            ("", false),
            ("?x", false),
        ] {
            assert_eq!(leads_to(location, "/login.php"), leads, "{location}");
        }
    }
}
