//! The answer to a refusal that was decided elsewhere: by the gate, or by what carries a request to its upstream.
//!
//! | who asks | nobody is signed in (401) | anything else |
//! |---|---|---|
//! | a browser that navigates | to the login page, and back from there | a page with code and request id |
//! | everybody else | JSON | JSON |
//!
//! A call of gRPC is refused in gRPC's own words (`grpc`), whatever the reason.
//!
//! A script is never sent to the login page: it would follow, read a page where it expects data, and not know why.

use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};

use super::navigation::to_login;
use super::refused::Refused;
use super::{Endpoints, grpc, names, page};
use crate::gate::Denial;
use crate::wire::accept::{self, Language};
use crate::wire::arrival::Arrival;
use crate::wire::reply::Reply;

/// A browser that reads this asks for a name and a password (RFC 7617), so it is only said where an operator wants it.
const CHALLENGE: HeaderValue =
    HeaderValue::from_static("Basic realm=\"doorwarden\", charset=\"UTF-8\"");

impl Endpoints {
    /// Answers a refusal. `arrival` is none if the request could not be read.
    pub fn refuse(&self, arrival: Option<&Arrival>, request_id: &str, denied: &Denial) -> Reply {
        let mut reply = in_form(self.login_path.as_deref(), arrival, request_id, denied);
        if self.challenges && reply.status == StatusCode::UNAUTHORIZED {
            reply.headers.append(WWW_AUTHENTICATE, CHALLENGE);
        }
        match (arrival, denied.dead_cookie) {
            (Some(arrival), Some(proof)) => self.remove_cookie(proof, arrival, reply),
            _ => reply,
        }
    }
}

/// The answer in the form that whoever asked can use.
fn in_form(
    login_path: Option<&str>,
    arrival: Option<&Arrival>,
    request_id: &str,
    denied: &Denial,
) -> Reply {
    let refused = Refused {
        retry_after: denied.retry_after,
        allow: if denied.allow.is_empty() { None } else { names(&denied.allow) },
        ..denied.refusal.into()
    };
    let is_signed_out = denied.refusal.status() == StatusCode::UNAUTHORIZED;
    match arrival {
        Some(arrival) if grpc::is_call(&arrival.headers) => grpc::refused(denied.refusal),
        Some(arrival) if accept::is_navigation(&arrival.method, &arrival.headers) => {
            match login_path {
                Some(login_path) if is_signed_out => to_login(login_path, arrival),
                Some(_) | None => {
                    page::of_refusal(&refused, request_id, Language::negotiate(&arrival.headers))
                }
            }
        }
        Some(_) | None => refused.reply(request_id),
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use http::header::{ALLOW, CONTENT_TYPE, LOCATION};

    use super::*;
    use crate::endpoint::tests::arrival;
    use crate::refusal::Refusal;

    const BROWSER: &[(&str, &str)] = &[
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        ("accept-language", "ko"),
    ];
    const SCRIPT: &[(&str, &str)] = &[("sec-fetch-mode", "cors"), ("accept", "text/html")];

    fn refused(login_path: Option<&str>, headers: &[(&str, &str)], refusal: Refusal) -> Reply {
        let denied = Denial::new(refusal, None);
        in_form(login_path, Some(&arrival("GET", "/app?a=1", headers)), "r1", &denied)
    }

    #[test]
    fn a_browser_without_a_session_goes_to_the_login_page() {
        for refusal in [Refusal::NotAuthenticated, Refusal::SessionEnded] {
            let reply = refused(Some("/login"), BROWSER, refusal);
            assert_eq!(reply.status, StatusCode::SEE_OTHER);
            assert_eq!(reply.headers[LOCATION], "/login?next=/app%3Fa%3D1");
        }
    }

    #[test]
    fn a_script_or_a_tool_gets_401_and_json() {
        for headers in [SCRIPT, &[][..], &[("accept", "application/json")]] {
            let reply = refused(Some("/login"), headers, Refusal::NotAuthenticated);
            assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
            assert_eq!(reply.headers[CONTENT_TYPE], "application/json");
            assert!(reply.headers.contains_key(WWW_AUTHENTICATE));
        }
    }

    #[test]
    fn a_browser_sees_other_refusals_as_a_page_in_its_language() {
        for (login_path, refusal) in [
            (Some("/login"), Refusal::GroupRequired),
            (Some("/login"), Refusal::UpstreamUnavailable),
            (None, Refusal::NotAuthenticated),
        ] {
            let reply = refused(login_path, BROWSER, refusal);
            assert_eq!(reply.status, refusal.status());
            assert_eq!(reply.headers[CONTENT_TYPE], "text/html; charset=utf-8");
            assert!(std::str::from_utf8(&reply.body).unwrap().contains("<html lang=\"ko\">"));
        }
    }

    #[test]
    fn a_request_that_cannot_be_read_gets_json_and_405_its_methods() {
        let mut denied = Denial::new(Refusal::MethodNotAllowed, None);
        denied.allow = vec![Method::GET, Method::POST];
        let reply = in_form(Some("/login"), None, "r1", &denied);
        assert_eq!(reply.headers[CONTENT_TYPE], "application/json");
        assert_eq!(reply.headers[ALLOW], "GET, POST");
    }
}
