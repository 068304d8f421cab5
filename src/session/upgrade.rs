//! Recognises password upgrades: a service that raises the cost of its hashes rewrites a password at a sign-in, and the
//! password stays the same.
//!
//! If the old hash was outdated, the rows alone cannot show whether the password changed (`django::hashers::upgrade`). So every
//! new row ends the sessions of the old one, as Django ends its own, unless the operator chose to accept what looks like an
//! upgrade (`directory.danger_keep_at_password_upgrade`). Then this module keeps the previous row of each user with a session,
//! and the earlier marks that are still valid. They are not in the store: after a restart, sessions from before an upgrade end.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::directory::{Account, Users};
use crate::secret::{Digest, Secret};

/// The passwords of a directory's users as they were last seen.
#[derive(Default)]
pub(super) struct Upgrades(Mutex<HashMap<Arc<str>, SeenUpgrade>>);

struct SeenUpgrade {
    password: Secret,
    mark: Digest,
    /// The marks of the rows before this one, back to the last change.
    before: Vec<Digest>,
}

impl Upgrades {
    /// Notes what the directory now says about a user.
    pub(super) fn note(&self, users: &dyn Users, account: &Account) {
        if users.upgrades_to().is_none() {
            return;
        }
        let mark = account.password_mark();
        let mut all = self.0.lock();
        let before = match all.get_mut(&account.identity.key.id) {
            Some(seen) if seen.mark == mark => return,
            Some(seen) if users.is_upgrade(&seen.password, &account.password) => {
                let mut before = std::mem::take(&mut seen.before);
                before.push(seen.mark);
                before
            }
            _ => Vec::new(),
        };
        let seen = SeenUpgrade { password: account.password.clone(), mark, before };
        all.insert(Arc::clone(&account.identity.key.id), seen);
    }

    /// Whether this is a mark of the user's current password.
    pub(super) fn is_of(&self, account: &Account, mark: Digest) -> bool {
        self.any_of(account, |counts| counts == mark)
    }

    /// Whether this is true for any mark of the user's current password.
    pub(super) fn any_of(&self, account: &Account, is: impl Fn(Digest) -> bool) -> bool {
        let is_before = |seen: &SeenUpgrade| seen.before.iter().any(|mark| is(*mark));
        is(account.password_mark())
            || self.0.lock().get(&account.identity.key.id).is_some_and(is_before)
    }

    /// Removes all users except these.
    pub(super) fn keep(&self, users: &HashSet<Arc<str>>) {
        self.0.lock().retain(|user, _| users.contains(user));
    }
}
