//! Custom error pages (`[[error_page]]`).
//!
//! The files are read with a configuration. Three placeholders in them are replaced: `{{status}}`, `{{code}}` and
//! `{{request_id}}`; all other text stays as it is. A stranger may learn no more about why something failed. The values are
//! escaped for their context, although no code has a character that needs it: the request id may be a proxy's.

use std::io::Read as _;
use std::path::Path;

use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY};
use http::{HeaderValue, StatusCode};

use super::grpc;
use crate::config::{Config, ErrorPage};
use crate::wire::accept;
use crate::wire::arrival::Arrival;
use crate::wire::html;
use crate::wire::reply::Reply;

/// The largest size of a page, in bytes.
const LARGEST: u64 = 1 << 20;
/// The code for an error that the service itself answered with.
const OF_THE_SERVICE: &str = "service_error";

/// All configured error pages.
#[derive(Debug, Default)]
pub struct ErrorPages(Vec<PageFiles>);

/// Why a page cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {path} as an error page: {reason}")]
pub struct ErrorPageError {
    path: String,
    reason: String,
}

#[derive(Debug)]
struct PageFiles {
    statuses: Vec<u16>,
    routes: Vec<usize>,
    service_errors: bool,
    html: Option<Filled>,
    json: Option<Filled>,
}

/// The text of a file, split at its placeholders.
#[derive(Debug)]
struct Filled(Vec<PagePart>);

#[derive(Debug, PartialEq, Eq)]
enum PagePart {
    Text(String),
    Status,
    Code,
    RequestId,
}

/// The values of the placeholders.
#[derive(Clone, Copy)]
struct PageFacts<'a> {
    status: StatusCode,
    code: &'a str,
    request_id: &'a str,
}

impl ErrorPages {
    /// Reads all files.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn load(config: &Config) -> Result<Self, ErrorPageError> {
        let page = |page: &ErrorPage| {
            Ok(PageFiles {
                statuses: page.statuses.clone(),
                routes: page.routes.clone(),
                service_errors: page.service_errors,
                html: page.html.as_deref().map(Filled::load).transpose()?,
                json: page.json.as_deref().map(Filled::load).transpose()?,
            })
        };
        config.error_pages.iter().map(page).collect::<Result<_, _>>().map(Self)
    }

    /// Returns the answer, with a custom page in place of its body if one matches the answer and the client.
    pub fn dress(
        &self,
        mut reply: Reply,
        route: Option<usize>,
        arrival: Option<&Arrival>,
        (code, request_id): (&str, &str),
    ) -> Reply {
        if self.0.is_empty() {
            return reply;
        }
        let facts = PageFacts { status: reply.status, code, request_id };
        let Some((kind, body)) = self.body(route, arrival, facts, |_| true) else { return reply };
        reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        reply.headers.remove(CONTENT_SECURITY_POLICY);
        reply.headers.insert(VARY, HeaderValue::from_static("Accept, Sec-Fetch-Mode"));
        reply.body = body;
        reply
    }

    /// Returns the answer in place of a service's error; `None` if the service's own answer is passed on.
    pub fn in_place_of(
        &self,
        status: StatusCode,
        route: usize,
        arrival: &Arrival,
        request_id: &str,
    ) -> Option<Reply> {
        if self.0.is_empty() || !status.is_server_error() {
            return None;
        }
        let facts = PageFacts { status, code: OF_THE_SERVICE, request_id };
        let (kind, body) =
            self.body(Some(route), Some(arrival), facts, |page| page.service_errors)?;
        let vary = HeaderValue::from_static("Accept, Sec-Fetch-Mode");
        Some(Reply::empty(status).with_body(kind, body).with_header(VARY, vary))
    }

    fn body(
        &self,
        route: Option<usize>,
        arrival: Option<&Arrival>,
        facts: PageFacts<'_>,
        is_meant: impl Fn(&PageFiles) -> bool,
    ) -> Option<(&'static str, Bytes)> {
        if arrival.is_some_and(|arrival| grpc::is_call(&arrival.headers)) {
            return None;
        }
        let wants_page = arrival.is_some_and(|arrival| {
            accept::is_navigation(&arrival.method, &arrival.headers)
                || accept::accepts_html(&arrival.headers)
        });
        let is_for = |page: &&PageFiles| {
            page.statuses.contains(&facts.status.as_u16())
                && (page.routes.is_empty() || route.is_some_and(|one| page.routes.contains(&one)))
                && is_meant(page)
        };
        let page = self.0.iter().find(is_for)?;
        match wants_page {
            true => Some((
                "text/html; charset=utf-8",
                page.html.as_ref()?.fill(facts, html::escape).into(),
            )),
            false => Some(("application/json", page.json.as_ref()?.fill(facts, json).into())),
        }
    }
}

