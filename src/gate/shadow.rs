//! Shadow mode: routes on which the gateway decides, forwards unchanged, and compares with what the service answers.
//!
//! It is for the time before the switch. A shadowed route has no gate: everything reaches the service as it did before the
//! gateway came, which checks callers itself as it did before. So that is a weakening only of what the gateway would add,
//! and still each such route warns, at `check` and at the start.
//!
//! - **Which requests.** Those whose longest route is in `[shadow]`, own paths, aliases and preflights below it included:
//!   a path of the service is the service's. What is refused before a route is known stays refused: framing, limits,
//!   `Host`, what `Connection` nominates, targets without a single reading, and targets that no route takes. Carrying those
//!   is not safe for anybody, and they show at once rather than at the switch. A target with a *harmless* second reading
//!   that its route does not tolerate is forwarded as the bytes that came, and counts as one that would be refused.
//! - **Unchanged.** No identity is added and none is taken out, neither are credentials, cookies and answers edited, nor
//!   lasting headers (CORS, HSTS) added. Except: the gateway's own access token and cookie never reach a service, and none
//!   sets that cookie; other spellings of what frames a request (`Content_Length`) go, since clients share the
//!   connections behind the gateway; forwarding headers are the gateway's, since the service believes whoever stands in front of it;
//!   and where another route to the same upstream is *not* shadowed, names that the service believes there are taken out,
//!   or the shadow would be a way around that route.
//! - **The decision** is the real one, with what a real one causes (an issuer's refusal is audited, a first sight noted);
//!   nothing is taken over or signed out. It has half a second to be made: a directory that is down must not slow a service
//!   that does not know it yet.
//! - **The comparison** asks one question of both: would this caller have got through? See [`compare`].
//!
//! A [`Permit`](super::Permit) says whether it was given after the checks or in spite of them; its caller is nobody in the
//! latter case, so that code which forgets to ask can give away nothing.

use std::time::Duration;

use http::StatusCode;

use super::Decision;
use crate::caller::{Caller, UserKey};
use crate::config::{Access, Config};
use crate::refusal::Refusal;
use crate::wire::path::{PathPattern, Target, Tolerance};

/// The longest that a shadowed request waits for the gate's opinion.
pub(super) const LONGEST: Duration = Duration::from_millis(500);

/// What would have been decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Opinion {
    /// It would pass: as this user, on a route that asks for one; or whoever it is, and then the service's opinion of the
    /// caller is its own matter.
    Pass(Option<UserKey>),
    /// It would be refused; the user, if a credential held.
    Refuse(Refusal, Option<UserKey>),
    /// The gateway would answer it itself.
    Answer,
    /// That was not found out in time.
    Unknown,
}

/// What the service answered, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServiceAnswer {
    status: StatusCode,
    to_login: bool,
}

/// How the gate's opinion and the service's answer compare.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ShadowVerdict {
    /// Both let the caller through, or neither.
    Agree,
    /// The service served what the gate would refuse: the switch would lock somebody out.
    Stricter,
    /// The service refused a caller whom the gate would let through, as somebody whom it asked for.
    Looser,
    /// There is nothing to compare: no answer, a failure on either side, or an own path.
    Unknown,
}

/// Reads services' answers.
#[derive(Clone, Debug)]
pub(super) struct AnswerReader {
    login_paths: Vec<PathPattern>,
}

impl Opinion {
    /// Of a decision that is not carried out.
    pub(super) fn of(decision: Decision) -> Self {
        match decision {
            Decision::Forward(permit) | Decision::Shadow(permit) => {
                match (permit.route().access, permit.caller()) {
                    (Access::Optional | Access::SignedIn, Caller::Known(known)) => {
                        Self::Pass(Some(known.identity.key.clone()))
                    }
                    (Access::Public, Caller::Known(_)) | (_, Caller::Anonymous(_)) => {
                        Self::Pass(None)
                    }
                }
            }
            Decision::Serve(_) | Decision::Preflight(_) => Self::Answer,
            Decision::Refuse(denial) => {
                let user = denial.caller.map(|known| known.identity.key.clone());
                Self::Refuse(denial.refusal, user)
            }
        }
    }

    /// The user, if a credential held.
    pub const fn user(&self) -> Option<&UserKey> {
        match self {
            Self::Pass(user) | Self::Refuse(_, user) => user.as_ref(),
            Self::Answer | Self::Unknown => None,
        }
    }

    /// Why it would be refused, if so.
    pub const fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refuse(refusal, _) => Some(*refusal),
            Self::Pass(_) | Self::Answer | Self::Unknown => None,
        }
    }
}

impl AnswerReader {
    pub(super) fn new(config: &Config) -> Self {
        Self { login_paths: config.shadow.login_paths.clone() }
    }

    /// From a status and `Location`.
    pub(super) fn read(&self, status: StatusCode, location: Option<&[u8]>) -> ServiceAnswer {
        let to_login = status.is_redirection()
            && location.and_then(|location| std::str::from_utf8(location).ok()).is_some_and(
                |location| {
                    let path = path_of(location);
                    self.login_paths.iter().any(|login| takes(login, path))
                },
            );
        ServiceAnswer { status, to_login }
    }
}

