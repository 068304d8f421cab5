//! Reads what a request to an own path contains: its body's fields, and whether another site may have sent it.

use http::Method;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::refused::Refused;
use crate::refusal::Refusal;
use crate::wire::accept;
use crate::wire::arrival::Arrival;
use crate::wire::body::{FieldProblem, Fields};
use crate::wire::cross_site::{self, CrossSiteVerdict};

/// Returns the fields of a body.
pub(super) fn fields(arrival: &Arrival, body: &[u8]) -> Result<Fields, Refused> {
    let mut types = arrival.headers.get_all(CONTENT_TYPE).iter();
    let content_type = types.next();
    if types.next().is_some() {
        return Err(Refusal::BadHeader.into());
    }
    let is_encoded = arrival.headers.contains_key(CONTENT_ENCODING);
    if is_encoded && !body.is_empty() {
        // Decompressing before the size limit would defeat the limit, and no front end compresses a password.
        let text = "A Content-Encoding is not supported in request.";
        return Err(Refused::with_detail(Refusal::UnsupportedMediaType, text));
    }
    Fields::parse(content_type, body).map_err(|problem| {
        let named = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        Refused::body(problem, named)
    })
}

/// Whether the body is a form, which any site's page can send here without a preflight. An empty form is one too.
pub(super) fn is_form(arrival: &Arrival) -> bool {
    arrival.headers.get_all(CONTENT_TYPE).iter().any(|value| {
        let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        [&b"application/x-www-form-urlencoded"[..], b"multipart/form-data", b"text/plain"]
            .iter()
            .any(|form| essence.trim_ascii().eq_ignore_ascii_case(form))
    })
}

/// Whether the body is a browser's form, which gets a page as its answer; the form of a program gets JSON.
pub(super) fn is_page_form(arrival: &Arrival) -> bool {
    is_form(arrival)
        && (accept::is_navigation(&arrival.method, &arrival.headers)
            || accept::accepts_html(&arrival.headers))
}

/// Whether the client is a browser that shows a page; otherwise it is a program, which gets JSON.
pub(super) fn wants_page(arrival: &Arrival) -> bool {
    match arrival.method == Method::POST {
        true => is_page_form(arrival),
        false => accept::is_navigation(&arrival.method, &arrival.headers),
    }
}

/// Returns the action that the field `action` names.
pub(super) fn action<A: Copy>(
    fields: &Fields,
    all: &[A],
    name: impl Fn(A) -> &'static str,
) -> Result<A, Refused> {
    let named = fields.trimmed("action").map_err(|why| Refused::field("action", why))?;
    let found = all.iter().copied().find(|action| name(*action) == named);
    found.ok_or_else(|| Refused::field("action", FieldProblem::NotAString))
}

/// Refuses a request that another site's page may have sent.
pub(super) fn same_site(arrival: &Arrival, trusted: &[String]) -> Result<(), Refusal> {
    match cross_site::judge(&arrival.method, &arrival.headers, || arrival.origin(), trusted) {
        CrossSiteVerdict::Allowed => Ok(()),
        CrossSiteVerdict::CrossSite => Err(Refusal::CrossSite),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::endpoint::tests::arrival;

    const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
    const JSON: (&str, &str) = ("content-type", "application/json");
    const BROWSER: (&str, &str) = ("accept", "text/html,*/*;q=0.8");

    #[test]
    fn json_and_forms_have_fields() {
        for (content_type, body) in
            [(JSON, r#"{"token": "t", "more": [1]}"#), (FORM, "token=t&more=1")]
        {
            let fields = fields(&arrival("POST", "/verify", &[content_type]), body.as_bytes());
            assert_eq!(fields.unwrap().text("token"), Ok("t"));
        }
        assert!(fields(&arrival("POST", "/logout", &[]), b"").is_ok());
    }

    #[test]
    fn other_bodies_are_refused() {
        for (headers, body, refusal) in [
            (&[][..], "{}", Refusal::UnsupportedMediaType),
            (&[("content-type", "text/plain")], "{}", Refusal::UnsupportedMediaType),
            (&[JSON, ("content-encoding", "gzip")], "{}", Refusal::UnsupportedMediaType),
            (&[JSON, JSON], "{}", Refusal::BadHeader),
            (&[JSON], "{'}", Refusal::BadBody),
            (&[JSON], r#"{"a": 1, "a": 1}"#, Refusal::BadBody),
            (&[FORM], "token=%ff", Refusal::BadBody),
        ] {
            let refused = fields(&arrival("POST", "/verify", headers), body.as_bytes());
            assert_eq!(refused.unwrap_err().refusal, refusal, "{headers:?} {body}");
        }
    }

    #[test]
    fn a_missing_content_type_is_named_as_an_empty_one() {
        let refused = fields(&arrival("POST", "/verify", &[]), b"{}").unwrap_err();
        assert_eq!(refused.members["detail"], json!("Unsupported media type \"\" in request."));
    }

    #[test]
    fn a_form_of_a_browser_gets_pages() {
        for (headers, page) in [
            (&[FORM, BROWSER][..], true),
            (&[FORM, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")], true),
            (
                &[("content-type", "Application/X-WWW-Form-Urlencoded; charset=utf-8"), BROWSER],
                true,
            ),
            (&[FORM], false),
            (&[FORM, ("accept", "*/*")], false),
            (&[FORM, ("accept", "application/json")], false),
            (&[JSON, BROWSER], false),
            (&[BROWSER], false),
        ] {
            assert_eq!(is_page_form(&arrival("POST", "/login", headers)), page, "{headers:?}");
        }
    }

    #[test]
    fn what_another_site_may_have_sent_is_refused() {
        let trusted = ["https://front.example".to_owned()];
        for (headers, verdict) in [
            (&[][..], Ok(())),
            (&[("origin", "https://app.example")], Ok(())),
            (&[("origin", "https://front.example")], Ok(())),
            (&[("sec-fetch-site", "same-origin")], Ok(())),
            (&[("origin", "https://evil.example")], Err(Refusal::CrossSite)),
            (&[("origin", "null")], Err(Refusal::CrossSite)),
            (&[("sec-fetch-site", "same-site")], Err(Refusal::CrossSite)),
            (&[("referer", "https://evil.example/app.example")], Err(Refusal::CrossSite)),
        ] {
            assert_eq!(
                same_site(&arrival("POST", "/login", headers), &trusted),
                verdict,
                "{headers:?}"
            );
        }
    }
}
