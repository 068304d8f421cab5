//! Signing in with a name and a password.
//!
//! The order is: what cannot be a name or a password; the lockout; the directories; one password check; the session.
//!
//! Four things look alike from outside, in answer and in time: an unknown user, a wrong password, an inactive user, a
//! stored password that can never match. So each of them is exactly one password check, in the pool, after the directories
//! were asked; for an unknown user against a decoy of the last directory, because that is the one all other names go on to.
//! What was locked out, is busy, or could not be asked does differ, and says nothing about the user.
//!
//! Whom the service asks for a second factor is refused here, where only the password is looked at: after it was right, so
//! that a guess learns nothing. That is no failed guess to the lockout, and it clears no earlier one.
//!
//! The first directory that knows the name decides, also by saying no: a user who was disabled there does not come back
//! through the next one. A directory that cannot be asked ends the attempt, because it might have known the name.
//!
//! A directory that checks passwords itself knows every name that those before it do not, and takes the time that its
//! service takes. So beside another directory, the time of a failure tells which of the two it was; of a name within one
//! of them it tells nothing that the service does not tell itself.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::lockout::{Attempt, folded};
use super::{Auth, SignIn, SignInRefused, SignedIn, TokenPair, Watched, access_token};
use crate::caller::SessionId;
use crate::clock::Timestamp;
use crate::directory::password::{self as password_pool, Check, Checked};
use crate::directory::{Account, Attempt as Asked, Directory, DirectoryError, Verdict};
use crate::django::hashers::Algorithm;
use crate::event::{SignInFailure, What};
use crate::refusal::Refusal;
use crate::secret::{Secret, random_id};
use crate::store::{NewSession, Session};
use crate::wire::jar::Jar;

const MAX_NAME: usize = 1024;
const MAX_PASSWORD: usize = 1024;
pub(crate) const MAX_AGENT: usize = 256;

/// When to come again if the hashing pool is full.
const BUSY_WAIT: Duration = Duration::from_secs(1);

/// A password that was right.
pub(crate) struct Right {
    /// Whose it is.
    pub(crate) user: Account,
    /// What a service gave for it.
    pub(crate) cookies: Jar,
    /// How they are counted.
    pub(crate) account: Arc<str>,
    /// Still to be settled.
    pub(crate) attempt: Attempt,
}

impl Auth {
    /// Signs a user in: lockout, directories in their order, one password check, a new session.
    ///
    /// # Errors
    /// [`SignInRefused`] with [`Refusal::BadCredentials`], [`Refusal::SecondFactorRequired`],
    /// [`Refusal::TooManyAttempts`], [`Refusal::Busy`],
    /// [`Refusal::DirectoryUnavailable`] or [`Refusal::StoreUnavailable`].
    pub async fn sign_in(
        &self,
        request: SignIn<'_>,
        happened: &mut Vec<What>,
    ) -> Result<SignedIn, SignInRefused> {
        let asked = Asked {
            name: request.username,
            password: request.password,
            client: request.client,
            at: request.at,
            is_typed: request.is_typed,
        };
        let Right { user, cookies, account, attempt } =
            self.check_password(asked, None, happened).await?;
        let blocked = self.blocked_caller(&user.identity.key, None, request.at);
        let begun = match blocked {
            Some(refusal) => Err(refusal),
            None => self.begin(&user, &cookies, &request).await,
        };
        if begun.is_err() {
            self.kept.sign_out(&user.identity.key.directory, cookies, request.at);
        }
        match begun {
            Ok(signed_in) => {
                attempt.succeeded();
                happened.push(What::SignedIn {
                    session: signed_in.session.id.clone(),
                    user: user.identity.key.clone(),
                    account,
                    tokens: request.tokens,
                    cookie: request.cookie,
                });
                Ok(signed_in)
            }
            Err(refusal) => Err(not_tried(attempt, refusal, None)),
        }
    }

