//! Defines the refusal that an endpoint returns in place of an answer, with the members and headers that it has beyond the
//! refusal's own text. It becomes a reply here, through the one mapping in `wire::reply`.

use std::time::Duration;

use http::HeaderValue;
use http::header::{ALLOW, RETRY_AFTER};
use serde_json::{Map, Value, json};

use crate::factor::OfferedFactors;
use crate::notify::TryRefused;
use crate::refusal::Refusal;
use crate::session::{PendingStep, SignInRefused, SignInTicket, store_failed};
use crate::wire::body::{BodyProblem, FieldProblem};
use crate::wire::reply::Reply;

/// A refusal with its details.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Refused {
    /// The reason.
    pub(super) refusal: Refusal,
    /// Members of the body, in place of the refusal's own `detail`.
    pub(super) members: Map<String, Value>,
    /// `Retry-After`, where it is known.
    pub(super) retry_after: Option<Duration>,
    /// `Allow`, for 405.
    pub(super) allow: Option<HeaderValue>,
    /// The ticket with which a sign-in goes on after a correct password.
    pub(super) ticket: Option<Box<SignInTicket>>,
}

/// Errors by field, as Django REST framework gives them.
#[derive(Default)]
pub(super) struct FieldErrors(Map<String, Value>);

impl Refused {
    /// Creates a refusal with another text than its own.
    pub(crate) fn with_detail(refusal: Refusal, detail: impl Into<String>) -> Self {
        let members = Map::from_iter([("detail".to_owned(), Value::String(detail.into()))]);
        Self { members, ..refusal.into() }
    }

    /// Adds one more member to the body.
    pub(super) fn with_member(mut self, name: &str, value: Value) -> Self {
        self.members.entry("detail").or_insert_with(|| self.refusal.detail().into());
        self.members.insert(name.to_owned(), value);
        self
    }

    /// Creates a refusal for one field's problem.
    pub(super) fn field(field: &str, problem: FieldProblem) -> Self {
        let mut errors = FieldErrors::default();
        errors.add(field, problem);
        errors.refused()
    }

    /// Creates a refusal for a body without fields, in Django REST framework's words where it has some. Its JSON parser names
    /// the place of an error in Python's words; the text here ends before that.
    pub(super) fn body(problem: BodyProblem, content_type: &str) -> Self {
        let refusal = problem.refusal();
        let detail = match problem {
            BodyProblem::NoContentType | BodyProblem::UnsupportedMediaType => {
                format!("Unsupported media type \"{content_type}\" in request.")
            }
            BodyProblem::NotAnObject(kind) => {
                let text = format!("Invalid data. Expected a dictionary, but got {kind}.");
                let members = Map::from_iter([("non_field_errors".to_owned(), json!([text]))]);
                return Self { members, ..refusal.into() };
            }
            BodyProblem::Malformed => "JSON parse error".into(),
            BodyProblem::MalformedMultipart => "Multipart form parse error".into(),
            BodyProblem::InvalidUtf8 => "The request body is not UTF-8.".into(),
            BodyProblem::DuplicateMember => "A member of the request body occurs twice.".into(),
            BodyProblem::TooDeep => "The request body is nested too deeply.".into(),
            BodyProblem::TooManyMembers => "The request body has too many members.".into(),
        };
        Self::with_detail(refusal, detail)
    }

    /// Creates a refusal for one field's problem, in these words.
    pub(super) fn field_text(field: &str, text: &str) -> Self {
        let mut errors = FieldErrors::default();
        errors.add_text(field, text);
        errors.refused()
    }

