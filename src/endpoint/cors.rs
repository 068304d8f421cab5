//! Front ends on other origins: answers preflights, and sets the headers that let their scripts read an answer.
//!
//! The allowed origins are listed. Any other origin is never echoed: its answer lacks these headers, so its browser hides
//! the answer from the script. `null` and `*` are not origins. The fields replace those of an upstream, since two values
//! count as none, and what an upstream allows to an origin that is not listed is removed. An answer that depends on the
//! origin says so (`Vary`), whichever origin asked.
//!
//! CORS only permits reading: what the cookie authenticates from another origin is still refused unless
//! `session.trusted_origins` lists it.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderMap,
    HeaderValue, ORIGIN, VARY,
};
use http::{Method, StatusCode};

use crate::config;
use crate::wire::arrival::Arrival;
use crate::wire::forward::EditHeaders;
use crate::wire::reply::Reply;

/// The settings of `[cors]`, prepared for answers.
#[derive(Clone, Debug)]
pub struct CorsPolicy {
    origins: Vec<String>,
    allow_headers: Option<HeaderValue>,
    expose_headers: Option<HeaderValue>,
    allow_credentials: bool,
    max_age: HeaderValue,
}

impl CorsPolicy {
    /// Creates the policy from the configuration.
    pub fn new(config: &config::Cors) -> Self {
        let origins = config.allowed_origins.iter();
        Self {
            origins: origins
                .filter(|origin| !matches!(origin.as_str(), "null" | "*"))
                .cloned()
                .collect(),
            allow_headers: joined(&config.allowed_headers),
            expose_headers: joined(&config.exposed_headers),
            allow_credentials: config.allow_credentials,
            max_age: HeaderValue::from(config.max_age.as_secs()),
        }
    }

    /// Returns the answer to a preflight of a resource that takes `methods`.
    pub fn preflight(&self, arrival: &Arrival, methods: &[Method]) -> Reply {
        let mut reply = Reply::empty(StatusCode::NO_CONTENT);
        self.decorate(&arrival.headers, &mut reply.headers);
        if self.origin(&arrival.headers).is_some() {
            if let Some(methods) = super::names(methods) {
                reply.headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
            }
            if let Some(allowed) = &self.allow_headers {
                reply.headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed.clone());
            }
            reply.headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        }
        reply
    }

    /// Sets the fields of any answer to a request with these fields: our own, a refusal, or an upstream's. Doing it twice
    /// changes nothing.
    pub fn decorate(&self, request: &HeaderMap, response: &mut impl EditHeaders) {
        if self.origins.is_empty() {
            return;
        }
        if !varies_by_origin(response.headers()) {
            response.append(VARY, HeaderValue::from_static("Origin"));
        }
        let Some(origin) = self.origin(request) else {
            if request.contains_key(ORIGIN) {
                // An upstream that echoes every origin must not let it read either.
                response.remove(&ACCESS_CONTROL_ALLOW_ORIGIN);
                response.remove(&ACCESS_CONTROL_ALLOW_CREDENTIALS);
            }
            return;
        };
        response.set(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if self.allow_credentials {
            response.set(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        } else {
            response.remove(&ACCESS_CONTROL_ALLOW_CREDENTIALS);
        }
        if let Some(exposed) = &self.expose_headers {
            response.set(ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
        }
    }

    /// Whether the request comes from a listed origin.
    pub fn lists(&self, request: &HeaderMap) -> bool {
        self.origin(request).is_some()
    }

    /// Returns the one origin that the request names, if it is listed.
    fn origin<'r>(&self, request: &'r HeaderMap) -> Option<&'r HeaderValue> {
        let mut values = request.get_all(ORIGIN).iter();
        let origin = values.next()?;
        let is_listed = self.origins.iter().any(|listed| origin == listed.as_str());
        (values.next().is_none() && is_listed).then_some(origin)
    }
}

fn joined(names: &[String]) -> Option<HeaderValue> {
    if names.is_empty() { None } else { HeaderValue::try_from(names.join(", ")).ok() }
}