    /// One password check. `only`: no other directory than this one is asked.
    pub(crate) async fn check_password(
        &self,
        asked: Asked<'_>,
        only: Option<&str>,
        happened: &mut Vec<What>,
    ) -> Result<Right, SignInRefused> {
        if !can_be_a_name(asked.name) {
            return Err(failed(Arc::from(""), SignInFailure::UnknownUser, happened));
        }
        let account: Arc<str> = folded(asked.name).into();
        if !can_be_a_password(asked.password) {
            return Err(failed(account, SignInFailure::WrongPassword, happened));
        }
        let attempt = match self.lockout.attempt(&account, asked.client, asked.at) {
            Ok(attempt) => attempt,
            Err(wait) => {
                let why = SignInFailure::LockedOut;
                happened.push(What::SignInFailed { account, why });
                return Err(SignInRefused {
                    refusal: Refusal::TooManyAttempts,
                    retry_after: Some(wait),
                });
            }
        };
        match self.judge(asked, only).await {
            Ok(Ok((user, cookies))) => Ok(Right { user, cookies, account, attempt }),
            Ok(Err(why)) => {
                match why {
                    // No guess, and nobody signed in either: it leaves what was counted as it was.
                    SignInFailure::SecondFactorRequired => attempt.take_back(),
                    SignInFailure::UnknownUser
                    | SignInFailure::WrongPassword
                    | SignInFailure::Inactive
                    | SignInFailure::UnusablePassword
                    | SignInFailure::RefusedByService
                    | SignInFailure::LockedOut => attempt.failed(),
                }
                Err(failed(account, why, happened))
            }
            Err(refusal) => {
                let wait = (refusal == Refusal::Busy).then_some(BUSY_WAIT);
                Err(not_tried(attempt, refusal, wait))
            }
        }
    }

    /// The user, and the cookies that a service gave for them; or the failure. The error: it could not be judged.
    async fn judge(
        &self,
        asked: Asked<'_>,
        only: Option<&str>,
    ) -> Result<Result<(Account, Jar), SignInFailure>, Refusal> {
        let (found, directory) = self.look_up(asked, only).await?;
        if let (None, Some(directory)) = (&found, directory)
            && directory.checks_passwords()
        {
            return match directory.sign_in(asked).await.map_err(not_asked)? {
                Verdict::Accepted(account, cookies) => Ok(Ok((*account, cookies))),
                Verdict::Refused => Ok(Err(SignInFailure::WrongPassword)),
                Verdict::Busy => Err(Refusal::Busy),
            };
        }
        let check = Check {
            password: asked.password.clone(),
            encoded: found.as_ref().map(|found| found.password.clone()),
            decoy: directory.map_or_else(password_pool::decoy, Directory::decoy),
            hashers: directory.map_or_else(|| Algorithm::DEFAULT.into(), Directory::hashers),
        };
        let checked = self.passwords.check(check).await.map_err(|_| Refusal::Busy)?;
        Ok(judge(found, checked).map(|user| (user, Jar::default())))
    }

    /// What the first directory that knows the name says, and which that is. If none does: the first that checks passwords
    /// itself, or else the last.
    async fn look_up(
        &self,
        attempt: Asked<'_>,
        only: Option<&str>,
    ) -> Result<(Option<Account>, Option<&dyn Directory>), Refusal> {
        let mut asked = None;
        let is_asked =
            |watched: &&Watched| only.is_none_or(|only| watched.directory.name() == only);
        for watched in self.directories.iter().filter(is_asked) {
            let directory = &*watched.directory;
            asked = Some(directory);
            if directory.checks_passwords() {
                break;
            }
            let name = match attempt.is_typed {
                true => directory.as_typed(attempt.name),
                false => Cow::Borrowed(attempt.name),
            };
            if let Some(account) = directory.find(&name).await.map_err(not_asked)? {
                return Ok((Some(account), asked));
            }
        }
        Ok((None, asked))
    }

