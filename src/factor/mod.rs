//! Implements second factors: codes of authenticator apps, passkeys, recovery codes and mailed codes.
//!
//! **Secrets** are stored sealed under a key that is not in the store ([`FactorKey`]); recovery codes are stored as keyed
//! hashes. A copy of the database alone is nobody's second factor.
//!
//! **Single use.** The store decides in one step whether a code was used before, after the code was found to be right. So only
//! one of several parallel uses succeeds, and the code of a time step before the newest used one is never accepted again.
//!
//! **Throttling.** An attempt is counted before its code is checked, by user and by known device; attempts from all other
//! places are counted together. After [`FREE`] failures come waits that double. Earlier successes of the first factor do not
//! matter. Guesses from elsewhere do not lock the owner out of a known device.
//!
//! **Atomic setup.** Until a code confirms it, a factor that is being set up is in the page (sealed, for a quarter of an hour)
//! and nowhere else. Then factor and recovery codes are stored in one step, so an interrupted setup leaves nothing behind.
//!
//! **Factors that a service stores itself** are checked through a port ([`FactorsAtService`]): they stay there, under the
//! service's own rules, and nobody sets up a second one for the gateway.
//!
//! [`Factors`] itself returns what a user has, decides what is required of them, and checks codes. Each other capability is a
//! type of its own, which borrows it and is declared beside its functions:
//!
//! | method | type | purpose |
//! |---|---|---|
//! | `policy()` | [`FactorPolicy`] | what the settings require, without reading anybody's factors |
//! | `enrolments()` | [`AppEnrolments`] | setting up an authenticator app |
//! | `passkeys()` | [`PasskeyFactors`] | setting up passkeys, and using them |
//! | `mailed_codes()` | [`MailedCodeProofs`] | who may use a mailed code, and whether it is right |
//! | `tickets()` | [`SealedTickets`] | data that stays sealed until a code was entered |
//! | `administration()` | [`FactorAdministration`] | renaming, removing, renewing and resetting, and an operator's invitation |
//!
//! The module is below `session`, which asks it what is required before it begins a session, so that every way of signing in
//! ends in the same check.

mod administration;
mod at_service;
mod enrolment;
mod key;
mod mailed_code;
mod passkey;
mod policy;
pub mod ticket;
mod totp;
mod written;

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

pub use self::administration::{FactorAdministration, INVITATION};
pub use self::enrolment::{AppEnrolments, Confirmed, Enrolment, QrCode};
pub use self::key::FactorKey;
pub use self::mailed_code::{MAILED_CODE, MailedCodeAttempt, MailedCodeProofs};
pub use self::passkey::{
    CeremonyPlace, EnrolledPasskey, FIRST_PASSKEY, NewPasskey, OfferedFactors, PasskeyAnswer,
    PasskeyAttempt, PasskeyCeremony, PasskeyFactors, Passkeys,
};
pub use self::policy::FactorPolicy;
use self::ticket::SealedTickets;
use self::totp::TotpSecret;
use crate::caller::{Identity, UserKey};
use crate::clock::Timestamp;
use crate::config::{FactorMode, SecondFactorSettings};
use crate::directory::second_factors::{FactorsAtService, ServiceFactors};
use crate::event::FactorRefusal;
use crate::refusal::Refusal;
use crate::secret::{Digest, Secret};
use crate::store::StoreError;
use crate::store::factors::{
    FactorAttempt, FactorChange, FactorChanged, FactorStore, FactorUse, StoredFactor,
    StoredFactors, UsedCode,
};
use crate::store::outbox::Questions;
use crate::store::passkeys::PasskeyStore;

/// The stable name of authenticator apps in the store.
const TOTP: &str = "totp";

/// The stable name of passkeys and security keys in the store.
const PASSKEY: &str = "passkey";

/// The name of an app unless its owner gives it another.
pub const FIRST_APP: &str = "TOTP";

/// The number of recovery codes that are created at once.
const RECOVERY_CODES: usize = 10;

/// The number of wrong codes after which a wait is required.
pub const FREE: u32 = 5;

const FIRST_WAIT: Duration = Duration::from_secs(30);

/// The longest wait. So whoever knows the password has 24 guesses a day, each with three chances in a million.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

const REMEMBERED: Duration = Duration::from_secs(86_400);

/// The most bytes of a code; a longer one is wrong.
const LONGEST_CODE: usize = 64;

/// The most characters of a factor's name.
const LONGEST_NAME: usize = 64;

/// What is required of a user whose password was right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FactorRequirement {
    /// Nothing is required.
    Nothing,
    /// The user proves their identity by a second factor of theirs.
    Prove,
    /// The user sets up a second factor.
    Enrol,
    /// The user sets one up, or enters a code that is mailed to them, if they have an address of their own.
    MailOrEnrol,
}

