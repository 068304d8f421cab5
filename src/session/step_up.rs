//! Step-up: a session's user proves their identity again, and the session's assurance states it from then on.
//!
//! If a detector demanded it (`step_up`), the code of a second factor lifts the block that keeps the session from being used,
//! and a browser gets a new cookie for it: a copy of the old one, about which the detector may have been right, is then worth
//! nothing. A password lifts no block.
//!
//! A user with a second factor gives a code of it, or uses a passkey; their password alone is not accepted as proof. A user
//! without one gives their password, or a mailed code where these are accepted ([`mailed_code`](super::mailed_code)). The
//! session stays the same, with its tokens and its cookie. Nothing else raises its assurance; in particular, a refresh does
//! not.

use std::sync::Arc;
use std::time::Duration;

use super::passkey::PasskeySaid;
use super::sign_in::VerifiedPassword;
use super::{Checked, SessionManager, SignInRefused, store_failed};
use crate::caller::{Assurance, AuthMethod, AuthMethods, Identity};
use crate::clock::Timestamp;
use crate::context::{Events, RequestContext};
use crate::directory::PasswordAttempt;
use crate::event::EventKind;
use crate::factor::CodeAttempt;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::store::{Renewal, Session};

/// The longest time since a user's last proof for changing their second factors.
pub const FRESH: Duration = Duration::from_secs(600);

/// Step-up: what it requires, and what it changes.
#[derive(Clone, Copy)]
pub struct StepUp<'s>(pub(super) &'s SessionManager);

