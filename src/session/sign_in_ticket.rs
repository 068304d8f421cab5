//! The ticket with which an unfinished sign-in continues.
//!
//! It holds the [`Checked`] user, sealed. It is valid for five minutes (ten if a code has to come by mail,
//! [`mailed_code`](super::mailed_code)), from the network in which the password was given (/32, /64), and once. The directory
//! is asked again when it is used: a new password or a disabled user makes it invalid.
//!
//! An unused ticket leaves nothing behind, except the session that a service of `kind = "http"` began for the password: the
//! service's own timeout ends that one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::mailed_code::MAIL;
use super::steps::{MissingStep, Pending};
use super::{Checked, SessionManager, SignInRefused};
use crate::caller::{AuthMethods, Identity, UserKey};
use crate::clock::Timestamp;
use crate::context::RequestContext;
use crate::directory::Account;
use crate::event::{EventKind, FactorRefusal, SignInFailure};
use crate::factor::ticket::TICKET;
use crate::factor::{FactorRequirement, MAILED_CODE, OfferedFactors};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::wire::client_ip::network_32_or_64;
use crate::wire::jar::Jar;

const PURPOSE: &str = "sign-in";

/// The tickets of unfinished sign-ins: issued, opened and spent.
#[derive(Clone, Copy)]
pub(super) struct SignInTickets<'s>(pub(super) &'s SessionManager);

/// How an unfinished sign-in can continue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignInTicket {
    /// The ticket itself.
    pub ticket: Secret,
    /// The step that is required.
    pub due: PendingStep,
    /// The name of the user who signs in.
    pub name: String,
    /// The factors with which the user may continue, or which they may set up.
    pub offered: OfferedFactors,
}

/// The step that is required before a session begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PendingStep {
    /// A code is required.
    Code,
    /// A code that is mailed to the user, or setting up a factor.
    MailedCode,
    /// Setting up a factor is required.
    Enrolment {
        /// Whether that requires an operator's code, because no device of the user is known.
        takes_invitation: bool,
    },
}

/// The content of a ticket: a [`Checked`] user.
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
    /// When the sign-in began, in milliseconds since 1970. (Tickets of an earlier version have no such field.)
    #[serde(default)]
    begun: u64,
}

impl SignInTickets<'_> {
    /// Returns a refusal with a ticket to continue, or without one if it cannot be issued.
    pub(super) async fn give(
        self,
        checked: Checked,
        due: PendingStep,
        context: &RequestContext<'_>,
    ) -> SignInRefused {
        let pending = Pending::new(checked, MissingStep::SecondFactor);
        let checked = pending.checked();
        let bytes = TicketContent::of(checked, context).to_bytes();
        let lifetime = if due == PendingStep::MailedCode { MAILED_CODE } else { TICKET };
        let given = match bytes {
            Some(bytes) => {
                self.0.factors.tickets().give(PURPOSE, &bytes, lifetime, context.at).await
            }
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

    /// Returns a refusal with the same ticket and the step that is required now.
    pub(super) async fn give_again(
        self,
        checked: &Checked,
        duty: FactorRequirement,
        ticket: &Secret,
        at: Timestamp,
    ) -> SignInRefused {
        let takes_invitation = !self.0.mailed_links().may_enrol_from(checked, at).await;
        let due = match duty {
            FactorRequirement::MailOrEnrol => PendingStep::MailedCode,
            FactorRequirement::Nothing | FactorRequirement::Prove | FactorRequirement::Enrol => {
                PendingStep::Enrolment { takes_invitation }
            }
        };
        self.with_ticket(checked, ticket.clone(), due, at).await
    }

    async fn with_ticket(
        self,
        checked: &Checked,
        ticket: Secret,
        due: PendingStep,
        at: Timestamp,
    ) -> SignInRefused {
        let offered = match due {
            PendingStep::Code => {
                let all = self.0.factors.all_of(checked.user(), at).await;
                all.map(|all| self.0.factors.offered(&all))
            }
            PendingStep::MailedCode => Ok(MAIL),
            PendingStep::Enrolment { .. } => {
                let passkey = self.0.factors.passkeys().are_on();
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

    /// Returns the user that a ticket stands for, with the directory's current account.
    pub(super) async fn checked_by(
        self,
        ticket: &Secret,
        context: &RequestContext<'_>,
    ) -> Result<Checked, SignInRefused> {
        Ok(self.open(ticket, context).await?.0)
    }

    /// Does the same, and also returns when the sign-in began.
    pub(super) async fn open(
        self,
        ticket: &Secret,
        context: &RequestContext<'_>,
    ) -> Result<(Checked, Timestamp), SignInRefused> {
        let at = context.at;
        let bytes = self.0.factors.tickets().look_at(PURPOSE, ticket, at).await?;
        let kept = bytes.and_then(|bytes| serde_json::from_slice::<TicketContent>(&bytes).ok());
        let Some(kept) = kept else { return Err(Refusal::TicketNotValid.into()) };
        let is_here = kept.network == network_32_or_64(context.client).to_string();
        let begun = Timestamp::from_millis(kept.begun);
        let checked = kept.into_checked().ok_or(Refusal::Internal)?;
        let user = checked.user().clone();
        if !is_here {
            self.0.second_factors().note_refused(&user, FactorRefusal::Ticket, context);
            return Err(Refusal::TicketNotValid.into());
        }
        let Some(watched) = self.0.directory(&user.directory) else {
            return Err(Refusal::TicketNotValid.into());
        };
        // A login service says nothing about a user without their password, which was right a moment ago.
        let Some(users) = watched.directory().users() else { return Ok((checked, begun)) };
        let account = users.by_id(&user).await.map_err(super::sign_in::not_asked)?;
        let is_same = |account: &Account| {
            account.active && account.password_mark() == checked.account.password_mark()
        };
        match account.filter(is_same) {
            Some(account) => Ok((Checked { account, ..checked }, begun)),
            None => {
                self.0.second_factors().note_refused(&user, FactorRefusal::Ticket, context);
                Err(Refusal::TicketNotValid.into())
            }
        }
    }

    /// Spends a ticket, which ends the sign-in.
    pub(super) async fn spend(
        self,
        checked: &Checked,
        ticket: &Secret,
        context: &RequestContext<'_>,
    ) -> Result<(), SignInRefused> {
        if self.0.factors.tickets().spend(ticket, context.at).await? {
            return Ok(());
        }
        self.0.second_factors().note_refused(checked.user(), FactorRefusal::Ticket, context);
        Err(Refusal::TicketNotValid.into())
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