    /// Turns the refusal into a reply.
    pub(crate) fn reply(self, request_id: &str) -> Reply {
        let mut reply = Reply::refusal_with(self.refusal, request_id, self.members);
        if let Some(wait) = self.retry_after {
            // This is rounded up, so that a client that retries on the second is not refused again.
            let seconds = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
            reply.headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some(allow) = self.allow {
            reply.headers.insert(ALLOW, allow);
        }
        reply
    }
}

/// Adapts the reply at an alias. A refusal that the service itself would make has the members that the service gives it, so
/// that a strict front end finds no unknown ones; the request id is in a header. A refusal that only a gateway makes (429,
/// 503, a request from another site) keeps all its members.
///
/// A second factor is asked for in the shape of SimpleJWT's errors, with a code of its own: the front end posts the same
/// again with `otp`.
pub(super) fn in_the_services_words(mut reply: Reply, refusal: Refusal) -> Reply {
    let code = match refusal {
        Refusal::SecondFactorRequired => Some("otp_required"),
        Refusal::BadCode => Some("otp_invalid"),
        _ => None,
    };
    if let Some(code) = code {
        reply.body = json!({"detail": refusal.detail(), "code": code}).to_string().into();
        return reply;
    }
    let added: &[&str] = match refusal {
        Refusal::BadCredentials
        | Refusal::NoActiveAccount
        | Refusal::BadBody
        | Refusal::UnsupportedMediaType
        | Refusal::MethodNotAllowed => &["code", "request_id"],
        Refusal::TokenNotValid
        | Refusal::TokenExpired
        | Refusal::TokenWrongType
        | Refusal::TokenBlacklisted => &["request_id"],
        _ => return reply,
    };
    // A body that an operator has configured is not a refusal's own, and stays unchanged.
    if let Ok(Value::Object(mut members)) = serde_json::from_slice(&reply.body)
        && members.contains_key("request_id")
    {
        added.iter().for_each(|name| drop(members.remove(*name)));
        reply.body = Value::Object(members).to_string().into();
    }
    reply
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let retry_after = (refusal == Refusal::SlowDown).then_some(Duration::from_secs(60));
        Self { refusal, members: Map::new(), retry_after, allow: None, ticket: None }
    }
}

impl From<SignInRefused> for Refused {
    fn from(refused: SignInRefused) -> Self {
        let SignInRefused { refusal, retry_after, ticket } = refused;
        let members = match &ticket {
            Some(ticket) => goes_on(refusal, ticket),
            None => Map::new(),
        };
        Self { retry_after, members, ticket: ticket.map(Box::new), ..refusal.into() }
    }
}

impl From<TryRefused> for Refused {
    fn from(refused: TryRefused) -> Self {
        match refused {
            TryRefused::Wait(wait) => {
                Self { retry_after: Some(wait), ..Refusal::TooManyAttempts.into() }
            }
            TryRefused::NotCounted(error) => store_failed(error).into(),
        }
    }
}

/// Returns what a program needs to go on with a sign-in.
fn goes_on(refusal: Refusal, ticket: &SignInTicket) -> Map<String, Value> {
    let mut members = Map::new();
    let mut say = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
    say("detail", refusal.detail().into());
    say("ticket", ticket.ticket.expose().into());
    match ticket.due {
        PendingStep::Code => say("methods", methods(ticket, &["recovery_code"])),
        PendingStep::MailedCode => say("methods", methods(ticket, &[])),
        PendingStep::Enrolment { takes_invitation } => {
            say("methods", methods(ticket, &[]));
            say("invitation_required", takes_invitation.into());
        }
    }
    members
}

/// Returns the methods by which a sign-in can go on.
fn methods(ticket: &SignInTicket, more: &[&str]) -> Value {
    let OfferedFactors { app, passkey, mail } = ticket.offered;
    let all = [("totp", app), ("passkey", passkey), ("mail", mail)];
    let offered = all.into_iter().filter(|(_, is_offered)| *is_offered);
    offered.map(|(name, _)| name).chain(more.iter().copied()).collect()
}

impl FieldErrors {
    /// Whether no field has an error.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Records what is wrong with a field.
    pub(super) fn add(&mut self, field: &str, problem: FieldProblem) {
        self.add_text(field, &problem.message());
    }

    /// Records what is wrong with a field, in these words.
    pub(super) fn add_text(&mut self, field: &str, text: &str) {
        self.0.insert(field.to_owned(), json!([text]));
    }