/// What a user gives as proof.
#[derive(Clone, Copy, Debug)]
pub enum Confirmation<'a> {
    /// A code of the user's second factor.
    Code(&'a Secret),
    /// A passkey of the user.
    Passkey(PasskeySaid<'a>),
    /// The user's password.
    Password(&'a Secret),
}

impl StepUp<'_> {
    /// Whether a session's user would have to give a code; otherwise it is the password.
    ///
    /// # Errors
    /// [`Refusal::SecondFactorElsewhere`], [`Refusal::StoreUnavailable`], [`Refusal::DirectoryUnavailable`]
    pub async fn confirms_by_code(self, session: &Session, at: Timestamp) -> Result<bool, Refusal> {
        let user = session.identity.load().key.clone();
        Ok(self.0.factors.all_of(&user, at).await?.has_any())
    }

    /// Raises a session's assurance, and returns the new record of the session.
    ///
    /// # Errors
    /// [`SignInRefused`] with [`Refusal::BadCode`], [`Refusal::BadPasskey`], [`Refusal::SecondFactorRequired`] for the password
    /// of a user who has a second factor, [`Refusal::BadCredentials`], [`Refusal::TooManyAttempts`], [`Refusal::SessionEnded`],
    /// and the refusals for a directory or store that cannot be reached
    pub async fn confirm(
        self,
        session: &Session,
        confirmation: Confirmation<'_>,
        device: &str,
        context: &RequestContext<'_>,
    ) -> Result<Arc<Session>, SignInRefused> {
        let identity = session.identity.load_full();
        let user = &identity.key;
        let asked = self.0.blocks().to_confirm(session, context.at);
        let by_code = self.confirms_by_code(session, context.at).await?;
        let methods = match confirmation {
            // The user has no other factor. If a detector demanded a proof, they had one at that time.
            Confirmation::Code(code) if !by_code => {
                if !self.0.mailed_codes().confirms(session, context.at).await? {
                    let why = match asked {
                        Some(_) => Refusal::SignInAgain,
                        None => Refusal::BadCode,
                    };
                    return Err(why.into());
                }
                self.0.mailed_codes().confirmed(session, code, context).await?;
                with_mail(session.assurance.methods)
            }
            Confirmation::Code(code) => {
                let device = self.0.device_of_session(device, session, context.at);
                let attempt = CodeAttempt { user, code, device, at: context.at };
                self.0.second_factors().check_code(attempt, context).await?;
                let first = match session.assurance.methods {
                    methods if methods.is_empty() => AuthMethods::default(),
                    methods => methods.and(AuthMethod::MultipleFactors),
                };
                first.and(AuthMethod::OneTimePassword)
            }
            Confirmation::Passkey(said) => {
                let device = self.0.device_of_session(device, session, context.at);
                self.0.passkeys().confirmed(session, said, device, context).await?
            }
            Confirmation::Password(_) if by_code => {
                return Err(Refusal::SecondFactorRequired.into());
            }
            // The user had a second factor when the proof was demanded, and the password may have been stolen.
            Confirmation::Password(_) if asked.is_some() => {
                return Err(Refusal::SignInAgain.into());
            }
            Confirmation::Password(password) => {
                let checked = self.check_password(&identity, password, device, context).await?;
                // The session that the service began for this password check is not needed.
                self.0.kept.sign_out(&user.directory, checked.cookies, context.at);
                AuthMethods::only(AuthMethod::Password)
            }
        };
        let renewal = Renewal {
            session: session.id.clone(),
            cookie: None,
            password_mark: session.password_mark,
            assurance: Some(Assurance::now(methods, context.at)),
            at: context.at,
        };
        let renewed = self.prove_anew(session, renewal, context.events).await?;
        let renewed = renewed.ok_or(Refusal::SessionEnded)?;
        if let Some(block) = asked {
            let lifted = self.0.kept_blocks.lift(&block.subject).await.map_err(store_failed)?;
            if let Some(lifted) = lifted {
                context.note(EventKind::BlockLifted(lifted));
            }
        }
        Ok(renewed)
    }

    /// Stores the new assurance of a session, and notes an event if its level changes. `None` if the session has ended.
    pub(super) async fn prove_anew(
        self,
        session: &Session,
        renewal: Renewal,
        events: &Events,
    ) -> Result<Option<Arc<Session>>, Refusal> {
        let renewed = self.0.store.renew(renewal).await.map_err(store_failed)?;
        if let Some(renewed) = &renewed
            && let Some(to) = renewed.assurance.level()
            && session.assurance.level() != Some(to)
        {
            events.note(EventKind::AssuranceChanged {
                session: session.id.clone(),
                user: session.identity.load().key.clone(),
                from: session.assurance.level(),
                to,
                methods: renewed.assurance.methods,
            });
        }
        Ok(renewed)
    }

    /// Checks the password of a signed-in user like a sign-in in their directory does: a wrong password is counted, and one
    /// with which the directory now finds another user is refused.
    pub(super) async fn check_password(
        self,
        identity: &Identity,
        password: &Secret,
        device: &str,
        context: &RequestContext<'_>,
    ) -> Result<Checked, SignInRefused> {
        let asked = PasswordAttempt {
            name: &identity.name,
            password,
            client: context.client,
            at: context.at,
            is_typed: false,
        };
        let only = Some(&*identity.key.directory);
        let VerifiedPassword { checked, attempt } =
            self.0.check_password(asked, only, device, context.events).await?;
        if *checked.user() != identity.key {
            attempt.take_back();
            return Err(Refusal::BadCredentials.into());
        }
        attempt.succeeded();
        Ok(checked)
    }

    /// Whether this session's user has to confirm their identity before the session goes on.
    pub fn is_asked(self, session: &Session, at: Timestamp) -> bool {
        self.0.blocks().to_confirm(session, at).is_some()
    }

    /// Gives a session a new cookie; the previous one is no longer valid.
    ///
    /// # Errors
    /// [`Refusal::SessionEnded`], [`Refusal::StoreUnavailable`], [`Refusal::Internal`]
    pub async fn another_cookie(self, session: &Session, at: Timestamp) -> Result<Secret, Refusal> {
        let cookie = Secret::random().map_err(|_| Refusal::Internal)?;
        let renewal = Renewal {
            session: session.id.clone(),
            cookie: Some(cookie.digest()),
            password_mark: session.password_mark,
            assurance: None,
            at,
        };
        let renewed = self.0.store.renew(renewal).await.map_err(store_failed)?;
        renewed.map(|_| cookie).ok_or(Refusal::SessionEnded)
    }

    /// Whether a session's user signed in before with this device cookie and the password of the session.
    pub fn knows_device(self, cookie: &str, session: &Session, at: Timestamp) -> bool {
        self.0.device_of_session(cookie, session, at).is_some()
    }

    /// Checks that a session's user proved their identity recently, with all the factors they have.
    ///
    /// # Errors
    /// [`Refusal::InsufficientAuthentication`], [`Refusal::StoreUnavailable`]
    pub async fn is_fresh(self, session: &Session, at: Timestamp) -> Result<(), Refusal> {
        let Assurance { methods, auth_time } = session.assurance;
        let is_lately = auth_time.is_some_and(|proved| at.since(proved) < FRESH);
        let is_enough =
            methods.has(AuthMethod::MultipleFactors) || !self.confirms_by_code(session, at).await?;
        match is_lately && is_enough {
            true => Ok(()),
            false => Err(Refusal::InsufficientAuthentication),
        }
    }
}

/// Returns the methods proved by a mailed code together with the earlier first factor. Other factors are left out: a mailed
/// code does not prove them again.
fn with_mail(before: AuthMethods) -> AuthMethods {
    let first = [AuthMethod::Password, AuthMethod::Service];
    let first = first.into_iter().filter(|method| before.has(*method));
    first.fold(AuthMethods::only(AuthMethod::Mail), AuthMethods::and)
}