impl Filled {
    fn load(path: &Path) -> Result<Self, ErrorPageError> {
        let wrong = |reason: String| ErrorPageError { path: path.display().to_string(), reason };
        let file = std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
        let mut text = String::new();
        let read = file.take(LARGEST + 1).read_to_string(&mut text);
        match read.map_err(|error| wrong(error.to_string()))? {
            0 => Err(wrong("it is empty".into())),
            length if length as u64 > LARGEST => Err(wrong("it is larger than 1MiB".into())),
            _ => Ok(Self::parse(&text)),
        }
    }

    fn parse(text: &str) -> Self {
        const WORDS: [&str; 3] = ["{{status}}", "{{code}}", "{{request_id}}"];
        let (mut parts, mut rest) = (Vec::new(), text);
        let next = |rest: &str| {
            let places = WORDS.iter().filter_map(|word| Some((rest.find(word)?, *word)));
            places.min_by_key(|(at, _)| *at)
        };
        while let Some((at, word)) = next(rest) {
            let (before, after) = rest.split_at(at);
            parts.push(PagePart::Text(before.to_owned()));
            parts.push(match word {
                "{{status}}" => PagePart::Status,
                "{{code}}" => PagePart::Code,
                _ => PagePart::RequestId,
            });
            rest = after.get(word.len()..).unwrap_or_default();
        }
        parts.push(PagePart::Text(rest.to_owned()));
        Self(parts)
    }

    fn fill(&self, facts: PageFacts<'_>, escape: fn(&str) -> String) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                PagePart::Text(more) => text.push_str(more),
                PagePart::Status => text.push_str(facts.status.as_str()),
                PagePart::Code => text.push_str(&escape(facts.code)),
                PagePart::RequestId => text.push_str(&escape(facts.request_id)),
            }
        }
        text
    }
}

/// Escapes a text for a JSON string.
fn json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::tests::arrival;

    const HTML: &str =
        "<style>a {b: c}</style><p title=\"{{code}}\">{{status}} {{ code }} {{request_id}}";

    fn pages() -> ErrorPages {
        let page =
            |statuses: &[u16], routes: &[usize], service_errors, html: Option<&str>, json| {
                PageFiles {
                    statuses: statuses.to_vec(),
                    routes: routes.to_vec(),
                    service_errors,
                    html: html.map(Filled::parse),
                    json,
                }
            };
        let json = || Some(Filled::parse("{\"id\": \"{{request_id}}\", \"why\": \"{{code}}\"}"));
        ErrorPages(vec![
            page(&[502], &[1], true, Some("of one"), None),
            page(&[502, 503], &[], false, Some(HTML), json()),
        ])
    }

    fn dressed(status: u16, route: Option<usize>, headers: &[(&str, &str)], id: &str) -> String {
        let reply =
            Reply::empty(StatusCode::from_u16(status).unwrap()).with_body("text/plain", "own");
        let arrival = arrival("GET", "/a", headers);
        let reply = pages().dress(reply, route, Some(&arrival), ("some_code", id));
        String::from_utf8(reply.body.to_vec()).unwrap()
    }

    const PAGE: &[(&str, &str)] = &[("accept", "text/html")];

    #[test]
    fn who_asks_gets_the_page_of_their_route_and_status() {
        let filled = "<style>a {b: c}</style><p title=\"some_code\">503 {{ code }} r-1";
        assert_eq!(dressed(503, None, PAGE, "r-1"), filled);
        assert_eq!(dressed(502, Some(1), PAGE, "r-1"), "of one");
        assert_eq!(dressed(502, Some(1), &[], "r-1"), "own", "it has no JSON");
        assert_eq!(dressed(502, Some(0), &[], "r-1"), "{\"id\": \"r-1\", \"why\": \"some_code\"}");
        assert_eq!(dressed(504, Some(1), PAGE, "r-1"), "own");
        assert_eq!(dressed(503, None, &[("content-type", "application/grpc")], "r-1"), "own");
    }

    #[test]
    fn what_is_put_in_is_escaped() {
        let id = "<a href=\"x\">'&\\";
        assert!(dressed(503, None, PAGE, id).ends_with("&lt;a href=&quot;x&quot;&gt;&#39;&amp;\\"));
        let json = dressed(503, None, &[], id);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["id"], id);
    }

    #[test]
    fn a_service_s_error_is_replaced_where_that_is_asked_for() {
        let arrival = arrival("GET", "/a", PAGE);
        let replaced = |status: u16, route| {
            pages()
                .in_place_of(StatusCode::from_u16(status).unwrap(), route, &arrival, "r-1")
                .is_some()
        };
        assert!(replaced(502, 1));
        assert!(!replaced(502, 0) && !replaced(503, 1) && !replaced(200, 1));
    }
}
