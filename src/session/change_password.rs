//! Lets signed-in users change their own password, where their directory supports it.
//!
//! The checks are made in this order: whether the directory can change the password; whether the new password is acceptable;
//! the time since the last change; the current password, by the same check and the same lockout as a sign-in; a code, if the
//! user has a second factor. Then the directory is changed. The session that asked goes on under the new password, and
//! everything that depends on the old one ends: the user's other sessions, the service's own tokens, and the known devices of
//! the account. If a step fails after the directory has the new password, it is reported, and the sessions end at the next
//! recheck of the directory.

use std::sync::Arc;
use std::time::Duration;

use super::lockout::folded;
use super::sign_in::{MAX_PASSWORD, not_asked};
use super::{SessionManager, SignInRefused, store_failed};
use crate::caller::{Assurance, AuthMethod, AuthMethods, UserKey};
use crate::context::RequestContext;
use crate::directory::PasswordStore;
use crate::event::{EndReason, EventKind};
use crate::refusal::Refusal;
use crate::secret::{Digest, Secret};
use crate::store::{Renewal, Session, SessionSelection};

/// The least time between two password changes of one user.
const BETWEEN: Duration = Duration::from_secs(60);

/// Changes the password of a signed-in user.
#[derive(Clone, Copy)]
pub struct OwnPassword<'s>(pub(super) &'s SessionManager);

/// A request to replace the current password by a new one.
#[derive(Clone, Copy, Debug)]
pub struct PasswordChange<'a> {
    /// The current password, as given.
    pub current: &'a Secret,
    /// The new password, as given.
    pub new: &'a Secret,
    /// The fewest characters that the new password may have.
    pub min_length: usize,
    /// The device cookie; empty if the request has none.
    pub device: &'a str,
}

/// The result of a successful change.
#[derive(Debug)]
pub struct PasswordChanged {
    /// The number of other sessions that ended.
    pub ended: usize,
    /// The new value of the device cookie.
    pub device: Option<Secret>,
}

/// Why a new password is not acceptable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PasswordFault {
    /// The password has fewer characters than required.
    TooShort,
    /// The password has more bytes than the longest password that may be used to sign in.
    TooLong,
    /// The password has a control character, with which nobody can sign in.
    ControlCharacter,
    /// The password is the user's name, or contains it and little else.
    LikeName,
    /// The password is the current one.
    Same,
    /// The password repeats one character or a few.
    Repeats,
}

/// Why a password was not changed.
#[derive(Debug)]
pub enum NotChanged {
    /// The change was refused like a sign-in.
    Refused(SignInRefused),
    /// The new password is not acceptable.
    Fault(PasswordFault),
}

impl From<SignInRefused> for NotChanged {
    fn from(refused: SignInRefused) -> Self {
        Self::Refused(refused)
    }
}

impl From<Refusal> for NotChanged {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.into())
    }
}

impl From<PasswordFault> for NotChanged {
    fn from(fault: PasswordFault) -> Self {
        Self::Fault(fault)
    }
}

impl PasswordFault {
    /// All faults.
    pub const ALL: &'static [Self] = &[
        Self::TooShort,
        Self::TooLong,
        Self::ControlCharacter,
        Self::LikeName,
        Self::Same,
        Self::Repeats,
    ];

    /// Returns the stable code of the fault in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::ControlCharacter => "control_character",
            Self::LikeName => "like_name",
            Self::Same => "same",
            Self::Repeats => "repeats",
        }
    }

    /// Returns what is wrong with a new password of this user, if anything is.
    fn of(new: &str, current: &str, name: &str, min_length: usize) -> Option<Self> {
        let length = new.chars().count();
        let (folded, name) = (folded(new), folded(name));
        // The part of a mail address before the `@` counts as a name too.
        let names = [&*name, name.split('@').next().unwrap_or_default()];
        let is_like = |name: &&str| {
            let rest = folded.chars().count().saturating_sub(name.chars().count());
            !name.is_empty() && folded.contains(*name) && rest < 4
        };
        let distinct: std::collections::BTreeSet<char> = new.chars().collect();
        if length < min_length {
            Some(Self::TooShort)
        } else if new.len() > MAX_PASSWORD {
            Some(Self::TooLong)
        } else if new.chars().any(char::is_control) {
            Some(Self::ControlCharacter)
        } else if new == current {
            Some(Self::Same)
        } else if names.iter().any(is_like) {
            Some(Self::LikeName)
        } else if distinct.len() < 3 {
            Some(Self::Repeats)
        } else {
            None
        }
    }
}

impl<'s> OwnPassword<'s> {
    /// Whether the directory of this user can change their password.
    pub fn is_changeable(self, user: &UserKey) -> bool {
        self.store_of(user).is_some()
    }

