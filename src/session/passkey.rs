//! Passkeys in sign-ins: as the second step, to confirm the user's identity again, and as the only credential.
//!
//! In a sign-in with a passkey alone nobody gives a name first: the key names its user, and proves it in the same answer. The
//! rest is a sign-in like any other ([`SessionManager::begin`]): the user's directory is asked whether they may sign in, blocks
//! apply, and the browser becomes a known device. The lockout limits guesses at passwords, so a passkey is neither counted nor
//! locked out. All failures look alike to the client; the audit trail names the cause.
//!
//! If a directory knows no users without their password (`kind = "http"`), its users cannot sign in this way.

use std::net::IpAddr;
use std::sync::Arc;

use super::blocked::PACE;
use super::second_factor::refusal_of;
use super::sign_in::not_asked;
use super::{Checked, Grants, SessionManager, SignInRefused, SignedIn};
use crate::caller::{AuthMethod, AuthMethods, UserKey};
use crate::context::RequestContext;
use crate::directory::Directory;
use crate::event::{EventKind, FactorEvent, FactorRefusal, SignInFailure};
use crate::factor::{
    CeremonyPlace, EnrolledPasskey, NewPasskey, PasskeyAnswer, PasskeyAttempt, PasskeyCeremony,
};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::store::Session;
use crate::wire::client_ip::network_32_or_64;

/// Passkeys as proofs: in sign-ins, in confirmations, and how they are set up.
#[derive(Clone, Copy)]
pub struct PasskeyProofs<'s>(pub(super) &'s SessionManager);

/// The authenticator's answer, and the token of its ceremony.
#[derive(Clone, Copy, Debug)]
pub struct PasskeySaid<'a> {
    /// The token from the beginning of the ceremony.
    pub token: &'a Secret,
    /// `PublicKeyCredential.toJSON()`
    pub credential: &'a Secret,
}

/// A passkey that is set up during a sign-in.
#[derive(Clone, Copy, Debug)]
pub struct PasskeyEnrolment<'a> {
    /// The authenticator's answer.
    pub said: PasskeySaid<'a>,
    /// The name that its owner gives it.
    pub name: &'a str,
    /// The operator's code, if one was given.
    pub invitation: Option<&'a Secret>,
}

impl<'a> PasskeySaid<'a> {
    const fn at(self, place: &'a CeremonyPlace) -> PasskeyAnswer<'a> {
        PasskeyAnswer { token: self.token, credential: self.credential, place }
    }
}

/// Returns the ceremony's place for the sign-in of this ticket.
pub(super) fn of_ticket(ticket: &Secret) -> CeremonyPlace {
    CeremonyPlace::new("ticket", ticket.digest().as_bytes())
}

/// Returns the ceremony's place for this session.
pub(super) fn of_session(session: &Session) -> CeremonyPlace {
    CeremonyPlace::new("session", session.id.as_str().as_bytes())
}

/// Returns the ceremony's place for this network.
pub(super) fn of_network(client: IpAddr) -> CeremonyPlace {
    CeremonyPlace::new("network", network_32_or_64(client).to_string().as_bytes())
}

/// Returns the methods proved by a passkey, which by itself is more than one factor.
fn proved_by(before: AuthMethods, key: AuthMethod) -> AuthMethods {
    before.and(key).and(AuthMethod::UserPresence).and(AuthMethod::MultipleFactors)
}

impl PasskeyProofs<'_> {
    /// Returns the challenge for the second step of a sign-in.
    ///
    /// # Errors
    /// [`SignInRefused`] with [`Refusal::TicketNotValid`], or with [`Refusal::BadBody`] if the user has no passkeys
    pub async fn challenge_second_step(
        self,
        ticket: &Secret,
        context: &RequestContext<'_>,
    ) -> Result<PasskeyCeremony, SignInRefused> {
        let checked = self.0.tickets().checked_by(ticket, context).await?;
        let place = of_ticket(ticket);
        Ok(self.0.factors.passkeys().challenge(Some(checked.user()), &place, context.at).await?)
    }

    /// Completes a sign-in with a passkey.
    ///
    /// # Errors
    /// The same as for [`SecondFactors::finish_sign_in`](super::second_factor::SecondFactors::finish_sign_in), and
    /// [`Refusal::BadPasskey`]
    pub async fn finish_sign_in(
        self,
        ticket: &Secret,
        said: PasskeySaid<'_>,
        grants: Grants,
        context: &RequestContext<'_>,
    ) -> Result<SignedIn, SignInRefused> {
        let checked = self.0.tickets().checked_by(ticket, context).await?;
        let duty = self.0.second_factors().duty(&checked, context.at).await?;
        if duty.may_enrol() {
            return Err(self.0.tickets().give_again(&checked, duty, ticket, context.at).await);
        }
        let device = self.0.device_of(&checked, context.at);
        let place = of_ticket(ticket);
        let (user, answer, at) = (checked.user(), said.at(&place), context.at);
        let key = self.check(PasskeyAttempt { user, answer, device, at }, context).await?;
        self.0.tickets().spend(&checked, ticket, context).await?;
        let methods = proved_by(checked.methods, key);
        Ok(self.0.begin(Checked { methods, ..checked }, grants, context).await?)
    }

