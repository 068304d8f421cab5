//! The proof that a request passed the gate.

use std::sync::Arc;

use super::shadow::Opinion;
use crate::caller::{Anonymous, Caller};
use crate::config::Route;

/// A request may go to its route's upstream, as this caller.
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

/// Which answers go back to the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReturnedAnswers {
    /// All.
    All,
    /// A redirect alone: nobody is signed in, and the service says where they do that.
    Redirect,
}

/// How a request came to pass.
#[derive(Debug)]
pub enum Passage {
    /// It was checked.
    Checked,
    /// Its route is shadowed: nothing was enforced, and this would have been decided.
    Unchecked(Opinion),
}

/// What goes on to an upstream that looks like a credential and was found to be none of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ForwardedCredentials {
    /// What `Authorization` holds.
    pub(super) authorization: bool,
    /// The issuers whose credentials go on to their service in a header of their own.
    pub(super) headers: Vec<usize>,
    /// The cookies in which issuers' credentials come: a session in which nobody is signed in is the service's own affair.
    pub(super) issued_cookies: ForwardedCookies,
}

/// Which cookies in which issuers' credentials come go on, whoever is calling.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ForwardedCookies {
    /// All: they were looked at, and hold no credential.
    All,
    /// Those with these names.
    These(Vec<String>),
}

impl Permit {
    /// The gate's steps call it after the last check.
    pub(super) const fn granted(
        route: Arc<Route>,
        caller: Caller,
        keeps: ForwardedCredentials,
    ) -> Self {
        Self { route, caller, keeps, passage: Passage::Checked, answers: ReturnedAnswers::All }
    }

    /// For a browser that has to sign in, where the service says on which page.
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

    /// For a preflight that a route forwards: without identity, whatever it brought.
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

    /// For a shadowed route. Whoever calls is nobody: identity is for callers who were checked.
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

    /// Was it checked?
    pub const fn passage(&self) -> &Passage {
        &self.passage
    }

    /// What may come back.
    pub const fn answers(&self) -> ReturnedAnswers {
        self.answers
    }

    /// Where it may go.
    pub const fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// Who is calling.
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether `Authorization` holds something that nothing of ours reads on this route: then the upstream may know what to do
    /// with it. In every other case the header is removed.
    pub const fn keeps_authorization(&self) -> bool {
        self.keeps.authorization
    }

    /// The issuers whose credentials go on in a header of their own.
    pub fn forwarded_headers(&self) -> &[usize] {
        &self.keeps.headers
    }

    /// The cookies in which issuers' credentials come and that go on, besides the caller's own session.
    pub const fn kept_cookies(&self) -> &ForwardedCookies {
        &self.keeps.issued_cookies
    }
}
