//! The target of a sign-in: a checked path on this host.
//!
//! A `next` that leads to another host would make the login page an open redirect. So it is parsed like any request's
//! target, of the characters that browsers send; if it is not valid, the caller goes to `/`. It may contain ambiguities
//! that routes can tolerate: none of its readings leaves this host, and the gate judges it when the browser requests
//! it. It is checked when the page is shown and again when the form comes back.
//!
//! Its length has the limit of a request's target: every target that can be requested can be returned to.

use std::fmt;

use http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::path::{Target, Tolerance};

/// A path on this host, with its query, that is legal in `Location`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Next(String);

impl Next {
    /// Parses the target; `None` if it is not one.
    pub fn parse(raw: &str) -> Option<Self> {
        if raw.contains(['"', '<', '>']) {
            return None;
        }
        let target = Target::parse(raw, Tolerance::ALL).ok()?;
        // Browsers send some characters in a query that no URL may contain (RFC 3986 section 3.4).
        Some(Self(utf8_percent_encode(&target.forwarded(None)?, NO_URL_CHARACTER).to_string()))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the value of `Location`.
    pub fn location(&self) -> HeaderValue {
        // The text is visible ASCII, so this cannot fail.
        HeaderValue::from_str(&self.0).unwrap_or(HeaderValue::from_static("/"))
    }
}

impl Default for Next {
    fn default() -> Self {
        Self("/".into())
    }
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The characters that browsers leave unescaped in a query, and RFC 3986 does not allow there.
const NO_URL_CHARACTER: &AsciiSet =
    &CONTROLS.add(b'[').add(b']').add(b'{').add(b'}').add(b'|').add(b'^').add(b'`').add(b'\\');

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_on_this_host_passes() {
        for (raw, next) in [
            ("/", "/"),
            ("/app/page?a=b&c=%20d", "/app/page?a=b&c=%20d"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/search?u=https://other.example/", "/search?u=https://other.example/"),
            ("/a?ids[]=1|2^`{}", "/a?ids%5B%5D=1%7C2%5E%60%7B%7D"),
            ("/a?b=\\", "/a?b=%5C"),
            ("/queues/%2F/q;v=1", "/queues/%2F/q;v=1"),
            ("/a?q=카페", "/a?q=%EC%B9%B4%ED%8E%98"),
            ("/카페", "/%EC%B9%B4%ED%8E%98"),
        ] {
            assert_eq!(Next::parse(raw).unwrap().as_str(), next);
        }
        assert_eq!(Next::default().location(), "/");
    }

    #[test]
    fn everything_else_is_none() {
        for raw in [
            "",
            "app",
            "//evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "/%5cevil.example",
            "/%2fevil.example",
            "/%09/evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            " /app",
            "https://evil.example/",
            "https:evil.example",
            "javascript:alert(1)",
            "/a/../..//evil.example",
            "/a\r\nSet-Cookie: x=1",
            "/a?b=\"><script>",
            "/a#b",
            "/a\\b",
            "/a/..%5c..%5c/evil.example",
            "/%255cevil.example",
        ] {
            assert_eq!(Next::parse(raw), None, "{raw:?}");
        }
    }

    proptest! {
        #[test]
        fn a_next_stays_on_this_host(raw in "[/\\\\.%25cf?#:@a-c \t-]{0,12}") {
            if let Some(next) = Next::parse(&raw) {
                let text = next.as_str();
                prop_assert!(text.starts_with('/') && !text.starts_with("//") && !text.contains('\\'));
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert_eq!(Next::parse(text), Some(next.clone()));
                let location = next.location();
                prop_assert_eq!(location.to_str().unwrap(), text);
            }
        }
    }
}
