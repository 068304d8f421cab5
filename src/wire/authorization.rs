//! The `Authorization` header: whether it holds a token for us.
//!
//! `Bearer`, exactly one space, and one token (RFC 6750 section 2.1; RFC 9110 section 11.2 for its characters). The scheme is
//! case-insensitive (RFC 9110 section 11.1). Anything that begins like ours and is not exactly that is refused instead of
//! being passed on as something foreign.

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// What the header holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorization<'h> {
    /// Nothing: it is not there.
    Absent,
    /// `Bearer` and one token.
    Bearer(&'h str),
    /// `Bearer` and something that is no token.
    NotAToken,
    /// Another scheme, which proves nothing here.
    Foreign,
    /// There is more than one field.
    Repeated,
}

/// Reads it.
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

fn is_token68(token: &[u8]) -> bool {
    let end = token.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let characters = token.get(..end).unwrap_or_default();
    !characters.is_empty()
        && characters.iter().all(|byte| TOKEN68.get(usize::from(*byte)) == Some(&true))
}

/// Which bytes a token68 is made of. A table, because every byte of every token on every request is looked up.
const TOKEN68: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::indexing_slicing, reason = "checked by the compiler, which evaluates it")]
        {
            table[byte] = matches!(
                byte as u8,
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'+' | b'/'
            );
        }
        byte += 1;
    }
    table
};

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
}