    /// Returns the challenge for a passkey to be set up during a sign-in, and whether that requires an operator's code.
    ///
    /// # Errors
    /// The same as for [`SecondFactors::enrolment_of`](super::second_factor::SecondFactors::enrolment_of)
    pub async fn enrolment_of(
        self,
        ticket: &Secret,
        context: &RequestContext<'_>,
    ) -> Result<(PasskeyCeremony, bool), SignInRefused> {
        let checked = self.0.tickets().checked_by(ticket, context).await?;
        if !self.0.second_factors().duty(&checked, context.at).await?.may_enrol() {
            return Err(Refusal::SecondFactorRequired.into());
        }
        let takes_invitation = !self.0.mailed_links().may_enrol_from(&checked, context.at).await;
        let (place, name) = (of_ticket(ticket), &checked.account.identity.name);
        let passkeys = self.0.factors.passkeys();
        let begun = passkeys.begin_enrolment(checked.user(), name, &place, context.at).await?;
        Ok((begun, takes_invitation))
    }

    /// Completes a sign-in by setting up a passkey, and returns the session and the new recovery codes.
    ///
    /// # Errors
    /// The same as for [`SecondFactors::enrol_and_sign_in`](super::second_factor::SecondFactors::enrol_and_sign_in), and
    /// [`Refusal::BadPasskey`]
    pub async fn enrol_and_sign_in(
        self,
        ticket: &Secret,
        new: PasskeyEnrolment<'_>,
        grants: Grants,
        context: &RequestContext<'_>,
    ) -> Result<(SignedIn, Vec<Secret>), SignInRefused> {
        let checked = self.0.tickets().checked_by(ticket, context).await?;
        let user = checked.user().clone();
        let invitation =
            self.0.second_factors().may_enrol(&checked, new.invitation, context).await?;
        let place = of_ticket(ticket);
        let answer = new.said.at(&place);
        let passkey = NewPasskey { answer, name: new.name, invitation };
        let EnrolledPasskey { codes, key } = self.enrol_for(&user, passkey, context).await?;
        self.0.tickets().spend(&checked, ticket, context).await?;
        // The passkey was made just now with a PIN or biometrics on its device, which proves the same as using it.
        let methods = proved_by(checked.methods, key);
        let checked = Checked { methods, ..checked };
        Ok((self.0.begin(checked, grants, context).await?, codes))
    }

    /// Returns the challenge for a passkey that a signed-in user sets up.
    ///
    /// # Errors
    /// [`Refusal::BadBody`] if passkeys are off, [`Refusal::StoreUnavailable`]
    pub async fn begin_enrolment(
        self,
        session: &Session,
        context: &RequestContext<'_>,
    ) -> Result<PasskeyCeremony, Refusal> {
        let identity = session.identity.load_full();
        let place = of_session(session);
        let passkeys = self.0.factors.passkeys();
        passkeys.begin_enrolment(&identity.key, &identity.name, &place, context.at).await
    }

    /// Sets up a passkey of a signed-in user, and returns the new recovery codes.
    ///
    /// # Errors
    /// [`Refusal::BadPasskey`], [`Refusal::TicketNotValid`], [`Refusal::EnrolmentProofRequired`],
    /// [`Refusal::StoreUnavailable`]
    pub async fn enrol(
        self,
        session: &Session,
        new: PasskeyEnrolment<'_>,
        context: &RequestContext<'_>,
    ) -> Result<Vec<Secret>, SignInRefused> {
        let user = session.identity.load().key.clone();
        let place = of_session(session);
        let passkey =
            NewPasskey { answer: new.said.at(&place), name: new.name, invitation: new.invitation };
        Ok(self.enrol_for(&user, passkey, context).await?.codes)
    }

    async fn enrol_for(
        self,
        user: &UserKey,
        new: NewPasskey<'_>,
        context: &RequestContext<'_>,
    ) -> Result<EnrolledPasskey, SignInRefused> {
        match self.0.factors.passkeys().enrol(user, new, context.at).await? {
            Ok(enrolled) => {
                let (user, change) = (user.clone(), FactorEvent::PasskeyAdded);
                context.note(EventKind::FactorChanged { user, change });
                Ok(enrolled)
            }
            Err(why) => {
                self.0.second_factors().note_refused(user, why, context);
                Err(refusal_of(why).into())
            }
        }
    }

