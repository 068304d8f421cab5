//! Who is calling? What a request brought to prove it, and whether that holds.
//!
//! Two places can hold a credential: `Authorization: Bearer`, and the session cookie. A bad Bearer never falls back to the
//! cookie (R20); two good ones that name two users are refused; with two that name one user the Bearer counts, since a
//! browser cannot send it unasked and so needs no cross-site check. Tokens in the query or a form are never credentials
//! (RFC 6750 sections 2.2 and 2.3 are not served). Another scheme in `Authorization` (Basic, Token) proves nothing here.

use std::sync::Arc;

use super::Auth;
use crate::caller::{Known, Proof};
use crate::event::What;
use crate::refusal::Refusal;
use crate::store::Session;
use crate::wire::arrival::Arrival;
use crate::wire::authorization::{self, Authorization};
use crate::wire::cookie::{self, CookieValue};

/// What a request brought.
#[derive(Debug)]
pub enum Presented {
    /// Nothing of ours.
    Nothing,
    /// A credential that holds.
    Good(Arc<Session>, Proof),
    /// One that does not, and which one.
    Bad(Refusal, Proof),
    /// Something that cannot be read at all, or two credentials of two people.
    Malformed(Refusal),
}

impl Auth {
    /// Checks what the request brought.
    pub async fn presented(
        &self,
        cookie_name: &str,
        arrival: &Arrival,
        happened: &mut Vec<What>,
    ) -> Presented {
        let bearer = match authorization::read(&arrival.headers) {
            Authorization::Repeated => return Presented::Malformed(Refusal::BadHeader),
            Authorization::NotAToken => {
                return Presented::Bad(Refusal::BadAuthorization, Proof::AccessToken);
            }
            Authorization::Bearer(token) => Some(token),
            Authorization::Absent | Authorization::Foreign => None,
        };
        let cookie = match cookie::read(&arrival.headers, cookie_name) {
            CookieValue::Absent => None,
            CookieValue::One(value) => Some(value),
            CookieValue::Conflicting | CookieValue::Malformed => {
                return Presented::Malformed(Refusal::BadCookie);
            }
        };
        let (client, at) = (arrival.client_ip(), arrival.at);
        match (bearer, cookie) {
            (None, None) => Presented::Nothing,
            (None, Some(value)) => Presented::of(
                self.cookie(value, client, at, happened).await,
                Proof::SessionCookie,
            ),
            (Some(token), None) => {
                Presented::of(self.bearer(token, client, at, happened).await, Proof::AccessToken)
            }
            (Some(token), Some(value)) => {
                let by_token = self.bearer(token, client, at, happened).await;
                let by_cookie = self.cookie(value, client, at, happened).await;
                match (by_token, by_cookie) {
                    (Ok(a), Ok(b)) if a.identity.load().key != b.identity.load().key => {
                        Presented::Malformed(Refusal::ConflictingCredentials)
                    }
                    (by_token, _) => Presented::of(by_token, Proof::AccessToken),
                }
            }
        }
    }
}

impl Presented {
    fn of(checked: Result<Arc<Session>, Refusal>, proof: Proof) -> Self {
        match checked {
            Ok(session) => Self::Good(session, proof),
            Err(refusal) => Self::Bad(refusal, proof),
        }
    }

    /// The caller that a good credential makes known.
    pub fn known(session: &Session, proof: Proof) -> Known {
        Known { identity: session.identity.load_full(), session: session.id.clone(), proof }
    }
}
