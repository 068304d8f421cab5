//! Computes every path that a server could read an ambiguous one as.
//!
//! Servers differ in how often they decode escapes, whether a backslash separates, whether `;parameters` belong to a
//! segment, whether empty segments count, and how they treat bytes that are not UTF-8. Each combination is a reading.
//! Readings are compared with the routes' paths, so each is in canonical form itself.

use super::{Ambiguity, TargetProblem, Tolerance, is_unreserved, push_escape};

/// The most times that a server decodes.
pub(super) const MAX_DECODINGS: usize = 3;

/// A change to a path that some servers make and others do not.
type PathChange = fn(&[u8]) -> Vec<u8>;

/// Returns the readings of a canonical path with these ambiguities, without the path itself.
///
/// # Errors
/// A reading that no server may be given: a dot segment, a leading `//`, a control character.
pub(super) fn readings(path: &str, ambiguities: Tolerance) -> Result<Vec<String>, TargetProblem> {
    let decodings = if ambiguities.contains(Ambiguity::DoubleEscape) { MAX_DECODINGS } else { 1 };
    let mut texts: Vec<Vec<u8>> = vec![path.as_bytes().to_vec()];
    let mut decoded = path.as_bytes().to_vec();
    for _ in 0..decodings {
        decoded = percent_encoding::percent_decode(&decoded).collect();
        texts.push(decoded.clone());
    }
    if ambiguities.contains(Ambiguity::InvalidUtf8) || ambiguities.contains(Ambiguity::DoubleEscape)
    {
        add(&mut texts, overlong_forms_decoded);
        add(&mut texts, without_invalid_bytes);
    }
    add(&mut texts, backslashes_as_slashes);
    add(&mut texts, without_parameters);
    for text in &texts {
        check(text)?;
    }
    add(&mut texts, slashes_merged);
    let mut readings: Vec<String> = Vec::with_capacity(texts.len());
    // The first is the path as it is spelled.
    let spelled = texts.first().map(|text| canonical(text, true));
    for (index, text) in texts.iter().enumerate().skip(1) {
        // Only the text that was not decoded still has escapes.
        let is_escaped = index % (decodings + 1) == 0;
        let reading = canonical(text, is_escaped);
        if Some(&reading) != spelled.as_ref() && !readings.contains(&reading) {
            readings.push(reading);
        }
    }
    Ok(readings)
}

/// Appends to the texts what `change` makes of each, if it changes any.
fn add(texts: &mut Vec<Vec<u8>>, change: PathChange) {
    let changed: Vec<Vec<u8>> = texts.iter().map(|text| change(text)).collect();
    if changed != *texts {
        texts.extend(changed);
    }
}

fn check(text: &[u8]) -> Result<(), TargetProblem> {
    if text.iter().any(u8::is_ascii_control) {
        return Err(TargetProblem::ControlCharacter);
    }
    let mut segments = text.split(|byte| *byte == b'/').skip(1).peekable();
    let mut first = true;
    while let Some(segment) = segments.next() {
        match segment {
            b"." | b".." => return Err(TargetProblem::DotSegment),
            b"" if first && segments.peek().is_some() => {
                return Err(TargetProblem::LeadingDoubleSlash);
            }
            _ => {}
        }
        first = false;
    }
    Ok(())
}

/// Returns the text in the spelling of routes: bytes that need an escape have one.
fn canonical(text: &[u8], is_escaped: bool) -> String {
    let mut path = String::with_capacity(text.len());
    for &byte in text {
        match byte {
            b'/' => path.push('/'),
            b'%' if is_escaped => path.push('%'),
            _ if is_unreserved(byte) || b"!$&'()*+,=:@;".contains(&byte) => {
                path.push(char::from(byte));
            }
            _ => push_escape(&mut path, byte),
        }
    }
    path
}

fn backslashes_as_slashes(text: &[u8]) -> Vec<u8> {
    text.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect()
}

/// Returns the text without everything that follows a `;` in each segment, as servlet containers route.
fn without_parameters(text: &[u8]) -> Vec<u8> {
    let mut in_parameters = false;
    text.iter()
        .copied()
        .filter(|byte| {
            in_parameters = *byte != b'/' && (in_parameters || *byte == b';');
            !in_parameters
        })
        .collect()
}

fn slashes_merged(text: &[u8]) -> Vec<u8> {
    let mut merged: Vec<u8> = Vec::with_capacity(text.len());
    for &byte in text {
        if byte != b'/' || merged.last() != Some(&b'/') {
            merged.push(byte);
        }
    }
    merged
}

/// Decodes overlong forms, as decoders do that accept a character in more bytes than it needs: `C0 AF` is `/`.
fn overlong_forms_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return decoded,
            [lead @ 0xC0..=0xC1, next, tail @ ..] => {
                decoded.push((lead & 1) << 6 | (next & 0x3F));
                tail
            }
            [0xE0, middle @ 0x80..=0x81, next, tail @ ..] => {
                decoded.push((middle & 1) << 6 | (next & 0x3F));
                tail
            }
            [0xF0, 0x80, middle @ 0x80..=0x81, next, tail @ ..] => {
                decoded.push((middle & 1) << 6 | (next & 0x3F));
                tail
            }
            [byte, tail @ ..] => {
                decoded.push(*byte);
                tail
            }
        };
    }
}