impl FactorRequirement {
    /// Whether the user may set up a first factor.
    pub const fn may_enrol(self) -> bool {
        matches!(self, Self::Enrol | Self::MailOrEnrol)
    }
}

/// The kind of a code that was right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodeKind {
    /// A code of an authenticator app.
    App,
    /// A recovery code.
    Recovery {
        /// The number of unused codes that are left.
        left: u32,
    },
}

/// Why a code was not accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CodeRefused {
    /// The code was refused, for this reason.
    Not(FactorRefusal),
    /// Too many codes were wrong before; this one was not checked. The next attempt may be made after this wait.
    Wait(Duration),
    /// The code could not be checked.
    Failed(Refusal),
}

/// An attempt with a code.
#[derive(Clone, Copy, Debug)]
pub struct CodeAttempt<'a> {
    /// The user who makes the attempt.
    pub user: &'a UserKey,
    /// The code as typed.
    pub code: &'a Secret,
    /// The device, if it is known to have signed this user in.
    pub device: Option<Digest>,
    /// The current time.
    pub at: Timestamp,
}

/// The parts of which [`Factors`] consists.
pub struct FactorParts {
    /// The store of factors.
    pub store: Arc<dyn FactorStore>,
    /// The store of passkeys: the same store.
    pub passkey_store: Arc<dyn PasskeyStore>,
    /// The store of tickets, invitations and mailed codes.
    pub questions: Arc<dyn Questions>,
    /// The relying party of passkeys; `None` if passkeys are off.
    pub passkeys: Option<Passkeys>,
    /// The key that seals and hashes.
    pub key: Arc<FactorKey>,
    /// The settings of `[second_factor]`.
    pub settings: SecondFactorSettings,
    /// The name of the service in apps.
    pub label: String,
    /// The factors that services store themselves.
    pub at_services: Vec<Arc<dyn FactorsAtService>>,
}

/// All second factors of a user.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AllFactors {
    /// The factors that the gateway stores.
    pub own: StoredFactors,
    /// The factors that the user's service stores.
    pub at_service: ServiceFactors,
}

/// The second factors of all users; see the head of this module.
pub struct Factors {
    store: Arc<dyn FactorStore>,
    passkey_store: Arc<dyn PasskeyStore>,
    passkeys: Option<Passkeys>,
    questions: Arc<dyn Questions>,
    key: Arc<FactorKey>,
    settings: SecondFactorSettings,
    label: String,
    at_services: Vec<Arc<dyn FactorsAtService>>,
}

impl AllFactors {
    /// Whether the user has any second factor.
    pub fn has_any(&self) -> bool {
        !self.own.factors.is_empty() || !self.at_service.usable.is_empty()
    }
}

impl Factors {
    /// Creates the second factors from their parts.
    pub fn new(parts: FactorParts) -> Self {
        let FactorParts {
            store,
            passkey_store,
            questions,
            passkeys,
            key,
            settings,
            label,
            at_services,
        } = parts;
        let label = if settings.label.is_empty() {
            label.replace(':', " ")
        } else {
            settings.label.clone()
        };
        Self { store, passkey_store, passkeys, questions, key, settings, label, at_services }
    }

    /// Returns a digest of the second factors that a user has: another set has another digest.
    ///
    /// # Errors
    /// As [`Self::all_of`]
    pub async fn set_of(&self, user: &UserKey, at: Timestamp) -> Result<Digest, Refusal> {
        let AllFactors { own, at_service } = self.all_of(user, at).await?;
        let own = own.factors.iter().map(|factor| factor.id.clone());
        let at_service = at_service.usable.iter().map(|factor| format!("service {}", factor.id));
        let mut ids: Vec<String> = own.chain(at_service).collect();
        ids.sort_unstable();
        Ok(self.key.hash("factor set", &user.to_string(), ids.join("\n").as_bytes()))
    }

