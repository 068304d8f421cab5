//! The page that shows recovery codes, once: to download, copy or print them.
//!
//! They are stored as hashes, so the downloaded file is made of the codes that the page sends back. Copying and printing
//! need a script, which is a file of ours; without it the page works too, but has no buttons for them.

use askama::Template;
use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, HeaderValue};

use super::Endpoints;
use super::factor_texts::FactorTexts;
use super::page::{self, CSS};
use super::texts::Texts;
use crate::secret::Secret;
use crate::wire::accept::Language;
use crate::wire::arrival::Arrival;
use crate::wire::reply::Reply;

const SCRIPT: &str = include_str!("../../templates/recovery.js");

/// The most codes in a file; no user has more.
const MOST: usize = 20;

/// The longest code in a file; every real one is shorter.
const LONGEST: usize = 40;

/// The page that shows recovery codes, once.
pub(super) struct RecoveryPage<'a> {
    pub(super) service: &'a str,
    pub(super) codes: &'a [Secret],
    pub(super) next: &'a str,
    /// Where the codes are posted to, to come back as a file.
    pub(super) download: Option<&'a str>,
    /// The path of the script.
    pub(super) script: Option<&'a str>,
    pub(super) language: Language,
}

impl Endpoints {
    /// Returns the page that shows these codes and leads on to `next`.
    pub(super) fn recovery_page(&self, arrival: &Arrival, codes: &[Secret], next: &str) -> Reply {
        let page = RecoveryPage {
            service: &self.title,
            codes,
            next,
            download: self.factors_path.as_deref(),
            script: self.factors_script_path.as_deref(),
            language: Language::negotiate(&arrival.headers),
        };
        page.reply()
    }
}

#[derive(Template)]
#[template(path = "recovery.html")]
struct RecoveryTemplate<'a> {
    css: &'static str,
    texts: &'static Texts,
    own: &'static FactorTexts,
    page: &'a RecoveryPage<'a>,
    codes: String,
    count: usize,
}

impl RecoveryPage<'_> {
    pub(super) fn reply(&self) -> Reply {
        let (texts, own) = (Texts::of(self.language), FactorTexts::of(self.language));
        let codes: Vec<&str> = self.codes.iter().map(Secret::expose).collect();
        let (count, codes) = (codes.len(), codes.join("\n"));
        let template = RecoveryTemplate { css: CSS, texts, own, page: self, codes, count };
        match self.script {
            Some(_) => page::with_script(&template),
            None => page::reply(&template),
        }
    }
}

/// Returns the script.
pub(super) fn script() -> Reply {
    Reply::empty(StatusCode::OK).with_body("text/javascript; charset=utf-8", SCRIPT)
}

/// Returns these codes as a file to store. `None` if they are no codes: no other text is sent back.
pub(super) fn as_file(service: &str, codes: &str, language: Language) -> Option<Reply> {
    let codes: Vec<&str> = codes.lines().map(str::trim).collect();
    let is_code = |code: &&str| {
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=LONGEST).contains(&code.len()) && code.bytes().all(is_legal)
    };
    if codes.is_empty() || codes.len() > MOST || !codes.iter().all(is_code) {
        return None;
    }
    let heading = FactorTexts::of(language).recovery_heading;
    // Editors of all systems show these line ends.
    let text = format!("{service} – {heading}\r\n\r\n{}\r\n", codes.join("\r\n"));
    let name = HeaderValue::from_static("attachment; filename=\"recovery-codes.txt\"");
    let reply = Reply::empty(StatusCode::OK).with_body("text/plain; charset=utf-8", text);
    Some(reply.with_header(CONTENT_DISPOSITION, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODES: &str = "0123-4567-89ab\ncdef-0123-4567";

    fn page<'a>(codes: &'a [Secret], script: Option<&'a str>) -> RecoveryPage<'a> {
        RecoveryPage {
            service: "Acme & Sons",
            codes,
            next: "/app?a=1&b=2",
            download: Some("/account/second-factors"),
            script,
            language: Language::English,
        }
    }

    #[test]
    fn the_page_has_one_script_from_here_and_works_without_it() {
        let codes = [Secret::new("0123-4567-89ab"), Secret::new("cdef-0123-4567")];
        for script in [Some("/account/second-factors.js"), None] {
            let reply = page(&codes, script).reply();
            assert_eq!(reply.headers["cache-control"], "no-store");
            let policy = reply.headers["content-security-policy"].to_str().unwrap();
            assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"));
            assert_eq!(policy.contains("script-src 'self'"), script.is_some());
            let html = std::str::from_utf8(&reply.body).unwrap();
            let scripts = html.matches("<script").count();
            assert_eq!(scripts, usize::from(script.is_some()), "{html}");
            let named = "<script src=\"/account/second-factors.js\" defer></script>";
            assert_eq!(html.contains(named), script.is_some(), "{html}");
            for never in ["<img", "<link", "@import", "url(", " style=", " onclick"] {
                assert!(!html.contains(never), "{never} is in\n{html}");
            }
            assert!(html.contains("0123-4567-89ab\ncdef-0123-4567</textarea>"), "{html}");
            let form = "<form method=\"post\" action=\"/account/second-factors\">";
            assert!(html.contains(form) && html.contains("value=\"download\""), "{html}");
        }
    }

    #[test]
    fn a_file_has_codes_and_nothing_else() {
        let reply = as_file("Acme", CODES, Language::English).unwrap();
        assert_eq!(reply.headers["content-type"], "text/plain; charset=utf-8");
        assert_eq!(reply.headers["x-content-type-options"], "nosniff");
        assert!(reply.headers["content-disposition"].to_str().unwrap().starts_with("attachment"));
        let text = std::str::from_utf8(&reply.body).unwrap();
        assert_eq!(text, "Acme – Your recovery codes\r\n\r\n0123-4567-89ab\r\ncdef-0123-4567\r\n");
        let many = "a\n".repeat(MOST + 1);
        for wrong in ["", "<b>", "a b", "a\n\nb", &*many, &*"a".repeat(LONGEST + 1), "=cmd"] {
            assert!(as_file("Acme", wrong, Language::English).is_none(), "{wrong}");
        }
    }

    #[test]
    fn the_script_is_a_file_of_ours() {
        let reply = script();
        assert_eq!(reply.headers["content-type"], "text/javascript; charset=utf-8");
        let text = std::str::from_utf8(&reply.body).unwrap();
        for never in ["innerHTML", "eval(", "fetch(", "http://", "https://", "localStorage"] {
            assert!(!text.contains(never), "{never}");
        }
    }
}
