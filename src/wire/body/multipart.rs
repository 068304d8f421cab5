//! Reads `multipart/form-data` (RFC 7578), as a browser's `FormData` writes it: named texts, and nothing around them.
//!
//! It reads fields only: no preamble, no nested parts, no transfer encodings; a file is a member that is not text.

use super::{BodyProblem, Member, add};
use crate::secret::Secret;

const MALFORMED: BodyProblem = BodyProblem::MalformedMultipart;

/// Returns the boundary from a content type's parameters (RFC 2046 section 5.1.1).
pub(super) fn boundary<'p>(
    parameters: impl Iterator<Item = &'p str>,
) -> Result<&'p str, BodyProblem> {
    let values = parameters.filter_map(|parameter| parameter.split_once('='));
    let mut all = values.filter(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"));
    let (Some((_, value)), None) = (all.next(), all.next()) else { return Err(MALFORMED) };
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    let is_boundary = (1..=70).contains(&value.len()) && value.bytes().all(legal);
    if is_boundary && !value.ends_with(' ') { Ok(value) } else { Err(MALFORMED) }
}

/// Returns the parts of a body as members.
pub(super) fn members(body: &[u8], boundary: &str) -> Result<Vec<(String, Member)>, BodyProblem> {
    let delimiter = format!("\r\n--{boundary}");
    let first = delimiter.as_bytes().get(2..).unwrap_or_default();
    let mut rest = body.strip_prefix(first).ok_or(MALFORMED)?;
    let mut members = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix(b"--") {
            return if matches!(after, b"" | b"\r\n") { Ok(members) } else { Err(MALFORMED) };
        }
        let part = rest.strip_prefix(b"\r\n").ok_or(MALFORMED)?;
        let (part, after) = split(part, delimiter.as_bytes()).ok_or(MALFORMED)?;
        let (head, value) = split(part, b"\r\n\r\n").ok_or(MALFORMED)?;
        let (name, is_file) = disposition(head)?;
        let text = std::str::from_utf8(value).map(Secret::new);
        let member = match text {
            _ if is_file => Member::Other,
            Ok(text) => Member::Text(text),
            Err(_) => return Err(BodyProblem::InvalidUtf8),
        };
        add(&mut members, name, member)?;
        rest = after;
    }
}

/// Returns the name of a part, and whether the part is a file.
fn disposition(head: &[u8]) -> Result<(String, bool), BodyProblem> {
    let head = std::str::from_utf8(head).map_err(|_| BodyProblem::InvalidUtf8)?;
    let mut found = None;
    for line in head.split("\r\n") {
        let (field, value) = line.split_once(':').ok_or(MALFORMED)?;
        if field.eq_ignore_ascii_case("content-disposition") && found.is_none() {
            found = Some(value);
        } else if !field.eq_ignore_ascii_case("content-type") {
            return Err(MALFORMED);
        }
    }
    // Browsers write `%22` for a quote within a name, so a quote cannot end the parameter early.
    let mut parameters = found.ok_or(MALFORMED)?.split(';').map(str::trim);
    if !parameters.next().is_some_and(|kind| kind.eq_ignore_ascii_case("form-data")) {
        return Err(MALFORMED);
    }
    let (mut name, mut is_file) = (None, false);
    for parameter in parameters {
        let (key, value) = parameter.split_once('=').ok_or(MALFORMED)?;
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).ok_or(MALFORMED)?;
        match key.to_ascii_lowercase().as_str() {
            "name" if name.is_none() && !value.contains(['"', '\\']) => name = Some(value),
            "filename" => is_file = true,
            _ => return Err(MALFORMED),
        }
    }
    Ok((name.ok_or(MALFORMED)?.to_owned(), is_file))
}

