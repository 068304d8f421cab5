//! The third step: who is calling?
//!
//! Two places can hold a credential: `Authorization: Bearer`, and the session cookie. A bad Bearer never falls back to the
//! cookie (R20); two good ones that name two users are refused; with two that name one user the Bearer counts, since a
//! browser cannot send it unasked and so needs no cross-site check. Tokens in the query or a form are never credentials
//! (RFC 6750 sections 2.2 and 2.3 are not served). Another scheme in `Authorization` (Basic, Token) is not ours: it proves
//! nothing here, and reaches the upstream only on a route where nobody is known.

use http::header::{AUTHORIZATION, COOKIE};

use crate::auth::Auth;
use crate::caller::{Known, Proof};
use crate::event::What;
use crate::refusal::Refusal;
use crate::wire::arrival::Arrival;
use crate::wire::cookie::{self, CookieValue};

/// What a request brought to prove who is calling.
#[derive(Debug)]
pub(super) enum Presented {
    /// Nothing of ours.
    Nothing,
    /// A credential that holds.
    Good(Known),
    /// One that does not, and which one.
    Bad(Refusal, Proof),
    /// Something that no route lets pass.
    Malformed(Refusal),
}

/// What `Authorization` holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Authorization<'a> {
    /// Nothing.
    Absent,
    /// `Bearer` and one token (RFC 6750 section 2.1).
    Bearer(&'a str),
    /// `Bearer` and something that is no token.
    NotAToken,
    /// Another scheme.
    Foreign,
    /// More than one field.
    Repeated,
}

/// Reads `Authorization`.
pub(super) fn authorization(arrival: &Arrival) -> Authorization<'_> {
    let mut values = arrival.headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Authorization::Absent };
    if values.next().is_some() {
        return Authorization::Repeated;
    }
    let bytes = value.as_bytes();
    let scheme_ends = bytes.iter().position(|byte| *byte == b' ').unwrap_or(bytes.len());
    let (scheme, rest) = bytes.split_at(scheme_ends);
    // A scheme is case-insensitive (RFC 9110 section 11.1). Anything that begins like ours and is not
    // exactly "Bearer SP token" is refused instead of being passed on as something foreign.
    if !scheme.get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"bearer")) {
        return Authorization::Foreign;
    }
    let token = rest.strip_prefix(b" ").filter(|token| scheme.len() == 6 && is_token68(token));
    match token.and_then(|token| std::str::from_utf8(token).ok()) {
        Some(token) => Authorization::Bearer(token),
        None => Authorization::NotAToken,
    }
}

/// RFC 9110 section 11.2.
fn is_token68(token: &[u8]) -> bool {
    let end = token.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let (text, _padding) = token.split_at(end);
    !text.is_empty()
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte))
}

/// Checks what the request brought.
pub(super) async fn check(
    auth: &Auth,
    cookie_name: &str,
    arrival: &Arrival,
    happened: &mut Vec<What>,
) -> Presented {
    let bearer = match authorization(arrival) {
        Authorization::Repeated => return Presented::Malformed(Refusal::BadHeader),
        Authorization::NotAToken => {
            return Presented::Bad(Refusal::BadAuthorization, Proof::AccessToken);
        }
        Authorization::Bearer(token) => Some(token),
        Authorization::Absent | Authorization::Foreign => None,
    };
    let cookie = match cookie::read(arrival.headers.get_all(COOKIE), cookie_name) {
        CookieValue::Absent => None,
        CookieValue::One(value) => Some(value),
        CookieValue::Conflicting | CookieValue::Malformed => {
            return Presented::Malformed(Refusal::BadCookie);
        }
    };
    match (bearer, cookie) {
        (None, None) => Presented::Nothing,
        (None, Some(value)) => {
            verdict(auth.cookie(value, arrival.client, arrival.at, happened).await, Proof::SessionCookie)
        }
        (Some(token), None) => {
            verdict(auth.bearer(token, arrival.client, arrival.at, happened).await, Proof::AccessToken)
        }
        (Some(token), Some(value)) => {
            let by_token = auth.bearer(token, arrival.client, arrival.at, happened).await;
            let by_cookie = auth.cookie(value, arrival.client, arrival.at, happened).await;
            match (by_token, by_cookie) {
                (Ok(a), Ok(b)) if a.identity.load().key != b.identity.load().key => {
                    Presented::Malformed(Refusal::ConflictingCredentials)
                }
                (by_token, _) => verdict(by_token, Proof::AccessToken),
            }
        }
    }
}

fn verdict(
    checked: Result<std::sync::Arc<crate::store::Session>, Refusal>,
    proof: Proof,
) -> Presented {
    match checked {
        Ok(session) => Presented::Good(Known {
            identity: session.identity.load_full(),
            session: session.id.clone(),
            proof,
        }),
        Err(refusal) => Presented::Bad(refusal, proof),
    }
}
