//! Signs users in with a name and a password.
//!
//! The checks are made in this order: names and passwords that cannot be valid; the lockout; the directories; one password
//! check; the session.
//!
//! Four failures look alike to the client, in content and in time: an unknown user, a wrong password, an inactive user, and a
//! stored password that can never match. So each of them takes exactly one password check, in the pool, after the directories
//! were asked. For an unknown user, the check is against a decoy of the last directory, because all other names are looked up
//! there too. Lockout, overload and an unreachable directory do look different, and reveal nothing about the user.
//!
//! A user from whom the service requires a second factor is refused here, because only the password is checked. This happens
//! after the password was right, so that a guess reveals nothing. The lockout does not count it as a failure, and it clears no
//! earlier failure.
//!
//! The first directory that knows the name decides, also if it refuses: a user who was disabled there cannot sign in through
//! the next one. A directory that cannot be asked ends the attempt, because it might have known the name.
//!
//! A directory that checks passwords itself is asked about every name that the directories before it do not know, and takes as
//! long as its service takes. So in combination with another directory, the time of a failure reveals which of the two it was;
//! about names within one directory it reveals nothing that the service does not reveal itself.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::blocked::PACE;
use super::devices::KnownDevice;
use super::lockout::{AttemptRefused, CountedAttempt, folded};
use super::{
    Checked, Grants, SessionManager, SignInTicket, WatchedDirectory, access_token, store_failed,
};
use crate::caller::{Assurance, AuthMethod, AuthMethods, SessionId, UserKey};
use crate::clock::Timestamp;
use crate::context::{Events, RequestContext};
use crate::directory::password::{
    self as password_pool, PasswordCheck, PasswordOutcome as PasswordChecked,
};
use crate::directory::{
    Account, Directory, DirectoryError, PasswordAttempt as Asked, PasswordVerdict, Users,
};
use crate::django::hashers::PasswordHasher;
use crate::event::{EventKind, SignInFailure};
use crate::refusal::Refusal;
use crate::secret::{Digest, Secret, random_id};
use crate::store::{NewSession, Session};
use crate::wire::jar::Jar;

const MAX_NAME: usize = 1024;
pub(super) const MAX_PASSWORD: usize = 1024;
pub(crate) const MAX_AGENT: usize = 256;

/// When to retry if the hashing pool is full.
const BUSY_WAIT: Duration = Duration::from_secs(1);

/// A request to sign in with a name and a password.
#[derive(Debug)]
pub struct SignIn<'a> {
    /// The name as given.
    pub username: &'a str,
    /// Whether the name was typed into the gateway's own form.
    pub is_typed: bool,
    /// The password as given: exact bytes, neither trimmed nor normalised.
    pub password: &'a Secret,
    /// What the sign-in is to issue.
    pub grants: Grants,
    /// The device cookie; empty if there is none.
    pub device: &'a str,
    /// The code of a second factor, if one came with the password.
    pub otp: Option<&'a Secret>,
}

/// A token to be issued under an issuer's key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mint {
    /// The issuer's index in the configuration.
    pub issuer: usize,
    /// The lifetime of the token, as long as its session lives.
    pub lifetime: Duration,
    /// How long a sliding token can be refreshed.
    pub refresh_lifetime: Duration,
}

/// The result of a successful sign-in.
#[derive(Debug)]
pub struct SignedIn {
    /// The new session.
    pub session: Arc<Session>,
    /// Access and refresh token, if requested.
    pub tokens: Option<TokenPair>,
    /// The cookie's value, if requested.
    pub cookie: Option<Secret>,
    /// The token under an issuer's key, if requested.
    pub issued: Option<Secret>,
    /// The new value of the device cookie.
    pub device: Option<Secret>,
}

/// Why a sign-in did not succeed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignInRefused {
    /// The refusal for the answer: [`Refusal::BadCredentials`] for all four failures of name and password.
    pub refusal: Refusal,
    /// For 429 and 503: how long the client has to wait.
    pub retry_after: Option<Duration>,
    /// If the password was right but something is still required: the ticket to continue the sign-in.
    pub ticket: Option<SignInTicket>,
}

