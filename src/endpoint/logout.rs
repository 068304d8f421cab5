//! `POST /logout` and `POST /logout/all`.
//!
//! Any credential signs out, and ends everything of its session: a bearer token, the body's `refresh`, the cookie. Each
//! live session that is named ends. The cookie is removed too, with the attributes it was set with, whether it was valid
//! or not. It is kept if the session could not be ended (503), so that a second try still can.
//!
//! Signing out twice is no error: a session that has ended already is what the user asked for. But the answer "signed out"
//! is only given if it is true: a token that does not verify or has expired names no session, and the session it came from
//! may live on. So it is refused, unless another credential ended one. `logout/all` must know whose sessions to end, so it
//! requires a live one.
//!
//! The cookie counts only if another site cannot have sent the request (`wire::cross_site`). A request that another site
//! may have sent, with nothing else in it, is refused. A GET only shows a page that asks (`endpoint::logout_page`).

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use super::refused::Refused;
use super::{Endpoints, Served, input, navigation, page};
use crate::caller::{Identity, Proof, UserKey};
use crate::event::EndReason;
use crate::issuer::credential::{Credential, Presented};
use crate::issuer::{IssuedCredential, NotTakenOver, RefreshSubject};
use crate::refusal::Refusal;
use crate::session::personal_token::PersonalTokenUse;
use crate::store::{Session, SessionSelection};
use crate::wire::accept::Language;
use crate::wire::arrival::Arrival;
use crate::wire::body::{FieldProblem, Fields};
use crate::wire::reply::Reply;

/// How much a sign-out ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LogoutScope {
    /// The sessions that are named.
    Session,
    /// All sessions of their users.
    User,
}

impl Endpoints {
    /// Answers `POST /logout` and `POST /logout/all`.
    pub(super) async fn logout(
        &self,
        extent: LogoutScope,
        arrival: &Arrival,
        body: &Bytes,
    ) -> Served {
        let ended = match self.logout_fields(arrival, body) {
            Ok(fields) => match refresh_token(&fields) {
                Ok(refresh) => self.end(extent, arrival, refresh).await,
                Err(refused) => Err(refused),
            },
            Err(refused) => Err(refused),
        };
        let mut served = match ended {
            Ok(_) if input::is_page_form(arrival) => Served::reply(self.landing()),
            Ok(_) => Served::reply(Reply::empty(StatusCode::NO_CONTENT)),
            // A user who wants to end everything but is signed out here has to sign in first.
            Err(refused)
                if input::is_page_form(arrival)
                    && refused.refusal.status() == StatusCode::UNAUTHORIZED =>
            {
                Served::reply(self.landing())
            }
            Err(refused) if input::is_page_form(arrival) => {
                let language = Language::negotiate(&arrival.headers);
                let reply = page::of_refusal(&refused, &arrival.request_id, language, None);
                Served { reply, refusal: Some(refused.refusal) }
            }
            Err(refused) => Served::refused(refused, &arrival.request_id),
        };
        if !keeps_cookie(&served) {
            served.reply = self.remove_cookies(arrival, served.reply);
        }
        served
    }

    pub(super) fn logout_fields(&self, arrival: &Arrival, body: &Bytes) -> Result<Fields, Refused> {
        if input::is_form(arrival) {
            input::same_site(arrival, &self.trusted_origins)?;
        }
        input::fields(arrival, body)
    }

