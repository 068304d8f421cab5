//! The pages about personal access tokens. They work without scripts; a token is in the body of the one page that shows it, and
//! nowhere else.

use std::sync::Arc;

use askama::Template;

use super::page::{self, CSS};
use super::refused::Refused;
use super::texts::Texts;
use super::token_texts::TokenTexts;
use crate::notify::time;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::session::personal_token::PersonalTokenRules;
use crate::store::Session;
use crate::wire::accept::Language;
use crate::wire::reply::Reply;

/// Lifetimes that the page offers, in days, if they are allowed. The longest that is allowed is offered as well.
const LIFETIMES: [u64; 4] = [7, 30, 60, 90];

/// The page that lists a user's tokens, with the form for another one.
pub(super) struct TokensPage<'a> {
    pub(super) service: &'a str,
    pub(super) action: &'a str,
    pub(super) name: &'a str,
    pub(super) tokens: &'a [Arc<Session>],
    pub(super) rules: &'a PersonalTokenRules,
    pub(super) time_zone: &'a str,
    pub(super) language: Language,
}

/// The page that shows a token.
pub(super) struct MadeTokenPage<'a> {
    pub(super) service: &'a str,
    pub(super) token: &'a Secret,
    pub(super) name: &'a str,
    pub(super) next: &'a str,
    pub(super) language: Language,
}

struct ShownToken<'a> {
    id: &'a str,
    name: &'a str,
    created_at: String,
    last_used: String,
    expires_at: String,
    routes: String,
    methods: String,
}

struct TokenPageProblem<'a> {
    message: &'static str,
    request_id: &'a str,
}

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensTemplate<'a> {
    css: &'static str,
    texts: &'static Texts,
    own: &'static TokenTexts,
    page: &'a TokensPage<'a>,
    tokens: Vec<ShownToken<'a>>,
    days: Vec<u64>,
    chosen: u64,
    problem: Option<TokenPageProblem<'a>>,
}

#[derive(Template)]
#[template(path = "token_made.html")]
struct MadeTokenTemplate<'a> {
    css: &'static str,
    texts: &'static Texts,
    own: &'static TokenTexts,
    page: &'a MadeTokenPage<'a>,
    token: &'a str,
}

impl TokensPage<'_> {
    /// Returns the page; with a problem, it has that refusal's status and headers.
    pub(super) fn reply(&self, problem: Option<&Refused>, request_id: &str) -> Reply {
        let (texts, own) = (Texts::of(self.language), TokenTexts::of(self.language));
        let when = |at| time(at, self.time_zone);
        let joined = |names: &[String], all: &str| match names {
            [] => all.to_owned(),
            names => names.join(", "),
        };
        let shown = self.tokens.iter().filter_map(|session| {
            let grant = session.grant.as_deref()?;
            let was_used = session.last_used() > session.signed_in_at;
            Some(ShownToken {
                id: session.id.as_str(),
                name: &grant.name,
                created_at: when(session.signed_in_at),
                last_used: if was_used { when(session.last_used()) } else { own.never.to_owned() },
                expires_at: when(session.expires_at),
                routes: joined(&grant.routes, own.all_routes),
                methods: joined(&grant.methods, own.all_methods),
            })
        });
        let tokens = shown.collect();
        let days = offered(self.rules);
        let chosen = if days.contains(&30) { 30 } else { days.last().copied().unwrap_or(1) };
        let said = problem.map(|refused| TokenPageProblem {
            message: match refused.refusal {
                Refusal::TooManyTokens => own.too_many,
                Refusal::BadBody => own.bad_input,
                other => texts.refusal(other).1,
            },
            request_id,
        });
        let template = TokensTemplate {
            css: CSS,
            texts,
            own,
            page: self,
            tokens,
            days,
            chosen,
            problem: said,
        };
        match problem {
            Some(refused) => page::page(refused.clone().reply(request_id), &template),
            None => page::reply(&template),
        }
    }
}

impl MadeTokenPage<'_> {
    pub(super) fn reply(&self) -> Reply {
        let (texts, own) = (Texts::of(self.language), TokenTexts::of(self.language));
        let token = self.token.expose();
        page::reply(&MadeTokenTemplate { css: CSS, texts, own, page: self, token })
    }
}

/// Returns the lifetimes to offer, in whole days. A maximum of hours is left to programs.
fn offered(rules: &PersonalTokenRules) -> Vec<u64> {
    let longest = rules.settings.max_lifetime.as_secs() / 86_400;
    let mut days: Vec<u64> = LIFETIMES.into_iter().filter(|days| *days < longest).collect();
    if longest > 0 {
        days.push(longest);
    }
    days
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::caller::TokenGrant;
    use crate::config::PersonalTokenSettings;
    use crate::endpoint::tests::session;
    use crate::store::NewSession;

    fn rules(days: u64) -> PersonalTokenRules {
        PersonalTokenRules {
            settings: PersonalTokenSettings {
                max_lifetime: Duration::from_secs(days * 86_400),
                max_per_user: 3,
            },
            routes: vec!["api".into(), "<b>files</b>".into()],
        }
    }

    fn token() -> Arc<Session> {
        let like = session("t1", "2");
        let grant =
            TokenGrant { name: "<i>CI</i>".into(), routes: vec!["api".into()], methods: vec![] };
        Session::begin(&NewSession {
            grant: Some(Arc::new(grant)),
            ..crate::session::testkit::new_session(like.id.as_str(), "2")
        })
    }

    #[test]
    fn the_pages_are_plain_and_hold_no_markup_of_anybodys() {
        let tokens = [token()];
        let secret = Secret::new("dwp_secret");
        for language in [Language::English, Language::Korean] {
            let rules = rules(90);
            let list = TokensPage {
                service: "Acme & Sons",
                action: "/account/tokens",
                name: "<b>kim</b>",
                tokens: &tokens,
                rules: &rules,
                time_zone: "UTC",
                language,
            };
            let made = MadeTokenPage {
                service: "Acme & Sons",
                token: &secret,
                name: "<i>CI</i>",
                next: "/account/tokens",
                language,
            };
            let too_many = Refused::from(Refusal::TooManyTokens);
            for reply in [list.reply(None, "r1"), list.reply(Some(&too_many), "r1"), made.reply()] {
                assert!(reply.headers.contains_key("content-security-policy"));
                assert_eq!(reply.headers["cache-control"], "no-store");
                let html = std::str::from_utf8(&reply.body).unwrap();
                for never in ["<script", "<img", "<link", " style=", "<b>", "<i>", "onclick"] {
                    assert!(!html.contains(never), "{never} is in\n{html}");
                }
                assert_eq!(html.matches("<h1>").count(), 1, "{html}");
            }
            assert_eq!(list.reply(Some(&too_many), "r1").status, 409);
            let html = list.reply(None, "r1");
            assert!(!std::str::from_utf8(&html.body).unwrap().contains("dwp_"));
            let html = made.reply();
            assert!(std::str::from_utf8(&html.body).unwrap().contains("dwp_secret"));
        }
    }

    #[test]
    fn no_lifetime_is_offered_that_is_not_allowed() {
        for (longest, days) in
            [(90, &[7, 30, 60, 90][..]), (30, &[7, 30]), (5, &[5]), (365, &[7, 30, 60, 90, 365])]
        {
            assert_eq!(offered(&rules(longest)), days);
        }
    }
}