    /// Returns the challenge with which a session's user confirms their identity again.
    ///
    /// # Errors
    /// [`Refusal::BadBody`] if the user has no passkeys, [`Refusal::StoreUnavailable`]
    pub async fn challenge_confirmation(
        self,
        session: &Session,
        context: &RequestContext<'_>,
    ) -> Result<PasskeyCeremony, Refusal> {
        let user = session.identity.load().key.clone();
        self.0.factors.passkeys().challenge(Some(&user), &of_session(session), context.at).await
    }

    /// Returns the methods that a session proves after its user used a passkey in it.
    pub(super) async fn confirmed(
        self,
        session: &Session,
        said: PasskeySaid<'_>,
        device: Option<crate::secret::Digest>,
        context: &RequestContext<'_>,
    ) -> Result<AuthMethods, SignInRefused> {
        let user = session.identity.load().key.clone();
        let place = of_session(session);
        let (answer, at) = (said.at(&place), context.at);
        let attempt = PasskeyAttempt { user: &user, answer, device, at };
        let key = self.check(attempt, context).await?;
        Ok(proved_by(session.assurance.methods, key))
    }

    /// Returns the challenge for signing in with a passkey alone.
    ///
    /// # Errors
    /// [`Refusal::BadBody`] if that is off, [`Refusal::Internal`]
    pub async fn challenge_sign_in(
        self,
        context: &RequestContext<'_>,
    ) -> Result<PasskeyCeremony, Refusal> {
        if !self.0.factors.passkeys().can_sign_in() {
            return Err(Refusal::BadBody);
        }
        self.0.factors.passkeys().challenge(None, &of_network(context.client), context.at).await
    }

    /// Signs in with a passkey alone.
    ///
    /// # Errors
    /// [`SignInRefused`] with [`Refusal::BadPasskey`], [`Refusal::TicketNotValid`], [`Refusal::SecondFactorElsewhere`],
    /// [`Refusal::DirectoryUnavailable`], and the refusals of [`SessionManager::begin`]
    pub async fn sign_in(
        self,
        said: PasskeySaid<'_>,
        device: &str,
        grants: Grants,
        context: &RequestContext<'_>,
    ) -> Result<SignedIn, SignInRefused> {
        if !self.0.factors.passkeys().can_sign_in() {
            return Err(Refusal::BadBody.into());
        }
        self.0
            .blocks()
            .may_sign_in(context.client, context.at)
            .map_err(|refusal| SignInRefused { retry_after: Some(PACE), ..refusal.into() })?;
        let place = of_network(context.client);
        let answer = said.at(&place);
        // An unknown key has no user who could be notified, so the refusal is only counted.
        let named = self.0.factors.passkeys().owner_named(answer).await?;
        let user = named.ok_or(Refusal::BadPasskey)?;
        let attempt = PasskeyAttempt { user: &user, answer, device: None, at: context.at };
        let key = self.check(attempt, context).await?;
        let users = self.0.directory(&user.directory).map(|watched| watched.directory());
        let account = match users.and_then(Directory::users) {
            Some(users) => users.by_id(&user).await.map_err(not_asked)?,
            None => None,
        };
        let Some(account) = account else {
            self.0.second_factors().note_refused(&user, FactorRefusal::BadPasskey, context);
            return Err(Refusal::BadPasskey.into());
        };
        let methods = proved_by(AuthMethods::default(), key);
        let checked = Checked::by(account, methods).in_browser(device);
        let all = self.0.factors.all_of(&user, context.at).await;
        let refused = match (checked.account.active, all) {
            (false, _) => Some((SignInFailure::Inactive, Refusal::BadPasskey)),
            // The service requires a second factor of its own, which the gateway cannot check.
            (true, Err(Refusal::SecondFactorElsewhere)) => {
                Some((SignInFailure::SecondFactorRequired, Refusal::SecondFactorElsewhere))
            }
            (true, Err(refusal)) => return Err(refusal.into()),
            (true, Ok(_)) => None,
        };
        if let Some((why, refusal)) = refused {
            let account = Arc::clone(&checked.name);
            context.note(EventKind::SignInFailed { account, user: Some(user), why });
            return Err(refusal.into());
        }
        Ok(self.0.begin(checked, grants, context).await?)
    }

    /// Uses a passkey, and returns and notes the result.
    async fn check(
        self,
        attempt: PasskeyAttempt<'_>,
        context: &RequestContext<'_>,
    ) -> Result<AuthMethod, SignInRefused> {
        let user = attempt.user;
        let checked = self.0.factors.passkeys().check(attempt).await;
        checked.map_err(|refused| self.0.second_factors().code_refused(user, refused, context))
    }
}
