//! Signing in with a name and a password.
//!
//! The order is: what cannot be a name or a password; the lockout; the directories; one password check; the session.
//!
//! Four things look alike from outside, in answer and in time: an unknown user, a wrong password, an inactive user, a
//! stored password that can never match. So each of them is exactly one password check, in the pool, after the directories
//! were asked; for an unknown user against a decoy of the last directory, because that is the one all other names go on to.
//! What was locked out, is busy, or could not be asked does differ, and says nothing about the user.
//!
//! The first directory that knows the name decides, also by saying no: a user who was disabled there does not come back
//! through the next one. A directory that cannot be asked ends the attempt, because it might have known the name.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::lockout::{Attempt, folded};
use super::{Auth, SignIn, SignInRefused, SignedIn, TokenPair, Watched, access_token};
use crate::caller::SessionId;
use crate::clock::Timestamp;
use crate::directory::password::{self as password_pool, Check, Checked};
use crate::directory::{Account, Directory};
use crate::django::hashers::Algorithm;
use crate::event::{SignInFailure, What};
use crate::refusal::Refusal;
use crate::secret::{Secret, random_id};
use crate::store::{NewSession, Session};

const MAX_NAME: usize = 1024;
const MAX_PASSWORD: usize = 1024;
pub(super) const MAX_AGENT: usize = 256;

/// When to come again if the hashing pool is full.
const BUSY_WAIT: Duration = Duration::from_secs(1);

impl Auth {
    /// Signs a user in: lockout, directories in their order, one password check, a new session.
    ///
    /// # Errors
    /// [`SignInRefused`] with [`Refusal::BadCredentials`], [`Refusal::TooManyAttempts`], [`Refusal::Busy`],
    /// [`Refusal::DirectoryUnavailable`] or [`Refusal::StoreUnavailable`].
    pub async fn sign_in(
        &self,
        request: SignIn<'_>,
        happened: &mut Vec<What>,
    ) -> Result<SignedIn, SignInRefused> {
        let (username, password) = (request.username, request.password);
        let (user, account, attempt) = self
            .check_password(username, password, request.client, request.at, None, happened)
            .await?;
        match self.begin(&user, &request).await {
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

    /// One password check: the user whose name and password these are, how they are counted, and the attempt, which is
    /// still to be settled. `only`: no other directory than this one is asked.
    pub(super) async fn check_password(
        &self,
        username: &str,
        password: &Secret,
        client: IpAddr,
        at: Timestamp,
        only: Option<&str>,
        happened: &mut Vec<What>,
    ) -> Result<(Account, Arc<str>, Attempt<'_>), SignInRefused> {
        if !can_be_a_name(username) {
            return Err(failed(Arc::from(""), SignInFailure::UnknownUser, happened));
        }
        let account: Arc<str> = folded(username).into();
        if !can_be_a_password(password) {
            return Err(failed(account, SignInFailure::WrongPassword, happened));
        }
        let attempt = match self.lockout.attempt(&account, client, at) {
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
        let (found, directory) = match self.look_up(username, only).await {
            Ok(found) => found,
            Err(refusal) => return Err(not_tried(attempt, refusal, None)),
        };
        let check = Check {
            password: password.clone(),
            encoded: found.as_ref().map(|found| found.password.clone()),
            decoy: directory.map_or_else(password_pool::decoy, Directory::decoy),
            hashers: directory.map_or_else(|| Algorithm::DEFAULT.into(), Directory::hashers),
        };
        let Ok(checked) = self.passwords.check(check).await else {
            return Err(not_tried(attempt, Refusal::Busy, Some(BUSY_WAIT)));
        };
        let user = match judge(found, checked) {
            Ok(user) => user,
            Err(why) => {
                attempt.failed();
                return Err(failed(account, why, happened));
            }
        };
        Ok((user, account, attempt))
    }

    /// What the first directory that knows the name says, and which that is; if none does, the last.
    async fn look_up(
        &self,
        name: &str,
        only: Option<&str>,
    ) -> Result<(Option<Account>, Option<&dyn Directory>), Refusal> {
        let mut asked = None;
        let is_asked =
            |watched: &&Watched| only.is_none_or(|only| watched.directory.name() == only);
        for watched in self.directories.iter().filter(is_asked) {
            let directory = &*watched.directory;
            asked = Some(directory);
            match directory.find(name).await {
                Ok(Some(account)) => return Ok((Some(account), asked)),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "a directory cannot be asked");
                    return Err(Refusal::DirectoryUnavailable);
                }
            }
        }
        Ok((None, asked))
    }

    /// A new session, always: an id or cookie that the client brought is never taken over.
    async fn begin(&self, user: &Account, request: &SignIn<'_>) -> Result<SignedIn, Refusal> {
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
        let new = NewSession {
            id,
            identity: Arc::clone(&user.identity),
            password_mark: user.password_mark(),
            cookie: cookie.as_ref().map(Secret::digest),
            at,
            expires_at,
            idle_timeout: self.idle_timeout(request),
            client: Some(request.client),
            agent: cut(request.agent, MAX_AGENT).to_owned(),
            refresh: refresh.as_ref().map(|refresh| refresh.remembered.clone()),
        };
        let session = self.sessions.create(new).await.map_err(super::store_failed)?;
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

    pub(super) fn issue_access(
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
        let issued = request.issued.map(|mint| mint.lifetime);
        [refresh, issued].into_iter().flatten().fold(self.session.idle_timeout, Duration::max)
    }
}

/// The four failures, in an order that depends on nothing a client can see.
fn judge(found: Option<Account>, checked: Checked) -> Result<Account, SignInFailure> {
    let account = found.ok_or(SignInFailure::UnknownUser)?;
    match checked {
        Checked::Nobody => Err(SignInFailure::UnknownUser),
        Checked::Unusable => Err(SignInFailure::UnusablePassword),
        Checked::Mismatch => Err(SignInFailure::WrongPassword),
        Checked::Match if !account.active => Err(SignInFailure::Inactive),
        Checked::Match => Ok(account),
    }
}

fn failed(account: Arc<str>, why: SignInFailure, happened: &mut Vec<What>) -> SignInRefused {
    happened.push(What::SignInFailed { account, why });
    SignInRefused { refusal: Refusal::BadCredentials, retry_after: None }
}

fn not_tried(
    attempt: Attempt<'_>,
    refusal: Refusal,
    retry_after: Option<Duration>,
) -> SignInRefused {
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

pub(super) fn cut(text: &str, length: usize) -> &str {
    text.get(..text.floor_char_boundary(length)).unwrap_or_default()
}