    /// Returns what is required of a user whose password was right. The start of a grace period is recorded.
    ///
    /// A user who has a factor at their service is asked for it whatever the settings say, because the service asks for it too.
    ///
    /// # Errors
    /// [`Refusal::SecondFactorElsewhere`] if the user has factors at their service but none that can be used here,
    /// [`Refusal::StoreUnavailable`], [`Refusal::DirectoryUnavailable`]
    pub async fn duty(&self, user: &Identity, at: Timestamp) -> Result<FactorRequirement, Refusal> {
        let at_service = self.at_service(&user.key, at).await?;
        if at_service.is_elsewhere {
            return Err(Refusal::SecondFactorElsewhere);
        }
        if !at_service.usable.is_empty() {
            return Ok(FactorRequirement::Prove);
        }
        let mode = self.settings.mode_of(user);
        if mode == FactorMode::Off {
            return Ok(FactorRequirement::Nothing);
        }
        let kept = self.of(&user.key).await?;
        if !kept.factors.is_empty() {
            return Ok(FactorRequirement::Prove);
        }
        if kept.reset_at.is_some() {
            return Ok(FactorRequirement::Enrol);
        }
        if mode == FactorMode::Optional {
            return Ok(FactorRequirement::Nothing);
        }
        let grace = self.settings.grace_period;
        match kept.asked_at {
            Some(asked_at) if at.since(asked_at) < grace => Ok(FactorRequirement::Nothing),
            None if !grace.is_zero() => {
                self.change(&user.key, FactorChange::Asked(at)).await?;
                Ok(FactorRequirement::Nothing)
            }
            Some(_) | None if self.settings.takes_mailed_codes(user) => {
                Ok(FactorRequirement::MailOrEnrol)
            }
            Some(_) | None => Ok(FactorRequirement::Enrol),
        }
    }

    /// Returns the factors of a user that the gateway stores.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn of(&self, user: &UserKey) -> Result<StoredFactors, Refusal> {
        self.store.factors_of(user).await.map_err(failed)
    }

    /// Returns the factors of a user, here and at their service.
    ///
    /// # Errors
    /// [`Refusal::SecondFactorElsewhere`] if the user has factors at their service but none that can be used here,
    /// [`Refusal::StoreUnavailable`], [`Refusal::DirectoryUnavailable`]
    pub async fn all_of(&self, user: &UserKey, at: Timestamp) -> Result<AllFactors, Refusal> {
        let at_service = self.at_service(user, at).await?;
        match at_service.is_elsewhere {
            true => Err(Refusal::SecondFactorElsewhere),
            false => Ok(AllFactors { own: self.of(user).await?, at_service }),
        }
    }

    /// Returns the kinds of second factor that a user may use, besides recovery codes.
    pub fn offered(&self, all: &AllFactors) -> OfferedFactors {
        let own = &all.own.factors;
        let is_at_service = !all.at_service.usable.is_empty();
        OfferedFactors {
            app: is_at_service || own.iter().any(|factor| factor.kind == TOTP),
            passkey: own.iter().any(|factor| self.passkeys().works_here(factor)),
            mail: false,
        }
    }

    /// Uses a code, if it is the user's and was not used before.
    ///
    /// # Errors
    /// [`CodeRefused`]
    pub async fn check(&self, attempt: CodeAttempt<'_>) -> Result<CodeKind, CodeRefused> {
        let CodeAttempt { user, code, at, .. } = attempt;
        let AllFactors { own, at_service } =
            self.all_of(user, at).await.map_err(CodeRefused::Failed)?;
        // If the service would not check the code, and the user has no factor here, this is no attempt.
        if let Some(wait) = at_service.wait.filter(|_| own.factors.is_empty()) {
            return Err(CodeRefused::Wait(wait));
        }
        let source = self.source_of(user, attempt.device.as_ref());
        let count = FactorAttempt {
            source,
            at,
            free: FREE,
            first_wait: FIRST_WAIT,
            longest_wait: LONGEST_WAIT,
            remembered: REMEMBERED,
        };
        let counted = self.store.count_factor_attempt(count).await.map_err(refused)?;
        if let Some(wait) = counted {
            return Err(CodeRefused::Wait(wait));
        }
        if code.expose().len() > LONGEST_CODE {
            return Err(CodeRefused::Not(FactorRefusal::WrongCode));
        }
        let why = match self.check_own(user, code, source, at).await {
            Err(CodeRefused::Not(why)) if !at_service.usable.is_empty() => why,
            decided => return decided,
        };
        match self.check_at_service(user, code, source, at).await {
            Err(CodeRefused::Not(FactorRefusal::WrongCode)) => Err(CodeRefused::Not(why)),
            decided => decided,
        }
    }

    /// Checks a code against the factors that the gateway stores.
    async fn check_own(
        &self,
        user: &UserKey,
        code: &Secret,
        source: Digest,
        at: Timestamp,
    ) -> Result<CodeKind, CodeRefused> {
        if let Some(digits) = written::read_digits(code.expose()) {
            return self.check_app(user, &digits, source, at).await;
        }
        let Some(written) = written::read(code.expose()) else {
            return Err(CodeRefused::Not(FactorRefusal::WrongCode));
        };
        let what = UsedCode::Recovery(self.recovery_hash(user, &written));
        if !self.use_code(user, what, source, at).await? {
            // The answer does not reveal whether the code was used before or never existed.
            return Err(CodeRefused::Not(FactorRefusal::WrongCode));
        }
        let left = self.store.factors_of(user).await.map_or(0, |kept| kept.recovery_left);
        Ok(CodeKind::Recovery { left })
    }

    async fn check_app(
        &self,
        user: &UserKey,
        digits: &Secret,
        source: Digest,
        at: Timestamp,
    ) -> Result<CodeKind, CodeRefused> {
        let kept = self.store.factors_of(user).await.map_err(refused)?;
        let mut why = FactorRefusal::WrongCode;
        for factor in kept.factors.iter().filter(|factor| factor.kind == TOTP) {
            let secret = self.open(user, factor).map_err(CodeRefused::Failed)?;
            let Some(step) = secret.step_of(digits.expose(), at) else { continue };
            let what = UsedCode::Step { id: factor.id.clone(), step };
            if self.use_code(user, what, source, at).await? {
                return Ok(CodeKind::App);
            }
            why = FactorRefusal::UsedCode;
        }
        Err(CodeRefused::Not(why))
    }

    async fn use_code(
        &self,
        user: &UserKey,
        what: UsedCode,
        source: Digest,
        at: Timestamp,
    ) -> Result<bool, CodeRefused> {
        let used = FactorUse { user: user.clone(), what, source, at };
        self.store.use_factor(used).await.map_err(refused)
    }

    async fn change(&self, user: &UserKey, change: FactorChange) -> Result<FactorChanged, Refusal> {
        self.store.change_factors(user, change).await.map_err(failed)
    }

    fn open(&self, user: &UserKey, factor: &StoredFactor) -> Result<TotpSecret, Refusal> {
        let opened = self.key.open(TOTP, &user.to_string(), &factor.sealed);
        let opened = opened.ok_or_else(|| {
            tracing::error!(%user, "a second factor was sealed by another key than second_factor.key_file");
            Refusal::Internal
        })?;
        Ok(TotpSecret::new(opened))
    }

    /// Returns the source whose attempts are counted together.
    fn source_of(&self, user: &UserKey, device: Option<&Digest>) -> Digest {
        let device = device.map_or(&b""[..], |device| device.as_bytes());
        self.key.hash("attempts", &user.to_string(), device)
    }

    fn recovery_hash(&self, user: &UserKey, read: &Secret) -> Digest {
        self.key.hash("recovery", &user.to_string(), read.expose().as_bytes())
    }

    fn recovery_hashes(&self, user: &UserKey, codes: &[Secret]) -> Vec<Digest> {
        let read = codes.iter().filter_map(|code| written::read(code.expose()));
        read.map(|read| self.recovery_hash(user, &read)).collect()
    }
}

