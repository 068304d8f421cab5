//! `POST /login/second-factor`: the second step of a sign-in. What signed-in users do there is in [`super::confirmation`].
//!
//! | a body with | does |
//! |---|---|
//! | `ticket`, `otp` | completes the sign-in with a code |
//! | `ticket`, `mail` | has a code mailed ([`super::mailed_code`]) |
//! | `ticket`, `enrol` | gives a secret, where a factor has to be set up first |
//! | `ticket`, `enrolment`, `otp` | sets it up and completes the sign-in; with `invitation`, if that takes an operator's code |
//!
//! The bodies for passkeys are described at the head of [`super::passkey`].
//!
//! A form gets pages, JSON gets JSON. The page of a sign-in never has its ticket in a URL: it is in the form.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::factor_page::{CodePage, EnrolPage};
use super::login::next_of_form;
use super::mailed_code::{MailedCodePage, wants_mail};
use super::passkey::PasskeyStep;
use super::refused::Refused;
use super::{Endpoints, Served, input, navigation};
use crate::caller::Proof;
use crate::config::OwnPathEntry;
use crate::factor::{Confirmed, Enrolment, OfferedFactors};
use crate::issuer::credential::Credential;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::session::personal_token::PersonalTokenUse;
use crate::session::{EnrolmentStep, Grants, PendingStep, SecondStep, SignInTicket, SignedIn};
use crate::store::Session;
use crate::wire::accept::Language;
use crate::wire::arrival::Arrival;
use crate::wire::body::{FieldProblem, Fields};
use crate::wire::next::Next;
use crate::wire::reply::Reply;

/// The name of a factor that is set up during a sign-in, unless its owner gives another.
pub(super) const FIRST_NAME: &str = crate::factor::FIRST_APP;

impl Endpoints {
    /// Answers `GET` and `POST /login/second-factor`.
    pub(super) async fn second_factor(
        &self,
        own: &OwnPathEntry,
        arrival: &Arrival,
        body: &Bytes,
    ) -> Served {
        if arrival.method != Method::POST {
            return self.confirm_page(arrival).await;
        }
        let wants_page = input::is_page_form(arrival);
        let fields = match self.login_fields(arrival, body) {
            Ok(fields) => fields,
            Err(refused) => return self.second_step_refused(arrival, wants_page, refused),
        };
        if let Some(refused) = wrong_flag(&fields) {
            return self.second_step_refused(arrival, wants_page, refused);
        }
        let ticket = text(&fields, "ticket").map(Secret::new);
        match ticket {
            Some(ticket) if wants_page => {
                self.second_step_page(own, arrival, (&fields, body), &ticket).await
            }
            Some(ticket) if wants_mail(&fields) => {
                let made = self.mail_for_ticket(arrival, &ticket).await;
                Self::code_mailed(made, arrival)
            }
            Some(ticket) => {
                let fields = (&fields, body);
                let made = self.second_step_json(own, arrival, fields, &ticket).await;
                Served::of(made, arrival)
            }
            None => self.confirm(arrival, (&fields, body), wants_page).await,
        }
    }

    /// Returns the page on which a sign-in goes on after a correct password.
    pub(super) fn due_page(
        &self,
        arrival: &Arrival,
        ticket: &SignInTicket,
        next: &Next,
        problem: Option<&Refused>,
    ) -> Option<Served> {
        let action = self.second_factor_path.as_deref()?;
        let page = CodePage { offered: ticket.offered, ..self.code_page(arrival, action, next) };
        let reply = match ticket.due {
            PendingStep::Code => {
                let ticket = Some(ticket.ticket.expose());
                CodePage { ticket, trust_days: self.trust_days(), ..page }
                    .reply(problem, &arrival.request_id)
            }
            PendingStep::MailedCode => {
                let code = CodePage { ticket: Some(ticket.ticket.expose()), ..page };
                let page = MailedCodePage { code, is_sent: false };
                page.reply(problem, &arrival.request_id)
            }
            PendingStep::Enrolment { takes_invitation } => {
                let link = self.link_for_enrolment(takes_invitation, arrival);
                page.must_enrol(ticket.ticket.expose(), link)
            }
        };
        Some(Served { reply, refusal: problem.map(|problem| problem.refusal) })
    }

