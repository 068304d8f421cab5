//! Who calls an own path, where that matters: `session`, `logout` and `logout/all`.
//!
//! The same rules as in front of the upstream: `Bearer`, one space and a token; a bad one is never made up for by a good
//! cookie; two that name two people are refused; another scheme is not ours, and as good as none.

use std::sync::Arc;

use http::header::AUTHORIZATION;

use super::Endpoints;
use crate::caller::Proof;
use crate::refusal::Refusal;
use crate::store::Session;
use crate::wire::arrival::Arrival;

/// The token of `Authorization: Bearer`; none without it.
pub(super) fn bearer(arrival: &Arrival) -> Result<Option<&str>, Refusal> {
    let mut values = arrival.headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::BadHeader);
    }
    // What begins like ours and goes on in another way is a mistake, and not another scheme.
    let is_ours = |start: &[u8]| start.eq_ignore_ascii_case(b"Bearer");
    if !value.as_bytes().get(..6).is_some_and(is_ours) {
        return Ok(None);
    }
    let rest = value.to_str().ok().and_then(|value| value.get(6..)).unwrap_or_default();
    match rest.strip_prefix(' ').filter(|token| is_token68(token)) {
        Some(token) => Ok(Some(token)),
        None => Err(Refusal::BadAuthorization),
    }
}

/// RFC 9110 section 11.2.
fn is_token68(token: &str) -> bool {
    let characters = token.trim_end_matches('=');
    !characters.is_empty()
        && characters.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

impl Endpoints {
    /// The live session of whoever calls, and how they proved it.
    pub(super) async fn caller(&self, arrival: &Arrival) -> Result<(Arc<Session>, Proof), Refusal> {
        let bearer = bearer(arrival)?;
        let cookie = self.cookie.read(&arrival.headers)?;
        match (bearer, cookie) {
            (None, None) => Err(Refusal::NotAuthenticated),
            (None, Some(cookie)) => {
                Ok((self.auth.cookie(cookie, arrival.at).await?, Proof::SessionCookie))
            }
            (Some(bearer), None) => {
                Ok((self.auth.bearer(bearer, arrival.at).await?, Proof::AccessToken))
            }
            (Some(bearer), Some(cookie)) => {
                let session = self.auth.bearer(bearer, arrival.at).await?;
                let other = live(self.auth.cookie(cookie, arrival.at).await)?;
                match other {
                    Some(other) if other.identity.load().key != session.identity.load().key => {
                        Err(Refusal::ConflictingCredentials)
                    }
                    Some(_) | None => Ok((session, Proof::AccessToken)),
                }
            }
        }
    }
}

/// The session, or that the credential has none; what keeps us from knowing stays an error.
pub(super) fn live<S>(found: Result<S, Refusal>) -> Result<Option<S>, Refusal> {
    match found {
        Ok(session) => Ok(Some(session)),
        Err(refusal) if refusal.status().is_server_error() => Err(refusal),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::tests::arrival;

    #[test]
    fn a_bearer_is_one_word_after_one_space() {
        for (value, token) in [
            ("Bearer a.b-c_d~e+f/g==", Ok(Some("a.b-c_d~e+f/g=="))),
            ("bearer abc", Ok(Some("abc"))),
            ("Bearer", Err(Refusal::BadAuthorization)),
            ("Bearer ", Err(Refusal::BadAuthorization)),
            ("Bearer  abc", Err(Refusal::BadAuthorization)),
            ("Bearer\tabc", Err(Refusal::BadAuthorization)),
            ("Bearer abc def", Err(Refusal::BadAuthorization)),
            ("Bearer abc,def", Err(Refusal::BadAuthorization)),
            ("Bearer ==", Err(Refusal::BadAuthorization)),
            ("Bearerabc", Err(Refusal::BadAuthorization)),
            ("Basic a2ltOmtpbQ==", Ok(None)),
            ("Token abc", Ok(None)),
            ("", Ok(None)),
        ] {
            assert_eq!(
                bearer(&arrival("GET", "/session", &[("authorization", value)])),
                token,
                "{value}"
            );
        }
        assert_eq!(bearer(&arrival("GET", "/session", &[])), Ok(None));
        let twice = [("authorization", "Bearer a"), ("authorization", "Bearer a")];
        assert_eq!(bearer(&arrival("GET", "/session", &twice)), Err(Refusal::BadHeader));
    }

    #[test]
    fn not_knowing_is_not_the_same_as_no_session() {
        assert_eq!(live(Ok(1)), Ok(Some(1)));
        for gone in [Refusal::SessionEnded, Refusal::TokenExpired, Refusal::TokenNotValid] {
            assert_eq!(live::<()>(Err(gone)), Ok(None));
        }
        assert_eq!(live::<()>(Err(Refusal::StoreUnavailable)), Err(Refusal::StoreUnavailable));
    }
}