    fn store_of(self, user: &UserKey) -> Option<&'s dyn PasswordStore> {
        let watched = self.0.directory(&user.directory)?;
        watched.directory.users().and_then(crate::directory::Users::password_store)
    }

    /// Changes the password of a session's user.
    ///
    /// # Errors
    /// [`NotChanged`]: a fault of the new password, or [`Refusal::NotOnAccount`] if the directory cannot change it,
    /// [`Refusal::InsufficientAuthentication`] if a code is required, [`Refusal::BadCredentials`] if the current password is
    /// wrong, [`Refusal::TooManyAttempts`], [`Refusal::SessionEnded`], and the refusals for a directory or store that cannot be
    /// reached
    pub async fn change(
        self,
        session: &Session,
        change: PasswordChange<'_>,
        context: &RequestContext<'_>,
    ) -> Result<PasswordChanged, NotChanged> {
        let identity = session.identity.load_full();
        let (user, at) = (&identity.key, context.at);
        let Some(store) = self.store_of(user) else {
            return Err(Refusal::NotOnAccount.into());
        };
        let by_code = self.0.step_up().confirms_by_code(session, at).await?;
        if by_code {
            // The current password alone must not be enough for a user with a second factor.
            self.0.step_up().is_fresh(session, at).await?;
        }
        let PasswordChange { current, new, min_length, device } = change;
        if let Some(fault) =
            PasswordFault::of(new.expose(), current.expose(), &identity.name, min_length)
        {
            return Err(fault.into());
        }
        let paced = Digest::of(format!("password of {user}").as_bytes());
        if let Some(last) = self.0.paced.get(&paced)
            && at.since(last) < BETWEEN
        {
            let retry_after = Some(BETWEEN.saturating_sub(at.since(last)));
            return Err(SignInRefused { retry_after, ..Refusal::TooManyAttempts.into() }.into());
        }
        let checked = self.0.step_up().check_password(&identity, current, device, context).await?;
        self.0.paced.insert(paced, at);
        let stored = store.change_password(user, &checked.account().password, new).await;
        // Somebody else changed the password a moment ago, by a command, so the given one is no longer current.
        let account = stored.map_err(not_asked)?.ok_or(Refusal::BadCredentials)?;
        context.note(EventKind::PasswordChanged { user: user.clone(), is_own: true });

        let mark = account.password_mark();
        let proved = match by_code {
            // The user gave a code recently; `auth_time` stays as it was.
            true => None,
            false => Some(Assurance::now(AuthMethods::only(AuthMethod::Password), at)),
        };
        let renewal = Renewal {
            session: session.id.clone(),
            cookie: None,
            password_mark: mark,
            assurance: proved,
            at,
        };
        let renewed = self.0.step_up().prove_anew(session, renewal, context.events).await?;
        self.0.ends.end_user(user, at).await.map_err(store_failed)?;
        let others = SessionSelection::OthersOf { user: user.clone(), kept: session.id.clone() };
        let ended = self.0.end(&others, EndReason::PasswordChanged, at, context.events).await?;
        self.0.devices.forget(user, at).await.map_err(store_failed)?;
        self.0.records.drop_devices(user, None).await.map_err(store_failed)?;
        if renewed.is_none() {
            return Err(Refusal::SessionEnded.into());
        }
        // One second later than the stamp that has just voided the user's devices.
        let given_at = at.plus(Duration::from_secs(1));
        let name: Arc<str> = folded(&identity.name).into();
        let given = self.0.devices.give("", &name, (user, mark), given_at, |_| false);
        let device = given.map(|given| {
            let (client, agent) = (context.client, context.agent);
            self.0.account_notes.device_used(user, given.device, client, agent, given_at);
            given.cookie
        });
        Ok(PasswordChanged { ended, device })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_password_is_named() {
        for (new, name, fault) in [
            ("seven77", "kim", Some(PasswordFault::TooShort)),
            ("여덟글자입니다.", "kim", None),
            ("일곱글자입니다", "kim", Some(PasswordFault::TooShort)),
            (&*"x1".repeat(513), "kim", Some(PasswordFault::TooLong)),
            ("eight\tch", "kim", Some(PasswordFault::ControlCharacter)),
            ("the old one", "kim", Some(PasswordFault::Same)),
            ("KimMinJung", "kimminjung", Some(PasswordFault::LikeName)),
            ("kimminjung1!", "kimminjung", Some(PasswordFault::LikeName)),
            ("kimminjung", "kimminjung@example.com", Some(PasswordFault::LikeName)),
            ("a kim among others", "kim", None),
            ("aaaaaaaaaaaa", "kim", Some(PasswordFault::Repeats)),
            ("abababababab", "kim", Some(PasswordFault::Repeats)),
            ("correct horse battery", "kim", None),
        ] {
            assert_eq!(PasswordFault::of(new, "the old one", name, 8), fault, "{new}");
        }
        assert_eq!(PasswordFault::of("short", "x", "kim", 1), None, "an operator's own bound");
    }
}
