//! `POST /login/second-factor` with `mail`: mails a code to a user who has no other second factor; and the page that takes it.
//!
//! | a body with | does |
//! |---|---|
//! | `ticket`, `mail` | mails a code that completes this sign-in |
//! | `mail`, and a session | mails a code that raises the assurance of this session |
//!
//! At an alias the code is mailed without a request for it ([`Endpoints::sign_in_at_alias`]).
//!
//! The answer (202, or the page with the field) reveals nothing of the address. The code comes back as `otp`, as from an app.

use askama::Template;
use http::StatusCode;
use serde_json::json;

use super::factor_page::{CodePage, FactorProblem, answer, said};
use super::factor_texts::FactorTexts;
use super::login::Credentials;
use super::page::CSS;
use super::refused::Refused;
use super::second_factor::{is_set, text};
use super::texts::Texts;
use super::{Endpoints, Served};
use crate::config::Config;
use crate::event::{EventKind, MailedCodeEvent};
use crate::notify::{CodeAsked, MailedCodes, Person};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::session::mailed_code::CodeOrder;
use crate::session::{Grants, PendingStep, SignedIn};
use crate::store::Session;
use crate::wire::accept::Language;
use crate::wire::arrival::Arrival;
use crate::wire::body::Fields;
use crate::wire::next::Next;
use crate::wire::reply::Reply;

/// What the endpoint needs to have codes mailed.
pub(super) struct CodeMailing {
    codes: MailedCodes,
    /// The most requests for codes that wait.
    bound: u32,
}

impl CodeMailing {
    pub(super) const fn new(codes: MailedCodes, config: &Config) -> Self {
        Self { codes, bound: config.notify.queue }
    }
}

/// The page for a mailed code, before one was requested and after.
pub(super) struct MailedCodePage<'a> {
    pub(super) code: CodePage<'a>,
    pub(super) is_sent: bool,
}

#[derive(Template)]
#[template(path = "mailed_code.html")]
struct MailedCodeTemplate<'a> {
    css: &'static str,
    texts: &'static Texts,
    own: &'static FactorTexts,
    page: &'a CodePage<'a>,
    is_sent: bool,
    has_passkeys: bool,
    problem: Option<FactorProblem<'a>>,
}

impl MailedCodePage<'_> {
    pub(super) fn reply(&self, problem: Option<&Refused>, request_id: &str) -> Reply {
        let page = &self.code;
        let (texts, own) = (Texts::of(page.language), FactorTexts::of(page.language));
        let problem_said = problem.map(|refused| match refused.refusal {
            Refusal::BadCode => FactorProblem { message: own.mail_bad_code.to_owned(), request_id },
            _ => said(refused, request_id, page.language),
        });
        let template = MailedCodeTemplate {
            css: CSS,
            texts,
            own,
            page,
            is_sent: self.is_sent,
            has_passkeys: page.script.is_some(),
            problem: problem_said,
        };
        answer(problem, request_id, &template, false)
    }
}

/// Whether the client asks for a mailed code.
pub(super) fn wants_mail(fields: &Fields) -> bool {
    is_set(fields, "mail") && text(fields, "otp").is_none()
}

/// Whether the page that takes a code is still the right one after this refusal.
pub(super) const fn takes_a_code_still(refused: &Refused) -> bool {
    matches!(refused.refusal, Refusal::TooManyAttempts | Refusal::BadCode)
}

impl Endpoints {
    /// Has a code mailed for the sign-in of this ticket.
    pub(super) async fn mail_for_ticket(
        &self,
        arrival: &Arrival,
        ticket: &Secret,
    ) -> Result<(), Refused> {
        let context = &arrival.context();
        let order = self.issuers.sessions().mailed_codes().for_sign_in(ticket, context).await?;
        self.order_code(arrival, order).await
    }

    /// Signs in at an alias. A front end there knows no tickets: it posts the same again with `otp`. So a mailed code that is
    /// required is sent at once, and is valid for a sign-in from this network.
    pub(super) async fn sign_in_at_alias(
        &self,
        arrival: &Arrival,
        given: &Credentials<'_>,
        grants: Grants,
    ) -> Result<SignedIn, Refused> {
        let refused = match self.sign_in(arrival, given, grants).await {
            Ok(signed_in) => return Ok(signed_in),
            Err(refused) => refused,
        };
        if let Some(ticket) = refused.ticket.as_deref()
            && ticket.due == PendingStep::MailedCode
        {
            let context = &arrival.context();
            let sessions = self.issuers.sessions();
            let order = sessions.mailed_codes().for_another_try(&ticket.ticket, context).await?;
            self.order_code(arrival, order).await?;
        }
        Err(refused)
    }

