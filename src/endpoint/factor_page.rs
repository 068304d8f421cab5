//! The pages about second factors. They work without scripts; the QR code is drawn here, as SVG within the page.
//!
//! The secret, the ticket and the recovery codes are only in the body, never in a URL.

use askama::Template;
use http::StatusCode;

use super::factor_texts::FactorTexts;
use super::mailed_link::LinkOffer;
use super::page::{self, CSS};
use super::passkey_page::{self, PasskeyButton};
use super::refused::Refused;
use super::texts::Texts;
use crate::directory::second_factors::{ServiceFactor, ServiceFactorKind};
use crate::factor::{Enrolment, OfferedFactors, QrCode};
use crate::notify::time;
use crate::store::factors::StoredFactors;
use crate::wire::accept::Language;
use crate::wire::reply::Reply;

/// The page that asks for a code: to sign in, or to confirm that it is still the same user.
#[derive(Clone, Copy)]
pub(super) struct CodePage<'a> {
    pub(super) service: &'a str,
    pub(super) action: &'a str,
    pub(super) next: &'a str,
    /// The ticket of the sign-in; `None` if the user is signed in.
    pub(super) ticket: Option<&'a str>,
    /// The ticket of a form that is stored meanwhile.
    pub(super) held: Option<&'a str>,
    /// Whether the user has no second factor, and gives their password.
    pub(super) asks_password: bool,
    /// The factors that the user can give besides recovery codes.
    pub(super) offered: OfferedFactors,
    /// The script that uses passkeys, if they are turned on.
    pub(super) script: Option<&'a str>,
    /// The name of the signed-in user.
    pub(super) name: Option<&'a str>,
    /// For how many days this browser can be trusted; `None` if it cannot be.
    pub(super) trust_days: Option<u64>,
    pub(super) language: Language,
}

/// The page from which a stored form is sent on.
pub(super) struct HeldPage<'a> {
    pub(super) service: &'a str,
    pub(super) action: &'a str,
    pub(super) fields: &'a [(String, String)],
    pub(super) language: Language,
}

/// The page that says that a stored form was sent already.
pub(super) struct SentPage<'a> {
    pub(super) service: &'a str,
    /// Where the form was sent.
    pub(super) target: String,
    pub(super) language: Language,
}

/// The page that shows a secret and takes the code that confirms it.
pub(super) struct EnrolPage<'a> {
    pub(super) service: &'a str,
    pub(super) action: &'a str,
    pub(super) next: &'a str,
    pub(super) ticket: Option<&'a str>,
    pub(super) takes_invitation: bool,
    /// The offer of a mailed link in place of an operator's code.
    pub(super) link: Option<LinkOffer<'a>>,
    pub(super) enrolment: &'a Enrolment,
    pub(super) language: Language,
}

/// The page that lists a user's second factors.
pub(super) struct FactorsPage<'a> {
    pub(super) service: &'a str,
    pub(super) action: &'a str,
    pub(super) name: &'a str,
    pub(super) kept: &'a StoredFactors,
    pub(super) at_service: &'a [ServiceFactor],
    /// Whether browsers can be trusted.
    pub(super) can_trust: bool,
    /// The RP ID, if passkeys are turned on.
    pub(super) rp_id: Option<&'a str>,
    pub(super) time_zone: &'a str,
    pub(super) language: Language,
}

pub(super) struct FactorProblem<'a> {
    pub(super) message: String,
    pub(super) request_id: &'a str,
}

#[derive(Template)]
#[template(path = "second_factor.html")]
struct CodeTemplate<'a> {
    css: &'static str,
    texts: &'static Texts,
    own: &'static FactorTexts,
    page: CodePage<'a>,
    passkey: Option<PasskeyButton<'a>>,
    problem: Option<FactorProblem<'a>>,
}

#[derive(Template)]
#[template(path = "held.html")]
struct HeldTemplate<'a> {
    css: &'static str,
    texts: &'static Texts,
    own: &'static FactorTexts,
    page: &'a HeldPage<'a>,
}

