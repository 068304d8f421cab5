//! The second step of a sign-in.
//!
//! After a right password the sign-in is [`Pending`] where something is due: nothing was issued, and whoever comes back with
//! the ticket (`sign_in_ticket`) and a code goes on. A wrong code does not spend the ticket: the code is
//! counted instead ([`Factors`](crate::factor::Factors)), per user, so that fresh passwords give no fresh guesses.
//!
//! **The first factor** where one is due takes more than the password: a device that signed this user in before, a
//! link that was mailed to them, or an operator's code. Else whoever stole the password would set up a factor of their own.

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

/// Second factors in sign-ins: what is due, proving it, and setting one up.
#[derive(Clone, Copy)]
pub struct SecondFactors<'s>(pub(super) &'s SessionManager);

/// A code for a sign-in that is not over.
#[derive(Clone, Copy, Debug)]
pub struct SecondStep<'a> {
    /// From the first step.
    pub ticket: &'a Secret,
    /// As typed.
    pub code: &'a Secret,
    /// What the sign-in is to give.
    pub grants: Grants,
    /// Is the browser to be trusted from then on, where that is allowed?
    pub trusts: bool,
}

/// A factor that is set up to sign in.
#[derive(Clone, Copy, Debug)]
pub struct EnrolmentStep<'a> {
    /// From the first step.
    pub ticket: &'a Secret,
    /// What confirms it.
    pub confirmed: Confirmed<'a>,
    /// What the sign-in is to give.
    pub grants: Grants,
}

impl SecondFactors<'_> {
    /// What is due of somebody whose password was right, besides it.
    ///
    /// # Errors
    /// [`Refusal::SecondFactorElsewhere`], [`Refusal::StoreUnavailable`], [`Refusal::DirectoryUnavailable`]
    pub(crate) async fn duty(
        self,
        checked: &Checked,
        at: Timestamp,
    ) -> Result<FactorRequirement, Refusal> {
        if !self.0.factors.is_on() {
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

    /// Goes on after a right password: whoever owes nothing, or gave a right code with it. All others get a ticket.
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

    /// Ends a sign-in with the code that was missing.
    ///
    /// # Errors
    /// [`SignInRefused`] with [`Refusal::TicketNotValid`], [`Refusal::BadCode`], [`Refusal::TooManyAttempts`], and what
    /// [`SessionManager::begin`] refuses
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

    /// The secret for a factor that is to be set up to sign in, and whether that takes an operator's code. With `token`: the
    /// one that was shown before.
    ///
    /// # Errors
    /// [`SignInRefused`] with [`Refusal::TicketNotValid`], or [`Refusal::SecondFactorRequired`] where they have one
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
        let shown = token.and_then(|token| self.0.factors.again(user, name, token, context.at));
        let enrolment = match shown {
            Some(shown) => shown,
            None => self.0.factors.begin_enrolment(user, name, context.at)?,
        };
        Ok((enrolment, takes_invitation))
    }

    /// Ends a sign-in by setting up a factor: the session, and the recovery codes that came with it.
    ///
    /// # Errors
    /// As [`Self::finish_sign_in`], and [`Refusal::EnrolmentProofRequired`]
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

    /// Sets up a factor, and says so. The recovery codes that came with it.
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
        match self.0.factors.enrol(user, confirmed, context.at).await? {
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

    /// Looks at a code of a user's, and says what came of it.
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

    /// Why a code did not help: noted, and as the client learns it.
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

    /// Notes why a second factor did not help.
    pub fn note_refused(self, user: &UserKey, why: FactorRefusal, context: &RequestContext<'_>) {
        context.note(EventKind::FactorRefused { user: user.clone(), why });
    }

    /// By what the sign-in of a ticket may go on.
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

    /// Whether a factor may be set up with this ticket, and with which operator's code.
    pub(super) async fn may_enrol<'c>(
        self,
        checked: &Checked,
        invitation: Option<&'c Secret>,
        context: &RequestContext<'_>,
    ) -> Result<Option<&'c Secret>, SignInRefused> {
        let user = checked.user().clone();
        if !self.duty(checked, context.at).await?.may_enrol() {
            // With one of theirs already, a ticket and a secret of one's own choice would be a way around it.
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

/// The step that was missing, done.
pub(super) fn proved(checked: Checked, method: AuthMethod) -> Result<Checked, SignInRefused> {
    let step = SignInStep::SecondFactor(method);
    let pending = Pending::new(checked, MissingStep::SecondFactor);
    pending.with(step).map_err(|_| Refusal::Internal.into())
}

/// What a client learns of why a code did not help.
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
