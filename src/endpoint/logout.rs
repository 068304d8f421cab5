//! `POST /logout` and `POST /logout/all`.
//!
//! Any credential signs out, and takes everything of its session with it: Bearer, the body's `refresh`, the cookie. Each
//! live session that is named ends. The cookie is taken away too, with the attributes it was set with, whether it meant
//! anything or not; it is kept where the session could not be ended (503), so that a second try still can.
//!
//! Signing out twice is no error: a session that is over already is what was asked for. But an answer of "signed out" is
//! only given where it is true: a token that does not verify or has expired names no session, the one it came from may
//! live on, and so it is refused, unless another credential ended one. `logout/all` must know whose sessions to end, so
//! it asks for a live one.
//!
//! The cookie counts only if the request cannot be another site's (`wire::cross_site`); one that may be, and brings nothing
//! else, is refused. A GET does nothing.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::refused::Refused;
use super::{Endpoints, Served, input};
use crate::event::{EndReason, What};
use crate::refusal::Refusal;
use crate::store::{Session, Which};
use crate::wire::arrival::Arrival;
use crate::wire::authorization::{self, Authorization};
use crate::wire::body::FieldProblem;
use crate::wire::reply::Reply;

/// How much ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Extent {
    /// The sessions named.
    Session,
    /// All of their users.
    User,
}

impl Endpoints {
    /// `POST /logout`, `POST /logout/all`.
    pub(super) async fn logout(
        &self,
        extent: Extent,
        arrival: &Arrival,
        body: &Bytes,
        happened: &mut Vec<What>,
    ) -> Served {
        let ended = self.end(extent, arrival, body, happened).await;
        let mut served = match ended {
            Ok(()) if input::is_page_form(arrival) => Served::reply(self.landing()),
            Ok(()) => Served::reply(Reply::empty(StatusCode::NO_CONTENT)),
            // Who wants to end everything and is signed out here has to sign in first.
            Err(refused)
                if input::is_page_form(arrival)
                    && refused.refusal.status() == StatusCode::UNAUTHORIZED =>
            {
                Served::reply(self.landing())
            }
            Err(refused) => Served::refused(refused, &arrival.request_id),
        };
        let keeps_cookie = served.refusal.is_some_and(|refusal| {
            refusal == Refusal::CrossSite || refusal.status().is_server_error()
        });
        if !keeps_cookie {
            served.reply = self.cookie.remove(served.reply);
        }
        served
    }

    async fn end(
        &self,
        extent: Extent,
        arrival: &Arrival,
        body: &Bytes,
        happened: &mut Vec<What>,
    ) -> Result<(), Refused> {
        if input::is_form(arrival) {
            input::same_site(arrival, &self.trusted_origins)?;
        }
        let fields = input::fields(arrival, body)?;
        let bearer = match authorization::read(&arrival.headers) {
            Authorization::Bearer(token) => Some(token),
            Authorization::Absent | Authorization::Foreign => None,
            Authorization::NotAToken => return Err(Refusal::BadAuthorization.into()),
            Authorization::Repeated => return Err(Refusal::BadHeader.into()),
        };
        let client = arrival.client_ip();
        let refresh = match fields.trimmed("refresh") {
            Ok(token) => Some(token),
            Err(FieldProblem::Required) => None,
            Err(problem) => return Err(Refused::field("refresh", problem)),
        };
        let cookie = self.cookie.read(&arrival.headers)?;
        let cookie = match input::same_site(arrival, &self.trusted_origins) {
            Ok(()) => cookie,
            // Without one either: a page elsewhere may not even have the cookie taken away.
            Err(refusal) if bearer.is_none() && refresh.is_none() => return Err(refusal.into()),
            Err(_) => None,
        };

        let mut found = Vec::with_capacity(3);
        if let Some(token) = bearer {
            found.push(self.auth.bearer(token, client, arrival.at, happened).await);
        }
        if let Some(token) = refresh {
            found.push(self.auth.session_of_refresh(token, arrival.at).await);
        }
        if let Some(value) = cookie {
            found.push(self.auth.cookie(value, client, arrival.at, happened).await);
        }
        for (which, why) in to_end(extent, found)? {
            self.auth.end(&which, why, arrival.at, happened).await?;
        }
        Ok(())
    }

