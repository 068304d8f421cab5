//! The port through which second factors are kept.
//!
//! Whatever may happen only once is decided by the store in one step: that a time step or a recovery code is used, that an
//! attempt is counted. So of many parallel calls one succeeds, and a second process that opens the same file changes nothing
//! about that. An attempt is counted *before* its code is looked at; the use of a right code takes the count away.
//!
//! The store does not know what a factor is: a secret is sealed under a key that it does not have, and a recovery code is a
//! keyed hash.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use super::passkeys::StoredPasskey;
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::secret::Digest;

mod memory;

pub(super) use memory::FactorTables;

/// The most factors of one user.
pub const MOST_FACTORS: usize = 10;

/// A factor, as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredFactor {
    /// Its id, which follows from its secret: one secret is one factor.
    pub id: String,
    /// Which kind it is, by its stable name.
    pub kind: String,
    /// What its owner calls it.
    pub name: String,
    /// What makes it, sealed.
    pub sealed: Vec<u8>,
    /// The newest time step of which a code was accepted; of a passkey, the signature counter that was seen last.
    pub last_step: u64,
    /// When it was set up.
    pub created_at: Timestamp,
    /// When it was last used, if ever since.
    pub last_used: Option<Timestamp>,
    /// Of a passkey, what else is kept.
    pub passkey: Option<StoredPasskey>,
}

/// Everything that is kept of a user. The default: nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoredFactors {
    /// In the order in which they were set up.
    pub factors: Vec<StoredFactor>,
    /// Recovery codes that were not used.
    pub recovery_left: u32,
    /// When they were first asked to set one up, and did not since.
    pub asked_at: Option<Timestamp>,
    /// When an operator took theirs away, and they set none up since.
    pub reset_at: Option<Timestamp>,
}

/// A change of what a user has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FactorChange {
    /// A factor is set up, and with it these recovery codes if there are none that were not used. Nothing changes where the
    /// factor is there already, or [`MOST_FACTORS`] are.
    Add {
        /// The factor.
        factor: StoredFactor,
        /// Hashes of recovery codes.
        recovery: Vec<Digest>,
    },
    /// A factor goes. With the last one the recovery codes go.
    Remove {
        /// Its id.
        id: String,
    },
    /// A factor is called otherwise.
    Rename {
        /// Its id.
        id: String,
        /// The new name.
        name: String,
    },
    /// These are the recovery codes from now on.
    Recovery(Vec<Digest>),
    /// They are asked to set one up, for the first time.
    Asked(Timestamp),
    /// An operator takes everything away.
    Reset(Timestamp),
}

/// What became of a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FactorChanged {
    /// It was made.
    Made,
    /// It was made, and the recovery codes that came with it are the user's.
    MadeWithRecovery,
    /// What it is about is not there, or is there already: nothing changed.
    Not,
}

/// An attempt to count.
#[derive(Clone, Copy, Debug)]
pub struct FactorAttempt {
    /// Whose attempts are counted together.
    pub source: Digest,
    /// Now.
    pub at: Timestamp,
    /// Failures after which one has to wait.
    pub free: u32,
    /// The first wait; it doubles with each further failure.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
    /// For how long failures are remembered after the last.
    pub remembered: Duration,
}

/// The use of a code that is right.
#[derive(Clone, Debug)]
pub struct FactorUse {
    /// Whose.
    pub user: UserKey,
    /// What is used.
    pub what: UsedCode,
    /// Whose count of attempts goes.
    pub source: Digest,
    /// Now.
    pub at: Timestamp,
}

/// A code that can be used once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UsedCode {
    /// The code of a time step.
    Step {
        /// The factor's id.
        id: String,
        /// The step.
        step: u64,
    },
    /// A recovery code, by its hash.
    Recovery(Digest),
    /// A code that whoever keeps the factor has used already: only the count of attempts goes, and it is used.
    Elsewhere,
}

/// Keeps second factors. An adapter implements this port over the same data as the others.
#[async_trait]
pub trait FactorStore: Send + Sync {
    /// What is kept of a user; nothing is the default.
    async fn factors_of(&self, user: &UserKey) -> Result<StoredFactors, StoreError>;

    /// Changes what a user has; durable when this returns.
    async fn change_factors(
        &self,
        user: &UserKey,
        change: FactorChange,
    ) -> Result<FactorChanged, StoreError>;

    /// Counts an attempt, as a failure until it is used. Some: it does not count, and may be made after this time. Durable
    /// when this returns.
    async fn count_factor_attempt(
        &self,
        attempt: FactorAttempt,
    ) -> Result<Option<Duration>, StoreError>;

    /// Uses a code: true once, and false for ever after; for a time step false also where a later one was used. Durable when
    /// this returns.
    async fn use_factor(&self, used: FactorUse) -> Result<bool, StoreError>;
}

impl FactorAttempt {
    /// When the attempt after this one may be made, if this one is the failure of this number.
    ///
    /// After a free one that is any time, and not the time of this one: of two requests at once, that which arrived first may
    /// be counted second.
    pub fn next_after(&self, failures: u32) -> Timestamp {
        let Some(over) = failures.checked_sub(self.free) else { return Timestamp::from_millis(0) };
        let wait = self.first_wait.saturating_mul(2_u32.saturating_pow(over.min(31)));
        self.at.plus(wait.min(self.longest_wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let attempt = FactorAttempt {
            source: Digest::of(b""),
            at: Timestamp::from_secs(1000),
            free: 3,
            first_wait: Duration::from_secs(2),
            longest_wait: Duration::from_secs(15),
            remembered: Duration::from_secs(60),
        };
        let waits = [1, 2, 3, 4, 5, 6, 7, 40, u32::MAX];
        let waits = waits.map(|failures| attempt.next_after(failures).since(attempt.at).as_secs());
        assert_eq!(waits, [0, 0, 2, 4, 8, 15, 15, 15, 15]);
    }
}
