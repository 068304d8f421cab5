//! The gateway's own pages: the login page, and refusals of a browser's navigation.
//!
//! They work without scripts and load nothing: one inlined style sheet, named by its hash in the
//! `Content-Security-Policy`, which allows nothing else; so markup that was injected into a page would neither run nor load
//! nor post elsewhere. The template escapes every text. Of what a visitor typed, only the name is shown again, never the
//! password.

use std::borrow::Cow;
use std::sync::LazyLock;

use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_SECURITY_POLICY, VARY};
use http::{HeaderValue, StatusCode};

use super::mailed_link::LinkOffer;
use super::passkey_page::PasskeyButton;
use super::refused::Refused;
use super::texts::Texts;
use crate::secret::Digest;
use crate::wire::accept::Language;
use crate::wire::next::Next;
use crate::wire::reply::Reply;

pub(super) const CSS: &str = include_str!("../../templates/page.css");

/// The policy of a page. `frame-ancestors`: no page may frame it. `form-action`: no injected form posts a password elsewhere.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let hash = STANDARD.encode(Digest::of(CSS.as_bytes()).as_bytes());
    HeaderValue::try_from(format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ))
    .ok()
});

/// The policy of a page with one script of ours, which is a file.
static SCRIPT_POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let policy = POLICY.as_ref()?.to_str().ok()?;
    HeaderValue::try_from(format!("{policy}; script-src 'self'")).ok()
});

/// The policy of a page that uses passkeys, with a script of our own that calls our own paths.
static SCRIPTED: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let policy = POLICY.as_ref()?.to_str().ok()?;
    let scripted = policy.replacen("; ", "; script-src 'self'; connect-src 'self'; ", 1);
    HeaderValue::try_from(scripted).ok()
});

/// The contents of the login page.
#[derive(Clone, Debug)]
pub(super) struct LoginPage<'a> {
    /// The operator's title.
    pub(super) title: &'a str,
    /// The operator's links: label and address.
    pub(super) links: &'a [(String, String)],
    /// Where the form posts to.
    pub(super) action: &'a str,
    /// Where a sign-in leads.
    pub(super) next: &'a Next,
    /// The name of the field with the user name.
    pub(super) field: &'a str,
    /// The user name that was typed.
    pub(super) username: &'a str,
    /// Whether the browser will drop the cookie because the page came over plain HTTP.
    pub(super) insecure: bool,
    /// The texts in the language of the page.
    pub(super) texts: &'static Texts,
    /// The button that signs in with a passkey, if passkeys are turned on.
    pub(super) passkey: Option<PasskeyButton<'a>>,
    /// The offer of a mailed link, where it helps.
    pub(super) link: Option<LinkOffer<'a>>,
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginTemplate<'a> {
    css: &'static str,
    texts: &'static Texts,
    service: &'a str,
    links: &'a [(String, String)],
    action: &'a str,
    next: &'a str,
    field: &'a str,
    label: Cow<'static, str>,
    username: &'a str,
    /// The name of the signed-in user whose account does not suffice.
    not_enough: Option<&'a str>,
    insecure: bool,
    passkey: Option<PasskeyButton<'a>>,
    link: Option<LinkOffer<'a>>,
    problem: Option<PageProblem<'a>>,
}

struct PageProblem<'a> {
    message: String,
    request_id: &'a str,
}

#[derive(Template)]
#[template(path = "refusal.html")]
struct RefusalTemplate<'a> {
    css: &'static str,
    texts: &'static Texts,
    heading: &'static str,
    message: &'static str,
    code: &'static str,
    request_id: &'a str,
    signed_in: Option<SignedInPerson<'a>>,
}

/// The signed-in user whose account is the reason for a refusal.
#[derive(Clone, Copy, Debug)]
pub(super) struct SignedInPerson<'a> {
    /// The user's name.
    pub(super) name: &'a str,
    /// Where the user can sign out, if there is such a page.
    pub(super) sign_out: Option<&'a str>,
}

