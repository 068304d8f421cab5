//! What a client prefers: an HTML page or JSON, and the language.
//!
//! Only a browser that navigates is sent to the login page; a script's request, which cannot follow a redirect there,
//! gets 401. `Sec-Fetch-*` tells the two apart; without it (old browsers, plain HTTP) a GET that accepts HTML and is no
//! `XMLHttpRequest` counts as a navigation.

use http::header::{ACCEPT, ACCEPT_LANGUAGE, HeaderMap};
use http::{HeaderName, Method};

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// A language that the pages are written in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Korean.
    Korean,
}

/// Whether the request is a browser's navigation of a whole window.
pub fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    let says = |name: &HeaderName, word: &str| headers.get(name).map(|value| value == word);
    match (says(&SEC_FETCH_MODE, "navigate"), says(&SEC_FETCH_DEST, "document")) {
        (None, None) => {
            (method == Method::GET || method == Method::HEAD)
                && accepts_html(headers)
                && !headers.contains_key(X_REQUESTED_WITH)
        }
        // Frames navigate too, but the login page cannot be framed.
        (mode, dest) => mode.unwrap_or(true) && dest.unwrap_or(true),
    }
}

/// Whether the client names HTML in `Accept`, as browsers do when they want a page.
pub fn accepts_html(headers: &HeaderMap) -> bool {
    preferences(headers, &ACCEPT).any(|(range, quality)| {
        quality > 0
            && (range.eq_ignore_ascii_case("text/html")
                || range.eq_ignore_ascii_case("application/xhtml+xml"))
    })
}

impl Language {
    /// Returns the language that the client prefers; English if it names none.
    pub fn negotiate(headers: &HeaderMap) -> Self {
        // A named language counts by its own weight, any other by that of `*`; among equal weights the order decides.
        let (mut english, mut korean, mut any) = (None, None, None);
        for (position, (range, quality)) in preferences(headers, &ACCEPT_LANGUAGE).enumerate() {
            let primary = range.split('-').next().unwrap_or_default();
            let slot = if primary.eq_ignore_ascii_case("en") {
                &mut english
            } else if primary.eq_ignore_ascii_case("ko") {
                &mut korean
            } else if primary == "*" {
                &mut any
            } else {
                continue;
            };
            let weight = (quality, std::cmp::Reverse(position));
            *slot = (*slot).max(Some(weight));
        }
        match (english.or(any), korean.or(any)) {
            (english, Some(korean)) if korean.0 > 0 && Some(korean) > english => Self::Korean,
            _ => Self::English,
        }
    }

    /// Returns the code for the `lang` attribute.
    pub const fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Korean => "ko",
        }
    }
}

/// Returns the ranges of an `Accept-*` header with their weight in thousandths (RFC 9110 section 12.4.2). Malformed
/// ranges are left out, because a preference is no reason to refuse.
fn preferences<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = (&'h str, u16)> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|item| {
            let mut parts = item.split(';');
            let range = parts.next()?.trim();
            let quality = parts
                .filter_map(|parameter| parameter.split_once('='))
                .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
                .map_or(Some(1000), |(_, value)| thousandths(value.trim()));
            (!range.is_empty()).then_some((range, quality?))
        })
}

fn thousandths(quality: &str) -> Option<u16> {
    let (whole, fraction) = quality.split_once('.').unwrap_or((quality, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    match (whole, fraction) {
        ("0", fraction) => Some(fraction),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const BROWSER: (&str, &str) =
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_browser_that_goes_to_a_page_navigates() {
        for fields in [
            &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")][..],
            &[("sec-fetch-mode", "navigate")],
            &[BROWSER],
        ] {
            assert!(is_navigation(&Method::GET, &headers(fields)), "{fields:?}");
        }
        assert!(is_navigation(&Method::POST, &headers(&[("sec-fetch-mode", "navigate")])));
    }

    #[test]
    fn scripts_frames_and_tools_do_not() {
        for fields in [
            &[][..],
            &[("accept", "*/*")],
            &[("accept", "application/json")],
            &[("accept", "text/html;q=0")],
            &[BROWSER, ("x-requested-with", "XMLHttpRequest")],
            &[BROWSER, ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")],
            &[BROWSER, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
            &[BROWSER, ("sec-fetch-mode", "websocket")],
        ] {
            assert!(!is_navigation(&Method::GET, &headers(fields)), "{fields:?}");
        }
        assert!(!is_navigation(&Method::POST, &headers(&[BROWSER])));
        assert!(accepts_html(&headers(&[BROWSER])));
    }

    #[test]
    fn the_language_is_the_preferred_one_of_ours() {
        for (value, language) in [
            ("", "en"),
            ("ko", "ko"),
            ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", "ko"),
            ("en-US,en;q=0.9,ko;q=0.8", "en"),
            ("en;q=0.8, ko", "ko"),
            ("KO;Q=0.5, en;q=0.4", "ko"),
            ("fr, ko;q=0.5", "ko"),
            ("fr", "en"),
            ("*", "en"),
            ("en;q=0, *", "ko"),
            ("ko;q=0", "en"),
            ("en;q=0, ko;q=0", "en"),
            ("ko, en", "ko"),
            ("en, ko", "en"),
            ("kok", "en"),
            ("ko;q=2, en;q=0.1", "en"),
            ("ko;q=0.0001", "en"),
        ] {
            assert_eq!(
                Language::negotiate(&headers(&[("accept-language", value)])).code(),
                language,
                "{value}"
            );
        }
        assert_eq!(Language::negotiate(&HeaderMap::new()), Language::English);
    }

    proptest! {
        #[test]
        fn any_text_has_a_language(value in "[ -~]{0,40}") {
            let _ = Language::negotiate(&headers(&[("accept-language", value.as_str())]));
        }
    }
}