    /// Returns for how many days a browser can be trusted.
    fn trust_days(&self) -> Option<u64> {
        let lifetime = self.issuers.sessions().factors().policy().trusts_for()?;
        Some(lifetime.as_secs().div_ceil(86_400))
    }

    pub(super) fn code_page<'a>(
        &'a self,
        arrival: &Arrival,
        action: &'a str,
        next: &'a Next,
    ) -> CodePage<'a> {
        CodePage {
            service: &self.title,
            action,
            next: next.as_str(),
            ticket: None,
            held: None,
            asks_password: false,
            offered: OfferedFactors::default(),
            script: self.passkey_script.as_deref(),
            name: None,
            trust_days: None,
            language: Language::negotiate(&arrival.headers),
        }
    }

    pub(super) fn second_step_refused(
        &self,
        arrival: &Arrival,
        wants_page: bool,
        refused: Refused,
    ) -> Served {
        if !wants_page {
            return Served::refused(refused, &arrival.request_id);
        }
        let language = Language::negotiate(&arrival.headers);
        let reply = super::page::of_refusal(&refused, &arrival.request_id, language, None);
        Served { reply, refusal: Some(refused.refusal) }
    }

    async fn second_step_json(
        &self,
        own: &OwnPathEntry,
        arrival: &Arrival,
        (fields, body): (&Fields, &Bytes),
        ticket: &Secret,
    ) -> Result<Reply, Refused> {
        let grants = self.grants(arrival, false)?;
        if let Some(step) = PasskeyStep::read(fields, body) {
            let made = self.passkey_in_sign_in(arrival, (fields, ticket), &step, grants).await?;
            return self.passkey_outcome(own, arrival, made);
        }
        let otp = text(fields, "otp").map(Secret::new);
        let enrolment = text(fields, "enrolment").map(Secret::new);
        match (otp, enrolment) {
            (None, _) if is_set(fields, "enrol") => {
                let context = &arrival.context();
                let shown = self
                    .issuers
                    .sessions()
                    .second_factors()
                    .enrolment_of(ticket, None, context)
                    .await?;
                Ok(Reply::json(StatusCode::OK, &described(&shown.0, shown.1)))
            }
            (None, _) => Err(Refused::field("otp", FieldProblem::Required)),
            (Some(otp), None) => {
                let step = SecondStep { ticket, code: &otp, grants, trusts: trusts(fields)? };
                let signed_in = self.end_of_sign_in(arrival, step).await?;
                self.signed_in(arrival, &signed_in, None, own)
            }
            (Some(otp), Some(token)) => {
                let (signed_in, codes) =
                    self.end_by_enrolment(arrival, fields, (ticket, &token, &otp), grants).await?;
                let reply = self.signed_in(arrival, &signed_in, None, own)?;
                Ok(with_recovery_codes(reply, &codes))
            }
        }
    }

    async fn second_step_page(
        &self,
        own: &OwnPathEntry,
        arrival: &Arrival,
        (fields, body): (&Fields, &Bytes),
        ticket: &Secret,
    ) -> Served {
        let next = next_of_form(fields);
        if !self.may_set_cookie(arrival) {
            return self.second_step_refused(arrival, true, Refusal::CrossSite.into());
        }
        if wants_mail(fields) {
            let made = self.mail_for_ticket(arrival, ticket).await;
            return self.mailed_code_page(arrival, ticket, &next, made.err());
        }
        let grants = Grants { tokens: false, cookie: true, issued: None };
        if let Some(step) = PasskeyStep::read(fields, body) {
            return self.passkey_step_page(own, arrival, (fields, ticket), &step, grants).await;
        }
        let otp = text(fields, "otp").map(Secret::new);
        let token = text(fields, "enrolment").map(Secret::new);
        let made = match (&otp, &token) {
            (None, None) if is_set(fields, "enrol") => {
                return self.enrol_page(arrival, ticket, None, &next, None).await;
            }
            (_, Some(token)) => {
                let code = otp.clone().unwrap_or_else(|| Secret::new(""));
                let given = (ticket, token, &code);
                match self.end_by_enrolment(arrival, fields, given, grants).await {
                    Ok((signed_in, codes)) => {
                        let page = self.recovery_page(arrival, &codes, next.as_str());
                        self.with_cookies(arrival, &signed_in, page)
                    }
                    Err(refused) if goes_on(&refused) => {
                        let token = Some(token);
                        return self
                            .enrol_page(arrival, ticket, token, &next, Some(&refused))
                            .await;
                    }
                    Err(refused) => Err(refused),
                }
            }
            (otp, None) => {
                let code = otp.clone().unwrap_or_else(|| Secret::new(""));
                // The check box of the page sends a valid value or nothing.
                let trusts = trusts(fields).unwrap_or_default();
                let step = SecondStep { ticket, code: &code, grants, trusts };
                match self.end_of_sign_in(arrival, step).await {
                    Ok(signed_in) => self.signed_in(arrival, &signed_in, Some(&next), own),
                    Err(refused) if goes_on(&refused) => {
                        return self.code_again(arrival, ticket, &next, &refused).await;
                    }
                    Err(refused) => Err(refused),
                }
            }
        };
        match made {
            Ok(reply) => Served::reply(reply),
            // The sign-in starts again, with the problem shown: an invalid ticket cannot go on.
            Err(refused) => self.login_again(arrival, &next, &refused),
        }
    }

    /// Returns the page that asks for the second step again, after one that failed.
    pub(super) async fn code_again(
        &self,
        arrival: &Arrival,
        ticket: &Secret,
        next: &Next,
        refused: &Refused,
    ) -> Served {
        let context = &arrival.context();
        let offered = self.issuers.sessions().second_factors().offered_with(ticket, context).await;
        let action = arrival.target.path().as_str();
        let offered = offered.unwrap_or_default();
        if offered.mail {
            return self.mailed_code_page(arrival, ticket, next, Some(refused.clone()));
        }
        let ticket = Some(ticket.expose());
        let page = CodePage {
            ticket,
            offered,
            trust_days: self.trust_days(),
            ..self.code_page(arrival, action, next)
        };
        let reply = page.reply(Some(refused), &arrival.request_id);
        Served { reply, refusal: Some(refused.refusal) }
    }

    /// Returns the page that sets up a factor during a sign-in.
    async fn enrol_page(
        &self,
        arrival: &Arrival,
        ticket: &Secret,
        token: Option<&Secret>,
        next: &Next,
        problem: Option<&Refused>,
    ) -> Served {
        let context = &arrival.context();
        match self.issuers.sessions().second_factors().enrolment_of(ticket, token, context).await {
            Ok((enrolment, takes_invitation)) => {
                let page = EnrolPage {
                    service: &self.title,
                    action: arrival.target.path().as_str(),
                    next: next.as_str(),
                    ticket: Some(ticket.expose()),
                    takes_invitation,
                    link: self.link_for_enrolment(takes_invitation, arrival),
                    enrolment: &enrolment,
                    language: Language::negotiate(&arrival.headers),
                };
                let reply = page.reply(problem, &arrival.request_id);
                Served { reply, refusal: problem.map(|problem| problem.refusal) }
            }
            Err(refused) => self.login_again(arrival, next, &refused.into()),
        }
    }

    /// Completes a sign-in with a code, and ends the sessions that the browser had before.
    async fn end_of_sign_in(
        &self,
        arrival: &Arrival,
        step: SecondStep<'_>,
    ) -> Result<SignedIn, Refused> {
        let old = self.brought_sessions(arrival, step.grants).await?;
        let context = &arrival.context();
        let signed_in =
            self.issuers.sessions().second_factors().finish_sign_in(step, context).await?;
        self.end_replaced(arrival, old).await?;
        Ok(signed_in)
    }

    async fn end_by_enrolment(
        &self,
        arrival: &Arrival,
        fields: &Fields,
        (ticket, token, code): (&Secret, &Secret, &Secret),
        grants: Grants,
    ) -> Result<(SignedIn, Vec<Secret>), Refused> {
        let old = self.brought_sessions(arrival, grants).await?;
        let invitation = text(fields, "invitation").map(Secret::new);
        let confirmed = Confirmed {
            token,
            code,
            name: text(fields, "name").unwrap_or(FIRST_NAME),
            invitation: invitation.as_ref(),
        };
        let step = EnrolmentStep { ticket, confirmed, grants };
        let context = &arrival.context();
        let made =
            self.issuers.sessions().second_factors().enrol_and_sign_in(step, context).await?;
        self.end_replaced(arrival, old).await?;
        Ok(made)
    }

    /// Returns the caller's session. An issuer's token without one is refused: its assurance cannot be raised.
    pub(super) async fn session_of(
        &self,
        arrival: &Arrival,
    ) -> Result<(Arc<Session>, Proof), Refused> {
        session_in(self.caller(arrival, PersonalTokenUse::Refused).await?)
    }

    /// Refuses what another site's page may have sent, if the credential is one that browsers send on their own.
    pub(super) fn is_from_here(&self, arrival: &Arrival, proof: Proof) -> Result<(), Refusal> {
        match proof.is_sent_unasked() {
            true => input::same_site(arrival, &self.trusted_origins),
            false => Ok(()),
        }
    }

    /// Redirects a browser to the login page if nobody is signed in, and to the page that asks for a proof if one is missing.
    pub(super) fn to_login_or_refused(&self, arrival: &Arrival, refused: Refused) -> Served {
        if refused.refusal == Refusal::InsufficientAuthentication
            && let Some(path) = &self.second_factor_path
        {
            let reply = navigation::to_login(path, arrival);
            return Served { reply, refusal: Some(refused.refusal) };
        }
        let is_signed_out = refused.refusal.status() == StatusCode::UNAUTHORIZED;
        match &self.login_path {
            Some(login) if is_signed_out => Served {
                reply: navigation::to_login(login, arrival),
                refusal: Some(refused.refusal),
            },
            Some(_) | None => self.second_step_refused(arrival, true, refused),
        }
    }
}

