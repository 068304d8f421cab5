//! Redirects a browser's navigation that needs a signed-in user: to the login page, and from there back.
//!
//! The redirect names a path and never a host, so no header of the request influences where it leads; `next` is the
//! requested target in canonical form, and is checked again when it is used.

use http::{HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::wire::arrival::Arrival;
use crate::wire::next::Next;
use crate::wire::reply::Reply;

/// Everything but RFC 3986's unreserved characters and the slash, which a query may contain.
const QUERY_VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Redirects to the login page.
pub(super) fn to_login(login_path: &str, arrival: &Arrival) -> Reply {
    to(&login_location(login_path, arrival))
}

/// Redirects to this path of ours, with its query. If it cannot be a header value, redirects to `/`.
pub(super) fn to(location: &str) -> Reply {
    let location = HeaderValue::try_from(location);
    Reply::see_other(&location.unwrap_or(HeaderValue::from_static("/")))
}

/// Returns `login_path?next=...`. A target is omitted if it cannot be requested again, because the request was no GET or
/// because it is no `next`, and if it is `/`, where a sign-in leads anyway.
fn login_location(login_path: &str, arrival: &Arrival) -> String {
    let is_read = arrival.method == Method::GET || arrival.method == Method::HEAD;
    login_to(login_path, arrival.target.forwarded(None).filter(|_| is_read).as_deref())
}

/// Returns `login_path?next=...` for a requested or stored target, if it is a `next`.
pub(super) fn login_to(login_path: &str, wanted: Option<&str>) -> String {
    match wanted.and_then(Next::parse) {
        Some(next) if next != Next::default() => with_next(login_path, next.as_str()),
        Some(_) | None => login_path.to_owned(),
    }
}

/// Returns `path?next=...`.
pub(super) fn with_next(path: &str, next: &str) -> String {
    format!("{path}?next={}", utf8_percent_encode(next, QUERY_VALUE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::tests::arrival;

    #[test]
    fn the_redirect_is_a_path_and_leads_back() {
        for (method, target, location) in [
            ("GET", "/app", "/login?next=/app"),
            ("HEAD", "/app/x?a=1&b=%20", "/login?next=/app/x%3Fa%3D1%26b%3D%2520"),
            (
                "GET",
                "/search?u=https://other.example/",
                "/login?next=/search%3Fu%3Dhttps%3A//other.example/",
            ),
            ("GET", "/", "/login"),
            ("POST", "/app", "/login"),
            ("GET", "/a?b=\\", "/login?next=/a%3Fb%3D%255C"),
            (
                "GET",
                "/a?ids[]={1}|2^`",
                "/login?next=/a%3Fids%255B%255D%3D%257B1%257D%257C2%255E%2560",
            ),
        ] {
            assert_eq!(login_location("/login", &arrival(method, target, &[])), location);
        }
    }

    #[test]
    fn what_was_kept_is_checked_when_it_is_used() {
        for (wanted, location) in [
            (Some("/app?a=1"), "/login?next=/app%3Fa%3D1"),
            (Some("/"), "/login"),
            (Some(""), "/login"),
            (Some("//evil.example"), "/login"),
            (Some("https://evil.example/"), "/login"),
            (Some("/\\evil.example"), "/login"),
            (None, "/login"),
        ] {
            assert_eq!(login_to("/login", wanted), location, "{wanted:?}");
        }
    }

    #[test]
    fn no_header_has_a_say() {
        let headers = [
            ("host", "evil.example"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-prefix", "//evil.example"),
            ("referer", "https://evil.example/"),
        ];
        assert_eq!(login_location("/login", &arrival("GET", "/app", &headers)), "/login?next=/app");
    }
}
