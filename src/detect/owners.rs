//! Maps the names given at sign-in to users, as far as a directory was asked about them anyway.
//!
//! A finding about an account takes its owner from this map, so that the owner is notified. No directory is asked for this
//! purpose: an additional look-up for names that exist would show in the response time. The map holds only names that exist, so
//! guessing cannot fill it.
//!
//! The map is no counter and so is not behind the port of counters: it is a cache that each gateway fills from its own events,
//! and a gateway that knows less only leaves an owner without a notice.

use std::sync::Arc;

use quick_cache::unsync::Cache;

use crate::caller::UserKey;
use crate::event::EventKind;
use crate::secret::Digest;

/// The most names that are remembered.
const MOST: usize = 16_384;

/// The users by the names given at sign-in.
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
    /// Records the user of a name, if the event contains both.
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

    /// Returns the user with this name, if known.
    pub(super) fn of(&self, account: &Arc<str>) -> Option<UserKey> {
        self.0.get(&key(account)).cloned()
    }
}

fn key(account: &Arc<str>) -> Digest {
    Digest::of(account.as_bytes())
}