#[derive(Template)]
#[template(path = "sent.html")]
struct SentTemplate<'a> {
    css: &'static str,
    texts: &'static Texts,
    own: &'static FactorTexts,
    page: &'a SentPage<'a>,
}

#[derive(Template)]
#[template(path = "must_enrol.html")]
struct MustEnrolTemplate<'a> {
    css: &'static str,
    texts: &'static Texts,
    own: &'static FactorTexts,
    service: &'a str,
    action: &'a str,
    next: &'a str,
    ticket: &'a str,
    has_passkeys: bool,
    link: Option<LinkOffer<'a>>,
}

#[derive(Template)]
#[template(path = "enrol.html")]
struct EnrolTemplate<'a> {
    css: &'static str,
    texts: &'static Texts,
    own: &'static FactorTexts,
    page: &'a EnrolPage<'a>,
    secret: String,
    qr: Option<QrCode>,
    problem: Option<FactorProblem<'a>>,
}

#[derive(Template)]
#[template(path = "factors.html")]
struct FactorsTemplate<'a> {
    css: &'static str,
    texts: &'static Texts,
    own: &'static FactorTexts,
    page: &'a FactorsPage<'a>,
    factors: Vec<ShownFactor<'a>>,
    others: Vec<ShownServiceFactor<'a>>,
}

struct ShownServiceFactor<'a> {
    kind: &'static str,
    left: Option<u32>,
    name: &'a str,
}

struct ShownFactor<'a> {
    id: &'a str,
    name: &'a str,
    kind: &'static str,
    /// Whether the passkey belongs to another host.
    is_elsewhere: bool,
    added_at: String,
    last_used: String,
}

impl CodePage<'_> {
    /// Returns the page; with a problem, it has that refusal's status and headers.
    pub(super) fn reply(self, problem: Option<&Refused>, request_id: &str) -> Reply {
        let (texts, own) = (Texts::of(self.language), FactorTexts::of(self.language));
        let said = problem.map(|refused| said(refused, request_id, self.language));
        let ask = passkey_page::ask(self.ticket);
        let script = self.script.filter(|_| self.offered.passkey && !self.asks_password);
        let passkey = script.map(|script| {
            let Self { ticket, next, held, .. } = self;
            let button = PasskeyButton::second_step(self.action, &ask, script, self.language);
            PasskeyButton { ticket, next, held, ..button }
        });
        let template = CodeTemplate { css: CSS, texts, own, page: self, passkey, problem: said };
        answer(problem, request_id, &template, passkey.is_some())
    }

    /// Returns the page that says that a factor has to be set up, before it shows a secret.
    pub(super) fn must_enrol(self, ticket: &str, link: Option<LinkOffer<'_>>) -> Reply {
        let has_passkeys = self.script.is_some() && self.offered.passkey;
        let (texts, own) = (Texts::of(self.language), FactorTexts::of(self.language));
        let Self { service, action, next, .. } = self;
        page::reply(&MustEnrolTemplate {
            css: CSS,
            texts,
            own,
            service,
            action,
            next,
            ticket,
            has_passkeys,
            link,
        })
    }
}

impl HeldPage<'_> {
    pub(super) fn reply(&self) -> Reply {
        let (texts, own) = (Texts::of(self.language), FactorTexts::of(self.language));
        page::reply(&HeldTemplate { css: CSS, texts, own, page: self })
    }
}

impl EnrolPage<'_> {
    pub(super) fn reply(&self, problem: Option<&Refused>, request_id: &str) -> Reply {
        let (texts, own) = (Texts::of(self.language), FactorTexts::of(self.language));
        let letters: Vec<char> = self.enrolment.secret.expose().chars().collect();
        let groups = letters.chunks(4).map(|group| group.iter().collect::<String>());
        let template = EnrolTemplate {
            css: CSS,
            texts,
            own,
            page: self,
            secret: groups.collect::<Vec<_>>().join(" "),
            qr: self.enrolment.qr(),
            problem: problem.map(|refused| said(refused, request_id, self.language)),
        };
        answer(problem, request_id, &template, false)
    }
}

