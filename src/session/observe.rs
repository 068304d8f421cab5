//! Observes the service's own sign-ins: one can be refused before it is forwarded, and the answer shows how it ended.
//!
//! The lockout is the same as for the gateway's own sign-ins ([`lockout`](super::lockout)), with the same accounts and
//! addresses, so that guesses at either add up. If the name cannot be read (a field that is missing or occurs twice, a body in
//! another form), the attempt counts for one account without a name, so that a malformed body does not evade the limit.
//!
//! An answer is a success, a failure, or neither: a service that fails, or asks for a second step, has not judged the password,
//! and the attempt is taken back. Unless configured otherwise, an answer is a success if it sets a session with a user, and a
//! redirect without one is an intermediate step.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode};

use super::lockout::{AttemptRefused, CountedAttempt, folded};
use super::{SessionManager, SignInRefused, store_failed};
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::config::{AnswerRules, Observed};
use crate::context::{Events, RequestContext};
use crate::event::{EventKind, SignInFailure};
use crate::refusal::Refusal;
use crate::wire::body::Fields;
use crate::wire::jar::CookieChange;

/// The service's own sign-ins: limited before they are forwarded, and judged by their answers.
#[derive(Clone, Copy)]
pub struct ObservedSignIns<'s>(pub(super) &'s SessionManager);

/// A sign-in that was forwarded to the service.
pub struct Trying {
    account: Arc<str>,
    attempt: CountedAttempt,
}

/// How an observed sign-in ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObservedOutcome {
    /// The service signed somebody in.
    Success,
    /// The service refused the sign-in.
    Failure,
    /// The answer is neither a success nor a failure.
    Neither,
}

impl std::fmt::Debug for Trying {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Trying").field(&self.account).finish()
    }
}

impl Trying {
    /// Takes the attempt back: nothing was tried, because the service could not be reached.
    pub fn take_back(self) {
        self.attempt.take_back();
    }
}

impl ObservedSignIns<'_> {
    /// Counts a sign-in with this body that is about to be forwarded.
    ///
    /// # Errors
    /// [`SignInRefused`] if it must not be tried now.
    pub async fn begin(
        self,
        observed: &Observed,
        content_type: Option<&HeaderValue>,
        body: &[u8],
        context: &RequestContext<'_>,
    ) -> Result<Trying, SignInRefused> {
        let fields = Fields::parse(content_type, body).unwrap_or_default();
        let name = fields.trimmed(&observed.username_field).unwrap_or_default();
        let account: Arc<str> = folded(name).into();
        match self.0.lockout.attempt(&account, context.client, None, context.at).await {
            Ok(attempt) => Ok(Trying { account, attempt }),
            Err(AttemptRefused::NotCounted(error)) => Err(store_failed(error).into()),
            Err(AttemptRefused::Wait(wait)) => {
                context.note(EventKind::SignInFailed {
                    account,
                    user: None,
                    why: SignInFailure::LockedOut,
                });
                let refused = Refusal::TooManyAttempts.into();
                Err(SignInRefused { retry_after: Some(wait), ..refused })
            }
        }
    }

    /// Settles a sign-in after the service has answered. `signed_in` is the user of the session that was set, and that session
    /// here.
    pub fn end(
        self,
        trying: Trying,
        outcome: ObservedOutcome,
        signed_in: Option<(UserKey, SessionId)>,
        events: &Events,
    ) {
        let Trying { account, attempt } = trying;
        match outcome {
            ObservedOutcome::Success => {
                attempt.succeeded();
                let (user, session) = signed_in.unzip();
                events.note(EventKind::SignInObserved { account, user, session });
            }
            ObservedOutcome::Failure => {
                attempt.failed();
                let why = SignInFailure::RefusedByService;
                events.note(EventKind::SignInFailed { account, user: None, why });
            }
            ObservedOutcome::Neither => attempt.take_back(),
        }
    }
}

impl ObservedOutcome {
    /// Judges a sign-in by the head of its answer. `has_signed_in`: the answer sets a session with a user.
    pub fn of(
        success: &AnswerRules,
        status: StatusCode,
        headers: &HeaderMap,
        has_signed_in: bool,
        at: Timestamp,
    ) -> Self {
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Self::Neither;
        }
        if success.is_empty() {
            return match (has_signed_in, status.is_redirection()) {
                (true, _) => Self::Success,
                (false, true) => Self::Neither,
                (false, false) => Self::Failure,
            };
        }
        if fits(success, status, headers, at) { Self::Success } else { Self::Failure }
    }
}