fn varies_by_origin(response: &HeaderMap) -> bool {
    response.get_all(VARY).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value
            .split(',')
            .any(|name| matches!(name.trim(), "*") || name.trim().eq_ignore_ascii_case("origin"))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::endpoint::tests::arrival;

    const FRONT: &str = "http://localhost:3000";
    const PREFLIGHT: (&str, &str) = ("access-control-request-method", "POST");

    fn policy(allow_credentials: bool) -> CorsPolicy {
        CorsPolicy::new(&config::Cors {
            allowed_origins: vec![FRONT.into(), "null".into(), "*".into()],
            allowed_headers: vec!["authorization".into(), "content-type".into()],
            exposed_headers: vec!["x-request-id".into()],
            allow_credentials,
            max_age: Duration::from_secs(600),
        })
    }

    fn fields(headers: &HeaderMap) -> Vec<(&str, &str)> {
        let mut fields: Vec<_> = headers
            .iter()
            .filter(|(name, _)| name.as_str().starts_with("access-control-") || *name == VARY)
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        fields.sort_unstable();
        fields
    }

    fn decorated(policy: &CorsPolicy, request: &[(&'static str, &str)]) -> HeaderMap {
        let mut response = HeaderMap::new();
        policy.decorate(&arrival("GET", "/", request).headers, &mut response);
        response
    }

    #[test]
    fn a_listed_origin_may_read() {
        assert_eq!(
            fields(&decorated(&policy(false), &[("origin", FRONT)])),
            [
                ("access-control-allow-origin", FRONT),
                ("access-control-expose-headers", "x-request-id"),
                ("vary", "Origin"),
            ]
        );
        let with_cookies = decorated(&policy(true), &[("origin", FRONT)]);
        assert_eq!(with_cookies[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
    }

    #[test]
    fn no_other_origin_is_echoed() {
        for request in [
            &[][..],
            &[("origin", "http://localhost:3001")],
            &[("origin", "https://localhost:3000")],
            &[("origin", "http://localhost:3000.evil.example")],
            &[("origin", "HTTP://LOCALHOST:3000")],
            &[("origin", "null")],
            &[("origin", "*")],
            &[("origin", "")],
            &[("origin", FRONT), ("origin", FRONT)],
            &[("origin", FRONT), ("origin", "https://evil.example")],
        ] {
            assert_eq!(
                fields(&decorated(&policy(true), request)),
                [("vary", "Origin")],
                "{request:?}"
            );
            let mut preflight = request.to_vec();
            preflight.push(PREFLIGHT);
            let reply =
                policy(true).preflight(&arrival("OPTIONS", "/", &preflight), &[Method::POST]);
            assert_eq!(fields(&reply.headers), [("vary", "Origin")], "{request:?}");
        }
    }

    #[test]
    fn what_an_upstream_allows_others_does_not_pass() {
        let allowed = |origin: &[(&str, &str)]| {
            let mut response = HeaderMap::new();
            response.append(
                ACCESS_CONTROL_ALLOW_ORIGIN,
                HeaderValue::from_static("https://evil.example"),
            );
            response.append(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            policy(true).decorate(&arrival("GET", "/", origin).headers, &mut response);
            response.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN)
                || response.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS)
        };
        assert!(!allowed(&[("origin", "https://evil.example")]));
        assert!(!allowed(&[("origin", "null")]));
        // Without an `Origin`, no page of another origin sent the request.
        assert!(allowed(&[]));
    }

    #[test]
    fn without_origins_nothing_is_said() {
        let policy = CorsPolicy::new(&config::Cors::default());
        assert_eq!(fields(&decorated(&policy, &[("origin", FRONT)])), []);
    }

    #[test]
    fn a_preflight_is_answered_with_what_is_allowed() {
        let asked = arrival("OPTIONS", "/login", &[("origin", FRONT), PREFLIGHT]);
        let reply = policy(true).preflight(&asked, &[Method::GET, Method::POST]);
        assert_eq!(reply.status, StatusCode::NO_CONTENT);
        assert_eq!(
            fields(&reply.headers),
            [
                ("access-control-allow-credentials", "true"),
                ("access-control-allow-headers", "authorization, content-type"),
                ("access-control-allow-methods", "GET, POST"),
                ("access-control-allow-origin", FRONT),
                ("access-control-expose-headers", "x-request-id"),
                ("access-control-max-age", "600"),
                ("vary", "Origin"),
            ]
        );
    }

    #[test]
    fn an_upstreams_own_fields_are_replaced_and_twice_is_once() {
        let request = arrival("GET", "/", &[("origin", FRONT)]).headers;
        let mut response = HeaderMap::new();
        response.append(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        response
            .append(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("https://other.example"));
        response.append(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        response.append(VARY, HeaderValue::from_static("Accept-Encoding, origin"));
        for _ in 0..2 {
            policy(false).decorate(&request, &mut response);
            assert_eq!(
                fields(&response),
                [
                    ("access-control-allow-origin", FRONT),
                    ("access-control-expose-headers", "x-request-id"),
                    ("vary", "Accept-Encoding, origin"),
                ]
            );
        }
    }
}
