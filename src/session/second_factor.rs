//! The second step of a sign-in.
//!
//! After a right password the sign-in is [`Pending`] where something is due: nothing was issued, and whoever comes back with
//! the ticket and a code goes on. A ticket holds what was [`Checked`], sealed; it works for five minutes (ten where a code has to come by
//! mail, [`mailed_code`](super::mailed_code)), from the network
//! where the password was given (/32, /64), and once. A wrong code does not spend it: the code is counted instead
//! ([`Factors`]), per user, so that fresh passwords give no fresh guesses. What the directory says now counts: another password or a user
//! who was switched off meanwhile ends it.
//!
//! **The first factor** where one is due takes more than the password: a device that signed this user in before, a
//! link that was mailed to them, or an operator's code. Else whoever stole the password would set up a factor of their own.
//!
//! A ticket that nobody comes back with leaves nothing behind, except the session that a service of `kind = "http"` began for
//! the password: that one ends by the service's own timeout.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::mailed_code::MAIL;
use super::steps::{MissingStep, Pending, SignInStep};
use super::{Checked, Grants, SessionManager, SignInRefused, SignedIn};
use crate::caller::{AuthMethod, AuthMethods, Identity, UserKey};
use crate::clock::Timestamp;
use crate::context::RequestContext;
use crate::directory::Account;
use crate::event::{EventKind, FactorEvent, FactorRefusal, SignInFailure};
use crate::factor::ticket::TICKET;
use crate::factor::{
    CodeAttempt, CodeKind, CodeRefused, Confirmed, Enrolment, FactorRequirement, Factors,
    MAILED_CODE, OfferedFactors,
};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::wire::client_ip::network_32_or_64;
use crate::wire::jar::Jar;

const PURPOSE: &str = "sign-in";

/// How a sign-in that is not over goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignInTicket {
    /// Brings it on.
    pub ticket: Secret,
    /// What is due.
    pub due: PendingStep,
    /// Who signs in, as they are called.
    pub name: String,
    /// By what they go on; where they set one up, by what they may.
    pub offered: OfferedFactors,
}

/// What is due before a session begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PendingStep {
    /// A code.
    Code,
    /// A code that is mailed to them; or they set a factor up.
    MailedCode,
    /// A factor is to be set up.
    Enrolment {
        /// Does it take an operator's code, because no device of theirs is known?
        takes_invitation: bool,
    },
}

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

/// [`Checked`], as a ticket keeps it.
#[derive(Serialize, Deserialize)]
struct TicketContent {
    directory: String,
    id: String,
    name: String,
    groups: Vec<String>,
    staff: bool,
    superuser: bool,
    attributes: BTreeMap<String, String>,
    password: String,
    methods: String,
    cookies: Vec<u8>,
    account: String,
    device: String,
    network: String,
    /// When, in milliseconds since 1970. (Tickets of an earlier version have none.)
    #[serde(default)]
    begun: u64,
}

impl SessionManager {
    /// What proves more than a password.
    pub fn factors(&self) -> &Arc<Factors> {
        &self.factors
    }

    /// What is due of somebody whose password was right, besides it.
    ///
    /// # Errors
    /// [`Refusal::SecondFactorElsewhere`], [`Refusal::StoreUnavailable`], [`Refusal::DirectoryUnavailable`]
    pub(crate) async fn duty(
        &self,
        checked: &Checked,
        at: Timestamp,
    ) -> Result<FactorRequirement, Refusal> {
        if !self.factors.is_on() {
            return Ok(FactorRequirement::Nothing);
        }
        let user = &checked.account.identity;
        match self.factors.duty(user, at).await? {
            FactorRequirement::MailOrEnrol
                if !self.mailed_codes().has_own_address(user).await? =>
            {
                Ok(FactorRequirement::Enrol)
            }
            duty => Ok(duty),
        }
    }