impl From<Refusal> for SignInRefused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, retry_after: None, ticket: None }
    }
}

/// An access token and a refresh token, as they are sent in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPair {
    /// The access token.
    pub access: Secret,
    /// The lifetime of the access token, from its issue.
    pub access_expires_in: Duration,
    /// The refresh token; `None` if the presented one stays valid.
    pub refresh: Option<Secret>,
    /// The lifetime of the refresh token, from its issue.
    pub refresh_expires_in: Duration,
}

/// A user whose password was right.
pub(crate) struct VerifiedPassword {
    /// The user, and how they proved it.
    pub(crate) checked: Checked,
    /// The attempt in the lockout, which has to be settled.
    pub(crate) attempt: CountedAttempt,
}

impl SessionManager {
    /// Signs a user in: lockout, directories in their order, one password check, a new session.
    ///
    /// # Errors
    /// [`SignInRefused`] with [`Refusal::BadCredentials`], [`Refusal::SecondFactorElsewhere`], with a ticket
    /// [`Refusal::SecondFactorRequired`] or [`Refusal::EnrolmentRequired`], [`Refusal::BadCode`],
    /// [`Refusal::TooManyAttempts`], [`Refusal::Busy`],
    /// [`Refusal::DirectoryUnavailable`] or [`Refusal::StoreUnavailable`].
    pub async fn sign_in(
        &self,
        request: SignIn<'_>,
        context: &RequestContext<'_>,
    ) -> Result<SignedIn, SignInRefused> {
        let asked = Asked {
            name: request.username,
            password: request.password,
            client: context.client,
            at: context.at,
            is_typed: request.is_typed,
        };
        self.blocks()
            .may_sign_in(context.client, context.at)
            .map_err(|refusal| SignInRefused { retry_after: Some(PACE), ..refusal.into() })?;
        let VerifiedPassword { checked, attempt } =
            self.check_password(asked, None, request.device, context.events).await?;
        let checked = match self.second_factors().second_step(checked, request.otp, context).await {
            Ok(checked) => checked,
            Err(refused) => {
                // The password was right, but nobody has signed in either.
                attempt.take_back();
                return Err(refused);
            }
        };
        match self.begin(checked, request.grants, context).await {
            Ok(signed_in) => {
                attempt.succeeded();
                Ok(signed_in)
            }
            Err(refusal) => Err(not_tried(attempt, refusal, None)),
        }
    }

    /// Begins a session for a user who proved their identity in any way.
    ///
    /// # Errors
    /// [`Refusal::NoActiveAccount`] for a user who may not sign in, [`Refusal::OtherDirectory`] if the issuer of a requested
    /// token belongs to another directory, [`Refusal::StoreUnavailable`]
    pub async fn begin(
        &self,
        checked: Checked,
        grants: Grants,
        context: &RequestContext<'_>,
    ) -> Result<SignedIn, Refusal> {
        let known_device = self.is_known_device(&checked, context.at);
        match self.issue(&checked, grants, context).await {
            Ok(signed_in) => {
                context.note(EventKind::SignedIn {
                    session: signed_in.session.id.clone(),
                    user: checked.user().clone(),
                    account: checked.name,
                    tokens: grants.tokens,
                    cookie: grants.cookie,
                    known_device,
                    methods: signed_in.session.assurance.methods,
                });
                Ok(signed_in)
            }
            Err(refusal) => {
                let directory = Arc::clone(&checked.user().directory);
                self.kept.sign_out(&directory, checked.cookies, context.at);
                Err(refusal)
            }
        }
    }

