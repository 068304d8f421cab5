//! The answer to a refusal that was decided elsewhere: by the gate, or by the code that carries a request to its upstream.
//!
//! | client | nobody is signed in (401) | anything else |
//! |---|---|---|
//! | a browser that navigates | to the login page, and back from there | a page with code and request id |
//! | everybody else | JSON | JSON |
//!
//! A gRPC call is refused in gRPC's own format (`grpc`), whatever the reason. On a route with `refusals = "rest-framework"`
//! the JSON is what the service itself would send: `endpoint::rest_framework`.
//!
//! A script is never redirected to the login page: it would follow, read a page where it expects data, and not know why.

use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};

use super::navigation::to_login;
use super::page::SignedInPerson;
use super::refused::Refused;
use super::{Endpoints, grpc, names, page, rest_framework};
use crate::caller::SEVERAL_FACTORS;
use crate::config::RouteRefusals;
use crate::gate::Denial;
use crate::refusal::Refusal;
use crate::wire::accept::{self, Language};
use crate::wire::arrival::Arrival;
use crate::wire::reply::Reply;

/// A browser that reads this asks for a name and a password (RFC 7617), so it is only sent where an operator wants it.
const CHALLENGE: HeaderValue =
    HeaderValue::from_static("Basic realm=\"doorwarden\", charset=\"UTF-8\"");

impl Endpoints {
    /// Answers a refusal. `arrival` is `None` if the request could not be read.
    pub fn refuse(&self, arrival: Option<&Arrival>, request_id: &str, denied: &Denial) -> Reply {
        let pages = Pages {
            login: self.login_path.as_deref(),
            sign_out: self.sign_out_path.as_deref(),
            confirm: self.second_factor_path.as_deref(),
        };
        let mut reply = in_form(pages, arrival, request_id, denied);
        if self.challenges && reply.status == StatusCode::UNAUTHORIZED {
            reply.headers.append(WWW_AUTHENTICATE, CHALLENGE);
        }
        match (arrival, denied.dead_cookie) {
            (Some(arrival), Some(proof)) => self.remove_cookie(proof, arrival, reply),
            _ => reply,
        }
    }
}

/// The pages to which a browser may be redirected.
#[derive(Clone, Copy, Default)]
struct Pages<'a> {
    login: Option<&'a str>,
    sign_out: Option<&'a str>,
    confirm: Option<&'a str>,
}

/// Returns the answer in the format that the client can use.
fn in_form(
    pages: Pages<'_>,
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
            let leads_to = match denied.refusal {
                // The user is signed in, and confirms that it is still them.
                Refusal::InsufficientAuthentication => pages.confirm,
                _ => pages.login,
            };
            match leads_to {
                Some(login_path) if is_signed_out => to_login(login_path, arrival),
                Some(_) | None => {
                    let language = Language::negotiate(&arrival.headers);
                    let known = denied.caller.as_ref().filter(|_| is_about_the_account(denied));
                    let signed_in = known.map(|known| SignedInPerson {
                        name: &known.identity.name,
                        sign_out: pages.sign_out,
                    });
                    page::of_refusal(&refused, request_id, language, signed_in)
                }
            }
        }
        Some(_) | None => {
            let mut reply = refused.reply(request_id);
            if let Some(challenge) = challenge(denied) {
                reply.headers.insert(WWW_AUTHENTICATE, challenge);
            }
            match denied.route.as_ref().map(|route| &route.refusals) {
                Some(RouteRefusals::RestFramework { challenge }) => {
                    rest_framework::in_its_words(reply, denied.refusal, challenge.as_ref())
                }
                Some(RouteRefusals::Gateway) | None => reply,
            }
        }
    }
}

/// Returns what a program needs to get access (RFC 9470 section 3).
fn challenge(denied: &Denial) -> Option<HeaderValue> {
    let asks = denied.route.as_ref()?.asks;
    if denied.refusal != Refusal::InsufficientAuthentication {
        return None;
    }
    let mut text = String::from("Bearer realm=\"api\", error=\"insufficient_user_authentication\"");
    if !asks.asks() {
        // A detector asks, for a proof that is given from now on.
        text.push_str(&format!(", acr_values=\"{SEVERAL_FACTORS}\", max_age=\"0\""));
    }
    if asks.several_factors {
        text.push_str(&format!(", acr_values=\"{SEVERAL_FACTORS}\""));
    }
    if let Some(fresh) = asks.fresh {
        text.push_str(&format!(", max_age=\"{}\"", fresh.as_secs()));
    }
    HeaderValue::try_from(text).ok()
}

/// Whether another account might get access.
fn is_about_the_account(denied: &Denial) -> bool {
    matches!(denied.refusal, Refusal::AccountNotAllowed | Refusal::GroupRequired)
}

#[cfg(test)]
mod tests {
    use http::Method;
    use http::header::{ALLOW, CONTENT_TYPE, LOCATION};

    use super::*;
    use crate::endpoint::tests::arrival;

    const BROWSER: &[(&str, &str)] = &[
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        ("accept-language", "ko"),
    ];
    const SCRIPT: &[(&str, &str)] = &[("sec-fetch-mode", "cors"), ("accept", "text/html")];

    fn refused(login_path: Option<&str>, headers: &[(&str, &str)], refusal: Refusal) -> Reply {
        let denied = Denial::new(refusal, None);
        let pages = Pages { login: login_path, sign_out: None, confirm: Some("/confirm") };
        in_form(pages, Some(&arrival("GET", "/app?a=1", headers)), "r1", &denied)
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
    fn who_has_to_confirm_is_led_there_and_a_program_is_told_what_it_takes() {
        let reply = refused(Some("/login"), BROWSER, Refusal::InsufficientAuthentication);
        assert_eq!(reply.status, StatusCode::SEE_OTHER);
        assert_eq!(reply.headers[LOCATION], "/confirm?next=/app%3Fa%3D1");
        let path = crate::wire::path::PathPattern::default();
        let seconds = std::time::Duration::from_secs;
        for (several_factors, fresh, more) in [
            (true, None, ", acr_values=\"aal2\""),
            (false, Some(seconds(900)), ", max_age=\"900\""),
            (true, Some(seconds(60)), ", acr_values=\"aal2\", max_age=\"60\""),
        ] {
            let mut route = crate::config::Route::new("app", path.clone(), 0);
            route.asks = crate::config::AssuranceRequirement { several_factors, fresh };
            let route = Some(std::sync::Arc::new(route));
            let denied = Denial::new(Refusal::InsufficientAuthentication, route);
            let asked = arrival("GET", "/app", SCRIPT);
            let reply = in_form(Pages::default(), Some(&asked), "r1", &denied);
            assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
            let error = "Bearer realm=\"api\", error=\"insufficient_user_authentication\"";
            assert_eq!(reply.headers[WWW_AUTHENTICATE], format!("{error}{more}"));
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
        let pages = Pages { login: Some("/login"), ..Pages::default() };
        let reply = in_form(pages, None, "r1", &denied);
        assert_eq!(reply.headers[CONTENT_TYPE], "application/json");
        assert_eq!(reply.headers[ALLOW], "GET, POST");
    }
}