    /// Ends what the request names. Returns whether there was anything.
    pub(super) async fn end(
        &self,
        extent: LogoutScope,
        arrival: &Arrival,
        refresh: Option<&str>,
    ) -> Result<bool, Refused> {
        let mut tokens = self
            .issuers
            .tokens(arrival, &crate::config::CredentialSelection::All, PersonalTokenUse::Refused)
            .await
            .map_err(|found| match found {
                Presented::Bad(refusal, _) | Presented::Malformed(refusal) => refusal,
                Presented::Nothing | Presented::Good(_) => Refusal::Internal,
            })?;
        // This precedes the check of the sender: an unreadable cookie is refused in any case.
        self.cookie.read(&arrival.headers)?;
        let is_same_site = input::same_site(arrival, &self.trusted_origins);
        let unasked = |found: &Result<Credential, (Refusal, Proof)>| match found {
            Ok(credential) => credential.proof().is_sent_unasked(),
            Err((_, proof)) => proof.is_sent_unasked(),
        };
        if let Err(refusal) = is_same_site {
            tokens.retain(|token| !unasked(token));
            // This holds without a cookie too: a page of another site must not even have it removed.
            if tokens.is_empty() && refresh.is_none() {
                return Err(refusal.into());
            }
        }

        let mut found: Vec<Result<NamedCredential, Refusal>> = tokens
            .into_iter()
            .map(|token| token.map(NamedCredential::from).map_err(|(refusal, _)| refusal))
            .collect();
        if let Some(token) = refresh {
            let held = self.issuers.held_by_refresh(token, arrival.at, &arrival.events).await;
            found.push(match held {
                Ok(RefreshSubject::Session { session, .. }) => {
                    Ok(NamedCredential::Session(session))
                }
                Ok(RefreshSubject::Nothing(token)) if extent == LogoutScope::User => {
                    let good = self.issuers.may_begin(&token, arrival.at).await;
                    good.map(|()| NamedCredential::NotTakenOver(token))
                }
                Ok(RefreshSubject::Nothing(token)) => Ok(NamedCredential::NotTakenOver(token)),
                Err(refusal) => Err(refusal),
            });
        }
        if is_same_site.is_ok() {
            let cookies =
                self.issuers.cookies(arrival, &crate::config::CredentialSelection::All).await?;
            found.extend(cookies.into_iter().map(|cookie| cookie.map(NamedCredential::from)));
        }
        let ends = to_end(extent, found)?;
        let any = !ends.is_empty();
        for end in ends {
            match end {
                EndTarget::Sessions(which, why) => {
                    self.issuers.sessions().end(&which, why, arrival.at, &arrival.events).await?;
                }
                EndTarget::NotTakenOver(token) => {
                    self.issuers.end_not_taken_over(&token, arrival.at, &arrival.events).await?;
                }
                EndTarget::Issued(issued) => {
                    self.issuers.end_issued(&issued, arrival.at, &arrival.events).await?;
                }
            }
        }
        Ok(any)
    }

    /// Redirects a browser to where it goes after signing out.
    pub(super) fn landing(&self) -> Reply {
        let path = self.login_path.as_deref().unwrap_or("/");
        navigation::to(path)
    }
}

/// Returns the refresh token of a body, if it has one.
fn refresh_token(fields: &Fields) -> Result<Option<&str>, Refused> {
    match fields.trimmed("refresh") {
        Ok(token) => Ok(Some(token)),
        Err(FieldProblem::Required) => Ok(None),
        Err(problem) => Err(Refused::field("refresh", problem)),
    }
}

/// Whether the cookie must stay: if the session could not be ended, so that a second try still can, or if another site's
/// page sent the request.
pub(super) fn keeps_cookie(served: &Served) -> bool {
    served
        .refusal
        .is_some_and(|refusal| refusal == Refusal::CrossSite || refusal.status().is_server_error())
}

/// The session or token that a credential names.
enum NamedCredential {
    /// A session.
    Session(Arc<Session>),
    /// A token without a session, and its user.
    Issued(Arc<IssuedCredential>, Arc<Identity>),
    /// A refresh token of a service whose session could begin.
    NotTakenOver(NotTakenOver),
}

impl From<Credential> for NamedCredential {
    fn from(credential: Credential) -> Self {
        match credential {
            Credential::Session(session, _) => Self::Session(session),
            Credential::Issued(_, _, Some(session)) => Self::Session(session),
            Credential::Issued(issued, identity, None) => Self::Issued(issued, identity),
        }
    }
}

/// What a sign-out ends.
#[derive(Debug)]
enum EndTarget {
    /// Sessions, and the reason.
    Sessions(SessionSelection, EndReason),
    /// A token of an issuer.
    Issued(Arc<IssuedCredential>),
    /// The session that a refresh token of an issuer could begin.
    NotTakenOver(NotTakenOver),
}