    /// Makes one password check. `only` restricts it to one directory; `device` is the device cookie.
    pub(crate) async fn check_password(
        &self,
        asked: Asked<'_>,
        only: Option<&str>,
        device: &str,
        events: &Events,
    ) -> Result<VerifiedPassword, SignInRefused> {
        if !can_be_a_name(asked.name) {
            return Err(failed(Arc::from(""), None, SignInFailure::UnknownUser, events));
        }
        let account: Arc<str> = folded(asked.name).into();
        if !can_be_a_password(asked.password) {
            return Err(failed(account, None, SignInFailure::WrongPassword, events));
        }
        let known =
            self.mailed_links().let_in(device, &account, asked.at).await.map_err(store_failed)?;
        let id = known.map(|device| device.id);
        let attempt = self.lockout.attempt(&account, asked.client, id, asked.at).await;
        let mut attempt = match attempt {
            Ok(attempt) => attempt,
            Err(why) => return Err(locked_out(account, None, why, events)),
        };
        let (found, directory) = match self.look_up(asked, only).await {
            Ok(looked_up) => looked_up,
            Err(refusal) => return Err(not_tried(attempt, refusal, None)),
        };
        let user = found.as_ref().map(|account| account.identity.key.clone());
        if let (Some(device), Some(found)) = (&known, &found)
            && !self.is_of_password(device, found)
        {
            // The password has changed since the device was known, so the attempt counts as a stranger's from the beginning.
            attempt.take_back();
            let strangers = self.lockout.attempt(&account, asked.client, None, asked.at).await;
            attempt = match strangers {
                Ok(attempt) => attempt,
                Err(why) => return Err(locked_out(account, user, why, events)),
            };
        }
        match self.judge(asked, found, directory).await {
            Ok(Ok((user, cookies))) => {
                let methods = AuthMethods::only(AuthMethod::Password);
                let device = device.to_owned();
                let checked = Checked { account: user, methods, cookies, name: account, device };
                Ok(VerifiedPassword { checked, attempt })
            }
            Ok(Err(why)) => {
                match why {
                    // It was no wrong guess, but nobody has signed in either, so the counters stay as they were.
                    SignInFailure::SecondFactorRequired => attempt.take_back(),
                    SignInFailure::UnknownUser
                    | SignInFailure::WrongPassword
                    | SignInFailure::Inactive
                    | SignInFailure::UnusablePassword
                    | SignInFailure::RefusedByService
                    | SignInFailure::LockedOut => attempt.failed(),
                }
                Err(failed(account, user, why, events))
            }
            Err(refusal) => {
                let wait = (refusal == Refusal::Busy).then_some(BUSY_WAIT);
                Err(not_tried(attempt, refusal, wait))
            }
        }
    }

    /// Returns the user with the cookies that a service gave for them, or the failure. An error means that it could not be
    /// judged.
    async fn judge(
        &self,
        asked: Asked<'_>,
        found: Option<Account>,
        directory: Option<&Directory>,
    ) -> Result<Result<(Account, Jar), SignInFailure>, Refusal> {
        if let (None, Some(Directory::Service(service))) = (&found, directory) {
            return match service.sign_in(asked).await.map_err(not_asked)? {
                PasswordVerdict::Accepted(account, cookies) => Ok(Ok((*account, cookies))),
                PasswordVerdict::Refused => Ok(Err(SignInFailure::WrongPassword)),
                PasswordVerdict::Busy => Err(Refusal::Busy),
            };
        }
        let users = directory.and_then(Directory::users);
        let check = PasswordCheck {
            password: asked.password.clone(),
            encoded: found.as_ref().map(|found| found.password.clone()),
            decoy: users.map_or_else(password_pool::decoy, Users::decoy),
            hashers: users.map_or_else(|| PasswordHasher::DEFAULT.into(), Users::hashers),
        };
        let checked = self.passwords.check(check).await.map_err(|_| Refusal::Busy)?;
        Ok(judge(found, checked).map(|user| (user, Jar::default())))
    }

    /// Whether the device was issued for the user's current password, by any mark of it that is valid for their sessions.
    pub(super) fn is_of_password(&self, device: &KnownDevice, account: &Account) -> bool {
        let is_of = |mark| self.devices.is_of_password(device, mark);
        match self.directory(&account.identity.key.directory) {
            Some(watched) => watched.upgrades.any_of(account, is_of),
            None => is_of(account.password_mark()),
        }
    }

