//! Passkeys: the bodies of their ceremonies at the paths for second factors, and `POST /login/passkey`.
//!
//! | at | a body with | does |
//! |---|---|---|
//! | `/login/second-factor` | `ticket`, `passkey` | gives a challenge for the second step |
//! | | `ticket`, `ceremony`, `credential` | completes the sign-in |
//! | | `ticket`, `enrol`, `kind = "passkey"` | gives a challenge to set up a passkey, where one is due |
//! | | `ticket`, `enrolment`, `credential` | sets it up and completes the sign-in |
//! | | `passkey`, or `ceremony`, `credential`, and a session | raises the assurance of the session |
//! | `/account/second-factors` | `action = "begin"`, `kind = "passkey"` | gives a challenge to set up a passkey |
//! | | `action = "confirm"`, `enrolment`, `credential` | sets it up |
//! | `/login/passkey` | nothing | gives a challenge to any user with a passkey |
//! | | `ceremony`, `credential` | signs in |
//!
//! Options and credentials are in the W3C's JSON serialisation (WebAuthn level 3, section 5.1.8): `publicKey` is the input
//! of `parseCreationOptionsFromJSON` and `parseRequestOptionsFromJSON`, `credential` is the output of `toJSON()`: an object
//! in JSON, its text in a form.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::login::next_of_form;
use super::passkey_page::PasskeyEnrolPage;
use super::refused::Refused;
use super::second_factor::{goes_on, is_set, text, with_recovery_codes};
use super::{Endpoints, Served, input};
use crate::config::{Issues, OwnPathEntry};
use crate::factor::{FIRST_PASSKEY, PasskeyCeremony};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::session::passkey::{PasskeyEnrolment, PasskeySaid};
use crate::session::{Grants, SignedIn};
use crate::store::Session;
use crate::wire::accept::Language;
use crate::wire::arrival::Arrival;
use crate::wire::body::{FieldProblem, Fields};
use crate::wire::next::Next;
use crate::wire::reply::Reply;

/// The step of a passkey's ceremony that a body asks for.
pub(super) enum PasskeyStep {
    /// The client asks for a challenge for an existing passkey.
    Challenge,
    /// The client asks for a challenge for a new passkey.
    Begin,
    /// An authenticator used a passkey.
    Used(AuthenticatorResponse),
    /// An authenticator created a passkey.
    Made(AuthenticatorResponse),
}

/// The response of an authenticator, and the token of its ceremony.
pub(super) struct AuthenticatorResponse {
    token: Secret,
    credential: Secret,
}

/// The result of a step within a sign-in.
pub(super) enum PasskeyOutcome {
    /// A challenge for the authenticator.
    Challenge(Value),
    /// The user is signed in; with the recovery codes that are new.
    SignedIn(SignedIn, Vec<Secret>),
}

impl PasskeyStep {
    /// Reads a body. `None` if it is about other factors.
    pub(super) fn read(fields: &Fields, body: &Bytes) -> Option<Self> {
        let begins = is_set(fields, "enrol") || text(fields, "action") == Some("begin");
        if begins && text(fields, "kind") == Some("passkey") {
            return Some(Self::Begin);
        }
        let said = |name| {
            let token = Secret::new(text(fields, name)?);
            Some(AuthenticatorResponse { token, credential: credential(fields, body)? })
        };
        if let Some(said) = said("ceremony") {
            return Some(Self::Used(said));
        }
        if let Some(said) = said("enrolment") {
            return Some(Self::Made(said));
        }
        is_set(fields, "passkey").then_some(Self::Challenge)
    }
}

impl AuthenticatorResponse {
    pub(super) const fn said(&self) -> PasskeySaid<'_> {
        PasskeySaid { token: &self.token, credential: &self.credential }
    }
}

/// Returns the credential: an object in JSON, or its text.
fn credential(fields: &Fields, body: &Bytes) -> Option<Secret> {
    if let Some(text) = text(fields, "credential") {
        return Some(Secret::new(text));
    }
    let whole: Value = serde_json::from_slice(body).ok().filter(|_| !fields.is_form())?;
    let credential = whole.get("credential").filter(|one| one.is_object())?;
    Some(Secret::new(credential.to_string()))
}

