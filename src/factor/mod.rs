//! What proves more than a password: codes of authenticator apps, passkeys, and recovery codes.
//!
//! **Secrets** are in the store sealed under a key that is not in it ([`FactorKey`]); recovery codes are keyed hashes. A copy
//! of the database alone is nobody's factor.
//!
//! **Once.** Whether a code was used is decided by the store, in one step, after it was found to be right: of parallel uses one
//! succeeds, and a step before the newest that was used is never right again.
//!
//! **Slowly.** An attempt is counted before its code is looked at, by user and by whether it comes from a device that signed
//! this user in before: [`FREE`] failures, then waits that double. It does not matter how many first factors were right before.
//! Whoever guesses from elsewhere does not keep the owner out of a device that is known.
//!
//! **Whole.** A factor that is being set up is in the page (sealed, for a quarter of an hour) and nowhere else, until a code
//! confirms it: then factor and recovery codes are stored in one step. What breaks off in between leaves nothing.
//!
//! **What a service keeps itself** is asked through a port ([`FactorsAtService`]): it stays there, with its own rules, and
//! nobody sets up a second one for the gateway.
//!
//! [`Factors`] itself says what a user has, what is due of them, and whether a code is theirs. Each other capability is a type of
//! its own, which borrows it and is declared where its functions are:
//!
//! | asked by | type | for |
//! |---|---|---|
//! | `policy()` | [`FactorPolicy`] | what the settings ask for, without a look at anybody's factors |
//! | `enrolments()` | [`AppEnrolments`] | setting up an authenticator app |
//! | `passkeys()` | [`PasskeyFactors`] | setting up passkeys, and using them |
//! | `mailed_codes()` | [`MailedCodeProofs`] | who may use a mailed code, and whether it is right |
//! | `tickets()` | [`SealedTickets`] | what is kept sealed until a code was given |
//! | `administration()` | [`FactorAdministration`] | what is there renamed, removed, renewed or reset, and an operator's invitation |
//!
//! It stands below `session`, which asks it what is due before it begins a session, so that every way of signing in ends in
//! the same question.

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

/// The stable name of the kind in the store.
const TOTP: &str = "totp";

/// The same of passkeys and security keys.
const PASSKEY: &str = "passkey";

/// What an app is called unless its owner says otherwise.
pub const FIRST_APP: &str = "TOTP";

/// Recovery codes that are given at once.
const RECOVERY_CODES: usize = 10;

/// Wrong codes before one has to wait.
pub const FREE: u32 = 5;

const FIRST_WAIT: Duration = Duration::from_secs(30);

/// So whoever knows the password has 24 guesses a day at three codes in a million.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

const REMEMBERED: Duration = Duration::from_secs(86_400);

/// The most bytes of a code that are looked at.
const LONGEST_CODE: usize = 64;

/// The most letters of a factor's name.
const LONGEST_NAME: usize = 64;

/// What is due of somebody whose password was right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FactorRequirement {
    /// Nothing.
    Nothing,
    /// A code of theirs.
    Prove,
    /// They set one up.
    Enrol,
    /// They set one up, or prove it by a code that is mailed to them, if they have an address of their own.
    MailOrEnrol,
}

impl FactorRequirement {
    /// Do they set up a first one?
    pub const fn may_enrol(self) -> bool {
        matches!(self, Self::Enrol | Self::MailOrEnrol)
    }
}

/// Which kind of code was right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodeKind {
    /// An authenticator app's.
    App,
    /// A recovery code, and how many are left.
    Recovery {
        /// How many were not used yet.
        left: u32,
    },
}

/// Why a code did not help.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CodeRefused {
    /// It is not theirs, or was used.
    Not(FactorRefusal),
    /// Too many were wrong before; this one was not looked at.
    Wait(Duration),
    /// It cannot be looked at.
    Failed(Refusal),
}

/// Whose code it is, and from where it comes.
#[derive(Clone, Copy, Debug)]
pub struct CodeAttempt<'a> {
    /// Whose.
    pub user: &'a UserKey,
    /// As typed.
    pub code: &'a Secret,
    /// The device, if it is known to have signed this user in.
    pub device: Option<Digest>,
    /// Now.
    pub at: Timestamp,
}

/// What [`Factors`] is made of.
pub struct FactorParts {
    /// Keeps factors.
    pub store: Arc<dyn FactorStore>,
    /// Uses passkeys: the same store.
    pub passkey_store: Arc<dyn PasskeyStore>,
    /// Keeps tickets and invitations.
    pub questions: Arc<dyn Questions>,
    /// Whose passkeys they are; `None`: they are off.
    pub passkeys: Option<Passkeys>,
    /// Seals.
    pub key: Arc<FactorKey>,
    /// `[second_factor]`
    pub settings: SecondFactorSettings,
    /// What apps call the service.
    pub label: String,
    /// Those that services keep themselves.
    pub at_services: Vec<Arc<dyn FactorsAtService>>,
}