/// Drops invalid bytes, as decoders do that skip what they do not understand: `.` `FF` `.` is `..`.
fn without_invalid_bytes(text: &[u8]) -> Vec<u8> {
    text.utf8_chunks().flat_map(|chunk| chunk.valid().bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Target;
    use super::*;

    fn of(raw: &str) -> Vec<String> {
        let target = Target::parse(raw, Tolerance::ALL).unwrap();
        target.readings().iter().map(|path| path.as_str().to_owned()).collect()
    }

    #[test]
    fn each_way_to_read_a_path_is_a_reading() {
        for (raw, readings) in [
            ("/a%2Fb", &["/a/b"][..]),
            ("/q/%2F/x", &["/q///x", "/q/x"]),
            ("/a//b", &["/a/b"]),
            ("/a;x=1/b", &["/a/b"]),
            ("/a%3Bx/b", &["/a;x/b", "/a/b"]),
            ("/a%5Cb", &["/a/b"]),
            ("/a%252Fb", &["/a%252Fb", "/a/b"]),
            ("/a%25252Fb", &["/a%25252Fb", "/a%252Fb", "/a/b"]),
            ("/%C7%D1", &["/"]),
            ("/a%2ejpg", &[]),
            ("/caf\u{e9}", &[]),
        ] {
            let found = of(raw);
            for reading in readings.iter().filter(|one| **one != raw) {
                assert!(found.contains(&(*reading).to_owned()), "{raw}: {reading} in {found:?}");
            }
        }
    }

    /// An escape that a server may leave stays one escape, and a `%` that it decoded becomes one again.
    #[test]
    fn each_reading_is_spelled_as_a_route_is() {
        for (raw, readings) in [
            ("/a;x/b%20c", &["/a/b%20c"][..]),
            ("/100%25;x", &["/100%25"]),
            ("/a%3Bx/b%3Fc", &["/a;x/b%3Fc", "/a/b%3Fc"]),
            ("/a%2Fb!$&'()*+,=:@c%22", &["/a/b!$&'()*+,=:@c%22"]),
            ("/q/%2F/x", &["/q///x", "/q/x"]),
        ] {
            assert_eq!(of(raw), readings, "{raw}");
        }
    }

    #[test]
    fn a_path_without_ambiguities_has_no_other_reading() {
        assert_eq!(of("/a/b%20c/%C3%A9?x=%2F"), [""; 0]);
    }

    #[test]
    fn bytes_that_decoders_drop_or_shorten_hide_nothing() {
        for raw in [
            "/a/.%ff./b",
            "/a/%c0%ae%c0%ae/b",
            "/a/%e0%80%ae./b",
            "/a/%f0%80%80%ae./b",
            "/a/%c0%ae%c0%ae%c0%afb",
            "/a/.%25ff./b",
        ] {
            let problem = Target::parse(raw, Tolerance::ALL).unwrap_err();
            assert_eq!(problem, TargetProblem::DotSegment, "{raw}");
        }
    }

    #[test]
    fn an_overlong_form_is_the_character_that_it_stands_for() {
        for (byte, forms) in [
            (b'/', [&b"\xC0\xAF"[..], b"\xE0\x80\xAF", b"\xF0\x80\x80\xAF"]),
            (b'.', [b"\xC0\xAE", b"\xE0\x80\xAE", b"\xF0\x80\x80\xAE"]),
            (b'\\', [b"\xC1\x9C", b"\xE0\x81\x9C", b"\xF0\x80\x81\x9C"]),
            (b'a', [b"\xC1\xA1", b"\xE0\x81\xA1", b"\xF0\x80\x81\xA1"]),
            (0, [b"\xC0\x80", b"\xE0\x80\x80", b"\xF0\x80\x80\x80"]),
            (0x7F, [b"\xC1\xBF", b"\xE0\x81\xBF", b"\xF0\x80\x81\xBF"]),
        ] {
            for form in forms {
                let text = [b"/x", form, b"y", form].concat();
                let decoded = [b'/', b'x', byte, b'y', byte];
                assert_eq!(overlong_forms_decoded(&text), decoded, "{form:x?}");
            }
        }
    }

    #[test]
    fn what_is_not_overlong_stays() {
        for text in [
            "/a\u{7f}\u{80}\u{e9}\u{7ff}\u{800}\u{20ac}\u{ffff}\u{10000}\u{1f600}".as_bytes(),
            b"/\xFF/\x80/\xAE",
            // The end of the path cuts each of these off.
            b"/\xC0",
            b"/\xE0\x80",
            b"/\xF0\x80\x80",
        ] {
            assert_eq!(overlong_forms_decoded(text), text, "{text:x?}");
        }
    }
}
