//! Reads the `Authorization` header: whether it holds a token for the gateway.
//!
//! The form is `Bearer`, exactly one space, and one token (RFC 6750 section 2.1; RFC 9110 section 11.2 for its
//! characters). The scheme is case-insensitive (RFC 9110 section 11.1). A value that begins like a bearer token without
//! being exactly one is refused instead of being passed on as foreign.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

/// The content of the `Authorization` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorization<'h> {
    /// No field.
    Absent,
    /// `Bearer` and one token.
    Bearer(&'h str),
    /// `Bearer` and something that is not a token.
    NotAToken,
    /// Another scheme, which the gateway does not read.
    Foreign,
    /// More than one field.
    Repeated,
}

/// The content of a header that can carry a user's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizationContent<'h> {
    /// No such credential: the field is absent, empty, or of another scheme.
    Nothing,
    /// One token.
    Token(&'h str),
    /// Something that is not a token.
    NotAToken,
    /// More than one field.
    Repeated,
}

/// Returns the token in the header `name`: after `scheme` and one space, or alone where there is no scheme.
pub fn held<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    scheme: Option<&str>,
) -> AuthorizationContent<'h> {
    held_of(headers, name, scheme, is_token68)
}

/// Returns the same for a key that people may have chosen: any single word.
pub fn held_word<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    scheme: Option<&str>,
) -> AuthorizationContent<'h> {
    held_of(headers, name, scheme, is_word)
}

fn held_of<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    scheme: Option<&str>,
    is_one: impl Fn(&[u8]) -> bool,
) -> AuthorizationContent<'h> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return AuthorizationContent::Nothing };
    if values.next().is_some() {
        return AuthorizationContent::Repeated;
    }
    let bytes = value.as_bytes();
    let token = match scheme {
        None if bytes.is_empty() => return AuthorizationContent::Nothing,
        None => Some(bytes),
        Some(scheme) => match after_scheme(bytes, scheme) {
            Some(rest) => rest.strip_prefix(b" "),
            None => return AuthorizationContent::Nothing,
        },
    };
    match token.filter(|token| is_one(token)).and_then(|token| str::from_utf8(token).ok()) {
        Some(token) => AuthorizationContent::Token(token),
        None => AuthorizationContent::NotAToken,
    }
}

/// Whether `Authorization` is of this scheme, whatever follows.
pub fn is_of_scheme(headers: &HeaderMap, scheme: &str) -> bool {
    headers
        .get_all(AUTHORIZATION)
        .iter()
        .any(|value| after_scheme(value.as_bytes(), scheme).is_some())
}

/// Returns the rest after the scheme, if it is this one: nothing, or a character that ends the scheme and more.
fn after_scheme<'v>(value: &'v [u8], scheme: &str) -> Option<&'v [u8]> {
    let (word, rest) = value.split_at_checked(scheme.len())?;
    let ends = rest.first().is_none_or(|next| !next.is_ascii_alphanumeric());
    (ends && word.eq_ignore_ascii_case(scheme.as_bytes())).then_some(rest)
}

/// Reads the `Authorization` header.
pub fn read(headers: &HeaderMap) -> Authorization<'_> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Authorization::Absent };
    if values.next().is_some() {
        return Authorization::Repeated;
    }
    let bytes = value.as_bytes();
    if !bytes.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer")) {
        return Authorization::Foreign;
    }
    let token = bytes.get(6..).and_then(|rest| rest.strip_prefix(b" "));
    match token.filter(|token| is_token68(token)).and_then(|token| str::from_utf8(token).ok()) {
        Some(token) => Authorization::Bearer(token),
        None => Authorization::NotAToken,
    }
}

/// Whether the token has no white space and no control character. (Bytes outside ASCII are UTF-8, or the token is not text.)
fn is_word(token: &[u8]) -> bool {
    !token.is_empty() && token.iter().all(|byte| byte.is_ascii_graphic() || !byte.is_ascii())
}

fn is_token68(token: &[u8]) -> bool {
    let end = token.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let characters = token.get(..end).unwrap_or_default();
    // This checks every byte of every token of every request, all of them and without a branch, so that the compiler
    // can compare many at once.
    !characters.is_empty() && characters.iter().fold(true, |all, byte| all & in_token68(*byte))
}

