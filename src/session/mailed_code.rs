//! Mailed codes in sign-ins and in confirmations: who may ask for one, and using it.
//!
//! The module `factor::mailed_code` describes what a code is. This module decides who may receive one: a user whose mail
//! address is theirs alone, whose password was right (a ticket) or who is signed in (a session). A user who has set up another
//! factor meanwhile is asked for that one, and a code that was already mailed is worth nothing then. If a detector asked for a
//! proof, a mailed code does not count as one.

use super::passkey::{of_network, of_session, of_ticket};
use super::second_factor::proved;
use super::sign_in::not_asked;
use super::{Checked, SessionManager, SignInRefused};
use crate::caller::{AuthMethod, Identity, UserKey};
use crate::clock::Timestamp;
use crate::context::RequestContext;
use crate::factor::{
    CeremonyPlace, FactorRequirement, MAILED_CODE, MailedCodeAttempt, OfferedFactors,
};
use crate::notify::hash_text;
use crate::refusal::Refusal;
use crate::secret::{Digest, Secret};
use crate::store::Session;

/// The factors offered to a user who has nothing but mail.
pub(super) const MAIL: OfferedFactors = OfferedFactors { app: false, passkey: false, mail: true };

/// Mailed codes: who may ask for one, and what using it proves.
#[derive(Clone, Copy)]
pub struct CodeOrders<'s>(pub(super) &'s SessionManager);

/// A code that may be mailed to a user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CodeOrder {
    /// The user that the code is for.
    pub user: UserKey,
    /// The place in which the code is valid, in its written form.
    pub place: String,
    /// The key under which requests for codes are counted together.
    pub counted_as: String,
    /// When the code expires.
    pub until: Timestamp,
}

impl CodeOrders<'_> {
    /// Checks that a code may be mailed for the sign-in of this ticket.
    ///
    /// # Errors
    /// [`SignInRefused`] with [`Refusal::TicketNotValid`], or with [`Refusal::BadBody`] if the user may not use mailed codes
    pub async fn for_sign_in(
        self,
        ticket: &Secret,
        context: &RequestContext<'_>,
    ) -> Result<CodeOrder, SignInRefused> {
        let (checked, begun) = self.0.tickets().open(ticket, context).await?;
        if self.0.second_factors().duty(&checked, context.at).await?
            != FactorRequirement::MailOrEnrol
        {
            return Err(Refusal::BadBody.into());
        }
        let device = self.0.device_of(&checked, context.at);
        // The code expires no later than the sign-in.
        let until = begun.plus(MAILED_CODE);
        Ok(CodeOrder::new(checked.user(), &of_ticket(ticket), device.as_ref(), until))
    }

    /// Does the same for a client that will send the code together with name and password: it is valid for a sign-in from this
    /// network.
    ///
    /// # Errors
    /// The same as for [`Self::for_sign_in`]
    pub async fn for_another_try(
        self,
        ticket: &Secret,
        context: &RequestContext<'_>,
    ) -> Result<CodeOrder, SignInRefused> {
        let order = self.for_sign_in(ticket, context).await?;
        Ok(CodeOrder { place: of_network(context.client).as_str().to_owned(), ..order })
    }

    /// Checks that a code may be mailed for this session.
    ///
    /// # Errors
    /// [`SignInRefused`] with [`Refusal::BadBody`] if the user may not use mailed codes
    pub async fn for_session(
        self,
        session: &Session,
        device: &str,
        context: &RequestContext<'_>,
    ) -> Result<CodeOrder, SignInRefused> {
        if !self.confirms(session, context.at).await? {
            return Err(Refusal::BadBody.into());
        }
        let user = session.identity.load().key.clone();
        let device = self.0.device_of_session(device, session, context.at);
        let until = context.at.plus(MAILED_CODE);
        Ok(CodeOrder::new(&user, &of_session(session), device.as_ref(), until))
    }

    /// Whether a session's user may confirm their identity with a mailed code.
    ///
    /// # Errors
    /// [`Refusal::SecondFactorElsewhere`], [`Refusal::StoreUnavailable`], [`Refusal::DirectoryUnavailable`]
    pub async fn confirms(self, session: &Session, at: Timestamp) -> Result<bool, Refusal> {
        let identity = session.identity.load_full();
        Ok(!self.0.step_up().is_asked(session, at)
            && self.0.factors.mailed_codes().may_use(&identity, at).await?
            && self.has_own_address(&identity).await?)
    }

    /// Whether this user has a mail address that nobody else in their directory has.
    pub(super) async fn has_own_address(self, user: &Identity) -> Result<bool, Refusal> {
        let directory = self.0.directory(&user.key.directory);
        let Some(users) = directory.and_then(|one| one.directory().users()) else {
            return Ok(false);
        };
        Ok(users.own_address(user).await.map_err(not_asked)?.is_some())
    }

    /// Completes a sign-in with a mailed code: of its ticket, or one that was requested from this network.
    pub(super) async fn prove(
        self,
        checked: Checked,
        ticket: Option<&Secret>,
        code: &Secret,
        context: &RequestContext<'_>,
    ) -> Result<Checked, SignInRefused> {
        let place = ticket.map_or_else(|| of_network(context.client), of_ticket);
        self.check(checked.user(), &place, code, context).await?;
        proved(checked, AuthMethod::Mail)
    }

    /// Uses a mailed code of this session.
    pub(super) async fn confirmed(
        self,
        session: &Session,
        code: &Secret,
        context: &RequestContext<'_>,
    ) -> Result<(), SignInRefused> {
        let user = session.identity.load().key.clone();
        self.check(&user, &of_session(session), code, context).await
    }

    async fn check(
        self,
        user: &UserKey,
        place: &CeremonyPlace,
        code: &Secret,
        context: &RequestContext<'_>,
    ) -> Result<(), SignInRefused> {
        let attempt = MailedCodeAttempt { user, place, code, at: context.at };
        let checked = self.0.factors.mailed_codes().check(attempt).await;
        checked.map_err(|refused| self.0.second_factors().code_refused(user, refused, context))
    }
}

impl CodeOrder {
    fn new(
        user: &UserKey,
        place: &CeremonyPlace,
        device: Option<&Digest>,
        until: Timestamp,
    ) -> Self {
        let counted_as = device.map(hash_text).unwrap_or_default();
        Self { user: user.clone(), place: place.as_str().to_owned(), counted_as, until }
    }
}