    /// Returns the device of a user who signs in, if it is known.
    pub(super) fn device_of(&self, checked: &Checked, at: Timestamp) -> Option<Digest> {
        let known = self.devices.known(&checked.device, &checked.name, at)?;
        self.is_of_password(&known, &checked.account).then_some(known.id)
    }

    /// Returns the device of a session's browser, if it is known and was issued for the password of the session.
    pub(super) fn device_of_session(
        &self,
        cookie: &str,
        session: &Session,
        at: Timestamp,
    ) -> Option<Digest> {
        let account = folded(&session.identity.load().name);
        let known = self.devices.known(cookie, &account, at)?;
        self.devices.is_of_password(&known, session.password_mark).then_some(known.id)
    }

    /// Whether this user has signed in before in this browser, with their current password.
    fn is_known_device(&self, checked: &Checked, at: Timestamp) -> bool {
        self.device_of(checked, at).is_some()
    }

    /// Returns the account from the first directory that knows the name, and that directory. If none knows it, the directory is
    /// the first login service, or else the last one.
    async fn look_up(
        &self,
        attempt: Asked<'_>,
        only: Option<&str>,
    ) -> Result<(Option<Account>, Option<&Directory>), Refusal> {
        let mut asked = None;
        let is_asked =
            |watched: &&WatchedDirectory| only.is_none_or(|only| watched.directory.name() == only);
        for watched in self.directories.iter().filter(is_asked) {
            asked = Some(&watched.directory);
            let Some(users) = watched.directory.users() else { break };
            let name = match attempt.is_typed {
                true => users.as_typed(attempt.name),
                false => Cow::Borrowed(attempt.name),
            };
            if let Some(account) = users.find(&name).await.map_err(not_asked)? {
                return Ok((Some(account), asked));
            }
        }
        Ok((None, asked))
    }

    /// Issues a new session, always: an id or cookie that the client brought is never reused.
    async fn issue(
        &self,
        checked: &Checked,
        grants: Grants,
        context: &RequestContext<'_>,
    ) -> Result<SignedIn, Refusal> {
        let Checked { account: user, methods, cookies, name, device } = checked;
        if !user.active {
            return Err(Refusal::NoActiveAccount);
        }
        if let Some(refusal) = self.blocks().refusal_for(&user.identity.key, None, context.at) {
            return Err(refusal);
        }
        let no_randomness = |_| Refusal::Internal;
        let at = context.at;
        let id = SessionId::new(&random_id().map_err(no_randomness)?);
        let cookie = grants.cookie.then(Secret::random).transpose().map_err(no_randomness)?;
        let expires_at = at.plus(self.settings.absolute_timeout);
        let user_id = &user.identity.key.id;
        if let Some(mint) = &grants.issued {
            self.mints.can_mint(mint, &user.identity.key)?;
        }
        let refresh = grants
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
            idle_timeout: self.idle_timeout(grants),
            client: Some(context.client),
            agent: cut(context.agent, MAX_AGENT).to_owned(),
            assurance: Assurance::now(*methods, at),
            grant: None,
            refresh: refresh.as_ref().map(|refresh| refresh.remembered.clone()),
            kept,
        };
        let session = self.store.create(new).await.map_err(store_failed)?;
        let theirs =
            |one: &&WatchedDirectory| one.directory.name() == &*user.identity.key.directory;
        if let Some(watched) = self.directories.iter().find(theirs)
            && let Some(users) = watched.directory.users()
        {
            watched.upgrades.note(users, user);
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
        let issued = match &grants.issued {
            Some(mint) => Some(self.mints.mint(mint, &session, at)?),
            None => None,
        };
        let proved = (&user.identity.key, user.password_mark());
        let is_used_up = match self.devices.known(device, name, at) {
            Some(known) => self.lockout.is_used_up(known.id, at).await.map_err(store_failed)?,
            None => false,
        };
        let given = self.devices.give(device, name, proved, at, |_| !is_used_up);
        let device = given.map(|given| {
            let (client, agent) = (context.client, &session.agent);
            self.account_notes.device_used(&user.identity.key, given.device, client, agent, at);
            given.cookie
        });
        Ok(SignedIn { session, tokens, cookie, issued, device })
    }