pub(super) fn session_in(credential: Credential) -> Result<(Arc<Session>, Proof), Refused> {
    match credential {
        Credential::Session(session, proof) => Ok((session, proof)),
        Credential::Issued(issued, _, Some(session)) => Ok((session, issued.proof())),
        Credential::Issued(_, _, None) => Err(Refusal::InsufficientAuthentication.into()),
    }
}

/// Whether the same page goes on after this refusal.
pub(super) fn goes_on(refused: &Refused) -> bool {
    matches!(
        refused.refusal,
        Refusal::BadCode
            | Refusal::BadPasskey
            | Refusal::TooManyAttempts
            | Refusal::EnrolmentProofRequired
    )
}

/// Returns a field that is not empty.
pub(super) fn text<'f>(fields: &'f Fields, name: &str) -> Option<&'f str> {
    fields.trimmed(name).ok().filter(|text| !text.is_empty())
}

/// Whether this browser is to be trusted from now on.
fn trusts(fields: &Fields) -> Result<bool, Refused> {
    fields.flag("trust_device").map_err(|why| Refused::field("trust_device", why))
}

/// Returns the refusal of an invalid flag. It is reported as invalid, and not as another field that is missing without it.
fn wrong_flag(fields: &Fields) -> Option<Refused> {
    let wrong = |name| fields.flag(name).err().map(|why| Refused::field(name, why));
    ["enrol", "mail", "passkey"].into_iter().find_map(wrong)
}

/// Whether this flag is set.
pub(super) fn is_set(fields: &Fields, name: &str) -> bool {
    fields.flag(name) == Ok(true)
}

/// Describes what a program needs to set up a factor.
pub(super) fn described(enrolment: &Enrolment, takes_invitation: bool) -> Value {
    json!({
        "secret": enrolment.secret.expose(),
        "uri": enrolment.uri.expose(),
        "enrolment": enrolment.token.expose(),
        "invitation_required": takes_invitation,
    })
}

/// Adds the recovery codes, which are shown once, to a JSON answer.
pub(super) fn with_recovery_codes(mut reply: Reply, codes: &[Secret]) -> Reply {
    if let Ok(Value::Object(mut members)) = serde_json::from_slice(&reply.body) {
        let codes: Vec<&str> = codes.iter().map(Secret::expose).collect();
        members.insert("recovery_codes".to_owned(), json!(codes));
        reply.body = Value::Object(members).to_string().into();
    }
    reply
}