impl LoginPage<'_> {
    /// Returns the page as it is first shown.
    pub(super) fn reply(&self) -> Reply {
        self.page(Reply::empty(StatusCode::OK), self.template(None))
    }

    /// Returns the page for a user who is signed in as `name`, and whom the service sends back.
    pub(super) fn for_whom_it_is_not_enough(&self, name: &str) -> Reply {
        let template = LoginTemplate { not_enough: Some(name), ..self.template(None) };
        self.page(Reply::empty(StatusCode::OK), template)
    }

    /// Returns the page again, with `message` for what is wrong if there is one.
    pub(super) fn with_message(
        &self,
        refused: &Refused,
        message: Option<&str>,
        request_id: &str,
    ) -> Reply {
        let Some(message) = message else { return self.with_problem(refused, request_id) };
        let problem = PageProblem { message: message.to_owned(), request_id };
        self.page(refused.clone().reply(request_id), self.template(Some(problem)))
    }

    /// Returns the page again after a failed sign-in, with that refusal's status and headers.
    pub(super) fn with_problem(&self, refused: &Refused, request_id: &str) -> Reply {
        let lacks_field =
            [self.field, "password"].iter().any(|field| refused.members.contains_key(*field));
        let message = if lacks_field {
            self.texts.missing_fields(self.field).to_owned()
        } else {
            self.texts.sign_in_problem(refused.refusal, refused.retry_after)
        };
        let reply = refused.clone().reply(request_id);
        self.page(reply, self.template(Some(PageProblem { message, request_id })))
    }

    fn page(&self, reply: Reply, template: LoginTemplate<'_>) -> Reply {
        match self.passkey {
            Some(_) => scripted_page(reply, &template),
            None => page(reply, &template),
        }
    }

    fn template<'a>(&'a self, problem: Option<PageProblem<'a>>) -> LoginTemplate<'a> {
        LoginTemplate {
            css: CSS,
            texts: self.texts,
            service: self.title,
            links: self.links,
            action: self.action,
            next: self.next.as_str(),
            field: self.field,
            label: self.texts.label_of(self.field),
            username: self.username,
            not_enough: None,
            insecure: self.insecure,
            passkey: self.passkey,
            link: self.link,
            problem,
        }
    }
}

/// Returns the page for a refusal, in place of its JSON: same status, same headers, with code and request id to report.
pub(super) fn of_refusal(
    refused: &Refused,
    request_id: &str,
    language: Language,
    signed_in: Option<SignedInPerson<'_>>,
) -> Reply {
    let texts = Texts::of(language);
    let (heading, message) = texts.refusal(refused.refusal);
    let code = refused.refusal.code();
    let template =
        RefusalTemplate { css: CSS, texts, heading, message, code, request_id, signed_in };
    page(refused.clone().reply(request_id), &template)
}

/// Returns a page that is no refusal.
pub(super) fn reply(template: &impl Template) -> Reply {
    page(Reply::empty(StatusCode::OK), template)
}

/// Returns a page that is no refusal and has a script.
pub(super) fn with_script(template: &impl Template) -> Reply {
    with_policy(Reply::empty(http::StatusCode::OK), template, SCRIPT_POLICY.as_ref())
}

/// Returns `reply` with the page as its body. If the policy or the rendering failed, which neither does, it is unchanged.
pub(super) fn page(reply: Reply, template: &impl Template) -> Reply {
    with_policy(reply, template, POLICY.as_ref())
}

/// Returns `reply` with a page as its body that uses passkeys.
pub(super) fn scripted_page(reply: Reply, template: &impl Template) -> Reply {
    with_policy(reply, template, SCRIPTED.as_ref())
}