    pub(crate) fn issue_access(
        &self,
        session: &Session,
        at: Timestamp,
    ) -> Result<(Secret, Duration), Refusal> {
        access_token::issue(&self.keys, &self.tokens, session, at)
    }
}

impl SessionManager {
    /// Returns the idle timeout: a token must be valid as long as it states, so its session does not end before it expires.
    fn idle_timeout(&self, grants: Grants) -> Duration {
        let refresh = grants.tokens.then_some(self.tokens.refresh_lifetime);
        let issued = grants.issued.map(|mint| mint.lifetime.max(mint.refresh_lifetime));
        [refresh, issued].into_iter().flatten().fold(self.settings.idle_timeout, Duration::max)
    }
}

/// Returns the user or the failure, in an order that depends on nothing visible to a client.
fn judge(found: Option<Account>, checked: PasswordChecked) -> Result<Account, SignInFailure> {
    let account = found.ok_or(SignInFailure::UnknownUser)?;
    match checked {
        PasswordChecked::Nobody => Err(SignInFailure::UnknownUser),
        PasswordChecked::Unusable => Err(SignInFailure::UnusablePassword),
        PasswordChecked::Mismatch => Err(SignInFailure::WrongPassword),
        PasswordChecked::Match if !account.active => Err(SignInFailure::Inactive),
        PasswordChecked::Match if account.has_second_factor => {
            Err(SignInFailure::SecondFactorRequired)
        }
        PasswordChecked::Match => Ok(account),
    }
}

pub(super) fn not_asked(error: DirectoryError) -> Refusal {
    tracing::warn!(%error, "a directory cannot be asked");
    Refusal::DirectoryUnavailable
}

fn locked_out(
    account: Arc<str>,
    user: Option<UserKey>,
    why: AttemptRefused,
    events: &Events,
) -> SignInRefused {
    let wait = match why {
        AttemptRefused::Wait(wait) => wait,
        AttemptRefused::NotCounted(error) => return store_failed(error).into(),
    };
    events.note(EventKind::SignInFailed { account, user, why: SignInFailure::LockedOut });
    SignInRefused { retry_after: Some(wait), ..Refusal::TooManyAttempts.into() }
}

/// Notes a failure. `user` is the owner of the name, which the client never learns.
fn failed(
    account: Arc<str>,
    user: Option<UserKey>,
    why: SignInFailure,
    events: &Events,
) -> SignInRefused {
    events.note(EventKind::SignInFailed { account, user, why });
    let refusal = match why {
        SignInFailure::SecondFactorRequired => Refusal::SecondFactorElsewhere,
        SignInFailure::UnknownUser
        | SignInFailure::WrongPassword
        | SignInFailure::Inactive
        | SignInFailure::UnusablePassword
        | SignInFailure::RefusedByService
        | SignInFailure::LockedOut => Refusal::BadCredentials,
    };
    refusal.into()
}

fn not_tried(
    attempt: CountedAttempt,
    refusal: Refusal,
    retry_after: Option<Duration>,
) -> SignInRefused {
    attempt.take_back();
    SignInRefused { retry_after, ..refusal.into() }
}

fn can_be_a_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// Whether somebody can have typed this password, which is compared byte by byte: not empty, not too long, no control
/// characters.
fn can_be_a_password(password: &Secret) -> bool {
    let password = password.expose();
    (1..=MAX_PASSWORD).contains(&password.len()) && !password.chars().any(char::is_control)
}

pub(crate) fn cut(text: &str, length: usize) -> &str {
    text.get(..text.floor_char_boundary(length)).unwrap_or_default()
}