impl SentPage<'_> {
    /// Returns 409: the form was sent once, and is not sent again.
    pub(super) fn reply(&self) -> Reply {
        let (texts, own) = (Texts::of(self.language), FactorTexts::of(self.language));
        let reply = page::reply(&SentTemplate { css: CSS, texts, own, page: self });
        Reply { status: StatusCode::CONFLICT, ..reply }
    }
}

impl FactorsPage<'_> {
    pub(super) fn reply(&self) -> Reply {
        let (texts, own) = (Texts::of(self.language), FactorTexts::of(self.language));
        let shown = self.kept.factors.iter().map(|factor| ShownFactor {
            id: &factor.id,
            name: &factor.name,
            kind: match &factor.passkey {
                None => own.kind_app,
                Some(passkey) if passkey.backed_up => own.kind_passkey_copied,
                Some(_) => own.kind_passkey,
            },
            is_elsewhere: factor
                .passkey
                .as_ref()
                .is_some_and(|passkey| Some(passkey.rp_id.as_str()) != self.rp_id),
            added_at: time(factor.created_at, self.time_zone),
            last_used: factor
                .last_used
                .map_or_else(|| own.never.to_owned(), |at| time(at, self.time_zone)),
        });
        let factors = shown.collect();
        let others = self.at_service.iter().map(|factor| {
            let (kind, left) = match factor.kind {
                ServiceFactorKind::App => (own.kind_app, None),
                ServiceFactorKind::WrittenCodes { left } => (own.kind_codes, Some(left)),
            };
            ShownServiceFactor { kind, left, name: &factor.name }
        });
        let others = others.collect();
        page::reply(&FactorsTemplate { css: CSS, texts, own, page: self, factors, others })
    }
}

pub(super) fn said<'a>(
    refused: &Refused,
    request_id: &'a str,
    language: Language,
) -> FactorProblem<'a> {
    let own = FactorTexts::of(language).problem(refused.refusal).map(str::to_owned);
    let message = own.unwrap_or_else(|| {
        Texts::of(language).sign_in_problem(refused.refusal, refused.retry_after)
    });
    FactorProblem { message, request_id }
}

