//! Where a sign-in leads: a checked path on this host.
//!
//! A `next` that another host could be reached through makes the login page an open redirect. So it is a target in
//! canonical form, as for any request, with nothing but URL characters and no ambiguity; whatever else is given, the
//! caller goes to `/`. It is checked when the page is shown and again when the form comes back.

use std::fmt;

use http::HeaderValue;

use super::path::{Target, Tolerance};

const MAX_BYTES: usize = 2048;

/// A path on this host, with its query: fit for `Location`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Next(String);

impl Next {
    /// The target, if it is one.
    pub fn parse(raw: &str) -> Option<Self> {
        if raw.len() > MAX_BYTES || !raw.bytes().all(is_url_character) {
            return None;
        }
        Some(Self(Target::parse(raw, Tolerance::NONE).ok()?.to_string()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As the value of `Location`.
    pub fn location(&self) -> HeaderValue {
        // A canonical target is visible ASCII, so the other branch is never taken.
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

/// RFC 3986: unreserved, reserved (less `[`, `]` and `#`, which no path and query has) and the escape sign.
const fn is_url_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b':'
                | b'/'
                | b'?'
                | b'@'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b'%'
        )
}

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
        ] {
            assert_eq!(Next::parse(raw).unwrap().as_str(), next);
        }
        assert_eq!(Next::default().location(), "/");
    }

    #[test]
    fn everything_else_is_none() {
        let long = format!("/{}", "a".repeat(MAX_BYTES));
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
            "/카페",
            "/a?b=\\",
            "/a;b",
            &long,
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