    /// Where a browser lands after signing out.
    fn landing(&self) -> Reply {
        let path = self.login_path.as_deref().unwrap_or("/");
        Reply::see_other(&HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/")))
    }
}

/// What to end, from what each credential named; or why "signed out" cannot be said.
fn to_end(
    extent: Extent,
    found: Vec<Result<Arc<Session>, Refusal>>,
) -> Result<Vec<(Which, EndReason)>, Refusal> {
    let mut ends = Vec::new();
    let mut problem = None;
    for one in found {
        match one {
            Ok(session) => {
                let end = match extent {
                    Extent::Session => (Which::Session(session.id.clone()), EndReason::SignedOut),
                    Extent::User => (
                        Which::User(session.identity.load().key.clone()),
                        EndReason::SignedOutEverywhere,
                    ),
                };
                if !ends.contains(&end) {
                    ends.push(end);
                }
            }
            // Nothing is ended if not everything can be looked up: a retry then does all of it.
            Err(refusal) if refusal.status().is_server_error() => return Err(refusal),
            Err(refusal) => problem = problem.or(Some(refusal)),
        }
    }
    let is_over = matches!(problem, None | Some(Refusal::SessionEnded | Refusal::TokenBlacklisted));
    match (extent, problem) {
        _ if !ends.is_empty() => Ok(ends),
        (Extent::Session, _) if is_over => Ok(ends),
        (_, problem) => Err(problem.unwrap_or(Refusal::NotAuthenticated)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::tests::session;

    fn one(id: &str) -> (Which, EndReason) {
        (Which::Session(session(id, "2").id.clone()), EndReason::SignedOut)
    }

    fn all(user: &str) -> (Which, EndReason) {
        (
            Which::User(session("x", user).identity.load().key.clone()),
            EndReason::SignedOutEverywhere,
        )
    }

    #[test]
    fn every_live_session_that_is_named_ends_once() {
        for (extent, found, ends) in [
            (Extent::Session, vec![Ok(session("a", "2"))], vec![one("a")]),
            (Extent::Session, vec![Ok(session("a", "2")), Ok(session("a", "2"))], vec![one("a")]),
            (
                Extent::Session,
                vec![Ok(session("a", "2")), Ok(session("b", "3"))],
                vec![one("a"), one("b")],
            ),
            (Extent::User, vec![Ok(session("a", "2")), Ok(session("b", "2"))], vec![all("2")]),
            (
                Extent::Session,
                vec![Err(Refusal::TokenExpired), Ok(session("a", "2"))],
                vec![one("a")],
            ),
        ] {
            assert_eq!(to_end(extent, found), Ok(ends));
        }
    }

    #[test]
    fn signing_out_twice_is_no_error() {
        for found in [
            vec![],
            vec![Err(Refusal::SessionEnded)],
            vec![Err(Refusal::TokenBlacklisted)],
            vec![Err(Refusal::SessionEnded), Err(Refusal::TokenBlacklisted)],
        ] {
            assert_eq!(to_end(Extent::Session, found), Ok(vec![]));
        }
    }

    #[test]
    fn signed_out_is_only_said_where_it_is_true() {
        for (extent, found, refusal) in [
            (Extent::Session, vec![Err(Refusal::TokenExpired)], Refusal::TokenExpired),
            (Extent::Session, vec![Err(Refusal::TokenNotValid)], Refusal::TokenNotValid),
            (Extent::User, vec![], Refusal::NotAuthenticated),
            (Extent::User, vec![Err(Refusal::SessionEnded)], Refusal::SessionEnded),
            (
                Extent::Session,
                vec![Ok(session("a", "2")), Err(Refusal::StoreUnavailable)],
                Refusal::StoreUnavailable,
            ),
        ] {
            assert_eq!(to_end(extent, found), Err(refusal));
        }
    }
}
