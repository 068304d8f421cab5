//! A sign-in, step by step.
//!
//! ```text
//!  Checked ───────────────────────────────▶ SignedIn
//!  who, by which directory                  a session
//!     │                                        ▲
//!     └──▶ Pending ── the missing step ── Checked
//!          what is missing
//! ```
//!
//! Whoever proved who they are is [`Checked`]: by a password, which [`SessionManager::sign_in`](super::SessionManager::sign_in) looks at, or by
//! something else, which whoever looked at it says with [`Checked::by`]. [`SessionManager::begin`](super::SessionManager::begin) makes a session
//! of that and asks no further, so that every way of signing in ends in the same place. Where something is missing yet, the
//! sign-in is [`Pending`]: nothing has been issued, and only the missing step leads on.

use std::fmt;
use std::sync::Arc;

use super::{Mint, lockout};
use crate::caller::{AuthMethod, AuthMethods, UserKey};
use crate::directory::Account;
use crate::wire::jar::Jar;

/// Somebody who proved who they are. Nothing has begun.
pub struct Checked {
    /// As their directory has them.
    pub(super) account: Account,
    /// By what they proved it.
    pub(super) methods: AuthMethods,
    /// What a service gave that was asked about them.
    pub(super) cookies: Jar,
    /// How their attempts are counted.
    pub(super) name: Arc<str>,
    /// The device cookie of their browser; empty if there is none.
    pub(super) device: String,
}

/// What a session is begun for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grants {
    /// Issue tokens?
    pub tokens: bool,
    /// Issue a session cookie?
    pub cookie: bool,
    /// Issue a token as an `[[issuer]]` does?
    pub issued: Option<Mint>,
}

/// A sign-in that is not over.
#[derive(Debug)]
pub struct Pending {
    checked: Checked,
    missing: MissingStep,
}

/// The step that is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MissingStep {
    /// Another factor.
    SecondFactor,
    /// A password in place of the one that was right and is not to be used any more.
    NewPassword,
    /// Their agreement.
    Consent,
}

/// The step, done.
#[derive(Debug)]
pub enum SignInStep {
    /// Another factor was right: this one.
    SecondFactor(AuthMethod),
    /// They have another password now, and their directory says so.
    NewPassword(Box<Account>),
    /// They agreed.
    Consent,
}

impl Checked {
    /// Somebody proved to be this user by these methods, in another way than a name and a password that were asked for here.
    pub fn by(account: Account, methods: AuthMethods) -> Self {
        let name = lockout::folded(&account.identity.name).into();
        Self { account, methods, cookies: Jar::default(), name, device: String::new() }
    }

    /// In the browser with this device cookie, which keeps what it says of other accounts.
    #[must_use]
    pub fn in_browser(self, device: &str) -> Self {
        Self { device: device.to_owned(), ..self }
    }

    /// Who.
    pub fn user(&self) -> &UserKey {
        &self.account.identity.key
    }

    /// As their directory has them.
    pub(crate) const fn account(&self) -> &Account {
        &self.account
    }

    /// By what they proved it.
    pub const fn methods(&self) -> AuthMethods {
        self.methods
    }
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Checked").field(self.user()).field(&self.methods).finish()
    }
}

impl Pending {
    /// Nothing begins before this step.
    pub const fn new(checked: Checked, missing: MissingStep) -> Self {
        Self { checked, missing }
    }

    /// What is missing.
    pub const fn missing(&self) -> MissingStep {
        self.missing
    }

    /// Who began it.
    pub(super) const fn checked(&self) -> &Checked {
        &self.checked
    }

    /// Whose sign-in it is.
    pub fn user(&self) -> &UserKey {
        self.checked.user()
    }

    /// Goes on with the step that is missing.
    ///
    /// # Errors
    /// The sign-in as it was, if that was another step, another user's, or no other factor.
    pub fn with(self, step: SignInStep) -> Result<Checked, Box<Self>> {
        let Self { checked, missing } = self;
        match (missing, step) {
            (MissingStep::SecondFactor, SignInStep::SecondFactor(method))
                if !checked.methods.has(method) =>
            {
                let methods = match checked.methods.and(method) {
                    // It stands for one and is none (NIST SP 800-63B section 5.1.3.1).
                    methods if method == AuthMethod::Mail => methods,
                    methods => methods.and(AuthMethod::MultipleFactors),
                };
                Ok(Checked { methods, ..checked })
            }
            (MissingStep::NewPassword, SignInStep::NewPassword(account))
                if account.identity.key == *checked.user() =>
            {
                Ok(Checked { account: *account, ..checked })
            }
            (MissingStep::Consent, SignInStep::Consent) => Ok(checked),
            (_, _) => Err(Box::new(Self { checked, missing })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::testkit::account;

    const PASSWORD: AuthMethods = AuthMethods::only(AuthMethod::Password);

    fn pending(missing: MissingStep) -> Pending {
        Pending::new(Checked::by(account("7", "Kim", "right"), PASSWORD), missing)
    }

    fn steps() -> [SignInStep; 4] {
        [
            SignInStep::SecondFactor(AuthMethod::OneTimePassword),
            SignInStep::NewPassword(Box::new(account("7", "Kim", "new"))),
            SignInStep::NewPassword(Box::new(account("8", "lee", "new"))),
            SignInStep::Consent,
        ]
    }

    #[test]
    fn only_the_missing_step_leads_on() {
        let table = [
            (MissingStep::SecondFactor, [true, false, false, false]),
            (MissingStep::NewPassword, [false, true, false, false]),
            (MissingStep::Consent, [false, false, false, true]),
        ];
        for (missing, leads_on) in table {
            for (step, leads_on) in steps().into_iter().zip(leads_on) {
                let said = format!("{missing:?} {step:?}");
                match pending(missing).with(step) {
                    Ok(_) => assert!(leads_on, "{said}"),
                    Err(still) => {
                        assert!(!leads_on, "{said}");
                        assert_eq!(still.missing(), missing, "{said}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_second_factor_is_another_one_and_both_are_said() {
        let step = SignInStep::SecondFactor(AuthMethod::OneTimePassword);
        let checked = pending(MissingStep::SecondFactor).with(step).unwrap();
        assert_eq!(checked.methods().to_string(), "pwd otp mfa");
        let mailed = SignInStep::SecondFactor(AuthMethod::Mail);
        let mailed = pending(MissingStep::SecondFactor).with(mailed).unwrap();
        assert_eq!(mailed.methods().to_string(), "pwd mail", "it stands for one and is none");
        let same = SignInStep::SecondFactor(AuthMethod::Password);
        assert!(pending(MissingStep::SecondFactor).with(same).is_err(), "a password twice");
        for missing in [MissingStep::NewPassword, MissingStep::Consent] {
            for step in steps() {
                if let Ok(checked) = pending(missing).with(step) {
                    assert_eq!(checked.methods(), PASSWORD, "{missing:?} proves nothing more");
                }
            }
        }
    }

    #[test]
    fn another_password_is_the_one_that_counts_from_then_on() {
        let new = account("7", "Kim", "new");
        let step = SignInStep::NewPassword(Box::new(new.clone()));
        let checked = pending(MissingStep::NewPassword).with(step).unwrap();
        assert_eq!(checked.account.password_mark(), new.password_mark());
    }
}
