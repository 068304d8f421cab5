//! The steps of a sign-in.
//!
//! ```text
//!  Checked ───────────────────────────────▶ SignedIn
//!  who, by which directory                  a session
//!     │                                        ▲
//!     └──▶ Pending ── the missing step ── Checked
//!          what is missing
//! ```
//!
//! A user who proved their identity is [`Checked`]: by a password, which
//! [`SessionManager::sign_in`](super::SessionManager::sign_in) checks, or by other means, after which the caller creates it
//! with [`Checked::by`]. [`SessionManager::begin`](super::SessionManager::begin) turns it into a session without further
//! checks, so that every way of signing in ends in the same place. If a step is still missing, the sign-in is [`Pending`]:
//! nothing has been issued, and only the missing step continues it.

use std::fmt;
use std::sync::Arc;

use super::{Mint, lockout};
use crate::caller::{AuthMethod, AuthMethods, UserKey};
use crate::directory::Account;
use crate::wire::jar::Jar;

/// A user who proved their identity. No session has begun.
pub struct Checked {
    /// The account in the user's directory.
    pub(super) account: Account,
    /// The methods by which the user proved their identity.
    pub(super) methods: AuthMethods,
    /// The cookies that a service gave when it was asked about the user.
    pub(super) cookies: Jar,
    /// The name under which the user's attempts are counted.
    pub(super) name: Arc<str>,
    /// The device cookie of the user's browser; empty if there is none.
    pub(super) device: String,
}

/// What a sign-in is to issue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grants {
    /// Whether to issue tokens.
    pub tokens: bool,
    /// Whether to issue a session cookie.
    pub cookie: bool,
    /// The token to issue as an `[[issuer]]` does, if any.
    pub issued: Option<Mint>,
}

/// An unfinished sign-in.
#[derive(Debug)]
pub struct Pending {
    checked: Checked,
    missing: MissingStep,
}

/// The step that a sign-in is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MissingStep {
    /// Another factor is missing.
    SecondFactor,
    /// A new password is missing, in place of a right one that must no longer be used.
    NewPassword,
    /// The user's consent is missing.
    Consent,
}

/// A step that was completed.
#[derive(Debug)]
pub enum SignInStep {
    /// Another factor was right, by this method.
    SecondFactor(AuthMethod),
    /// The user has a new password, and their directory confirms it.
    NewPassword(Box<Account>),
    /// The user consented.
    Consent,
}

impl Checked {
    /// Creates a checked user who proved their identity by these methods, other than a name and a password given here.
    pub fn by(account: Account, methods: AuthMethods) -> Self {
        let name = lockout::folded(&account.identity.name).into();
        Self { account, methods, cookies: Jar::default(), name, device: String::new() }
    }

    /// Sets the device cookie of the browser, which keeps its entries for other accounts.
    #[must_use]
    pub fn in_browser(self, device: &str) -> Self {
        Self { device: device.to_owned(), ..self }
    }

    /// Returns the user.
    pub fn user(&self) -> &UserKey {
        &self.account.identity.key
    }

    /// Returns the account in the user's directory.
    pub(crate) const fn account(&self) -> &Account {
        &self.account
    }

    /// Returns the methods by which the user proved their identity.
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
    /// Creates a sign-in that does not go on before this step.
    pub const fn new(checked: Checked, missing: MissingStep) -> Self {
        Self { checked, missing }
    }

    /// Returns the missing step.
    pub const fn missing(&self) -> MissingStep {
        self.missing
    }

    /// Returns the user who began the sign-in, with what they have proved.
    pub(super) const fn checked(&self) -> &Checked {
        &self.checked
    }

    /// Returns the user who signs in.
    pub fn user(&self) -> &UserKey {
        self.checked.user()
    }

    /// Continues with the missing step.
    ///
    /// # Errors
    /// The sign-in, unchanged, if the step is another one, another user's, or not a different factor.
    pub fn with(self, step: SignInStep) -> Result<Checked, Box<Self>> {
        let Self { checked, missing } = self;
        match (missing, step) {
            (MissingStep::SecondFactor, SignInStep::SecondFactor(method))
                if !checked.methods.has(method) =>
            {
                let methods = match checked.methods.and(method) {
                    // A mailed code replaces a second factor but is none (NIST SP 800-63B section 5.1.3.1).
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
