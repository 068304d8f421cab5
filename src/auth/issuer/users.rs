//! The users of issuers' tokens who are remembered.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::user::User;
use crate::caller::UserKey;

/// How many are remembered.
const USERS: usize = 65_536;

/// How many an explanation can meet.
const FEW: usize = 64;

/// Users by key.
pub(super) struct Users {
    here: Arc<Cache<UserKey, Arc<User>>>,
    /// Where those are looked for who are not here; they are copied.
    real: Option<Arc<Cache<UserKey, Arc<User>>>>,
}

impl Users {
    pub(super) fn new() -> Self {
        Self { here: Arc::new(Cache::new(USERS)), real: None }
    }

    /// The same users; what becomes of them there is not known here.
    pub(super) fn aside(&self) -> Self {
        Self { here: Arc::new(Cache::new(FEW)), real: Some(Arc::clone(&self.here)) }
    }

    pub(super) fn get(&self, key: &UserKey) -> Option<Arc<User>> {
        if let Some(user) = self.here.get(key) {
            return Some(user);
        }
        let copy = Arc::new(self.real.as_ref()?.get(key)?.copy());
        self.here.insert(key.clone(), Arc::clone(&copy));
        Some(copy)
    }

    pub(super) fn insert(&self, key: UserKey, user: Arc<User>) {
        self.here.insert(key, user);
    }
}