/// Describes a challenge for an existing passkey.
pub(super) fn challenge(ceremony: PasskeyCeremony) -> Value {
    with_token(ceremony, "ceremony")
}

/// Describes a challenge for a new passkey.
pub(super) fn to_set_up(ceremony: PasskeyCeremony, takes_invitation: bool) -> Value {
    let mut body = with_token(ceremony, "enrolment");
    if let Value::Object(members) = &mut body {
        members.insert("invitation_required".to_owned(), json!(takes_invitation));
    }
    body
}

fn with_token(ceremony: PasskeyCeremony, name: &str) -> Value {
    let PasskeyCeremony { mut options, token } = ceremony;
    if let Value::Object(members) = &mut options {
        members.insert(name.to_owned(), json!(token.expose()));
    }
    options
}

impl Endpoints {
    /// Answers `POST /login/passkey`.
    pub(super) async fn sign_in_by_passkey(
        &self,
        own: &OwnPathEntry,
        arrival: &Arrival,
        body: &Bytes,
    ) -> Served {
        let wants_page = input::is_page_form(arrival);
        let fields = match self.login_fields(arrival, body) {
            Ok(fields) => fields,
            Err(refused) if wants_page => {
                return self.login_again(arrival, &next_of_form(&Fields::default()), &refused);
            }
            Err(refused) => return Served::refused(refused, &arrival.request_id),
        };
        let made = match PasskeyStep::read(&fields, body) {
            Some(PasskeyStep::Used(said)) => {
                self.signed_in_by_passkey(own, arrival, (&fields, wants_page), &said).await
            }
            Some(PasskeyStep::Made(_) | PasskeyStep::Begin) => Err(Refusal::BadBody.into()),
            Some(PasskeyStep::Challenge) | None if wants_page => {
                Err(Refused::field("credential", FieldProblem::Required))
            }
            Some(PasskeyStep::Challenge) | None => {
                let context = &arrival.context();
                let begun = self.issuers.sessions().passkeys().challenge_sign_in(context).await;
                begun
                    .map(|begun| Reply::json(StatusCode::OK, &challenge(begun)))
                    .map_err(Refused::from)
            }
        };
        match made {
            Ok(reply) => Served::reply(reply),
            Err(refused) if wants_page => {
                self.login_again(arrival, &next_of_form(&fields), &refused)
            }
            Err(refused) => Served::refused(refused, &arrival.request_id),
        }
    }

    async fn signed_in_by_passkey(
        &self,
        own: &OwnPathEntry,
        arrival: &Arrival,
        (fields, wants_page): (&Fields, bool),
        said: &AuthenticatorResponse,
    ) -> Result<Reply, Refused> {
        let grants = self.grants(arrival, wants_page)?;
        let old = self.brought_sessions(arrival, grants).await?;
        let sessions = self.issuers.sessions();
        let device = sessions.cookie_names().device_of(&arrival.headers);
        let context = &arrival.context();
        let signed_in = sessions.passkeys().sign_in(said.said(), device, grants, context).await?;
        self.end_replaced(arrival, old).await?;
        let next = wants_page.then(|| next_of_form(fields));
        self.signed_in(arrival, &signed_in, next.as_ref(), own)
    }

    /// Returns what a sign-in grants to the sender of this request.
    pub(super) fn grants(&self, arrival: &Arrival, wants_page: bool) -> Result<Grants, Refused> {
        let issues = if wants_page { Issues::Cookie } else { self.issues };
        let may_set_cookie = self.may_set_cookie(arrival);
        if issues == Issues::Cookie && !may_set_cookie {
            return Err(Refusal::CrossSite.into());
        }
        Ok(Grants {
            tokens: issues != Issues::Cookie,
            cookie: issues != Issues::Tokens && may_set_cookie,
            issued: None,
        })
    }