    /// Goes on after a right password: whoever owes nothing, or gave a right code with it. All others get a ticket.
    pub(super) async fn second_step(
        &self,
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
            (FactorRequirement::Prove, None) if self.is_trusted(&checked, context.at).await? => {
                Ok(checked)
            }
            (FactorRequirement::Prove, None) => {
                Err(self.pending(checked, PendingStep::Code, context).await)
            }
            (FactorRequirement::MailOrEnrol, Some(code)) => {
                self.mailed_codes().prove(checked, None, code, context).await
            }
            (FactorRequirement::MailOrEnrol, None) => {
                Err(self.pending(checked, PendingStep::MailedCode, context).await)
            }
            (FactorRequirement::Enrol, _) => {
                let takes_invitation =
                    !self.mailed_links().may_enrol_from(&checked, context.at).await;
                Err(self
                    .pending(checked, PendingStep::Enrolment { takes_invitation }, context)
                    .await)
            }
        }
    }

    /// Ends a sign-in with the code that was missing.
    ///
    /// # Errors
    /// [`SignInRefused`] with [`Refusal::TicketNotValid`], [`Refusal::BadCode`], [`Refusal::TooManyAttempts`], and what
    /// [`Self::begin`] refuses
    pub async fn finish_sign_in(
        &self,
        step: SecondStep<'_>,
        context: &RequestContext<'_>,
    ) -> Result<SignedIn, SignInRefused> {
        let checked = self.of_ticket(step.ticket, context).await?;
        let (checked, kind) = match self.duty(&checked, context.at).await? {
            FactorRequirement::Enrol => {
                let refused =
                    self.pending_again(&checked, FactorRequirement::Enrol, step.ticket, context.at);
                return Err(refused.await);
            }
            FactorRequirement::MailOrEnrol => {
                let (ticket, code) = (step.ticket, step.code);
                (self.mailed_codes().prove(checked, Some(ticket), code, context).await?, None)
            }
            FactorRequirement::Nothing | FactorRequirement::Prove => {
                let (checked, kind) = self.prove(checked, step.code, context).await?;
                (checked, Some(kind))
            }
        };
        self.spend(&checked, step.ticket, context).await?;
        let (account, user) = (Arc::clone(&checked.name), checked.user().clone());
        let signed_in = self.begin(checked, step.grants, context).await?;
        match step.trusts && kind == Some(CodeKind::App) {
            true => Ok(self.trust(signed_in, (&account, &user), context).await?),
            false => Ok(signed_in),
        }
    }

    /// The secret for a factor that is to be set up to sign in, and whether that takes an operator's code. With `token`: the
    /// one that was shown before.
    ///
    /// # Errors
    /// [`SignInRefused`] with [`Refusal::TicketNotValid`], or [`Refusal::SecondFactorRequired`] where they have one
    pub async fn enrolment_of(
        &self,
        ticket: &Secret,
        token: Option<&Secret>,
        context: &RequestContext<'_>,
    ) -> Result<(Enrolment, bool), SignInRefused> {
        let checked = self.of_ticket(ticket, context).await?;
        if !self.duty(&checked, context.at).await?.may_enrol() {
            return Err(Refusal::SecondFactorRequired.into());
        }
        let takes_invitation = !self.mailed_links().may_enrol_from(&checked, context.at).await;
        let (user, name) = (checked.user(), &checked.account.identity.name);
        let shown = token.and_then(|token| self.factors.again(user, name, token, context.at));
        let enrolment = match shown {
            Some(shown) => shown,
            None => self.factors.begin_enrolment(user, name, context.at)?,
        };
        Ok((enrolment, takes_invitation))
    }

    /// Ends a sign-in by setting up a factor: the session, and the recovery codes that came with it.
    ///
    /// # Errors
    /// As [`Self::finish_sign_in`], and [`Refusal::EnrolmentProofRequired`]
    pub async fn enrol_and_sign_in(
        &self,
        step: EnrolmentStep<'_>,
        context: &RequestContext<'_>,
    ) -> Result<(SignedIn, Vec<Secret>), SignInRefused> {
        let checked = self.of_ticket(step.ticket, context).await?;
        let user = checked.user().clone();
        let invitation = self.may_enrol(&checked, step.confirmed.invitation, context).await?;
        let confirmed = Confirmed { invitation, ..step.confirmed };
        let enrolled = self.enrol(&user, confirmed, context).await?;
        self.spend(&checked, step.ticket, context).await?;
        let checked = proved(checked, AuthMethod::OneTimePassword)?;
        Ok((self.begin(checked, step.grants, context).await?, enrolled))
    }

    /// Sets up a factor, and says so. The recovery codes that came with it.
    ///
    /// # Errors
    /// [`Refusal::BadCode`], [`Refusal::TicketNotValid`], [`Refusal::EnrolmentProofRequired`],
    /// [`Refusal::StoreUnavailable`]
    pub async fn enrol(
        &self,
        user: &UserKey,
        confirmed: Confirmed<'_>,
        context: &RequestContext<'_>,
    ) -> Result<Vec<Secret>, SignInRefused> {
        match self.factors.enrol(user, confirmed, context.at).await? {
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
        &self,
        attempt: CodeAttempt<'_>,
        context: &RequestContext<'_>,
    ) -> Result<CodeKind, SignInRefused> {
        let user = attempt.user;
        match self.factors.check(attempt).await {
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
        &self,
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
    pub fn note_refused(&self, user: &UserKey, why: FactorRefusal, context: &RequestContext<'_>) {
        context.note(EventKind::FactorRefused { user: user.clone(), why });
    }

    async fn prove(
        &self,
        checked: Checked,
        code: &Secret,
        context: &RequestContext<'_>,
    ) -> Result<(Checked, CodeKind), SignInRefused> {
        let device = self.device_of(&checked, context.at);
        let attempt = CodeAttempt { user: checked.user(), code, device, at: context.at };
        let kind = self.check_code(attempt, context).await?;
        Ok((proved(checked, AuthMethod::OneTimePassword)?, kind))
    }

    /// The device of whoever signs in, if it is known.
    pub(super) fn device_of(
        &self,
        checked: &Checked,
        at: Timestamp,
    ) -> Option<crate::secret::Digest> {
        let known = self.devices.known(&checked.device, &checked.name, at)?;
        self.is_of_password(&known, &checked.account).then_some(known.id)
    }

    async fn pending(
        &self,
        checked: Checked,
        due: PendingStep,
        context: &RequestContext<'_>,
    ) -> SignInRefused {
        let pending = Pending::new(checked, MissingStep::SecondFactor);
        let checked = pending.checked();
        let bytes = TicketContent::of(checked, context).to_bytes();
        let lifetime = if due == PendingStep::MailedCode { MAILED_CODE } else { TICKET };
        let given = match bytes {
            Some(bytes) => self.factors.give_ticket(PURPOSE, &bytes, lifetime, context.at).await,
            None => Err(Refusal::Internal),
        };
        match given {
            Ok(ticket) => {
                let account = Arc::clone(&checked.name);
                let why = SignInFailure::SecondFactorRequired;
                let user = Some(checked.user().clone());
                context.note(EventKind::SignInFailed { account, user, why });
                self.with_ticket(checked, ticket, due, context.at).await
            }
            Err(refusal) => refusal.into(),
        }
    }

    pub(super) async fn pending_again(
        &self,
        checked: &Checked,
        duty: FactorRequirement,
        ticket: &Secret,
        at: Timestamp,
    ) -> SignInRefused {
        let takes_invitation = !self.mailed_links().may_enrol_from(checked, at).await;
        let due = match duty {
            FactorRequirement::MailOrEnrol => PendingStep::MailedCode,
            FactorRequirement::Nothing | FactorRequirement::Prove | FactorRequirement::Enrol => {
                PendingStep::Enrolment { takes_invitation }
            }
        };
        self.with_ticket(checked, ticket.clone(), due, at).await
    }

    async fn with_ticket(
        &self,
        checked: &Checked,
        ticket: Secret,
        due: PendingStep,
        at: Timestamp,
    ) -> SignInRefused {
        let offered = match due {
            PendingStep::Code => {
                let all = self.factors.all_of(checked.user(), at).await;
                all.map(|all| self.factors.offered(&all))
            }
            PendingStep::MailedCode => Ok(MAIL),
            PendingStep::Enrolment { .. } => {
                let passkey = self.factors.has_passkeys();
                Ok(OfferedFactors { app: true, passkey, mail: false })
            }
        };
        let name = checked.account.identity.name.clone();
        match offered {
            Ok(offered) => {
                let ticket = Some(SignInTicket { ticket, due, name, offered });
                SignInRefused { ticket, ..due.refusal().into() }
            }
            Err(refusal) => refusal.into(),
        }
    }

    /// What a ticket stands for, as the directory has it now.
    pub(super) async fn of_ticket(
        &self,
        ticket: &Secret,
        context: &RequestContext<'_>,
    ) -> Result<Checked, SignInRefused> {
        Ok(self.open_ticket(ticket, context).await?.0)
    }

    /// The same, and when the sign-in began.
    pub(super) async fn open_ticket(
        &self,
        ticket: &Secret,
        context: &RequestContext<'_>,
    ) -> Result<(Checked, Timestamp), SignInRefused> {
        let at = context.at;
        let bytes = self.factors.look_at_ticket(PURPOSE, ticket, at).await?;
        let kept = bytes.and_then(|bytes| serde_json::from_slice::<TicketContent>(&bytes).ok());
        let Some(kept) = kept else { return Err(Refusal::TicketNotValid.into()) };
        let is_here = kept.network == network_32_or_64(context.client).to_string();
        let begun = Timestamp::from_millis(kept.begun);
        let checked = kept.into_checked().ok_or(Refusal::Internal)?;
        let user = checked.user().clone();
        if !is_here {
            self.note_refused(&user, FactorRefusal::Ticket, context);
            return Err(Refusal::TicketNotValid.into());
        }
        let Some(watched) = self.directory(&user.directory) else {
            return Err(Refusal::TicketNotValid.into());
        };
        // A login service says nothing of anybody without their password, which was right a moment ago.
        let Some(users) = watched.directory().users() else { return Ok((checked, begun)) };
        let account = users.by_id(&user).await.map_err(super::sign_in::not_asked)?;
        let is_same = |account: &Account| {
            account.active && account.password_mark() == checked.account.password_mark()
        };
        match account.filter(is_same) {
            Some(account) => Ok((Checked { account, ..checked }, begun)),
            None => {
                self.note_refused(&user, FactorRefusal::Ticket, context);
                Err(Refusal::TicketNotValid.into())
            }
        }
    }

    pub(super) async fn spend(
        &self,
        checked: &Checked,
        ticket: &Secret,
        context: &RequestContext<'_>,
    ) -> Result<(), SignInRefused> {
        if self.factors.spend_ticket(ticket, context.at).await? {
            return Ok(());
        }
        self.note_refused(checked.user(), FactorRefusal::Ticket, context);
        Err(Refusal::TicketNotValid.into())
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

impl PendingStep {
    const fn refusal(self) -> Refusal {
        match self {
            Self::Code | Self::MailedCode => Refusal::SecondFactorRequired,
            Self::Enrolment { .. } => Refusal::EnrolmentRequired,
        }
    }
}

impl TicketContent {
    fn of(checked: &Checked, context: &RequestContext<'_>) -> Self {
        let Identity { key, name, groups, staff, superuser, attributes } =
            &*checked.account.identity;
        Self {
            directory: key.directory.to_string(),
            id: key.id.to_string(),
            name: name.clone(),
            groups: groups.clone(),
            staff: *staff,
            superuser: *superuser,
            attributes: attributes.clone(),
            password: checked.account.password.expose().to_owned(),
            methods: checked.methods.to_string(),
            cookies: checked.cookies.to_bytes(),
            account: checked.name.to_string(),
            device: checked.device.clone(),
            network: network_32_or_64(context.client).to_string(),
            begun: context.at.as_millis(),
        }
    }

    fn to_bytes(&self) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        serde_json::to_vec(self).ok().map(zeroize::Zeroizing::new)
    }

    fn into_checked(self) -> Option<Checked> {
        let identity = Identity {
            key: UserKey::new(&self.directory, &self.id),
            name: self.name,
            groups: self.groups,
            staff: self.staff,
            superuser: self.superuser,
            attributes: self.attributes,
        };
        Some(Checked {
            account: Account {
                identity: Arc::new(identity),
                active: true,
                has_second_factor: false,
                password: Secret::new(self.password),
            },
            methods: AuthMethods::read(&self.methods),
            cookies: Jar::from_bytes(&self.cookies)?,
            name: self.account.into(),
            device: self.device,
        })
    }
}
