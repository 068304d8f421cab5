//! Detects signed-in users who are redirected to and fro between a page and the service's own login page.
//!
//! A service whose login page redirects a signed-in user onwards (`redirect_authenticated_user` of Django's `LoginView`) and
//! whose pages redirect users without a permission to the login page keeps a browser going until it gives up. The gateway's
//! own page has a check of its own (`endpoint::sent_back`); where the service signs people in, both redirects pass through
//! here.
//!
//! So each redirect from the login page is remembered for a moment, by session. If the session is sent back to the
//! login page within that time, and the login page then sends it to the same place again, that answer is replaced: 403
//! `account_not_allowed`, with the signed-in user. Two visits to the login page in a row are no loop, because nothing
//! sent the browser back in between. The memory is limited to this process and this configuration: a loop that is
//! missed once is detected at its next turn.

use std::time::Duration;

use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use quick_cache::sync::Cache;

use crate::caller::{Caller, SessionId};
use crate::clock::Timestamp;
use crate::config::{Observed, ObservedKind, SignInSettings};
use crate::wire::arrival::Arrival;
use crate::wire::next::Next;
use crate::wire::path::CanonicalPath;

/// The longest turn of a loop: redirects take milliseconds, and a person who asks for the same place again takes longer.
const SOON: Duration = Duration::from_secs(5);

/// The most sessions that are remembered: more than a login page redirects within [`SOON`]; the oldest are dropped.
const REMEMBERED: usize = 10_000;

/// The recent redirects from the service's login pages, by session.
pub(super) struct RedirectLoops {
    login_path: Option<CanonicalPath>,
    sessions: Cache<SessionId, SentRedirect>,
}

#[derive(Clone)]
struct SentRedirect {
    to: Next,
    at: Timestamp,
    /// Whether another page has sent the session back to the login page since.
    is_back: bool,
}

impl RedirectLoops {
    pub(super) fn new(sign_in: &SignInSettings) -> Self {
        Self { login_path: sign_in.login_path.clone(), sessions: Cache::new(REMEMBERED) }
    }

    /// Whether this answer closes a loop: it sends a caller where the login page has sent them before, and they came back from
    /// there.
    pub(super) fn closes(
        &self,
        arrival: &Arrival,
        caller: &Caller,
        observed: &[impl AsRef<Observed>],
        (status, headers): (StatusCode, &HeaderMap),
    ) -> bool {
        if !status.is_redirection() {
            return false;
        }
        let session = caller.known().and_then(|known| known.session.as_ref());
        let (Some(session), Some(to)) = (session, target_of(arrival, headers)) else {
            return false;
        };
        let is_login = |path: &CanonicalPath| {
            self.login_path.as_ref() == Some(path)
                || observed
                    .iter()
                    .map(AsRef::as_ref)
                    .any(|one| one.kind == ObservedKind::SignIn && one.path.takes(path))
        };
        let path = to.as_str().split('?').next().unwrap_or_default();
        let leads_to_login = CanonicalPath::parse(path).is_ok_and(|path| is_login(&path));
        match (is_login(arrival.target.path()), leads_to_login) {
            (true, false) => self.sent(session, to, arrival.at),
            (false, true) => {
                self.came_back(session, arrival.at);
                false
            }
            // A step of the sign-in, or a redirect that does not concern it.
            (true, true) | (false, false) => false,
        }
    }

    /// Records that the login page has sent the session there, and returns whether that is a loop.
    fn sent(&self, session: &SessionId, to: Next, at: Timestamp) -> bool {
        let before = self.sessions.get(session);
        let is_loop =
            before.is_some_and(|sent| sent.is_back && sent.to == to && at.since(sent.at) <= SOON);
        self.sessions.insert(session.clone(), SentRedirect { to, at, is_back: false });
        is_loop
    }

    /// Records that a page has sent the session to the login page.
    fn came_back(&self, session: &SessionId, at: Timestamp) {
        if let Some(sent) = self.sessions.get(session)
            && at.since(sent.at) <= SOON
        {
            self.sessions.insert(session.clone(), SentRedirect { is_back: true, ..sent });
        }
    }
}

/// Returns the target of a redirect, if it is on this host.
fn target_of(arrival: &Arrival, headers: &HeaderMap) -> Option<Next> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    let local = match location.strip_prefix(&arrival.origin()) {
        Some("") => "/",
        Some(rest) => rest,
        None => location,
    };
    Next::parse(local.split('#').next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_turn_that_came_back_is_a_loop() {
        let loops = RedirectLoops::new(&SignInSettings::default());
        let (kim, lee) = (SessionId::new("a"), SessionId::new("b"));
        let [here, there] = ["/here?a=1", "/there"].map(|text| Next::parse(text).unwrap());
        let at = |millis: u64| Timestamp::from_millis(1_795_000_000_000 + millis);
        assert!(!loops.sent(&kim, here.clone(), at(0)));
        assert!(!loops.sent(&kim, here.clone(), at(10)), "nothing sent it back");
        loops.came_back(&kim, at(20));
        loops.came_back(&lee, at(20));
        assert!(!loops.sent(&lee, here.clone(), at(25)), "it is another session's");
        assert!(!loops.sent(&kim, there.clone(), at(30)), "it is another place");
        loops.came_back(&kim, at(40));
        assert!(loops.sent(&kim, there.clone(), at(50)));
        loops.came_back(&kim, at(5051));
        assert!(!loops.sent(&kim, there.clone(), at(5060)), "that took a person");
        loops.came_back(&kim, at(5070));
        assert!(!loops.sent(&kim, there, at(10_061)), "so did that");
    }
}