    /// Carries out a step of the sign-in with this ticket.
    pub(super) async fn passkey_in_sign_in(
        &self,
        arrival: &Arrival,
        (fields, ticket): (&Fields, &Secret),
        step: &PasskeyStep,
        grants: Grants,
    ) -> Result<PasskeyOutcome, Refused> {
        let (sessions, context) = (self.issuers.sessions(), &arrival.context());
        match step {
            PasskeyStep::Challenge => {
                let begun = sessions.passkeys().challenge_second_step(ticket, context).await?;
                Ok(PasskeyOutcome::Challenge(challenge(begun)))
            }
            PasskeyStep::Begin => {
                let (begun, takes_invitation) =
                    sessions.passkeys().enrolment_of(ticket, context).await?;
                Ok(PasskeyOutcome::Challenge(to_set_up(begun, takes_invitation)))
            }
            PasskeyStep::Used(said) => {
                let old = self.brought_sessions(arrival, grants).await?;
                let signed_in = sessions
                    .passkeys()
                    .finish_sign_in(ticket, said.said(), grants, context)
                    .await?;
                self.end_replaced(arrival, old).await?;
                Ok(PasskeyOutcome::SignedIn(signed_in, Vec::new()))
            }
            PasskeyStep::Made(said) => {
                let old = self.brought_sessions(arrival, grants).await?;
                let invitation = text(fields, "invitation").map(Secret::new);
                let new = new_passkey(fields, said, invitation.as_ref());
                let (signed_in, codes) =
                    sessions.passkeys().enrol_and_sign_in(ticket, new, grants, context).await?;
                self.end_replaced(arrival, old).await?;
                Ok(PasskeyOutcome::SignedIn(signed_in, codes))
            }
        }
    }

    /// Returns the RP ID, if pages have passkeys.
    pub(super) fn passkey_rp_id(&self) -> Option<&str> {
        let rp_id = self.issuers.sessions().factors().passkeys().rp_id();
        rp_id.filter(|_| self.passkey_script.is_some())
    }

    /// Returns the page that sets up a passkey: within a sign-in, or for a signed-in user.
    fn passkey_enrol_page(
        &self,
        arrival: &Arrival,
        sign_in: Option<(&Secret, &Next)>,
        takes_invitation: bool,
        problem: Option<&Refused>,
    ) -> Served {
        let page = PasskeyEnrolPage {
            service: &self.title,
            action: arrival.target.path().as_str(),
            next: sign_in.map_or("", |(_, next)| next.as_str()),
            ticket: sign_in.map(|(ticket, _)| ticket.expose()),
            takes_invitation,
            script: self.passkey_script.as_deref().unwrap_or_default(),
            language: Language::negotiate(&arrival.headers),
        };
        let reply = page.reply(problem, &arrival.request_id);
        Served { reply, refusal: problem.map(|problem| problem.refusal) }
    }

    /// Returns a challenge for a new passkey of a signed-in user.
    pub(super) async fn begin_passkey(
        &self,
        arrival: &Arrival,
        session: &Session,
        wants_page: bool,
    ) -> Result<Reply, Refused> {
        let takes_invitation = self.takes_invitation(arrival, session).await?;
        if wants_page {
            return Ok(self.passkey_enrol_page(arrival, None, takes_invitation, None).reply);
        }
        let context = &arrival.context();
        let begun = self.issuers.sessions().passkeys().begin_enrolment(session, context).await?;
        Ok(Reply::json(StatusCode::OK, &to_set_up(begun, takes_invitation)))
    }