fn with_policy(reply: Reply, template: &impl Template, policy: Option<&HeaderValue>) -> Reply {
    let (Some(policy), Ok(html)) = (policy, template.render()) else { return reply };
    reply
        .with_body("text/html; charset=utf-8", html)
        .with_header(CONTENT_SECURITY_POLICY, policy.clone())
        .with_header(VARY, HeaderValue::from_static("Accept-Language"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header::{
        CACHE_CONTROL, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER, WWW_AUTHENTICATE,
    };

    use super::*;
    use crate::refusal::Refusal;
    use crate::wire::body::FieldProblem;

    fn html(reply: &Reply) -> &str {
        assert_eq!(reply.headers[CONTENT_TYPE], "text/html; charset=utf-8");
        std::str::from_utf8(&reply.body).unwrap()
    }

    fn with_page<R>(username: &str, test: impl FnOnce(LoginPage<'_>) -> R) -> R {
        test(LoginPage {
            title: "Acme & Sons",
            links: &[("Forgot your password?".into(), "/accounts/password_reset/".into())],
            action: "/login",
            insecure: false,
            next: &Next::parse("/app?a=1&b=2").unwrap(),
            field: "username",
            username,
            texts: Texts::of(Language::English),
            passkey: None,
            link: None,
        })
    }

    #[test]
    fn the_page_has_what_a_browser_and_a_password_manager_look_for() {
        let reply = with_page("", |page| page.reply());
        assert_eq!(reply.status, StatusCode::OK);
        let html = html(&reply);
        for needed in [
            "<html lang=\"en\">",
            "<meta name=\"viewport\"",
            "<title>Sign in – Acme &#38; Sons</title>",
            "<form method=\"post\" action=\"/login\">",
            "<input type=\"hidden\" name=\"next\" value=\"/app?a=1&#38;b=2\">",
            "<label for=\"username\">Username</label>",
            "autocomplete=\"username\"",
            "<label for=\"password\">Password</label>",
            "type=\"password\"",
            "autocomplete=\"current-password\"",
            "<button type=\"submit\">",
            "<a href=\"/accounts/password_reset/\">Forgot your password?</a>",
        ] {
            assert!(html.contains(needed), "{needed} is not in\n{html}");
        }
        assert!(!html.contains("role=\"alert\""));
    }

    #[test]
    fn the_field_with_the_name_is_called_and_labelled_as_the_service_does() {
        for (field, language, label, missing) in [
            ("email", Language::English, "Email", "Enter your email and your password."),
            ("email", Language::Korean, "이메일", "이메일과 비밀번호를 입력하세요."),
            ("phone_number", Language::English, "Phone number", "Fill in all fields."),
            ("phone_number", Language::Korean, "Phone number", "모든 항목을 입력하세요."),
        ] {
            let reply = with_page("", |page| {
                let page = LoginPage { field, texts: Texts::of(language), ..page };
                page.with_problem(&Refused::field(field, FieldProblem::Blank), "r1")
            });
            let html = html(&reply);
            for needed in [
                &format!("<label for=\"username\">{label}</label>"),
                &format!("<input id=\"username\" name=\"{field}\""),
                missing,
            ] {
                assert!(html.contains(needed), "{needed} is not in\n{html}");
            }
        }
    }

    #[test]
    fn nothing_is_scripted_or_loaded() {
        for language in [Language::English, Language::Korean] {
            let login =
                with_page("", |page| LoginPage { texts: Texts::of(language), ..page }.reply());
            for reply in [login, of_refusal(&Refusal::GroupRequired.into(), "r1", language, None)] {
                let html = html(&reply);
                for never in ["<script", "<img", "<link", "@import", "url(", "//", " style="] {
                    assert!(!html.contains(never), "{never} is in\n{html}");
                }
                for tag in html.split('<').filter_map(|rest| rest.split('>').next()) {
                    assert!(!tag.split(' ').any(|attribute| attribute.starts_with("on")), "{tag}");
                }
            }
        }
    }

    #[test]
    fn the_policy_allows_exactly_the_style_sheet_of_the_page() {
        let reply = with_page("", |page| page.reply());
        let html = html(&reply);
        let css = html.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let hash = STANDARD.encode(Digest::of(css.as_bytes()).as_bytes());
        assert_eq!(
            reply.headers[CONTENT_SECURITY_POLICY],
            format!(
                "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; frame-ancestors 'none'; \
                 base-uri 'none'"
            )
        );
        assert_eq!(reply.headers[CACHE_CONTROL], "no-store");
        assert_eq!(reply.headers[REFERRER_POLICY], "same-origin");
        assert_eq!(reply.headers["x-content-type-options"], "nosniff");
    }

    #[test]
    fn with_passkeys_it_runs_our_own_script_and_no_other() {
        let reply = with_page("", |page| {
            let passkey = PasskeyButton::sign_in("/p", "/app", "/p.js", Language::English);
            LoginPage { passkey: Some(passkey), ..page }.reply()
        });
        let html = html(&reply);
        for needed in [
            "autocomplete=\"username webauthn\"",
            "<form method=\"post\" action=\"/p\" class=\"passkey\" data-ask=\"{}\" data-offer",
            "<script src=\"/p.js\" defer></script>",
        ] {
            assert!(html.contains(needed), "{needed} is not in\n{html}");
        }
        assert_eq!(html.matches("<script").count(), 1);
        let policy = reply.headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(
            policy.starts_with(
                "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'sha256-"
            ),
            "{policy}"
        );
        assert!(
            policy.ends_with("; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"),
            "{policy}"
        );
    }

    #[test]
    fn a_problem_is_announced_with_the_request_id_and_the_name_kept() {
        let reply =
            with_page("kim", |page| page.with_problem(&Refusal::BadCredentials.into(), "r1"));
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
        assert!(reply.headers.contains_key(WWW_AUTHENTICATE));
        let html = html(&reply);
        for needed in [
            "<title>Error: Sign in",
            "role=\"alert\"",
            "<code>r1</code>",
            "value=\"kim\"",
            "aria-describedby=\"problem\"",
        ] {
            assert!(html.contains(needed), "{needed} is not in\n{html}");
        }
        let password = html.split_once("id=\"password\"").unwrap().1.split_once('>').unwrap().0;
        assert!(password.contains("autofocus") && !password.contains("value="));
    }

    #[test]
    fn a_refused_account_is_named_and_may_sign_out() {
        let refused = Refused::from(Refusal::AccountNotAllowed);
        for sign_out in [None, Some("/out")] {
            let signed_in = Some(SignedInPerson { name: "<b>kim</b>", sign_out });
            let reply = of_refusal(&refused, "r1", Language::English, signed_in);
            let html = html(&reply);
            assert_eq!(reply.status, StatusCode::FORBIDDEN);
            assert!(
                html.contains("&#60;b&#62;kim&#60;/b&#62;") && !html.contains("<b>kim"),
                "{html}"
            );
            assert_eq!(html.contains("href=\"/out\""), sign_out.is_some(), "{html}");
        }
    }

    #[test]
    fn who_is_sent_back_sees_who_they_are_and_a_way_on() {
        let reply = with_page("", |page| page.for_whom_it_is_not_enough("<kim>"));
        assert_eq!(reply.status, StatusCode::OK);
        let html = html(&reply);
        for needed in [
            "role=\"status\"",
            "Signed in as: <b>&#60;kim&#62;</b>",
            "<input type=\"hidden\" name=\"next\" value=\"/app?a=1&#38;b=2\">",
            "<a href=\"/\">Go to the start page</a>",
        ] {
            assert!(html.contains(needed), "{needed} is not in\n{html}");
        }
    }

    #[test]
    fn an_empty_field_is_told_as_one() {
        let missing = Refused::field("password", FieldProblem::Blank);
        let reply = with_page("kim", |page| page.with_problem(&missing, "r1"));
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert!(html(&reply).contains("Enter your username and your password."));
    }

    #[test]
    fn each_problem_keeps_its_status_and_its_wait() {
        let wait = Some(Duration::from_millis(29_500));
        for (refusal, wait, status, retry_after) in [
            (Refusal::TooManyAttempts, wait, 429, Some("30")),
            (Refusal::Busy, None, 503, Some("1")),
            (Refusal::StoreUnavailable, None, 503, Some("1")),
            (Refusal::CrossSite, None, 403, None),
        ] {
            let reply = with_page("kim", |page| {
                page.with_problem(&Refused { retry_after: wait, ..refusal.into() }, "r1")
            });
            assert_eq!(reply.status.as_u16(), status);
            let header = reply.headers.get(RETRY_AFTER).map(|value| value.to_str().unwrap());
            assert_eq!(header, retry_after, "{refusal:?}");
        }
    }

    #[test]
    fn what_was_typed_cannot_become_markup() {
        let typed = "\"><script>alert(1)</script>";
        let reply =
            with_page(typed, |page| page.with_problem(&Refusal::BadCredentials.into(), typed));
        assert!(!html(&reply).contains("<script"));
        let reply = of_refusal(&Refusal::BadTarget.into(), typed, Language::English, None);
        assert!(!html(&reply).contains("<script"));
    }

    #[test]
    fn a_refusal_shows_its_code_and_the_request_id() {
        for language in [Language::English, Language::Korean] {
            for refusal in Refusal::ALL {
                let reply = of_refusal(&(*refusal).into(), "r1", language, None);
                assert_eq!(reply.status, refusal.status());
                let html = html(&reply);
                assert!(html.contains(&format!("<code>{}</code>", refusal.code())));
                assert!(html.contains("<code>r1</code>"));
                assert!(html.contains(&format!("<html lang=\"{}\">", language.code())));
            }
        }
    }
}