/// Returns what to end, from what each credential named, or why the answer "signed out" would not be true.
fn to_end(
    extent: LogoutScope,
    found: Vec<Result<NamedCredential, Refusal>>,
) -> Result<Vec<EndTarget>, Refusal> {
    let mut ends: Vec<EndTarget> = Vec::new();
    let mut problem = None;
    for one in found {
        match one {
            Ok(named) => {
                let end = match (extent, named) {
                    (LogoutScope::Session, NamedCredential::Session(session)) => {
                        EndTarget::Sessions(
                            SessionSelection::Session(session.id.clone()),
                            EndReason::SignedOut,
                        )
                    }
                    (LogoutScope::Session, NamedCredential::Issued(issued, _)) => {
                        EndTarget::Issued(issued)
                    }
                    (LogoutScope::User, NamedCredential::Session(session)) => {
                        everything_of(&session.identity.load().key)
                    }
                    (LogoutScope::User, NamedCredential::Issued(_, identity)) => {
                        everything_of(&identity.key)
                    }
                    (LogoutScope::Session, NamedCredential::NotTakenOver(token)) => {
                        EndTarget::NotTakenOver(token)
                    }
                    // From then on it is refused because of the date at which all sessions of its user ended.
                    (LogoutScope::User, NamedCredential::NotTakenOver(token)) => {
                        everything_of(token.user())
                    }
                };
                let is_known = |other: &EndTarget| match (other, &end) {
                    (EndTarget::Sessions(a, _), EndTarget::Sessions(b, _)) => a == b,
                    (EndTarget::Issued(a), EndTarget::Issued(b)) => Arc::ptr_eq(a, b),
                    // A body has a single field for it, so there are no duplicates.
                    (EndTarget::NotTakenOver(_), _) | (_, EndTarget::NotTakenOver(_)) => false,
                    (EndTarget::Sessions(..), EndTarget::Issued(_))
                    | (EndTarget::Issued(_), EndTarget::Sessions(..)) => false,
                };
                if !ends.iter().any(is_known) {
                    ends.push(end);
                }
            }
            // If not everything can be looked up, nothing is ended: a retry then ends all of it.
            Err(refusal) if refusal.status().is_server_error() => return Err(refusal),
            Err(refusal) => problem = problem.or(Some(refusal)),
        }
    }
    let is_over = matches!(
        problem,
        None | Some(Refusal::SessionEnded | Refusal::TokenBlacklisted | Refusal::JwtEnded)
    );
    match (extent, problem) {
        _ if !ends.is_empty() => Ok(ends),
        (LogoutScope::Session, _) if is_over => Ok(ends),
        (_, problem) => Err(problem.unwrap_or(Refusal::NotAuthenticated)),
    }
}

fn everything_of(user: &UserKey) -> EndTarget {
    let which = SessionSelection::SignIns { user: user.clone(), kept: None };
    EndTarget::Sessions(which, EndReason::SignedOutEverywhere)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::tests::session;

    fn one(id: &str) -> (SessionSelection, EndReason) {
        (SessionSelection::Session(session(id, "2").id.clone()), EndReason::SignedOut)
    }

    fn all(user: &str) -> (SessionSelection, EndReason) {
        (
            SessionSelection::SignIns {
                user: session("x", user).identity.load().key.clone(),
                kept: None,
            },
            EndReason::SignedOutEverywhere,
        )
    }

    fn ends_of(
        extent: LogoutScope,
        found: Vec<Result<Arc<Session>, Refusal>>,
    ) -> Result<Vec<(SessionSelection, EndReason)>, Refusal> {
        let found = found.into_iter().map(|one| one.map(NamedCredential::Session)).collect();
        let ends = to_end(extent, found)?.into_iter().map(|end| match end {
            EndTarget::Sessions(which, why) => (which, why),
            other => panic!("{other:?} was not named"),
        });
        Ok(ends.collect())
    }

    #[test]
    fn every_live_session_that_is_named_ends_once() {
        for (extent, found, ends) in [
            (LogoutScope::Session, vec![Ok(session("a", "2"))], vec![one("a")]),
            (
                LogoutScope::Session,
                vec![Ok(session("a", "2")), Ok(session("a", "2"))],
                vec![one("a")],
            ),
            (
                LogoutScope::Session,
                vec![Ok(session("a", "2")), Ok(session("b", "3"))],
                vec![one("a"), one("b")],
            ),
            (LogoutScope::User, vec![Ok(session("a", "2")), Ok(session("b", "2"))], vec![all("2")]),
            (
                LogoutScope::Session,
                vec![Err(Refusal::TokenExpired), Ok(session("a", "2"))],
                vec![one("a")],
            ),
        ] {
            assert_eq!(ends_of(extent, found), Ok(ends));
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
            assert_eq!(ends_of(LogoutScope::Session, found), Ok(vec![]));
        }
    }

    #[test]
    fn signed_out_is_only_said_where_it_is_true() {
        for (extent, found, refusal) in [
            (LogoutScope::Session, vec![Err(Refusal::TokenExpired)], Refusal::TokenExpired),
            (LogoutScope::Session, vec![Err(Refusal::TokenNotValid)], Refusal::TokenNotValid),
            (LogoutScope::User, vec![], Refusal::NotAuthenticated),
            (LogoutScope::User, vec![Err(Refusal::SessionEnded)], Refusal::SessionEnded),
            (
                LogoutScope::Session,
                vec![Ok(session("a", "2")), Err(Refusal::StoreUnavailable)],
                Refusal::StoreUnavailable,
            ),
        ] {
            assert_eq!(ends_of(extent, found), Err(refusal));
        }
    }
}
