//! Encodes texts as header values that are always legal.
//!
//! A name in Korean, a line break in a display name, or a group with a comma must not break a header, be read as two
//! values, or be lost. Visible ASCII stays as it is, so that most values look as people expect; `%`, controls,
//! everything outside ASCII, and spaces at the ends (which parsers trim) are percent-encoded as UTF-8. Decoding is
//! ordinary percent-decoding. Servers read header bytes as latin-1, so raw UTF-8 would be garbled.

use std::borrow::Cow;
use std::fmt::Write;
use std::iter;

use http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

const VALUE: &AsciiSet = &CONTROLS.add(b'%');
const ITEM: &AsciiSet = &VALUE.add(b',');

/// Returns the text of a header with one value.
pub fn encode(text: &str) -> Cow<'_, str> {
    encode_with(text, VALUE)
}

/// Returns the text of one item of a comma-separated header.
pub fn encode_item(text: &str) -> Cow<'_, str> {
    encode_with(text, ITEM)
}

/// Returns a header with one value.
pub fn value(text: &str) -> HeaderValue {
    legal(&encode(text))
}

/// Returns a comma-separated header; no items make an empty value, which is not the same as no header.
pub fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> HeaderValue {
    let mut items = items.into_iter();
    let Some(first) = items.next() else { return HeaderValue::from_static("") };
    let Some(second) = items.next() else { return legal(&encode_item(first)) };
    let mut text = encode_item(first).into_owned();
    for item in iter::once(second).chain(items) {
        text.push(',');
        text.push_str(&encode_item(item));
    }
    legal(&text)
}

/// Returns the text that was encoded; `None` if it is not UTF-8.
pub fn decode(encoded: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(encoded).decode_utf8().ok()
}

/// Whether the text has only visible ASCII that both encodings leave as it is. Nearly every text does.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'%' && byte != b',')
}

fn encode_with<'a>(text: &'a str, set: &'static AsciiSet) -> Cow<'a, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let inner = text.trim_matches(' ');
    if inner.len() == text.len() {
        return utf8_percent_encode(text, set).into();
    }
    let before = text.len() - text.trim_start_matches(' ').len();
    let mut encoded = "%20".repeat(before);
    // Writing to a String cannot fail.
    let _ = write!(encoded, "{}", utf8_percent_encode(inner, set));
    encoded.push_str(&"%20".repeat(text.len() - before - inner.len()));
    Cow::Owned(encoded)
}

#[expect(
    clippy::expect_used,
    reason = "encoded text is visible ASCII and inner spaces, which is always a legal value"
)]
fn legal(encoded: &str) -> HeaderValue {
    HeaderValue::from_str(encoded).expect("encoded text is a legal header value")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn visible_ascii_stays_and_the_rest_is_encoded() {
        for (text, encoded) in [
            ("kim", "kim"),
            ("Kim Min-jeong <kim@app.example>, staff", "Kim Min-jeong <kim@app.example>, staff"),
            ("", ""),
            ("김민정", "%EA%B9%80%EB%AF%BC%EC%A0%95"),
            ("100%", "100%25"),
            ("a\r\nX-User-Id: 1", "a%0D%0AX-User-Id: 1"),
            ("tab\tnul\0del\x7f", "tab%09nul%00del%7F"),
            (" kim  ", "%20kim%20%20"),
            ("   ", "%20%20%20"),
        ] {
            assert_eq!(encode(text), encoded);
            assert_eq!(value(text), encoded);
        }
    }

    #[test]
    fn a_list_has_as_many_commas_as_it_needs() {
        assert_eq!(list(["staff", "a,b", "관리"]), "staff,a%2Cb,%EA%B4%80%EB%A6%AC");
        assert_eq!(list([]), "");
    }

    #[test]
    fn a_plain_value_is_borrowed() {
        assert!(matches!(encode("kim"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn every_text_is_legal_and_comes_back(text in any::<String>()) {
            let header = value(&text);
            let seen = header.to_str().unwrap();
            prop_assert_eq!(seen.trim(), seen);
            prop_assert_eq!(decode(seen).unwrap(), text);
        }

        #[test]
        fn every_list_comes_back(items in prop::collection::vec("[ -~가-힣,\\n]{1,8}", 1..5)) {
            let header = list(items.iter().map(String::as_str));
            let seen = header.to_str().unwrap().split(',').map(|item| decode(item).unwrap());
            prop_assert_eq!(seen.collect::<Vec<_>>(), items);
        }
    }
}
