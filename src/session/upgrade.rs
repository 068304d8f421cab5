//! A service that raises the cost of its hashes writes a password anew at a sign-in, and it is the same password.
//!
//! Whether it is cannot be told from the rows, if the old one was outdated (`django::hashers::upgrade`), so every new row ends
//! what the old one began, as Django ends its own sessions; unless the operator takes what looks like an upgrade for one
//! (`directory.danger_keep_at_password_upgrade`). Then the row before is kept here for each user with a session, and the marks
//! that count beside the present one. They are not in the store: after a restart, sessions from before an upgrade end.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::directory::{Account, Users};
use crate::secret::{Digest, Secret};

/// The passwords of a directory's users as they were seen last.
#[derive(Default)]
pub(super) struct Upgrades(Mutex<HashMap<Arc<str>, SeenUpgrade>>);

struct SeenUpgrade {
    password: Secret,
    mark: Digest,
    /// Of the rows before this one, up to the last change.
    before: Vec<Digest>,
}

impl Upgrades {
    /// Notes what the directory says of a user now.
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

    /// Is this the mark of the password that the user has?
    pub(super) fn is_of(&self, account: &Account, mark: Digest) -> bool {
        self.any_of(account, |counts| counts == mark)
    }

    /// Is this true of a mark of the password that the user has?
    pub(super) fn any_of(&self, account: &Account, is: impl Fn(Digest) -> bool) -> bool {
        let is_before = |seen: &SeenUpgrade| seen.before.iter().any(|mark| is(*mark));
        is(account.password_mark())
            || self.0.lock().get(&account.identity.key.id).is_some_and(is_before)
    }

    /// Forgets everybody else.
    pub(super) fn keep(&self, users: &HashSet<Arc<str>>) {
        self.0.lock().retain(|user, _| users.contains(user));
    }
}