    /// Has a code mailed for this session.
    pub(super) async fn mail_for_session(
        &self,
        arrival: &Arrival,
        session: &Session,
    ) -> Result<(), Refused> {
        let sessions = self.issuers.sessions();
        let device = sessions.cookie_names().device_of(&arrival.headers);
        let context = &arrival.context();
        let order = sessions.mailed_codes().for_session(session, device, context).await?;
        self.order_code(arrival, order).await
    }

    async fn order_code(&self, arrival: &Arrival, order: CodeOrder) -> Result<(), Refused> {
        let CodeOrder { user, place, counted_as, until } = order;
        let asked = CodeAsked {
            user: Person::of(&user),
            counted_as,
            place,
            client: arrival.client_ip(),
            agent: arrival.context().agent.chars().take(256).collect(),
            at: arrival.at.as_millis(),
            until: until.as_millis(),
        };
        let CodeMailing { codes, bound } = &self.code_mailing;
        let is_asked = codes.ask(asked, *bound).await.map_err(|_| Refusal::StoreUnavailable)?;
        let what = if is_asked { MailedCodeEvent::Asked } else { MailedCodeEvent::Withheld };
        arrival.note(EventKind::MailedCode { user, what });
        match is_asked {
            true => Ok(()),
            false => Err(Refused {
                retry_after: Some(MailedCodes::WAIT),
                ..Refusal::TooManyAttempts.into()
            }),
        }
    }

    /// Returns the answer to a program that requested a code.
    pub(super) fn code_mailed(made: Result<(), Refused>, arrival: &Arrival) -> Served {
        let detail = FactorTexts::of(Language::English).mail_sent;
        let made = made.map(|()| Reply::json(StatusCode::ACCEPTED, &json!({"detail": detail})));
        Served::of(made, arrival)
    }

    /// Returns the page that takes a mailed code, after one was requested in a sign-in.
    pub(super) fn mailed_code_page(
        &self,
        arrival: &Arrival,
        ticket: &Secret,
        next: &Next,
        refused: Option<Refused>,
    ) -> Served {
        // The sign-in starts again, with the problem shown: an invalid ticket cannot go on.
        if let Some(refused) = refused.as_ref().filter(|one| !takes_a_code_still(one)) {
            return self.login_again(arrival, next, refused);
        }
        let action = arrival.target.path().as_str();
        let code =
            CodePage { ticket: Some(ticket.expose()), ..self.code_page(arrival, action, next) };
        let page = MailedCodePage { code, is_sent: true };
        let reply = page.reply(refused.as_ref(), &arrival.request_id);
        Served { reply, refusal: refused.map(|refused| refused.refusal) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::factor::OfferedFactors;

    fn page(ticket: Option<&'static str>, language: Language) -> CodePage<'static> {
        CodePage {
            service: "Acme & Sons",
            action: "/login/second-factor",
            next: "/app?a=1&b=2",
            ticket,
            held: None,
            asks_password: false,
            offered: OfferedFactors { mail: true, ..OfferedFactors::default() },
            script: None,
            name: None,
            trust_days: None,
            language,
        }
    }

    #[test]
    fn the_page_first_offers_a_code_and_then_takes_it() {
        for language in [Language::English, Language::Korean] {
            for (is_sent, fields) in [(false, 0), (true, 1)] {
                let code = page(Some("a-ticket"), language);
                let reply = MailedCodePage { code, is_sent }.reply(None, "r1");
                let html = std::str::from_utf8(&reply.body).unwrap();
                assert_eq!(html.matches("name=\"otp\"").count(), fields, "{html}");
                assert_eq!(html.matches("name=\"mail\"").count(), 1, "{html}");
                assert_eq!(html.matches("name=\"enrol\"").count(), 1, "{html}");
                assert_eq!(html.matches("<h1>").count(), 1, "{html}");
                assert!(!html.contains("<script") && !html.contains(" style="), "{html}");
                assert_eq!(reply.headers["cache-control"], "no-store");
            }
            let code = page(None, language);
            let problem = Refusal::BadCode.into();
            let reply = MailedCodePage { code, is_sent: true }.reply(Some(&problem), "r1");
            let html = std::str::from_utf8(&reply.body).unwrap();
            assert_eq!(reply.status, 401);
            assert!(html.contains("role=\"alert\"") && !html.contains("name=\"enrol\""), "{html}");
        }
    }
}
