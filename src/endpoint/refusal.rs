//! The answer to a request that the gate, or the way to the upstream, refused.
//!
//! A browser that navigates gets a page, or is sent to the login page if signing in would help; everything else gets JSON.
//! A redirect only ever answers a navigation: a script would follow it and take the login page for its data.

use http::header::{ALLOW, HeaderValue};
use http::{Method, StatusCode};

use super::Endpoints;
use super::page::refusal_page;
use crate::gate::Denial;
use crate::wire::accept::{self, Language};
use crate::wire::arrival::Arrival;
use crate::wire::reply::Reply;

impl Endpoints {
    /// The answer to a refusal. Without an arrival the head itself was refused.
    pub fn refuse(&self, arrival: Option<&Arrival>, request_id: &str, denial: &Denial) -> Reply {
        let navigation = arrival
            .filter(|arrival| accept::is_navigation(&arrival.method, &arrival.headers));
        let mut reply = match navigation {
            Some(arrival) if denial.refusal.status() == StatusCode::UNAUTHORIZED => self
                .redirect_to_login(arrival)
                .unwrap_or_else(|| Reply::refusal(denial.refusal, request_id)),
            Some(arrival) => {
                let language = Language::negotiate(&arrival.headers);
                refusal_page(denial.refusal, request_id, language)
            }
            None => Reply::refusal(denial.refusal, request_id),
        };
        if !denial.allow.is_empty() {
            let names: Vec<&str> = denial.allow.iter().map(Method::as_str).collect();
            if let Ok(names) = HeaderValue::try_from(names.join(", ")) {
                reply.headers.insert(ALLOW, names);
            }
        }
        if denial.dead_cookie { self.cookie.remove(reply) } else { reply }
    }
}
