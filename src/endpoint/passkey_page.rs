//! The parts of pages for passkeys: the button that uses one, and the page that sets one up.
//!
//! Both are hidden until the script shows them, in browsers that support passkeys. The challenge is not in the page: the
//! script asks for it when it is needed, so a page that was open for a long time still works.

use askama::Template;
use serde_json::json;

use super::factor_page::{FactorProblem, answer, said};
use super::factor_texts::FactorTexts;
use super::page::CSS;
use super::refused::Refused;
use super::texts::Texts;
use crate::wire::accept::Language;
use crate::wire::reply::Reply;

/// The button that uses a passkey.
#[derive(Clone, Copy, Debug)]
pub(super) struct PasskeyButton<'a> {
    /// Where the script asks for a challenge, and posts the authenticator's response.
    pub(super) action: &'a str,
    /// The body with which the script asks for a challenge.
    pub(super) ask: &'a str,
    pub(super) ticket: Option<&'a str>,
    pub(super) next: &'a str,
    pub(super) held: Option<&'a str>,
    /// Whether the passkey signs in by itself, so that browsers may offer it where they fill in a name.
    pub(super) is_offered: bool,
    /// Whether another way to sign in stands beside the button and comes first.
    pub(super) is_beside: bool,
    pub(super) script: &'a str,
    pub(super) texts: &'static FactorTexts,
}

/// The page that sets up a passkey.
pub(super) struct PasskeyEnrolPage<'a> {
    pub(super) service: &'a str,
    pub(super) action: &'a str,
    pub(super) next: &'a str,
    pub(super) ticket: Option<&'a str>,
    pub(super) takes_invitation: bool,
    pub(super) script: &'a str,
    pub(super) language: Language,
}

#[derive(Template)]
#[template(path = "passkey_enrol.html")]
struct PasskeyEnrolTemplate<'a> {
    css: &'static str,
    texts: &'static Texts,
    own: &'static FactorTexts,
    page: &'a PasskeyEnrolPage<'a>,
    ask: String,
    problem: Option<FactorProblem<'a>>,
}

/// Returns the body with which a script asks for a challenge for an existing passkey.
pub(super) fn ask(ticket: Option<&str>) -> String {
    match ticket {
        Some(ticket) => json!({"ticket": ticket, "passkey": true}).to_string(),
        None => json!({"passkey": true}).to_string(),
    }
}

impl<'a> PasskeyButton<'a> {
    /// Creates the button for the page of a second step, or for the page that confirms that it is still the user.
    pub(super) fn second_step(
        action: &'a str,
        ask: &'a str,
        script: &'a str,
        language: Language,
    ) -> Self {
        Self {
            action,
            ask,
            ticket: None,
            next: "",
            held: None,
            is_offered: false,
            is_beside: false,
            script,
            texts: FactorTexts::of(language),
        }
    }

    /// Creates the button for the login page.
    pub(super) fn sign_in(
        action: &'a str,
        next: &'a str,
        script: &'a str,
        language: Language,
    ) -> Self {
        Self {
            next,
            is_offered: true,
            is_beside: true,
            ..Self::second_step(action, "{}", script, language)
        }
    }
}

impl PasskeyEnrolPage<'_> {
    pub(super) fn reply(&self, problem: Option<&Refused>, request_id: &str) -> Reply {
        let (texts, own) = (Texts::of(self.language), FactorTexts::of(self.language));
        let ask = match self.ticket {
            Some(ticket) => json!({"ticket": ticket, "enrol": true, "kind": "passkey"}),
            None => json!({"action": "begin", "kind": "passkey"}),
        };
        let problem_said = problem.map(|refused| said(refused, request_id, self.language));
        let template = PasskeyEnrolTemplate {
            css: CSS,
            texts,
            own,
            page: self,
            ask: ask.to_string(),
            problem: problem_said,
        };
        answer(problem, request_id, &template, true)
    }
}