/// The other capabilities, each as a type of its own.
impl Factors {
    /// Returns the policy that the settings state.
    pub const fn policy(&self) -> FactorPolicy<'_> {
        FactorPolicy(self)
    }

    /// Returns the functions that set up authenticator apps.
    pub const fn enrolments(&self) -> AppEnrolments<'_> {
        AppEnrolments(self)
    }

    /// Returns the functions that set up and use passkeys.
    pub const fn passkeys(&self) -> PasskeyFactors<'_> {
        PasskeyFactors(self)
    }

    /// Returns the functions that decide who may use a mailed code, and check codes.
    pub const fn mailed_codes(&self) -> MailedCodeProofs<'_> {
        MailedCodeProofs(self)
    }

    /// Returns the functions that create, read and spend tickets.
    pub const fn tickets(&self) -> SealedTickets<'_> {
        SealedTickets(self)
    }

    /// Returns the functions that change stored factors, for their owner and for operators.
    pub const fn administration(&self) -> FactorAdministration<'_> {
        FactorAdministration(self)
    }
}

fn recovery_codes() -> Result<Vec<Secret>, Refusal> {
    (0..RECOVERY_CODES).map(|_| written::random().map_err(|_| Refusal::Internal)).collect()
}

/// Returns the name that a user typed, without control characters and cut to length; `otherwise` if nothing is left.
fn name_of(typed: &str, otherwise: &str) -> String {
    let name: String =
        typed.trim().chars().filter(|letter| !letter.is_control()).take(LONGEST_NAME).collect();
    if name.is_empty() { otherwise.to_owned() } else { name }
}

/// Logs the error for the operator; the client gets 503.
fn failed(error: StoreError) -> Refusal {
    tracing::warn!(%error, "the store failed");
    Refusal::StoreUnavailable
}

fn refused(error: StoreError) -> CodeRefused {
    CodeRefused::Failed(failed(error))
}

/// Bytes that are wiped from memory when they are dropped.
type Wiped = Zeroizing<Vec<u8>>;

#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;