    /// Sets up a passkey of a signed-in user.
    pub(super) async fn confirm_passkey(
        &self,
        arrival: &Arrival,
        (fields, said): (&Fields, &AuthenticatorResponse),
        session: &Session,
        wants_page: bool,
    ) -> Result<Reply, Refused> {
        let given = text(fields, "invitation").map(Secret::new);
        let invitation = match self.takes_invitation(arrival, session).await? {
            true => Some(given.unwrap_or_else(|| Secret::new(""))),
            false => None,
        };
        let new = new_passkey(fields, said, invitation.as_ref());
        let context = &arrival.context();
        let user = session.identity.load().key.clone();
        match self.issuers.sessions().passkeys().enrol(session, new, context).await {
            Ok(codes) if codes.is_empty() => self.after_change(arrival, &user, wants_page).await,
            Ok(codes) => self.with_codes(arrival, &user, &codes, wants_page).await,
            Err(refused) => {
                let refused = Refused::from(refused);
                if !(wants_page && goes_on(&refused)) {
                    return Err(refused);
                }
                let takes_invitation = invitation.is_some();
                let page = self.passkey_enrol_page(arrival, None, takes_invitation, Some(&refused));
                Ok(page.reply)
            }
        }
    }

    /// Returns the answer to a step that a page's form posted.
    pub(super) async fn passkey_step_page(
        &self,
        own: &OwnPathEntry,
        arrival: &Arrival,
        (fields, ticket): (&Fields, &Secret),
        step: &PasskeyStep,
        grants: Grants,
    ) -> Served {
        let next = next_of_form(fields);
        let made = self.passkey_in_sign_in(arrival, (fields, ticket), step, grants).await;
        let replied = match made {
            Ok(PasskeyOutcome::SignedIn(signed_in, codes)) if codes.is_empty() => {
                self.signed_in(arrival, &signed_in, Some(&next), own)
            }
            Ok(PasskeyOutcome::SignedIn(signed_in, codes)) => {
                let page = self.recovery_page(arrival, &codes, next.as_str());
                self.with_cookies(arrival, &signed_in, page)
            }
            // The page asks for a challenge of its own, once its button is pressed.
            Ok(PasskeyOutcome::Challenge(body)) => {
                let takes_invitation = body.get("invitation_required") == Some(&Value::Bool(true));
                return self.passkey_enrol_page(
                    arrival,
                    Some((ticket, &next)),
                    takes_invitation,
                    None,
                );
            }
            Err(refused) if goes_on(&refused) => match step {
                PasskeyStep::Made(_) | PasskeyStep::Begin => {
                    let context = &arrival.context();
                    let sessions = self.issuers.sessions();
                    match sessions.passkeys().enrolment_of(ticket, context).await {
                        Ok((_, takes_invitation)) => {
                            let (sign_in, problem) = (Some((ticket, &next)), Some(&refused));
                            return self.passkey_enrol_page(
                                arrival,
                                sign_in,
                                takes_invitation,
                                problem,
                            );
                        }
                        Err(over) => Err(over.into()),
                    }
                }
                PasskeyStep::Used(_) | PasskeyStep::Challenge => {
                    return self.code_again(arrival, ticket, &next, &refused).await;
                }
            },
            Err(refused) => Err(refused),
        };
        match replied {
            Ok(reply) => Served::reply(reply),
            Err(refused) => self.login_again(arrival, &next, &refused),
        }
    }

    /// Returns the answer to a step, for a program.
    pub(super) fn passkey_outcome(
        &self,
        own: &OwnPathEntry,
        arrival: &Arrival,
        outcome: PasskeyOutcome,
    ) -> Result<Reply, Refused> {
        match outcome {
            PasskeyOutcome::Challenge(body) => Ok(Reply::json(StatusCode::OK, &body)),
            PasskeyOutcome::SignedIn(signed_in, codes) => {
                let reply = self.signed_in(arrival, &signed_in, None, own)?;
                Ok(if codes.is_empty() { reply } else { with_recovery_codes(reply, &codes) })
            }
        }
    }
}

/// Returns the new passkey that a body describes.
pub(super) fn new_passkey<'a>(
    fields: &'a Fields,
    said: &'a AuthenticatorResponse,
    invitation: Option<&'a Secret>,
) -> PasskeyEnrolment<'a> {
    let name = text(fields, "name").unwrap_or(FIRST_PASSKEY);
    PasskeyEnrolment { said: said.said(), name, invitation }
}
