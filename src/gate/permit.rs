//! The proof that a request passed the gate.

use std::sync::Arc;

use super::shadow::Opinion;
use crate::caller::{Anonymous, Caller};
use crate::config::Route;

/// The permission to forward a request to its route's upstream, as this caller.
///
/// Only the gate makes one, and nothing is forwarded without one: the proxy's forwarding stage holds a `Permit`, and there
/// is no other way into that stage.
#[derive(Debug)]
pub struct Permit {
    route: Arc<Route>,
    caller: Caller,
    keeps: ForwardedCredentials,
    passage: Passage,
    answers: ReturnedAnswers,
}

/// The answers that go back to the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReturnedAnswers {
    /// All answers.
    All,
    /// Only a redirect: nobody is signed in, and the service says where to sign in.
    Redirect,
}

/// Whether a request was checked.
#[derive(Debug)]
pub enum Passage {
    /// The request was checked, and passed.
    Checked,
    /// The request's route is shadowed: nothing was enforced, and this would have been the decision.
    Unchecked(Opinion),
}

/// The fields that look like a credential, are none of the gateway's own, and are forwarded to an upstream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ForwardedCredentials {
    /// Whether the `Authorization` header is forwarded.
    pub(super) authorization: bool,
    /// The issuers whose credentials are forwarded to their service in a header of their own.
    pub(super) headers: Vec<usize>,
    /// The cookies that can carry issuers' credentials: a session in which nobody is signed in concerns the service alone.
    pub(super) issued_cookies: ForwardedCookies,
}

/// Which of the cookies that can carry issuers' credentials are forwarded, whoever the caller is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ForwardedCookies {
    /// All of them: they were checked, and hold no credential.
    All,
    /// The cookies with these names.
    These(Vec<String>),
}

impl Permit {
    /// Grants the permit, after the last of the gate's checks.
    pub(super) const fn granted(
        route: Arc<Route>,
        caller: Caller,
        keeps: ForwardedCredentials,
    ) -> Self {
        Self { route, caller, keeps, passage: Passage::Checked, answers: ReturnedAnswers::All }
    }

    /// Creates the permit of a browser that has to sign in, where the service's answer says on which page.
    pub(super) const fn to_sign_in(route: Arc<Route>, issued_cookies: ForwardedCookies) -> Self {
        Self {
            route,
            caller: Caller::Anonymous(Anonymous::NoCredential),
            keeps: ForwardedCredentials {
                authorization: false,
                headers: Vec::new(),
                issued_cookies,
            },
            passage: Passage::Checked,
            answers: ReturnedAnswers::Redirect,
        }
    }

    /// Creates the permit of a preflight that a route forwards: without identity, whatever credentials it carries.
    pub(super) const fn without_identity(route: Arc<Route>) -> Self {
        Self {
            route,
            caller: Caller::Anonymous(Anonymous::NoCredential),
            keeps: ForwardedCredentials {
                authorization: false,
                headers: Vec::new(),
                issued_cookies: ForwardedCookies::These(Vec::new()),
            },
            passage: Passage::Checked,
            answers: ReturnedAnswers::All,
        }
    }

    /// Creates the permit of a shadowed route, with an anonymous caller: identity is for callers who were checked.
    pub(super) const fn unchecked(
        route: Arc<Route>,
        opinion: Opinion,
        authorization: bool,
    ) -> Self {
        Self {
            route,
            caller: Caller::Anonymous(Anonymous::NoCredential),
            keeps: ForwardedCredentials {
                authorization,
                headers: Vec::new(),
                issued_cookies: ForwardedCookies::All,
            },
            passage: Passage::Unchecked(opinion),
            answers: ReturnedAnswers::All,
        }
    }

    /// Whether the request was checked.
    pub const fn passage(&self) -> &Passage {
        &self.passage
    }

    /// Returns which answers go back to the client.
    pub const fn answers(&self) -> ReturnedAnswers {
        self.answers
    }

    /// Returns the route that the request may take.
    pub const fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// Returns the caller.
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether `Authorization` is forwarded: it holds something that the gateway does not read on this route, and the
    /// upstream may. In every other case the header is removed.
    pub const fn keeps_authorization(&self) -> bool {
        self.keeps.authorization
    }

    /// Returns the issuers whose credentials are forwarded in a header of their own.
    pub fn forwarded_headers(&self) -> &[usize] {
        &self.keeps.headers
    }

    /// Returns the cookies that can carry issuers' credentials and that are forwarded, besides the caller's own session.
    pub const fn kept_cookies(&self) -> &ForwardedCookies {
        &self.keeps.issued_cookies
    }
}