impl ServiceAnswer {
    /// Does it say that the caller may not?
    fn refuses(self) -> bool {
        self.to_login || matches!(self.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    }

    /// Does it say that there is nothing to be had, whoever asks?
    fn has_nothing(self) -> bool {
        matches!(
            self.status,
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE
        )
    }

    /// The status.
    pub const fn status(self) -> StatusCode {
        self.status
    }
}

/// | the gate | the service: 401, 403, login | the same status, 404, 405, 410 | 5xx, none | else |
/// |---|---|---|---|---|
/// | would let a user through | looser | agree | unknown | agree |
/// | would let anybody through | agree | agree | unknown | agree |
/// | would refuse | agree | agree | unknown | **stricter** |
/// | cannot tell (503), or would answer itself | unknown | unknown | unknown | unknown |
pub fn compare(opinion: &Opinion, answer: Option<ServiceAnswer>) -> ShadowVerdict {
    let Some(answer) = answer.filter(|answer| !answer.status.is_server_error()) else {
        return ShadowVerdict::Unknown;
    };
    match opinion {
        Opinion::Answer | Opinion::Unknown => ShadowVerdict::Unknown,
        Opinion::Refuse(refusal, _) if refusal.status().is_server_error() => ShadowVerdict::Unknown,
        Opinion::Refuse(refusal, _) => {
            let agree =
                answer.refuses() || answer.has_nothing() || answer.status == refusal.status();
            if agree { ShadowVerdict::Agree } else { ShadowVerdict::Stricter }
        }
        Opinion::Pass(Some(_)) if answer.refuses() => ShadowVerdict::Looser,
        Opinion::Pass(_) => ShadowVerdict::Agree,
    }
}

impl ShadowVerdict {
    /// Every one.
    pub const ALL: &'static [Self] = &[Self::Agree, Self::Stricter, Self::Looser, Self::Unknown];

    /// Stable name for metrics, access line and audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agree => "agree",
            Self::Stricter => "stricter",
            Self::Looser => "looser",
            Self::Unknown => "unknown",
        }
    }
}

/// The path of a `Location`: on whatever host, without query and fragment.
fn path_of(location: &str) -> &str {
    let rest = match location.split_once("://") {
        // In a query there can be one too.
        Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            rest.find(['/', '?', '#']).map_or("", |at| rest.get(at..).unwrap_or_default())
        }
        _ => location,
    };
    rest.split(['?', '#']).next().unwrap_or_default()
}

/// A final slash says nothing here.
fn takes(login: &PathPattern, path: &str) -> bool {
    let other = match path.strip_suffix('/') {
        Some(without) => without.to_owned(),
        None => format!("{path}/"),
    };
    [path, &other].into_iter().any(|path| {
        Target::parse(path, Tolerance::ALL).is_ok_and(|target| login.takes(target.path()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::path::PathMatch;

    fn answer(status: u16, location: Option<&str>) -> ServiceAnswer {
        let login_paths = ["/accounts/login/", "/in", "/orga/*/login/"]
            .map(|path| PathPattern::parse(path, PathMatch::Exact).unwrap());
        let answers = AnswerReader { login_paths: login_paths.into() };
        answers.read(StatusCode::from_u16(status).unwrap(), location.map(str::as_bytes))
    }

    #[test]
    fn each_opinion_meets_each_answer() {
        use ShadowVerdict::*;
        let user = || Some(UserKey::new("django", "2"));
        let refuse = |refusal| Opinion::Refuse(refusal, None);
        let login = Some("/accounts/login/?next=/");
        // 200, 302 elsewhere, 302 to login, 400, 401, 403, 404, 405, 500, none
        let answers = [
            Some(answer(200, None)),
            Some(answer(302, Some("/done/"))),
            Some(answer(302, login)),
            Some(answer(400, None)),
            Some(answer(401, None)),
            Some(answer(403, None)),
            Some(answer(404, None)),
            Some(answer(405, None)),
            Some(answer(500, None)),
            None,
        ];
        for (opinion, verdicts) in [
            (
                Opinion::Pass(user()),
                [Agree, Agree, Looser, Agree, Looser, Looser, Agree, Agree, Unknown, Unknown],
            ),
            (
                Opinion::Pass(None),
                [Agree, Agree, Agree, Agree, Agree, Agree, Agree, Agree, Unknown, Unknown],
            ),
            (
                refuse(Refusal::NotAuthenticated),
                [Stricter, Stricter, Agree, Stricter, Agree, Agree, Agree, Agree, Unknown, Unknown],
            ),
            (
                refuse(Refusal::GroupRequired),
                [Stricter, Stricter, Agree, Stricter, Agree, Agree, Agree, Agree, Unknown, Unknown],
            ),
            (
                refuse(Refusal::BadTarget),
                [Stricter, Stricter, Agree, Agree, Agree, Agree, Agree, Agree, Unknown, Unknown],
            ),
            (refuse(Refusal::StoreUnavailable), [Unknown; 10]),
            (Opinion::Answer, [Unknown; 10]),
            (Opinion::Unknown, [Unknown; 10]),
        ] {
            for (answer, verdict) in answers.into_iter().zip(verdicts) {
                assert_eq!(compare(&opinion, answer), verdict, "{opinion:?} and {answer:?}");
            }
        }
    }

    #[test]
    fn a_redirect_to_a_login_path_says_that_nobody_is_signed_in() {
        for (status, location, refuses) in [
            (302, Some("/accounts/login/?next=/a"), true),
            (302, Some("/accounts/login"), true),
            (302, Some("/orga/2026/login/?next=/orga/2026/"), true),
            (302, Some("/orga/2026/login"), true),
            (302, Some("/orga/login/"), false),
            (303, Some("https://sso.example/in#top"), true),
            (307, Some("http://app.example:8000/accounts/login/"), true),
            (302, Some("/accounts/login/again/"), false),
            (302, Some("/next?to=https://x/in"), false),
            (302, Some("https://app.example"), false),
            (302, Some("in"), false),
            (302, None, false),
            (200, Some("/in"), false),
            (201, Some("/accounts/login/"), false),
        ] {
            assert_eq!(answer(status, location).refuses(), refuses, "{status} {location:?}");
        }
    }
}