    /// Returns the refusal, with all errors at once.
    pub(super) fn refused(self) -> Refused {
        Refused { members: self.0, ..Refusal::BadBody.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;

    fn body(refused: Refused) -> (u16, Value) {
        let reply = refused.reply("r1");
        (reply.status.as_u16(), serde_json::from_slice(&reply.body).unwrap())
    }

    #[test]
    fn who_may_not_try_waits_and_where_tries_cannot_be_counted_nobody_may() {
        for (refused, status, code, retry_after) in [
            (TryRefused::Wait(Duration::from_millis(1500)), 429, "too_many_attempts", Some("2")),
            (
                TryRefused::NotCounted(StoreError("down".into())),
                503,
                "store_unavailable",
                Some("1"),
            ),
        ] {
            let reply = Refused::from(refused).reply("r1");
            assert_eq!(
                reply.headers.get(RETRY_AFTER).map(|wait| wait.to_str().unwrap()),
                retry_after
            );
            let body: Value = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!((reply.status.as_u16(), &body["code"]), (status, &json!(code)));
        }
    }

    #[test]
    fn a_body_without_fields_is_refused_in_the_words_of_rest_framework() {
        use BodyProblem::*;
        for (problem, status, members) in [
            (
                NotAnObject("list"),
                400,
                json!({"non_field_errors": ["Invalid data. Expected a dictionary, but got list."], "code": "bad_body"}),
            ),
            (
                NotAnObject("str"),
                400,
                json!({"non_field_errors": ["Invalid data. Expected a dictionary, but got str."], "code": "bad_body"}),
            ),
            (
                UnsupportedMediaType,
                415,
                json!({"detail": "Unsupported media type \"text/plain\" in request.", "code": "unsupported_media_type"}),
            ),
            (Malformed, 400, json!({"detail": "JSON parse error", "code": "bad_body"})),
        ] {
            let (got, mut body) = body(Refused::body(problem, "text/plain"));
            assert_eq!(body.as_object_mut().unwrap().remove("request_id"), Some(json!("r1")));
            assert_eq!((got, body), (status, members), "{problem:?}");
        }
    }

    #[test]
    fn all_field_errors_come_at_once() {
        let mut errors = FieldErrors::default();
        errors.add("username", FieldProblem::Required);
        errors.add("password", FieldProblem::Surrogate(0xD800));
        assert_eq!(
            body(errors.refused()),
            (
                400,
                json!({
                    "username": ["This field is required."],
                    "password": ["Surrogate characters are not allowed: U+D800."],
                    "code": "bad_body",
                    "request_id": "r1",
                })
            )
        );
    }

    #[test]
    fn at_an_alias_a_refusal_has_the_members_that_the_service_gives_it() {
        let said = |refused: Refused| {
            let refusal = refused.refusal;
            let reply = in_the_services_words(refused.reply("r1"), refusal);
            serde_json::from_slice::<Value>(&reply.body).unwrap()
        };
        let no_account = "No active account found with the given credentials";
        for (refused, expected) in [
            (Refusal::BadCredentials.into(), json!({"detail": no_account})),
            (
                Refusal::TokenNotValid.into(),
                json!({"detail": "Token is invalid", "code": "token_not_valid"}),
            ),
            (
                Refused::field("password", FieldProblem::Required),
                json!({"password": ["This field is required."]}),
            ),
            (
                Refusal::CrossSite.into(),
                json!({
                    "detail": "The request came from another site.",
                    "code": "cross_site",
                    "request_id": "r1",
                }),
            ),
        ] {
            assert_eq!(said(refused), expected);
        }
        let stated = || Reply::json(http::StatusCode::FORBIDDEN, &json!({"code": 7}));
        let kept = in_the_services_words(stated(), Refusal::BadCredentials);
        assert_eq!(kept.body, stated().body);
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        for (millis, header) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (90_000, "90")] {
            let refused = Refused::from(SignInRefused {
                retry_after: Some(Duration::from_millis(millis)),
                ..Refusal::TooManyAttempts.into()
            });
            assert_eq!(refused.reply("r1").headers[RETRY_AFTER], header);
        }
    }
}
