//! `/login/second-factor` for a signed-in user: confirms that it is still the same person, and shows the page for it.
//!
//! | a body with | does |
//! |---|---|
//! | `otp` or `password`, and a session | raises the assurance of the session |
//! | `mail`, and a session | has a code mailed for it ([`super::mailed_code`]) |
//!
//! The bodies for passkeys are described at the head of [`super::passkey`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

use super::factor_page::CodePage;
use super::login::{next_of_form, next_of_query};
use super::mailed_code::{MailedCodePage, takes_a_code_still, wants_mail};
use super::passkey::{PasskeyStep, challenge};
use super::refused::Refused;
use super::second_factor::{session_in, text};
use super::{Endpoints, Served, navigation};
use crate::caller::Proof;
use crate::factor::OfferedFactors;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::session::personal_token::PersonalTokenUse;
use crate::session::step_up::Confirmation;
use crate::store::Session;
use crate::wire::arrival::Arrival;
use crate::wire::body::{FieldProblem, Fields};
use crate::wire::next::Next;
use crate::wire::reply::Reply;

/// A proof of this age counts as just given. No route can ask for a fresher one (`route.fresh`).
const JUST_PROVED: Duration = Duration::from_secs(60);

impl Endpoints {
    /// Answers `GET`: shows the page on which a signed-in user confirms that it is still them.
    pub(super) async fn confirm_page(&self, arrival: &Arrival) -> Served {
        let next = next_of_query(arrival.target.query());
        match self.session_to_confirm(arrival).await {
            Ok((session, _)) => {
                let path = arrival.target.path().as_str();
                self.asks_again(arrival, &session, (path, &next, None), None).await
            }
            Err(refused) => self.to_login_or_refused(arrival, refused),
        }
    }

    /// Answers `POST`: takes a signed-in user's proof, or gives what the proof needs (a challenge or a mailed code).
    pub(super) async fn confirm(
        &self,
        arrival: &Arrival,
        (fields, body): (&Fields, &Bytes),
        wants_page: bool,
    ) -> Served {
        let next = next_of_form(fields);
        let held = text(fields, "held").map(Secret::new);
        let leads_to = (arrival.target.path().as_str(), &next, held.as_ref().map(Secret::expose));
        let (session, proof) = match self.session_to_confirm(arrival).await {
            Ok(found) => found,
            Err(refused) if wants_page => return self.to_login_or_refused(arrival, refused),
            Err(refused) => return Served::refused(refused, &arrival.request_id),
        };
        if let Err(refusal) = self.is_from_here(arrival, proof) {
            return self.second_step_refused(arrival, wants_page, refusal.into());
        }
        if wants_mail(fields) {
            let made = self.mail_for_session(arrival, &session).await;
            return match wants_page {
                true => self.code_asked_again(arrival, &session, leads_to, made.err()).await,
                false => Self::code_mailed(made, arrival),
            };
        }
        let otp = text(fields, "otp").map(Secret::new);
        let password = fields.text("password").ok().map(Secret::new);
        let step = PasskeyStep::read(fields, body);
        let confirmation = match (&step, &otp, &password) {
            (Some(PasskeyStep::Used(said)), _, _) => Confirmation::Passkey(said.said()),
            (Some(PasskeyStep::Challenge), None, None) if !wants_page => {
                let context = &arrival.context();
                let sessions = self.issuers.sessions();
                let begun = sessions.passkeys().challenge_confirmation(&session, context).await;
                let made = begun.map(|begun| Reply::json(StatusCode::OK, &challenge(begun)));
                return Served::of(made.map_err(Refused::from), arrival);
            }
            (_, Some(otp), _) => Confirmation::Code(otp),
            (_, None, Some(password)) => Confirmation::Password(password),
            (_, None, None) => {
                let required = Refused::field("otp", FieldProblem::Required);
                return match wants_page {
                    true => self.asks_again(arrival, &session, leads_to, Some(&required)).await,
                    false => Served::refused(required, &arrival.request_id),
                };
            }
        };
        let sessions = self.issuers.sessions();
        let device = sessions.cookie_names().device_of(&arrival.headers);
        let was_asked = sessions.step_up().is_asked(&session, arrival.at);
        let context = &arrival.context();
        let raised = sessions.step_up().confirm(&session, confirmation, device, context).await;
        // From now on a copy of the old cookie, which the detector may have seen, is worthless.
        let another = match &raised {
            Ok(session) if was_asked && proof == Proof::SessionCookie => {
                sessions.step_up().another_cookie(session, arrival.at).await.map(Some)
            }
            Ok(_) | Err(_) => Ok(None),
        };
        let another = match another {
            Ok(another) => another,
            Err(refusal) => return self.second_step_refused(arrival, wants_page, refusal.into()),
        };
        let served = match raised.map_err(Refused::from) {
            Ok(session) if wants_page => {
                let page = match &held {
                    Some(ticket) => self.held(arrival, &session, ticket).await,
                    None => Ok(None),
                };
                match page {
                    Ok(Some(page)) => Served::reply(page),
                    Ok(None) => Served::reply(Reply::see_other(&next.location())),
                    Err(refusal) => self.second_step_refused(arrival, true, refusal.into()),
                }
            }
            Ok(session) => {
                let body = json!({
                    "amr": session.assurance.methods.names().collect::<Vec<_>>(),
                    "auth_time": session.assurance.auth_time.map(crate::clock::Timestamp::as_secs),
                });
                Served::reply(Reply::json(StatusCode::OK, &body))
            }
            Err(refused) if wants_page && refused.refusal == Refusal::SignInAgain => {
                self.to_login_or_refused(arrival, refused)
            }
            Err(refused) if wants_page && otp.is_some() => {
                match sessions.mailed_codes().confirms(&session, arrival.at).await {
                    Ok(true) => {
                        self.code_asked_again(arrival, &session, leads_to, Some(refused)).await
                    }
                    Ok(false) | Err(_) => {
                        self.asks_again(arrival, &session, leads_to, Some(&refused)).await
                    }
                }
            }
            Err(refused) if wants_page => {
                self.asks_again(arrival, &session, leads_to, Some(&refused)).await
            }
            Err(refused) => Served::refused(refused, &arrival.request_id),
        };
        match another {
            Some(cookie) => match self.cookie.set(served.reply, None, &cookie, arrival) {
                Ok(reply) => Served { reply, refusal: served.refusal },
                Err(refusal) => self.second_step_refused(arrival, wants_page, refusal.into()),
            },
            None => served,
        }
    }