/// Everything that a user can prove more with.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AllFactors {
    /// What is kept here.
    pub own: StoredFactors,
    /// What their service keeps.
    pub at_service: ServiceFactors,
}

/// See the head of this module.
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
    /// Is there anything?
    pub fn has_any(&self) -> bool {
        !self.own.factors.is_empty() || !self.at_service.usable.is_empty()
    }
}

impl Factors {
    /// Puts the parts together.
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

    /// Stands for the second factors that a user has: another set is another digest.
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

    /// What is due of somebody whose password was right. Somebody who may go on without for a while is noted.
    ///
    /// Whoever has one at their service is asked for it whatever the settings say: the service asks them too.
    ///
    /// # Errors
    /// [`Refusal::SecondFactorElsewhere`] of somebody who has one at their service that cannot be looked at here,
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

    /// What a user has.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn of(&self, user: &UserKey) -> Result<StoredFactors, Refusal> {
        self.store.factors_of(user).await.map_err(failed)
    }

    /// What a user has, here and at their service.
    ///
    /// # Errors
    /// [`Refusal::SecondFactorElsewhere`] of somebody who has one at their service that cannot be looked at here,
    /// [`Refusal::StoreUnavailable`], [`Refusal::DirectoryUnavailable`]
    pub async fn all_of(&self, user: &UserKey, at: Timestamp) -> Result<AllFactors, Refusal> {
        let at_service = self.at_service(user, at).await?;
        match at_service.is_elsewhere {
            true => Err(Refusal::SecondFactorElsewhere),
            false => Ok(AllFactors { own: self.of(user).await?, at_service }),
        }
    }

    /// By what a user may prove more than a password, besides recovery codes.
    pub fn offered(&self, all: &AllFactors) -> OfferedFactors {
        let own = &all.own.factors;
        let is_at_service = !all.at_service.usable.is_empty();
        OfferedFactors {
            app: is_at_service || own.iter().any(|factor| factor.kind == TOTP),
            passkey: own.iter().any(|factor| self.passkeys().works_here(factor)),
            mail: false,
        }
    }

    /// Uses a code, if it is the user's and was not used.
    ///
    /// # Errors
    /// [`CodeRefused`]
    pub async fn check(&self, attempt: CodeAttempt<'_>) -> Result<CodeKind, CodeRefused> {
        let CodeAttempt { user, code, at, .. } = attempt;
        let AllFactors { own, at_service } =
            self.all_of(user, at).await.map_err(CodeRefused::Failed)?;
        // What the service would not look at, and is nothing of ours, is no attempt.
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

    /// Looks at what is kept here.
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
            // Which of the two it is, a hash that is there and used does not say to whoever asks.
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

    /// Whose attempts are counted together.
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

/// What it can, each as a type of its own.
impl Factors {
    /// What the settings ask for.
    pub const fn policy(&self) -> FactorPolicy<'_> {
        FactorPolicy(self)
    }

    /// Authenticator apps, set up.
    pub const fn enrolments(&self) -> AppEnrolments<'_> {
        AppEnrolments(self)
    }

    /// Passkeys: set up, and used.
    pub const fn passkeys(&self) -> PasskeyFactors<'_> {
        PasskeyFactors(self)
    }

    /// Mailed codes: who may use one, and whether it is right.
    pub const fn mailed_codes(&self) -> MailedCodeProofs<'_> {
        MailedCodeProofs(self)
    }

    /// Tickets: given, looked at, spent.
    pub const fn tickets(&self) -> SealedTickets<'_> {
        SealedTickets(self)
    }

    /// Changes of what is there, by its owner and by operators.
    pub const fn administration(&self) -> FactorAdministration<'_> {
        FactorAdministration(self)
    }
}

fn recovery_codes() -> Result<Vec<Secret>, Refusal> {
    (0..RECOVERY_CODES).map(|_| written::random().map_err(|_| Refusal::Internal)).collect()
}

/// What a person calls a factor: without what could end a line, and not too long.
fn name_of(typed: &str, otherwise: &str) -> String {
    let name: String =
        typed.trim().chars().filter(|letter| !letter.is_control()).take(LONGEST_NAME).collect();
    if name.is_empty() { otherwise.to_owned() } else { name }
}

/// The inner text is for the operator; the client gets 503.
fn failed(error: StoreError) -> Refusal {
    tracing::warn!(%error, "the store failed");
    Refusal::StoreUnavailable
}

fn refused(error: StoreError) -> CodeRefused {
    CodeRefused::Failed(failed(error))
}

/// Bytes that are wiped.
type Wiped = Zeroizing<Vec<u8>>;

#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;
