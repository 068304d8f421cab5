//! `GET /logout` and `GET /logout/all` in a browser: a page that asks for confirmation.
//!
//! A GET changes nothing: browsers prefetch, and other sites' pages can send one. So the page has a form that posts, which
//! works without a script, and its sender is checked as for every form (`endpoint::logout`). A visitor who is not signed in
//! is redirected to the login page. An unavailable store does not mean "nobody": the page then has no name, and the answer
//! to its form says what is wrong. A client that is not a browser gets 405, as always.

use askama::Template;
use http::Method;

use super::logout::LogoutScope;
use super::texts::Texts;
use super::{Endpoints, Served, page, wrong_method};
use crate::issuer::credential::Credential;
use crate::refusal::Refusal;
use crate::wire::accept::{self, Language};
use crate::wire::arrival::Arrival;

#[derive(Template)]
#[template(path = "logout.html")]
struct LogoutTemplate<'a> {
    css: &'static str,
    texts: &'static Texts,
    service: &'a str,
    heading: &'static str,
    message: &'static str,
    name: Option<&'a str>,
    action: &'a str,
}

impl Endpoints {
    /// Returns the page.
    pub(super) async fn logout_page(&self, extent: LogoutScope, arrival: &Arrival) -> Served {
        let is_browser = accept::is_navigation(&arrival.method, &arrival.headers)
            || accept::accepts_html(&arrival.headers);
        if !is_browser {
            let refused = wrong_method(&arrival.method, &[Method::POST]);
            return Served::refused(refused, &arrival.request_id);
        }
        let name =
            match self.issuers.cookies(arrival, &crate::config::CredentialSelection::All).await {
                Ok(found) => match who(found) {
                    PageVisitor::Known(name) => Some(name),
                    PageVisitor::Unknown => None,
                    PageVisitor::Nobody => return Served::reply(self.landing()),
                },
                Err(_) => None,
            };
        let texts = Texts::of(Language::negotiate(&arrival.headers));
        let (heading, message) = match extent {
            LogoutScope::Session => (texts.sign_out, texts.ends_here),
            LogoutScope::User => (texts.sign_out_everywhere, texts.ends_everywhere),
        };
        Served::reply(page::reply(&LogoutTemplate {
            css: page::CSS,
            texts,
            service: &self.title,
            heading,
            message,
            name: name.as_deref(),
            action: arrival.target.path().as_str(),
        }))
    }
}

enum PageVisitor {
    Known(String),
    /// The store is unavailable.
    Unknown,
    Nobody,
}

fn who(found: Vec<Result<Credential, Refusal>>) -> PageVisitor {
    let is_down = |one: &Result<Credential, Refusal>| {
        one.as_ref().is_err_and(|refusal| refusal.status().is_server_error())
    };
    let otherwise =
        if found.iter().any(is_down) { PageVisitor::Unknown } else { PageVisitor::Nobody };
    found.iter().flatten().next().map_or(otherwise, |one| PageVisitor::Known(name_of(one)))
}

fn name_of(credential: &Credential) -> String {
    match credential {
        Credential::Session(session, _) => session.identity.load().name.clone(),
        Credential::Issued(_, identity, _) => identity.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::Proof;
    use crate::endpoint::tests::session;

    #[test]
    fn not_knowing_is_not_nobody() {
        let kim = || Ok(Credential::Session(session("a", "2"), Proof::SessionCookie));
        let name = session("a", "2").identity.load().name.clone();
        assert!(matches!(who(vec![kim()]), PageVisitor::Known(known) if known == name));
        let down = Err(Refusal::StoreUnavailable);
        assert!(matches!(who(vec![Err(Refusal::SessionEnded), kim()]), PageVisitor::Known(_)));
        assert!(matches!(who(vec![Err(Refusal::SessionEnded), down]), PageVisitor::Unknown));
        assert!(matches!(who(vec![Err(Refusal::SessionEnded)]), PageVisitor::Nobody));
        assert!(matches!(who(vec![]), PageVisitor::Nobody));
    }

    #[test]
    fn the_page_posts_and_shows_who_it_is_as_text() {
        for language in [Language::English, Language::Korean] {
            let texts = Texts::of(language);
            let reply = page::reply(&LogoutTemplate {
                css: page::CSS,
                texts,
                service: "Acme",
                heading: texts.sign_out,
                message: texts.ends_here,
                name: Some("<b>kim</b>"),
                action: "/logout",
            });
            let html = std::str::from_utf8(&reply.body).unwrap();
            assert!(html.contains("<form method=\"post\" action=\"/logout\">"), "{html}");
            assert!(html.contains(texts.sign_out) && html.contains("&#60;b&#62;kim"), "{html}");
            assert!(!html.contains("<b>") && !html.contains("<script"), "{html}");
            assert!(reply.headers.contains_key("content-security-policy"));
        }
    }
}
