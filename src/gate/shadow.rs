//! Shadow mode: on some routes the gateway decides, forwards unchanged, and compares its decision with the service's answer.
//!
//! It is for the time before the switch to the gateway. A shadowed route is not guarded: everything reaches the service
//! as before, and the service checks callers itself as before. So only the gateway's additional protection is missing;
//! still each such route causes a warning, at `check` and at the start.
//!
//! - **Which requests.** Those whose longest route is in `[shadow]`, own paths, aliases and preflights below it included: a
//!   path of the service belongs to the service. Requests that are refused before a route is known stay refused: framing,
//!   limits, `Host`, headers that `Connection` nominates, targets without a single reading, and targets that no route takes.
//!   Forwarding those is not safe for anybody, and they show up at once rather than at the switch. A target with a *harmless*
//!   second reading that its route does not tolerate is forwarded byte for byte, and counts as one that would be refused.
//! - **Unchanged.** No identity is added and none is removed, credentials, cookies and answers are not edited, and no
//!   lasting headers (CORS, HSTS) are added. The exceptions: the gateway's own access token and cookie never reach a
//!   service, and no service sets that cookie; other spellings of framing headers (`Content_Length`) are removed, since
//!   clients share the connections to the upstream; forwarding headers are the gateway's, since the service trusts the
//!   proxy in front of it; and where another route to the same upstream is *not* shadowed, the headers that the service
//!   trusts there are removed, or the shadow would be a way around that route.
//! - **The decision** is the real one, with the effects of a real one (an issuer's refusal is audited, a first sight
//!   noted); nothing is taken over or signed out. It has to be made within half a second: a directory that is down must
//!   not slow down a service that does not use it yet.
//! - **The comparison** asks one question of both: would this caller have got through? See [`compare`].
//!
//! A [`Permit`](super::Permit) says whether it was granted by the checks or without them; without them its caller is
//! anonymous, so that code which does not ask cannot give anything away.

use std::time::Duration;

use http::StatusCode;

use super::Decision;
use crate::caller::{Caller, UserKey};
use crate::config::{Access, Config};
use crate::refusal::Refusal;
use crate::wire::path::{PathPattern, Target, Tolerance};

/// The longest time that a shadowed request waits for the gate's opinion.
pub(super) const LONGEST: Duration = Duration::from_millis(500);

/// The decision that the gate would have made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Opinion {
    /// It would pass: as this user, on a route that requires one; or `None`, where anybody may pass and only the
    /// service has an opinion of the caller.
    Pass(Option<UserKey>),
    /// It would be refused; the user is known if a credential was valid.
    Refuse(Refusal, Option<UserKey>),
    /// The gateway would answer it itself.
    Answer,
    /// The decision was not made in time.
    Unknown,
}

/// The service's answer, as far as the comparison needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServiceAnswer {
    status: StatusCode,
    to_login: bool,
}

/// The result of comparing the gate's opinion with the service's answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ShadowVerdict {
    /// Both let the caller through, or neither does.
    Agree,
    /// The service served what the gate would refuse: the switch would lock somebody out.
    Stricter,
    /// The service refused a caller whom the gate would let through, as a user that the route requires.
    Looser,
    /// There is nothing to compare: no answer, a failure on either side, or an own path.
    Unknown,
}

/// Reads whether services' answers refuse their caller.
#[derive(Clone, Debug)]
pub(super) struct AnswerReader {
    login_paths: Vec<PathPattern>,
}

impl Opinion {
    /// Returns the opinion that a decision amounts to.
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

    /// Returns the user, if a credential was valid.
    pub const fn user(&self) -> Option<&UserKey> {
        match self {
            Self::Pass(user) | Self::Refuse(_, user) => user.as_ref(),
            Self::Answer | Self::Unknown => None,
        }
    }

    /// Returns why the request would be refused, if it would.
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

    /// Reads the answer from a status and `Location`.
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
    /// Whether the answer refuses the caller.
    fn refuses(self) -> bool {
        self.to_login || matches!(self.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    }

    /// Whether the answer says that there is nothing here for anybody.
    fn has_nothing(self) -> bool {
        matches!(
            self.status,
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE
        )
    }

    /// Returns the status.
    pub const fn status(self) -> StatusCode {
        self.status
    }
}

/// Compares the gate's opinion with the service's answer:
///
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
    /// All verdicts.
    pub const ALL: &'static [Self] = &[Self::Agree, Self::Stricter, Self::Looser, Self::Unknown];

    /// Returns the stable name for metrics, the access log and the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agree => "agree",
            Self::Stricter => "stricter",
            Self::Looser => "looser",
            Self::Unknown => "unknown",
        }
    }
}

/// Returns the path of a `Location`: on any host, without query and fragment.
fn path_of(location: &str) -> &str {
    let rest = match location.split_once("://") {
        // A query can contain `://` too.
        Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            rest.find(['/', '?', '#']).map_or("", |at| rest.get(at..).unwrap_or_default())
        }
        _ => location,
    };
    rest.split(['?', '#']).next().unwrap_or_default()
}

/// Whether the pattern matches the path; a final slash makes no difference.
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
            let answer = answer(status, location);
            assert_eq!(answer.refuses(), refuses, "{status} {location:?}");
            assert_eq!(answer.status().as_u16(), status);
        }
    }

    #[test]
    fn an_opinion_says_whom_it_is_of_and_why_it_would_refuse() {
        let (kim, refused) = (UserKey::new("django", "2"), Refusal::GroupRequired);
        for (opinion, user, refusal) in [
            (Opinion::Pass(Some(kim.clone())), Some(&kim), None),
            (Opinion::Pass(None), None, None),
            (Opinion::Refuse(refused, Some(kim.clone())), Some(&kim), Some(refused)),
            (Opinion::Refuse(refused, None), None, Some(refused)),
            (Opinion::Answer, None, None),
            (Opinion::Unknown, None, None),
        ] {
            assert_eq!((opinion.user(), opinion.refusal()), (user, refusal), "{opinion:?}");
        }
    }
}
