//! Refusals in the words of Django REST framework, on a route with `route.refusals = "rest-framework"`.
//!
//! A front end of such a service checks the status, and some check the members of the body and accept no unknown ones. A
//! caller without a credential, or with an invalid token, is refused as the service's own classes would: 401 with the
//! challenge of the first class, 403 if that class has none. What only a gateway refuses (the end of a session, 429, 503, a
//! request from another site) keeps all its members. The request id is in `X-Request-Id` in any case.

use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::refusal::Refusal;
use crate::wire::reply::Reply;

/// Returns the reply that the service would give. A refusal that it would not give stays as it is.
pub(super) fn in_its_words(
    mut reply: Reply,
    refusal: Refusal,
    challenge: Option<&HeaderValue>,
) -> Reply {
    let Some(body) = body(refusal) else { return reply };
    reply.body = body.to_string().into();
    match challenge {
        Some(challenge) => {
            reply.status = StatusCode::UNAUTHORIZED;
            reply.headers.insert(WWW_AUTHENTICATE, challenge.clone());
        }
        None => {
            reply.status = StatusCode::FORBIDDEN;
            reply.headers.remove(WWW_AUTHENTICATE);
        }
    }
    reply
}

fn body(refusal: Refusal) -> Option<Value> {
    let detail = refusal.detail();
    Some(match refusal {
        Refusal::NotAuthenticated | Refusal::OpaqueTokenNotValid => json!({"detail": detail}),
        Refusal::BadCredentials => json!({"detail": "Invalid username/password."}),
        Refusal::BadAuthorization => json!({"detail": detail, "code": refusal.code()}),
        Refusal::TokenNotValid
        | Refusal::TokenExpired
        | Refusal::TokenWrongType
        | Refusal::TokenBlacklisted => json!({
            "detail": "Given token not valid for any token type",
            "code": refusal.code(),
            "messages": [{
                "token_class": "AccessToken",
                "token_type": "access",
                "message": detail,
            }],
        }),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::refused::Refused;

    fn said(refusal: Refusal, challenge: Option<&str>) -> (u16, Option<String>, Value) {
        let challenge = challenge.map(|text| HeaderValue::from_str(text).unwrap());
        let reply = in_its_words(Refused::from(refusal).reply("r1"), refusal, challenge.as_ref());
        let header = reply.headers.get(WWW_AUTHENTICATE);
        let header = header.map(|value| value.to_str().unwrap().to_owned());
        (reply.status.as_u16(), header, serde_json::from_slice(&reply.body).unwrap())
    }

    #[test]
    fn who_is_nobody_is_refused_as_the_service_would() {
        let none = json!({"detail": "Authentication credentials were not provided."});
        let token = Some("Token".to_owned());
        assert_eq!(said(Refusal::NotAuthenticated, Some("Token")), (401, token, none.clone()));
        assert_eq!(said(Refusal::NotAuthenticated, None), (403, None, none));
        let (_, _, opaque) = said(Refusal::OpaqueTokenNotValid, Some("Token"));
        assert_eq!(opaque, json!({"detail": "Invalid token."}));
        let (_, _, jwt) = said(Refusal::TokenExpired, Some("Bearer realm=\"api\""));
        assert_eq!(jwt["code"], "token_not_valid");
        assert_eq!(jwt["messages"][0]["message"], "Token is expired");
    }

    #[test]
    fn what_only_a_gateway_says_keeps_its_own() {
        for refusal in [Refusal::SessionEnded, Refusal::CrossSite, Refusal::StoreUnavailable] {
            let (status, _, body) = said(refusal, Some("Token"));
            assert_eq!(status, refusal.status().as_u16());
            assert_eq!(
                (&body["code"], &body["request_id"]),
                (&json!(refusal.code()), &json!("r1"))
            );
        }
    }
}