    /// Returns the page that asks a signed-in user for a proof. `held` is the ticket of a form that is stored meanwhile.
    pub(super) async fn asks_again(
        &self,
        arrival: &Arrival,
        session: &Session,
        (action, next, held): (&str, &Next, Option<&str>),
        problem: Option<&Refused>,
    ) -> Served {
        let sessions = self.issuers.sessions();
        let user = session.identity.load().key.clone();
        let all = sessions.factors().all_of(&user, arrival.at).await;
        let by_mail = sessions.mailed_codes().confirms(session, arrival.at).await;
        let (all, by_mail) = match (all, by_mail) {
            (Ok(all), Ok(by_mail)) => (all, by_mail),
            (Err(refusal), _) | (_, Err(refusal)) => {
                return self.second_step_refused(arrival, true, refusal.into());
            }
        };
        let by_code = all.has_any();
        // A user who has just given their password, and is asked again, needs a second factor for where they want to go.
        let has_just_proved =
            session.assurance.auth_time.is_some_and(|at| arrival.at.since(at) < JUST_PROVED);
        let has_to_have_one = problem.is_none() && has_just_proved && !by_code;
        if let Some(path) = self.factors_path.as_deref()
            && has_to_have_one
            && !by_mail
        {
            return Served::reply(navigation::to(path));
        }
        let name = session.identity.load().name.clone();
        let page = CodePage {
            held,
            asks_password: !by_code,
            offered: OfferedFactors { mail: by_mail, ..sessions.factors().offered(&all) },
            name: Some(&name),
            ..self.code_page(arrival, action, next)
        };
        if has_to_have_one && by_mail {
            let page = MailedCodePage { code: page, is_sent: false };
            return Served::reply(page.reply(None, &arrival.request_id));
        }
        let reply = page.reply(problem, &arrival.request_id);
        Served { reply, refusal: problem.map(|problem| problem.refusal) }
    }

    /// Returns the page that takes a mailed code from a signed-in user, after one was requested.
    async fn code_asked_again(
        &self,
        arrival: &Arrival,
        session: &Session,
        (action, next, held): (&str, &Next, Option<&str>),
        refused: Option<Refused>,
    ) -> Served {
        if let Some(other) = refused.as_ref().filter(|one| !takes_a_code_still(one)) {
            return self.second_step_refused(arrival, true, other.clone());
        }
        let name = session.identity.load().name.clone();
        let code = CodePage { held, name: Some(&name), ..self.code_page(arrival, action, next) };
        let page = MailedCodePage { code, is_sent: true };
        let reply = page.reply(refused.as_ref(), &arrival.request_id);
        Served { reply, refusal: refused.map(|refused| refused.refusal) }
    }

    /// Returns the caller's session, also if the caller first has to confirm that it is still them.
    async fn session_to_confirm(
        &self,
        arrival: &Arrival,
    ) -> Result<(Arc<Session>, Proof), Refused> {
        let personal = PersonalTokenUse::Refused;
        session_in(self.caller_to_confirm(arrival, personal).await?.0)
    }
}