/// Returns the page, with the status and headers of the problem.
pub(super) fn answer(
    problem: Option<&Refused>,
    request_id: &str,
    template: &impl Template,
    is_scripted: bool,
) -> Reply {
    let reply = match problem {
        Some(refused) => refused.clone().reply(request_id),
        None => Reply::empty(StatusCode::OK),
    };
    match is_scripted {
        true => page::scripted_page(reply, template),
        false => page::page(reply, template),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::caller::UserKey;
    use crate::clock::Timestamp;
    use crate::config::FactorMode;
    use crate::factor::testkit::factors;
    use crate::refusal::Refusal;
    use crate::store::factors::StoredFactor;
    use crate::store::memory::Memory;

    const NOW: Timestamp = Timestamp::from_secs(1_795_422_879);

    fn html(reply: &Reply) -> &str {
        assert!(reply.headers.contains_key("content-security-policy"));
        assert_eq!(reply.headers["cache-control"], "no-store");
        std::str::from_utf8(&reply.body).unwrap()
    }

    fn code_page(language: Language) -> CodePage<'static> {
        CodePage {
            service: "Acme & Sons",
            action: "/login/second-factor",
            next: "/app?a=1&b=2",
            ticket: Some("a-ticket"),
            held: None,
            asks_password: false,
            offered: OfferedFactors { app: true, ..OfferedFactors::default() },
            script: None,
            name: None,
            trust_days: Some(30),
            language,
        }
    }

    fn all(language: Language) -> Vec<Reply> {
        let factors = factors(&Arc::new(Memory::default()), FactorMode::Optional, |_| {});
        let enrolment =
            factors.enrolments().begin(&UserKey::new("file", "kim"), "<b>kim</b>", NOW).unwrap();
        let enrol = EnrolPage {
            service: "Acme & Sons",
            action: "/x",
            next: "/",
            ticket: Some("a-ticket"),
            takes_invitation: true,
            link: Some(LinkOffer::to("/login/mailed-link", language)),
            enrolment: &enrolment,
            language,
        };
        let factor = StoredFactor {
            id: "id".into(),
            kind: "totp".into(),
            name: "<i>phone</i>".into(),
            sealed: Vec::new(),
            last_step: 1,
            created_at: NOW,
            last_used: None,
            passkey: None,
        };
        let kept = StoredFactors { factors: vec![factor], recovery_left: 9, ..Default::default() };
        let shown = FactorsPage {
            service: "Acme & Sons",
            action: "/x",
            name: "<b>kim</b>",
            kept: &kept,
            at_service: &[],
            can_trust: true,
            rp_id: None,
            time_zone: "UTC",
            language,
        };
        let code = code_page(language);
        let password =
            CodePage { asks_password: true, ticket: None, name: Some("<b>kim</b>"), ..code };
        vec![
            code.reply(None, "r1"),
            code.reply(Some(&Refusal::BadCode.into()), "r1"),
            password.reply(None, "r1"),
            code.must_enrol("a-ticket", Some(LinkOffer::to("/login/mailed-link", language))),
            enrol.reply(None, "r1"),
            enrol.reply(Some(&Refusal::EnrolmentProofRequired.into()), "r1"),
            shown.reply(),
            HeldPage {
                service: "Acme & Sons",
                action: "/x?a=1&b=2",
                fields: &[("<i>".into(), "\"><b>".into())],
                language,
            }
            .reply(),
        ]
    }

    #[test]
    fn nothing_is_scripted_loaded_or_markup_of_anybodys() {
        for language in [Language::English, Language::Korean] {
            for reply in all(language) {
                let html = html(&reply);
                for never in
                    ["<script", "<img", "<link", "@import", "url(", " style=", "<b>", "<i>"]
                {
                    assert!(!html.contains(never), "{never} is in\n{html}");
                }
                for tag in html.split('<').filter_map(|rest| rest.split('>').next()) {
                    assert!(!tag.split(' ').any(|attribute| attribute.starts_with("on")), "{tag}");
                }
                assert!(html.contains(&format!("<html lang=\"{}\">", language.code())));
                assert_eq!(html.matches("<h1>").count(), 1, "{html}");
            }
        }
    }

    #[test]
    fn the_code_page_has_what_a_phone_looks_for_and_keeps_its_ticket_in_the_form() {
        let reply = code_page(Language::English).reply(None, "r1");
        let html = html(&reply);
        for needed in [
            "<form method=\"post\" action=\"/login/second-factor\">",
            "<input type=\"hidden\" name=\"ticket\" value=\"a-ticket\">",
            "<input type=\"hidden\" name=\"next\" value=\"/app?a=1&#38;b=2\">",
            "autocomplete=\"one-time-code\"",
            "inputmode=\"numeric\"",
            "<summary>",
        ] {
            assert!(html.contains(needed), "{needed} is not in\n{html}");
        }
        let reply = code_page(Language::English).reply(Some(&Refusal::BadCode.into()), "r1");
        assert_eq!(reply.status, 401);
        assert!(std::str::from_utf8(&reply.body).unwrap().contains("role=\"alert\""));
    }

    #[test]
    fn the_secret_is_drawn_and_written() {
        let pages = all(Language::English);
        let html = html(&pages[4]);
        for needed in ["<svg", "role=\"img\"", "<path d=\"M4 4h1v1h-1z", "name=\"invitation\""] {
            assert!(html.contains(needed), "{needed} is not in\n{html}");
        }
        assert!(!html.contains("otpauth"), "the address is in the drawing alone");
    }
}
