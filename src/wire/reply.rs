//! An answer of the gateway itself, free of any framework.
//!
//! Every reply is `Cache-Control: no-store`. A refusal becomes a reply in one place, [`Reply::refusal`].

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY, RETRY_AFTER,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::json;

use crate::refusal::Refusal;

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The answer's status.
    pub status: StatusCode,
    /// The header fields, without `Content-Length` and `Date`.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// The body of nearly every refusal, written without a map: a sender of forged tokens gets many.
#[derive(Serialize)]
struct RefusalBody<'a> {
    code: &'a str,
    detail: &'a str,
    request_id: &'a str,
}

/// The capacity for header fields. Hardly any answer has more, those of the connection included, and a map that grows moves
/// all its entries.
const FIELDS: usize = 12;

impl Reply {
    /// Creates an empty answer.
    pub fn empty(status: StatusCode) -> Self {
        let mut headers = HeaderMap::with_capacity(FIELDS);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        Self { status, headers, body: Bytes::new() }
    }

    /// Creates a JSON answer.
    pub fn json(status: StatusCode, body: &serde_json::Value) -> Self {
        Self::empty(status).with_body("application/json", body.to_string())
    }

    /// Creates the answer to a refusal: `{"detail", "code", "request_id"}`.
    pub fn refusal(refusal: Refusal, request_id: &str) -> Self {
        Self::refusal_with(refusal, request_id, serde_json::Map::new())
    }

    /// Creates the answer to a refusal with further members (SimpleJWT's field errors, say), which come first.
    pub fn refusal_with(
        refusal: Refusal,
        request_id: &str,
        mut members: serde_json::Map<String, serde_json::Value>,
    ) -> Self {
        let body = if members.is_empty() {
            let (code, detail) = (refusal.code(), refusal.detail());
            // Three texts under three names can always be serialized.
            serde_json::to_string(&RefusalBody { code, detail, request_id }).unwrap_or_default()
        } else {
            members.insert("code".into(), json!(refusal.code()));
            members.insert("request_id".into(), json!(request_id));
            serde_json::Value::Object(members).to_string()
        };
        let mut reply = Self::empty(refusal.status()).with_body("application/json", body);
        match refusal.status() {
            StatusCode::UNAUTHORIZED => {
                reply
                    .headers
                    .insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge(refusal)));
            }
            StatusCode::FORBIDDEN if refusal.code() == "insufficient_scope" => {
                // The challenge is that of RFC 6750 section 3.1.
                let challenge = "Bearer realm=\"api\", error=\"insufficient_scope\"";
                reply.headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                reply.headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        reply
    }

    /// Creates a redirect to a path on this host (303: the next request is a GET).
    pub fn see_other(path: &HeaderValue) -> Self {
        Self::empty(StatusCode::SEE_OTHER).with_header(http::header::LOCATION, path.clone())
    }

    /// Sets a body of this type.
    #[must_use]
    pub fn with_body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = body.into();
        self
    }

    /// Adds one more header field.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }
}

/// Returns the challenge by RFC 6750 section 3: an invalid credential is `invalid_token`; without a credential there is no
/// error.
const fn challenge(refusal: Refusal) -> &'static str {
    match refusal.code().as_bytes() {
        b"token_not_valid" | b"session_ended" => "Bearer realm=\"api\", error=\"invalid_token\"",
        // RFC 9470 section 3.
        b"sign_in_again" | b"insufficient_user_authentication" => {
            "Bearer realm=\"api\", error=\"insufficient_user_authentication\""
        }
        b"bad_authorization_header" => "Bearer realm=\"api\", error=\"invalid_request\"",
        _ => "Bearer realm=\"api\"",
    }
}
