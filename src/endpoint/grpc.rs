//! Refusals for gRPC clients: an answer of 200 whose header section says how the call ended ("Trailers-Only" of
//! `PROTOCOL-HTTP2.md`). Those clients turn any other status into an error of their own, without the reason.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::refusal::Refusal;
use crate::wire::reply::Reply;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The characters that are escaped in `grpc-message`.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// Whether the request is a gRPC call. Its browser form, gRPC-Web, is another protocol, whose clients read HTTP's statuses.
pub(super) fn is_call(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return false };
    match kind.as_bytes().strip_prefix(b"application/grpc") {
        Some([] | [b'+' | b';', ..]) => true,
        Some(_) | None => false,
    }
}

/// Returns the answer to a refused call.
pub(super) fn refused(refusal: Refusal) -> Reply {
    let mut reply = Reply::empty(StatusCode::OK);
    reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    reply.headers.insert(STATUS, HeaderValue::from(status(refusal)));
    let message = utf8_percent_encode(refusal.detail(), ESCAPED).to_string();
    if let Ok(message) = HeaderValue::from_str(&message) {
        reply.headers.insert(MESSAGE, message);
    }
    reply
}

/// Returns the gRPC status of a refusal (statuscodes.md, and http-grpc-status-mapping.md for the rest).
fn status(refusal: Refusal) -> u16 {
    match refusal.status() {
        StatusCode::UNAUTHORIZED => 16, // UNAUTHENTICATED
        StatusCode::FORBIDDEN => 7,     // PERMISSION_DENIED
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => 12, // UNIMPLEMENTED
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => 14, // UNAVAILABLE
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => 8, // RESOURCE_EXHAUSTED
        StatusCode::BAD_REQUEST | StatusCode::INTERNAL_SERVER_ERROR => 13, // INTERNAL
        _ => 2,                                                            // UNKNOWN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_known_by_its_content_type() {
        for (kind, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=x", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            assert_eq!(is_call(&headers), expected, "{kind}");
        }
        assert!(!is_call(&HeaderMap::new()));
    }

    #[test]
    fn refusals_have_the_statuses_that_clients_expect() {
        for (refusal, expected) in [
            (Refusal::NotAuthenticated, "16"),
            (Refusal::SessionEnded, "16"),
            (Refusal::GroupRequired, "7"),
            (Refusal::NoRoute, "12"),
            (Refusal::UpstreamUnavailable, "14"),
            (Refusal::UpstreamBusy, "14"),
            (Refusal::StoreUnavailable, "14"),
        ] {
            let reply = refused(refusal);
            assert_eq!(reply.status, StatusCode::OK);
            assert_eq!(reply.headers[STATUS], expected, "{refusal:?}");
            assert!(reply.body.is_empty());
        }
    }

    #[test]
    fn every_refusal_has_a_message_that_a_header_can_carry() {
        assert!(Refusal::ALL.iter().all(|one| refused(*one).headers.contains_key(MESSAGE)));
    }
}