/// Whether the byte is a letter, a digit, `-`, `.`, `/` (these are neighbours in ASCII), `+`, `_` or `~`.
const fn in_token68(byte: u8) -> bool {
    ((byte | 0x20).wrapping_sub(b'a') < 26)
        | (byte.wrapping_sub(b'-') < 13)
        | (byte == b'+')
        | (byte == b'_')
        | (byte == b'~')
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read_of<'h>(headers: &'h mut HeaderMap, values: &[&'static str]) -> Authorization<'h> {
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        read(headers)
    }

    #[test]
    fn a_bearer_is_one_token_after_one_space() {
        for (value, expected) in [
            ("Bearer a.b-c_d~e+f/g==", Authorization::Bearer("a.b-c_d~e+f/g==")),
            ("bearer abc", Authorization::Bearer("abc")),
            ("Bearer", Authorization::NotAToken),
            ("Bearer ", Authorization::NotAToken),
            ("Bearer  abc", Authorization::NotAToken),
            ("Bearer\tabc", Authorization::NotAToken),
            ("Bearer abc def", Authorization::NotAToken),
            ("Bearer abc,def", Authorization::NotAToken),
            ("Bearer ==", Authorization::NotAToken),
            ("Bearerabc", Authorization::NotAToken),
            ("Basic a2ltOmtpbQ==", Authorization::Foreign),
            ("", Authorization::Foreign),
        ] {
            assert_eq!(read_of(&mut HeaderMap::new(), &[value]), expected, "{value}");
        }
        assert_eq!(read(&HeaderMap::new()), Authorization::Absent);
        let twice = ["Bearer a", "Bearer a"];
        assert_eq!(read_of(&mut HeaderMap::new(), &twice), Authorization::Repeated);
    }

    #[test]
    fn a_token_is_made_of_the_characters_of_token68() {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/";
        for byte in 0..=u8::MAX {
            assert_eq!(in_token68(byte), alphabet.contains(&byte), "{byte}");
        }
    }

    #[test]
    fn a_token_stands_after_its_scheme_or_alone() {
        let name = HeaderName::from_static("jwt-auth");
        for (value, scheme, expected) in [
            ("a.b.c", None, AuthorizationContent::Token("a.b.c")),
            ("", None, AuthorizationContent::Nothing),
            ("Bearer a.b.c", None, AuthorizationContent::NotAToken),
            ("a.b.c,a.b.c", None, AuthorizationContent::NotAToken),
            ("JWT a.b.c", Some("JWT"), AuthorizationContent::Token("a.b.c")),
            ("jwt a.b.c", Some("JWT"), AuthorizationContent::Token("a.b.c")),
            ("JWT", Some("JWT"), AuthorizationContent::NotAToken),
            ("JWT  a.b.c", Some("JWT"), AuthorizationContent::NotAToken),
            ("JWT\ta.b.c", Some("JWT"), AuthorizationContent::NotAToken),
            ("JWTa.b.c", Some("JWT"), AuthorizationContent::Nothing),
            ("Token abc", Some("JWT"), AuthorizationContent::Nothing),
            ("J", Some("JWT"), AuthorizationContent::Nothing),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(&name, HeaderValue::from_static(value));
            assert_eq!(held(&headers, &name, scheme), expected, "{value}");
            headers.append(&name, HeaderValue::from_static(value));
            assert_eq!(held(&headers, &name, scheme), AuthorizationContent::Repeated, "{value}");
        }
        assert_eq!(held(&HeaderMap::new(), &name, None), AuthorizationContent::Nothing);
    }

    #[test]
    fn a_key_may_be_any_word() {
        for (value, expected) in [
            (
                "Token integration-billing-2024",
                AuthorizationContent::Token("integration-billing-2024"),
            ),
            ("Token a:b!#,\"c\"==d", AuthorizationContent::Token("a:b!#,\"c\"==d")),
            ("Token 키", AuthorizationContent::Token("키")),
            ("Token a b", AuthorizationContent::NotAToken),
            ("Token \u{e9}\t", AuthorizationContent::NotAToken),
            ("Token", AuthorizationContent::NotAToken),
            ("Bearer a", AuthorizationContent::Nothing),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            assert_eq!(held_word(&headers, &AUTHORIZATION, Some("Token")), expected, "{value}");
        }
        let mut latin = HeaderMap::new();
        latin.append(AUTHORIZATION, HeaderValue::from_bytes(b"Token \xe9").unwrap());
        assert_eq!(
            held_word(&latin, &AUTHORIZATION, Some("Token")),
            AuthorizationContent::NotAToken
        );
    }

    #[test]
    fn a_scheme_is_recognized_whatever_follows() {
        for (value, is) in [
            ("Token a b", true),
            ("token", true),
            ("Token,x", true),
            ("Tokens a", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
            assert_eq!(is_of_scheme(&headers, "Token"), is, "{value}");
        }
    }
}
