//! Whose the names are that people sign in with, as far as a directory said so when it was asked anyway.
//!
//! A finding about an account names its owner by this, so that they are told. Nobody is asked for it: a look-up more for
//! names that exist would show in the time of an answer. Only names that exist are here, so no guesser can fill it.

use std::sync::Arc;

use quick_cache::unsync::Cache;

use crate::caller::UserKey;
use crate::event::EventKind;
use crate::secret::Digest;

/// How many are remembered.
const MOST: usize = 16_384;

/// Remembers them.
pub(super) struct Owners(Cache<Digest, UserKey>);

impl std::fmt::Debug for Owners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Owners({})", self.0.len())
    }
}

impl Default for Owners {
    fn default() -> Self {
        Self(Cache::new(MOST))
    }
}

impl Owners {
    /// Something happened that may say whose a name is.
    pub(super) fn learn(&mut self, what: &EventKind) {
        if let EventKind::SignInFailed { account, user: Some(user), .. }
        | EventKind::SignedIn { account, user, .. }
        | EventKind::SignInObserved { account, user: Some(user), .. } = what
        {
            let key = key(account);
            if self.0.get(&key) != Some(user) {
                self.0.insert(key, user.clone());
            }
        }
    }

    /// Whose name it is, if that is known.
    pub(super) fn of(&self, account: &Arc<str>) -> Option<UserKey> {
        self.0.get(&key(account)).cloned()
    }
}

fn key(account: &Arc<str>) -> Digest {
    Digest::of(account.as_bytes())
}
