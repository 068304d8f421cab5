//! The port that stores second factors.
//!
//! The store decides in one step whatever may happen only once: using a time step or a recovery code, and counting an attempt.
//! So one of many parallel calls succeeds, even if a second process has the same file open. An attempt is counted *before* its
//! code is checked; using a right code resets the count.
//!
//! The store does not know what a factor is: a secret is sealed under a key that the store does not have, and a recovery code
//! is a keyed hash.

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

/// A factor in its stored form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredFactor {
    /// The factor's id, which is derived from its secret: one secret is one factor.
    pub id: String,
    /// The stable name of the factor's kind.
    pub kind: String,
    /// The name that its owner gave it.
    pub name: String,
    /// The secret or the public key of the factor, sealed.
    pub sealed: Vec<u8>,
    /// The newest time step of which a code was accepted; for a passkey, the last signature counter.
    pub last_step: u64,
    /// When the factor was set up.
    pub created_at: Timestamp,
    /// When the factor was last used, if ever.
    pub last_used: Option<Timestamp>,
    /// The additional data of a passkey.
    pub passkey: Option<StoredPasskey>,
}

/// Everything stored about a user's factors. By default it is empty.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoredFactors {
    /// The factors, in the order in which they were set up.
    pub factors: Vec<StoredFactor>,
    /// The number of unused recovery codes.
    pub recovery_left: u32,
    /// When the user was first asked to set one up, if they have not done so since.
    pub asked_at: Option<Timestamp>,
    /// When an operator reset the user's factors, if they have set none up since.
    pub reset_at: Option<Timestamp>,
}

/// A change to the factors of a user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FactorChange {
    /// Sets up a factor, and with it these recovery codes if no unused ones are left. Nothing changes if the factor exists
    /// already, or the user has [`MOST_FACTORS`].
    Add {
        /// The factor to add.
        factor: StoredFactor,
        /// The hashes of the recovery codes.
        recovery: Vec<Digest>,
    },
    /// Removes a factor. Removing the last one also removes the recovery codes.
    Remove {
        /// The factor's id.
        id: String,
    },
    /// Renames a factor.
    Rename {
        /// The factor's id.
        id: String,
        /// The new name.
        name: String,
    },
    /// Replaces the recovery codes by these.
    Recovery(Vec<Digest>),
    /// Notes that the user was asked to set one up, for the first time.
    Asked(Timestamp),
    /// Removes all of the user's factors, for an operator.
    Reset(Timestamp),
}

/// The result of a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FactorChanged {
    /// The change was made.
    Made,
    /// The change was made, and its recovery codes are now the user's.
    MadeWithRecovery,
    /// Nothing changed: what was to change is missing, or what was to be added exists.
    Not,
}

/// An attempt to be counted.
#[derive(Clone, Copy, Debug)]
pub struct FactorAttempt {
    /// The source whose attempts are counted together.
    pub source: Digest,
    /// The current time.
    pub at: Timestamp,
    /// The number of failures after which a wait is required.
    pub free: u32,
    /// The first wait; it doubles with each further failure.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
    /// How long failures are remembered after the last one.
    pub remembered: Duration,
}

/// The use of a right code.
#[derive(Clone, Debug)]
pub struct FactorUse {
    /// The user who uses the code.
    pub user: UserKey,
    /// The code that is used.
    pub what: UsedCode,
    /// The source whose count of attempts is reset.
    pub source: Digest,
    /// The current time.
    pub at: Timestamp,
}

/// A code that can be used once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UsedCode {
    /// The code of a time step.
    Step {
        /// The factor's id.
        id: String,
        /// The time step.
        step: u64,
    },
    /// A recovery code, by its hash.
    Recovery(Digest),
    /// A code that its own system has already used up: only the count of attempts is reset, and the use succeeds.
    Elsewhere,
}

/// The port that stores second factors. An adapter implements it over the same data as the other ports.
#[async_trait]
pub trait FactorStore: Send + Sync {
    /// Returns everything stored about a user's factors, which is empty by default.
    async fn factors_of(&self, user: &UserKey) -> Result<StoredFactors, StoreError>;

    /// Changes the factors of a user; durable when this returns.
    async fn change_factors(
        &self,
        user: &UserKey,
        change: FactorChange,
    ) -> Result<FactorChanged, StoreError>;

    /// Counts an attempt, as a failure until a right code is used. `Some` if the attempt is not counted and may be made only
    /// after this time. Durable when this returns.
    async fn count_factor_attempt(
        &self,
        attempt: FactorAttempt,
    ) -> Result<Option<Duration>, StoreError>;

    /// Uses a code: `true` once, and `false` ever after; for a time step `false` also if a later one was used. Durable when
    /// this returns.
    async fn use_factor(&self, used: FactorUse) -> Result<bool, StoreError>;
}

impl FactorAttempt {
    /// Returns when the next attempt may be made, if this attempt is failure number `failures`.
    ///
    /// After a free attempt the result is the beginning of time and not the time of this attempt: of two requests at once, the
    /// one that arrived first may be counted second.
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
