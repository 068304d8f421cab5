//! The port for using passkeys.
//!
//! A passkey is a second factor like the others, and is set up, renamed and removed through
//! [`FactorStore`](super::factors::FactorStore). This port is for using one: finding its owner, if somebody signs in without
//! giving a name; answering a challenge only once; and checking that the signature counter increases. The store decides the
//! last two in one step, so that one of several parallel answers succeeds.

use async_trait::async_trait;

use super::StoreError;
use super::factors::StoredFactor;
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::secret::Digest;

mod memory;

/// The data of a passkey in addition to that of every factor. Its signature counter is the factor's `last_step`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredPasskey {
    /// The RP ID that the passkey belongs to.
    pub rp_id: String,
    /// Whether the passkey is backed up, as its authenticator reported at the last use.
    pub backed_up: bool,
    /// Whether its authenticator finds the passkey by itself, which is required to sign in without a password.
    pub is_discoverable: bool,
}

/// The use of a passkey whose signature is right.
#[derive(Clone, Debug)]
pub struct PasskeyUse {
    /// The user that the passkey belongs to.
    pub user: UserKey,
    /// The factor's id.
    pub id: String,
    /// The signature counter of the authenticator; 0 if it does not count.
    pub counter: u32,
    /// Whether the passkey is backed up.
    pub backed_up: bool,
    /// The challenge that was answered.
    pub challenge: SpentChallenge,
    /// The source whose count of attempts is reset.
    pub source: Digest,
    /// The current time.
    pub at: Timestamp,
}

/// A challenge that was answered.
#[derive(Clone, Copy, Debug)]
pub struct SpentChallenge {
    /// The hash of the challenge.
    pub digest: Digest,
    /// When the challenge expires; an answer after this time is refused.
    pub kept_until: Timestamp,
}

/// The result of using a passkey.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PasskeyUsed {
    /// The passkey was used.
    Yes,
    /// The challenge was answered before.
    Replayed,
    /// The counter did not increase: somebody has a copy of the key. The challenge is spent.
    CounterBehind,
    /// The user has no such passkey. The challenge is spent.
    Gone,
}

/// The port for using passkeys. An adapter implements it over the same data as the other ports.
#[async_trait]
pub trait PasskeyStore: Send + Sync {
    /// Returns the factor with this id, and the user that it belongs to.
    async fn owner_of(&self, id: &str) -> Result<Option<(UserKey, StoredFactor)>, StoreError>;

    /// Uses a passkey; durable when this returns.
    async fn use_passkey(&self, used: PasskeyUse) -> Result<PasskeyUsed, StoreError>;

    /// Spends a challenge with which a passkey is set up: `true` once. Durable when this returns.
    async fn spend_challenge(&self, challenge: SpentChallenge) -> Result<bool, StoreError>;

    /// Returns the number of passkeys that belong to another RP ID than this one.
    async fn passkeys_elsewhere(&self, rp_id: &str) -> Result<u64, StoreError>;
}

/// Whether the counter increases. Authenticators that do not count report 0 each time (WebAuthn section 6.1.1).
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
