//! The second step of a sign-in: what is still required, and completing it.
//!
//! If something is still required after a right password, the sign-in is [`Pending`]: nothing was issued, and the client
//! continues with the ticket (`sign_in_ticket`) and a code. A wrong code does not spend the ticket. Instead codes are counted
//! ([`Factors`](crate::factor::Factors)) per user, so that a new sign-in gives no new guesses.
//!
//! **Setting up the first factor** takes more than the password: a known device of the user, a link that was mailed to them, or
//! an operator's code. Otherwise an attacker with a stolen password could set up a factor of their own.

use std::sync::Arc;

use super::mailed_code::MAIL;
use super::sign_in_ticket::PendingStep;
use super::steps::{MissingStep, Pending, SignInStep};
use super::{Checked, Grants, SessionManager, SignInRefused, SignedIn};
use crate::caller::{AuthMethod, UserKey};
use crate::clock::Timestamp;
use crate::context::RequestContext;
use crate::event::{EventKind, FactorEvent, FactorRefusal, SignInFailure};
use crate::factor::{
    CodeAttempt, CodeKind, CodeRefused, Confirmed, Enrolment, FactorRequirement, OfferedFactors,
};
use crate::refusal::Refusal;
use crate::secret::Secret;

/// Second factors in sign-ins: what is required, proving it, and setting one up.
#[derive(Clone, Copy)]
pub struct SecondFactors<'s>(pub(super) &'s SessionManager);

/// A code for an unfinished sign-in.
#[derive(Clone, Copy, Debug)]
pub struct SecondStep<'a> {
    /// The ticket from the first step.
    pub ticket: &'a Secret,
    /// The code as typed.
    pub code: &'a Secret,
    /// What the sign-in is to issue.
    pub grants: Grants,
    /// Whether the browser is to be trusted from then on, where that is allowed.
    pub trusts: bool,
}

/// A factor that is set up during a sign-in.
#[derive(Clone, Copy, Debug)]
pub struct EnrolmentStep<'a> {
    /// The ticket from the first step.
    pub ticket: &'a Secret,
    /// The confirmation of the new factor.
    pub confirmed: Confirmed<'a>,
    /// What the sign-in is to issue.
    pub grants: Grants,
}

