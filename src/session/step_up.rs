//! Confirming that it is still them: a session's user proves something again, and its assurance says so from then on.
//!
//! Where a detector asked for it (`step_up`), the code of a second factor lifts what keeps the session from being used, and a
//! browser gets another cookie for it: a copy of the old one, about which the detector may have been right, is worth nothing
//! then. A password lifts nothing.
//!
//! Whoever has a second factor gives a code of it, or uses a passkey; a password is no proof of anything then. Whoever has none gives their
//! password, or a code that was mailed to them where these are taken ([`mailed_code`](super::mailed_code)). The session stays the same, with its tokens and its cookie; nothing but this raises what it proves, a refresh in
//! particular does not.

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

/// How long ago the last proof of somebody may be who changes their second factors.
pub const FRESH: Duration = Duration::from_secs(600);

/// Confirming that it is still them: what it takes, and what it gives.
#[derive(Clone, Copy)]
pub struct StepUp<'s>(pub(super) &'s SessionManager);

/// What somebody proves again.
#[derive(Clone, Copy, Debug)]
pub enum Confirmation<'a> {
    /// A code of their second factor.
    Code(&'a Secret),
    /// A passkey of theirs.
    Passkey(PasskeySaid<'a>),
    /// Their password.
    Password(&'a Secret),
}

impl StepUp<'_> {
    /// What a session's user would have to give: a code, or else the password.
    ///
    /// # Errors
    /// [`Refusal::SecondFactorElsewhere`], [`Refusal::StoreUnavailable`], [`Refusal::DirectoryUnavailable`]
    pub async fn confirms_by_code(self, session: &Session, at: Timestamp) -> Result<bool, Refusal> {
        let user = session.identity.load().key.clone();
        Ok(self.0.factors.all_of(&user, at).await?.has_any())
    }

    /// Raises what a session proves. The new record of the session.
    ///
    /// # Errors
    /// [`SignInRefused`] with [`Refusal::BadCode`], [`Refusal::BadPasskey`], [`Refusal::SecondFactorRequired`] for a password of somebody who has a
    /// second factor, [`Refusal::BadCredentials`], [`Refusal::TooManyAttempts`], [`Refusal::SessionEnded`], and what cannot be
    /// asked
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
            // They have no other factor. Where a detector asked, they had one then.
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
            // They had one when it was asked for, and a password is what may have been stolen.
            Confirmation::Password(_) if asked.is_some() => {
                return Err(Refusal::SignInAgain.into());
            }
            Confirmation::Password(password) => {
                let checked = self.check_password(&identity, password, device, context).await?;
                // What a service began for the password is not needed.
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

    /// Writes down what a session proves from now on, and notes it where that is another level of assurance. None: it has ended.
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

    /// Checks what is to be the password of somebody who is signed in, as a sign-in in their directory does: a wrong one is
    /// counted, and one with which that directory now finds somebody else is none of theirs.
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

    /// Is this session's user to prove, before it goes on, that it is them?
    pub fn is_asked(self, session: &Session, at: Timestamp) -> bool {
        self.0.blocks().to_confirm(session, at).is_some()
    }

    /// Another cookie for a session; the one before proves nothing any more.
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

    /// Did a session's user sign in with this device cookie before, with the password that they have?
    pub fn knows_device(self, cookie: &str, session: &Session, at: Timestamp) -> bool {
        self.0.device_of_session(cookie, session, at).is_some()
    }

    /// Did a session's user prove lately, by all that they have, that it is them?
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

/// What is proved by a mailed code, beside the first factor that was. Other factors were, when they had them: they are not
/// proved anew by it.
fn with_mail(before: AuthMethods) -> AuthMethods {
    let first = [AuthMethod::Password, AuthMethod::Service];
    let first = first.into_iter().filter(|method| before.has(*method));
    first.fold(AuthMethods::only(AuthMethod::Mail), AuthMethods::and)
}