fn fits(rules: &AnswerRules, status: StatusCode, headers: &HeaderMap, at: Timestamp) -> bool {
    let location = headers.get(http::header::LOCATION).and_then(|value| value.to_str().ok());
    let location = location.map(path_of);
    let sets = |name: &str| {
        let last = CookieChange::all(headers, at).filter(|change| change.name == name).last();
        last.is_some_and(|change| change.to.is_some())
    };
    let stated =
        |rule: &Option<String>, holds: &dyn Fn(&str) -> bool| rule.as_deref().is_none_or(holds);
    (rules.status.is_empty() || rules.status.contains(&status.as_u16()))
        && stated(&rules.cookie, &sets)
        && stated(&rules.location, &|to| location.is_some_and(|path| leads_to(path, to)))
        && stated(&rules.location_not, &|to| location.is_some_and(|path| !leads_to(path, to)))
}

/// Returns the path of an absolute or rooted `Location`; a relative one is returned as it is.
fn path_of(location: &str) -> &str {
    let location = location.split(['?', '#']).next().unwrap_or_default();
    match location.split_once("//") {
        Some((_, behind)) => behind.find('/').and_then(|at| behind.get(at..)).unwrap_or("/"),
        None => location,
    }
}

/// Whether `path` is the wanted path or below it. `/` matches itself alone.
fn leads_to(path: &str, wanted: &str) -> bool {
    let wanted = wanted.trim_end_matches('/');
    if wanted.is_empty() {
        return path == "/";
    }
    path.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use http::header::{LOCATION, SET_COOKIE};

    use super::*;
    use crate::session::testkit::NOW;

    fn outcome(
        rules: &AnswerRules,
        status: u16,
        answer: &str,
        has_signed_in: bool,
    ) -> ObservedOutcome {
        let mut headers = HeaderMap::new();
        for line in answer.split('|').filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(' ').unwrap();
            let name = if name == "to" { LOCATION } else { SET_COOKIE };
            headers.append(name, value.parse().unwrap());
        }
        ObservedOutcome::of(
            rules,
            StatusCode::from_u16(status).unwrap(),
            &headers,
            has_signed_in,
            NOW,
        )
    }

    #[test]
    fn without_rules_a_session_with_a_user_decides() {
        let none = AnswerRules::default();
        for (status, has_signed_in, is) in [
            (302, true, ObservedOutcome::Success),
            (200, true, ObservedOutcome::Success),
            // The service asks for a second step.
            (302, false, ObservedOutcome::Neither),
            (200, false, ObservedOutcome::Failure),
            (400, false, ObservedOutcome::Failure),
            (401, false, ObservedOutcome::Failure),
            (429, false, ObservedOutcome::Neither),
            (503, true, ObservedOutcome::Neither),
        ] {
            assert_eq!(outcome(&none, status, "", has_signed_in), is, "{status} {has_signed_in}");
        }
    }

    #[test]
    fn all_rules_that_are_stated_must_hold() {
        let rules = AnswerRules {
            status: vec![302],
            cookie: Some("sid".into()),
            location_not: Some("/login/".into()),
            ..AnswerRules::default()
        };
        for (status, answer, is) in [
            (302, "set sid=1|to /home", ObservedOutcome::Success),
            (302, "set sid=1|to https://app.test/home?x=//login", ObservedOutcome::Success),
            (200, "set sid=1|to /home", ObservedOutcome::Failure),
            (302, "set other=1|to /home", ObservedOutcome::Failure),
            (302, "set sid=1|set sid=; Max-Age=0|to /home", ObservedOutcome::Failure),
            (302, "set sid=1|to /login/?error=1", ObservedOutcome::Failure),
            (302, "set sid=1|to https://app.test/login", ObservedOutcome::Failure),
            (302, "set sid=1", ObservedOutcome::Failure),
            (500, "set sid=1|to /home", ObservedOutcome::Neither),
        ] {
            assert_eq!(outcome(&rules, status, answer, false), is, "{status} {answer}");
        }
    }
}