/// Returns the bytes before and after the first `at`.
fn split<'b>(bytes: &'b [u8], at: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let start = bytes.windows(at.len()).position(|window| window == at)?;
    Some((bytes.get(..start)?, bytes.get(start + at.len()..)?))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::super::{FieldProblem, Fields};
    use super::*;

    const NAME: &str = "Content-Disposition: form-data; name=\"username\"";

    fn parse(content_type: &str, body: &str) -> Result<Fields, BodyProblem> {
        Fields::parse(Some(&HeaderValue::from_str(content_type).unwrap()), body.as_bytes())
    }

    fn part(head: &str, value: &str) -> Result<Fields, BodyProblem> {
        parse(
            "multipart/form-data; boundary=B",
            &format!("--B\r\n{head}\r\n\r\n{value}\r\n--B--\r\n"),
        )
    }

    #[test]
    fn a_browsers_form_has_its_fields() {
        let body = "------WebKitFormBoundaryx\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\n김민정\r\n\
                    ------WebKitFormBoundaryx\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n a\r\n--B \r\n\
                    ------WebKitFormBoundaryx\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a.png\"\r\n\
                    Content-Type: image/png\r\n\r\n\r\n------WebKitFormBoundaryx--\r\n";
        let fields =
            parse("Multipart/Form-Data; boundary=\"----WebKitFormBoundaryx\"", body).unwrap();
        assert!(fields.is_form());
        assert_eq!(fields.text("username"), Ok("김민정"));
        assert_eq!(fields.text("password"), Ok(" a\r\n--B "), "byte for byte");
        assert_eq!(fields.text("photo"), Err(FieldProblem::NotAString));
        assert_eq!(fields.text("more"), Err(FieldProblem::Required));
        assert_eq!(part(NAME, "").unwrap().text("username"), Err(FieldProblem::Blank));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for head in [
            "",
            "Content-Type: text/plain",
            "Content-Disposition: form-data",
            "Content-Disposition: attachment; name=\"a\"",
            "Content-Disposition: form-data; name=a",
            "Content-Disposition: form-data; name=\"a\"; name=\"b\"",
            "Content-Disposition: form-data; name=\"a\\\"b\"",
            "Content-Disposition: form-data; name=\"a\"; filename*=UTF-8''x",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: base64",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"b\"",
        ] {
            assert_eq!(part(head, "x"), Err(MALFORMED), "{head}");
        }
        let good = format!("--B\r\n{NAME}\r\n\r\nx\r\n--B--");
        let type_of = |boundary: &str| format!("multipart/form-data{boundary}");
        assert!(parse(&type_of("; boundary=B"), &good).is_ok());
        for boundary in [
            "",
            "; boundary=",
            "; boundary=C",
            "; boundary=B; boundary=B",
            "; boundary=\"B \"",
            "; boundary=B\u{7f}",
        ] {
            let Ok(value) = HeaderValue::from_str(&type_of(boundary)) else { continue };
            let read = Fields::parse(Some(&value), good.as_bytes());
            assert_eq!(read, Err(MALFORMED), "{boundary}");
        }
        for body in [
            "x",
            "--B",
            "--B--x",
            &format!("x\r\n{good}"),
            &format!("{good}x"),
            &good[..good.len() - 2],
        ] {
            assert_eq!(parse(&type_of("; boundary=B"), body), Err(MALFORMED), "{body}");
        }
        let twice = good.replace("--B--", &format!("--B\r\n{NAME}\r\n\r\ny\r\n--B--"));
        assert_eq!(parse(&type_of("; boundary=B"), &twice), Err(BodyProblem::DuplicateMember));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in "[^\0]{1,40}") {
            let written = part(NAME, &value);
            // No browser sends a value under a delimiter that the value contains.
            if !value.contains("\r\n--B") && !value.starts_with("--B") {
                let written = written.unwrap();
                prop_assert_eq!(written.text("username"), Ok(value.as_str()));
            }
        }

        #[test]
        fn no_body_makes_it_fail(body in "(--B|--|\r\n|Content-Disposition: form-data; name=\"a\"|[a-z: ]){0,12}") {
            let _ = parse("multipart/form-data; boundary=B", &body);
        }
    }
}