    /// A new session, always: an id or cookie that the client brought is never taken over.
    async fn begin(
        &self,
        user: &Account,
        cookies: &Jar,
        request: &SignIn<'_>,
    ) -> Result<SignedIn, Refusal> {
        let no_randomness = |_| Refusal::Internal;
        let at = request.at;
        let id = SessionId::new(&random_id().map_err(no_randomness)?);
        let cookie = request.cookie.then(Secret::random).transpose().map_err(no_randomness)?;
        let expires_at = at.plus(self.session.absolute_timeout);
        let user_id = &user.identity.key.id;
        if let Some(mint) = &request.issued {
            self.mints.can_mint(mint, &user.identity.key)?;
        }
        let refresh = request
            .tokens
            .then(|| self.refresh_key.issue(&self.tokens, &id, user_id, expires_at, at))
            .transpose()?;
        let kept = (!cookies.is_empty()).then(|| self.kept.seal(&id, cookies)).transpose()?;
        let new = NewSession {
            id,
            identity: Arc::clone(&user.identity),
            password_mark: user.password_mark(),
            cookie: cookie.as_ref().map(Secret::digest),
            issuer: None,
            at,
            expires_at,
            idle_timeout: self.idle_timeout(request),
            client: Some(request.client),
            agent: cut(request.agent, MAX_AGENT).to_owned(),
            refresh: refresh.as_ref().map(|refresh| refresh.remembered.clone()),
            kept,
        };
        let session = self.sessions.create(new).await.map_err(super::store_failed)?;
        let theirs = |one: &&Watched| one.directory.name() == &*user.identity.key.directory;
        if let Some(watched) = self.directories.iter().find(theirs) {
            watched.upgrades.note(&*watched.directory, user);
        }
        let tokens = match refresh {
            Some(refresh) => {
                let (access, access_expires_in) = self.issue_access(&session, at)?;
                Some(TokenPair {
                    access,
                    access_expires_in,
                    refresh: Some(refresh.token),
                    refresh_expires_in: refresh.good_for,
                })
            }
            None => None,
        };
        let issued = match &request.issued {
            Some(mint) => Some(self.mints.mint(mint, &session, at)?),
            None => None,
        };
        Ok(SignedIn { session, tokens, cookie, issued })
    }

    pub(crate) fn issue_access(
        &self,
        session: &Session,
        at: Timestamp,
    ) -> Result<(Secret, Duration), Refusal> {
        access_token::issue(&self.keys, &self.tokens, session, at)
    }
}

impl Auth {
    /// A token must be good for as long as it says, so a session that has one is not over before it.
    fn idle_timeout(&self, request: &SignIn<'_>) -> Duration {
        let refresh = request.tokens.then_some(self.tokens.refresh_lifetime);
        let issued = request.issued.map(|mint| mint.lifetime.max(mint.refresh_lifetime));
        [refresh, issued].into_iter().flatten().fold(self.session.idle_timeout, Duration::max)
    }
}

/// The failures, in an order that depends on nothing a client can see.
fn judge(found: Option<Account>, checked: Checked) -> Result<Account, SignInFailure> {
    let account = found.ok_or(SignInFailure::UnknownUser)?;
    match checked {
        Checked::Nobody => Err(SignInFailure::UnknownUser),
        Checked::Unusable => Err(SignInFailure::UnusablePassword),
        Checked::Mismatch => Err(SignInFailure::WrongPassword),
        Checked::Match if !account.active => Err(SignInFailure::Inactive),
        Checked::Match if account.has_second_factor => Err(SignInFailure::SecondFactorRequired),
        Checked::Match => Ok(account),
    }
}

fn not_asked(error: DirectoryError) -> Refusal {
    tracing::warn!(%error, "a directory cannot be asked");
    Refusal::DirectoryUnavailable
}

fn failed(account: Arc<str>, why: SignInFailure, happened: &mut Vec<What>) -> SignInRefused {
    happened.push(What::SignInFailed { account, why });
    let refusal = match why {
        SignInFailure::SecondFactorRequired => Refusal::SecondFactorRequired,
        SignInFailure::UnknownUser
        | SignInFailure::WrongPassword
        | SignInFailure::Inactive
        | SignInFailure::UnusablePassword
        | SignInFailure::RefusedByService
        | SignInFailure::LockedOut => Refusal::BadCredentials,
    };
    SignInRefused { refusal, retry_after: None }
}

fn not_tried(attempt: Attempt, refusal: Refusal, retry_after: Option<Duration>) -> SignInRefused {
    attempt.take_back();
    SignInRefused { refusal, retry_after }
}

fn can_be_a_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// A password is its bytes. Only what nobody can have typed is refused: nothing, too much, and control characters.
fn can_be_a_password(password: &Secret) -> bool {
    let password = password.expose();
    (1..=MAX_PASSWORD).contains(&password.len()) && !password.chars().any(char::is_control)
}

pub(crate) fn cut(text: &str, length: usize) -> &str {
    text.get(..text.floor_char_boundary(length)).unwrap_or_default()
}