impl SecondFactors<'_> {
    /// Returns what is required from a user whose password was right, in addition to it.
    ///
    /// # Errors
    /// [`Refusal::SecondFactorElsewhere`], [`Refusal::StoreUnavailable`], [`Refusal::DirectoryUnavailable`]
    pub(crate) async fn duty(
        self,
        checked: &Checked,
        at: Timestamp,
    ) -> Result<FactorRequirement, Refusal> {
        if !self.0.factors.policy().is_on() {
            return Ok(FactorRequirement::Nothing);
        }
        let user = &checked.account.identity;
        match self.0.factors.duty(user, at).await? {
            FactorRequirement::MailOrEnrol
                if !self.0.mailed_codes().has_own_address(user).await? =>
            {
                Ok(FactorRequirement::Enrol)
            }
            duty => Ok(duty),
        }
    }

    /// Continues after a right password if nothing else is required or the code that came with it is right. Otherwise returns a
    /// ticket.
    pub(super) async fn second_step(
        self,
        checked: Checked,
        otp: Option<&Secret>,
        context: &RequestContext<'_>,
    ) -> Result<Checked, SignInRefused> {
        let due = match self.duty(&checked, context.at).await {
            Err(Refusal::SecondFactorElsewhere) => {
                let (account, user) = (Arc::clone(&checked.name), Some(checked.user().clone()));
                let why = SignInFailure::SecondFactorRequired;
                context.note(EventKind::SignInFailed { account, user, why });
                return Err(Refusal::SecondFactorElsewhere.into());
            }
            due => due?,
        };
        match (due, otp) {
            (FactorRequirement::Nothing, _) => Ok(checked),
            (FactorRequirement::Prove, Some(code)) => {
                Ok(self.prove(checked, code, context).await?.0)
            }
            (FactorRequirement::Prove, None) if self.0.is_trusted(&checked, context.at).await? => {
                Ok(checked)
            }
            (FactorRequirement::Prove, None) => {
                Err(self.0.tickets().give(checked, PendingStep::Code, context).await)
            }
            (FactorRequirement::MailOrEnrol, Some(code)) => {
                self.0.mailed_codes().prove(checked, None, code, context).await
            }
            (FactorRequirement::MailOrEnrol, None) => {
                Err(self.0.tickets().give(checked, PendingStep::MailedCode, context).await)
            }
            (FactorRequirement::Enrol, _) => {
                let takes_invitation =
                    !self.0.mailed_links().may_enrol_from(&checked, context.at).await;
                Err(self
                    .0
                    .tickets()
                    .give(checked, PendingStep::Enrolment { takes_invitation }, context)
                    .await)
            }
        }
    }

    /// Completes a sign-in with the missing code.
    ///
    /// # Errors
    /// [`SignInRefused`] with [`Refusal::TicketNotValid`], [`Refusal::BadCode`], [`Refusal::TooManyAttempts`], and the refusals
    /// of [`SessionManager::begin`]
    pub async fn finish_sign_in(
        self,
        step: SecondStep<'_>,
        context: &RequestContext<'_>,
    ) -> Result<SignedIn, SignInRefused> {
        let checked = self.0.tickets().checked_by(step.ticket, context).await?;
        let (checked, kind) = match self.duty(&checked, context.at).await? {
            FactorRequirement::Enrol => {
                let refused = self.0.tickets().give_again(
                    &checked,
                    FactorRequirement::Enrol,
                    step.ticket,
                    context.at,
                );
                return Err(refused.await);
            }
            FactorRequirement::MailOrEnrol => {
                let (ticket, code) = (step.ticket, step.code);
                (self.0.mailed_codes().prove(checked, Some(ticket), code, context).await?, None)
            }
            FactorRequirement::Nothing | FactorRequirement::Prove => {
                let (checked, kind) = self.prove(checked, step.code, context).await?;
                (checked, Some(kind))
            }
        };
        self.0.tickets().spend(&checked, step.ticket, context).await?;
        let (account, user) = (Arc::clone(&checked.name), checked.user().clone());
        let signed_in = self.0.begin(checked, step.grants, context).await?;
        match step.trusts && kind == Some(CodeKind::App) {
            true => Ok(self.0.trust(signed_in, (&account, &user), context).await?),
            false => Ok(signed_in),
        }
    }

    /// Returns the secret for a factor that is to be set up during a sign-in, and whether that requires an operator's code.
    /// With `token`, it is the secret that was shown before.
    ///
    /// # Errors
    /// [`SignInRefused`] with [`Refusal::TicketNotValid`], or [`Refusal::SecondFactorRequired`] if the user has a factor
    pub async fn enrolment_of(
        self,
        ticket: &Secret,
        token: Option<&Secret>,
        context: &RequestContext<'_>,
    ) -> Result<(Enrolment, bool), SignInRefused> {
        let checked = self.0.tickets().checked_by(ticket, context).await?;
        if !self.duty(&checked, context.at).await?.may_enrol() {
            return Err(Refusal::SecondFactorRequired.into());
        }
        let takes_invitation = !self.0.mailed_links().may_enrol_from(&checked, context.at).await;
        let (user, name) = (checked.user(), &checked.account.identity.name);
        let shown = token
            .and_then(|token| self.0.factors.enrolments().again(user, name, token, context.at));
        let enrolment = match shown {
            Some(shown) => shown,
            None => self.0.factors.enrolments().begin(user, name, context.at)?,
        };
        Ok((enrolment, takes_invitation))
    }

    /// Completes a sign-in by setting up a factor, and returns the session and the new recovery codes.
    ///
    /// # Errors
    /// The same as for [`Self::finish_sign_in`], and [`Refusal::EnrolmentProofRequired`]
    pub async fn enrol_and_sign_in(
        self,
        step: EnrolmentStep<'_>,
        context: &RequestContext<'_>,
    ) -> Result<(SignedIn, Vec<Secret>), SignInRefused> {
        let checked = self.0.tickets().checked_by(step.ticket, context).await?;
        let user = checked.user().clone();
        let invitation = self.may_enrol(&checked, step.confirmed.invitation, context).await?;
        let confirmed = Confirmed { invitation, ..step.confirmed };
        let enrolled = self.enrol(&user, confirmed, context).await?;
        self.0.tickets().spend(&checked, step.ticket, context).await?;
        let checked = proved(checked, AuthMethod::OneTimePassword)?;
        Ok((self.0.begin(checked, step.grants, context).await?, enrolled))
    }

    /// Sets up a factor and notes the event. Returns the new recovery codes.
    ///
    /// # Errors
    /// [`Refusal::BadCode`], [`Refusal::TicketNotValid`], [`Refusal::EnrolmentProofRequired`],
    /// [`Refusal::StoreUnavailable`]
    pub async fn enrol(
        self,
        user: &UserKey,
        confirmed: Confirmed<'_>,
        context: &RequestContext<'_>,
    ) -> Result<Vec<Secret>, SignInRefused> {
        match self.0.factors.enrolments().enrol(user, confirmed, context.at).await? {
            Ok(codes) => {
                context.note(EventKind::FactorChanged {
                    user: user.clone(),
                    change: FactorEvent::Added,
                });
                Ok(codes)
            }
            Err(why) => {
                self.note_refused(user, why, context);
                Err(refusal_of(why).into())
            }
        }
    }

    /// Checks a code of a user, and notes the result.
    ///
    /// # Errors
    /// [`Refusal::BadCode`], [`Refusal::TooManyAttempts`], [`Refusal::StoreUnavailable`]
    pub async fn check_code(
        self,
        attempt: CodeAttempt<'_>,
        context: &RequestContext<'_>,
    ) -> Result<CodeKind, SignInRefused> {
        let user = attempt.user;
        match self.0.factors.check(attempt).await {
            Ok(CodeKind::App) => Ok(CodeKind::App),
            Ok(CodeKind::Recovery { left }) => {
                let change = FactorEvent::RecoveryUsed;
                context.note(EventKind::FactorChanged { user: user.clone(), change });
                Ok(CodeKind::Recovery { left })
            }
            Err(refused) => Err(self.code_refused(user, refused, context)),
        }
    }

    /// Notes why a code was refused, and returns the refusal for the client.
    pub(super) fn code_refused(
        self,
        user: &UserKey,
        refused: CodeRefused,
        context: &RequestContext<'_>,
    ) -> SignInRefused {
        match refused {
            CodeRefused::Not(why) => {
                self.note_refused(user, why, context);
                refusal_of(why).into()
            }
            CodeRefused::Wait(wait) => {
                self.note_refused(user, FactorRefusal::Throttled, context);
                SignInRefused { retry_after: Some(wait), ..Refusal::TooManyAttempts.into() }
            }
            CodeRefused::Failed(refusal) => refusal.into(),
        }
    }

    /// Notes why a second factor was refused.
    pub fn note_refused(self, user: &UserKey, why: FactorRefusal, context: &RequestContext<'_>) {
        context.note(EventKind::FactorRefused { user: user.clone(), why });
    }

    /// Returns the factors with which the sign-in of a ticket may continue.
    ///
    /// # Errors
    /// [`SignInRefused`] with [`Refusal::TicketNotValid`]
    pub async fn offered_with(
        self,
        ticket: &Secret,
        context: &RequestContext<'_>,
    ) -> Result<OfferedFactors, SignInRefused> {
        let checked = self.0.tickets().checked_by(ticket, context).await?;
        if self.duty(&checked, context.at).await? == FactorRequirement::MailOrEnrol {
            return Ok(MAIL);
        }
        Ok(self.0.factors.offered(&self.0.factors.all_of(checked.user(), context.at).await?))
    }

    /// Checks that a factor may be set up with this ticket, and returns the operator's code that is needed for it, if any.
    pub(super) async fn may_enrol<'c>(
        self,
        checked: &Checked,
        invitation: Option<&'c Secret>,
        context: &RequestContext<'_>,
    ) -> Result<Option<&'c Secret>, SignInRefused> {
        let user = checked.user().clone();
        if !self.duty(checked, context.at).await?.may_enrol() {
            // For a user who has a factor, enrolling another one with only a ticket would bypass it.
            self.note_refused(&user, FactorRefusal::NoProof, context);
            return Err(Refusal::SecondFactorRequired.into());
        }
        match (self.0.mailed_links().may_enrol_from(checked, context.at).await, invitation) {
            (true, _) => Ok(None),
            (false, Some(invitation)) => Ok(Some(invitation)),
            (false, None) => {
                self.note_refused(&user, FactorRefusal::NoProof, context);
                Err(Refusal::EnrolmentProofRequired.into())
            }
        }
    }

    async fn prove(
        self,
        checked: Checked,
        code: &Secret,
        context: &RequestContext<'_>,
    ) -> Result<(Checked, CodeKind), SignInRefused> {
        let device = self.0.device_of(&checked, context.at);
        let attempt = CodeAttempt { user: checked.user(), code, device, at: context.at };
        let kind = self.check_code(attempt, context).await?;
        Ok((proved(checked, AuthMethod::OneTimePassword)?, kind))
    }
}

/// Returns the sign-in after its missing step was completed.
pub(super) fn proved(checked: Checked, method: AuthMethod) -> Result<Checked, SignInRefused> {
    let step = SignInStep::SecondFactor(method);
    let pending = Pending::new(checked, MissingStep::SecondFactor);
    pending.with(step).map_err(|_| Refusal::Internal.into())
}

/// Returns the refusal that a client gets if a code is refused.
pub(crate) const fn refusal_of(why: FactorRefusal) -> Refusal {
    match why {
        FactorRefusal::WrongCode | FactorRefusal::UsedCode => Refusal::BadCode,
        FactorRefusal::Throttled => Refusal::TooManyAttempts,
        FactorRefusal::Ticket => Refusal::TicketNotValid,
        FactorRefusal::NoProof => Refusal::EnrolmentProofRequired,
        FactorRefusal::NotFresh => Refusal::InsufficientAuthentication,
        FactorRefusal::BadPasskey | FactorRefusal::UsedChallenge | FactorRefusal::ClonedPasskey => {
            Refusal::BadPasskey
        }
    }
}
