//! The port through which passkeys are used.
//!
//! A passkey is a second factor like the others, and is set up, renamed and removed through
//! [`FactorStore`](super::factors::FactorStore). What is here is about using one: whose it is, where somebody signs in without
//! saying who they are; that a challenge is answered once; and that the signature counter goes on. The last two are decided
//! by the store in one step, so that of parallel answers one succeeds.

use async_trait::async_trait;

use super::StoreError;
use super::factors::StoredFactor;
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::secret::Digest;

mod memory;

/// What is kept of a passkey besides what each factor has. Its signature counter is the factor's `last_step`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredPasskey {
    /// The RP ID that it belongs to.
    pub rp_id: String,
    /// Is there a copy of it elsewhere, as its authenticator said when it was last used?
    pub backed_up: bool,
    /// Does its authenticator find it by itself? Only then it signs in without a password.
    pub is_discoverable: bool,
}

/// The use of a passkey whose signature is right.
#[derive(Clone, Debug)]
pub struct PasskeyUse {
    /// Whose.
    pub user: UserKey,
    /// The factor's id.
    pub id: String,
    /// What the authenticator counts; 0 if it does not count.
    pub counter: u32,
    /// Is there a copy of it elsewhere?
    pub backed_up: bool,
    /// The challenge that was answered.
    pub challenge: SpentChallenge,
    /// Whose count of attempts goes.
    pub source: Digest,
    /// Now.
    pub at: Timestamp,
}

/// A challenge that was answered.
#[derive(Clone, Copy, Debug)]
pub struct SpentChallenge {
    /// Its hash.
    pub digest: Digest,
    /// From then on nobody can answer it anyway.
    pub kept_until: Timestamp,
}

/// What became of a use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PasskeyUsed {
    /// It was used.
    Yes,
    /// The challenge was answered before.
    Replayed,
    /// The counter did not go on: somebody has a copy of the key. The challenge is spent.
    CounterBehind,
    /// The user has no such passkey. The challenge is spent.
    Gone,
}

/// Uses passkeys. An adapter implements this port over the same data as the others.
#[async_trait]
pub trait PasskeyStore: Send + Sync {
    /// The factor of this id, and whose it is.
    async fn owner_of(&self, id: &str) -> Result<Option<(UserKey, StoredFactor)>, StoreError>;

    /// Uses a passkey; durable when this returns.
    async fn use_passkey(&self, used: PasskeyUse) -> Result<PasskeyUsed, StoreError>;

    /// Spends a challenge with which a passkey is set up: true once. Durable when this returns.
    async fn spend_challenge(&self, challenge: SpentChallenge) -> Result<bool, StoreError>;

    /// How many passkeys belong to another RP ID than this one.
    async fn passkeys_elsewhere(&self, rp_id: &str) -> Result<u64, StoreError>;
}

/// Does the counter go on? Authenticators that do not count say 0 each time (WebAuthn section 6.1.1).
pub(super) const fn goes_on(before: u64, counter: u32) -> bool {
    (before == 0 && counter == 0) || before < counter as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_goes_on_or_is_none() {
        for (before, counter, expected) in [
            (0, 0, true),
            (0, 1, true),
            (1, 2, true),
            (1, 9, true),
            (1, 1, false),
            (2, 1, false),
            (2, 0, false),
        ] {
            assert_eq!(goes_on(before, counter), expected, "{before} {counter}");
        }
    }
}
