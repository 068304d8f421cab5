//! What pages have for passkeys: the button that uses one, and the page that sets one up.
//!
//! Both are hidden until the script shows them, in browsers that can. The challenge is not in the page: the script asks for it when
//! it is needed, so that a page that stood open for long works.

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
    /// Where the script asks for a challenge, and posts what the key said.
    pub(super) action: &'a str,
    /// What it asks with.
    pub(super) ask: &'a str,
    pub(super) ticket: Option<&'a str>,
    pub(super) next: &'a str,
    pub(super) held: Option<&'a str>,
    /// It signs in by itself, and browsers may offer it where they fill in a name.
    pub(super) is_offered: bool,
    /// Another way stands beside it, as the first.
    pub(super) is_beside: bool,
    pub(super) script: &'a str,
    pub(super) texts: &'static FactorTexts,
}

/// The page that sets one up.
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

/// What a script asks for a challenge with, for one that is there.
pub(super) fn ask(ticket: Option<&str>) -> String {
    match ticket {
        Some(ticket) => json!({"ticket": ticket, "passkey": true}).to_string(),
        None => json!({"passkey": true}).to_string(),
    }
}

impl<'a> PasskeyButton<'a> {
    /// On the page on which a sign-in goes on, or that confirms that it is them.
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

    /// On the page on which people sign in.
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
