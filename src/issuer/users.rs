//! Caches the users of issuers' tokens.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::user::User;
use crate::caller::UserKey;
use crate::session::WatchedDirectory;

/// The most users that are cached.
const USERS: usize = 65_536;

/// The most users that one explanation needs.
const FEW: usize = 64;

/// Users by key and by the settings of their directory: with other settings they are looked up
/// again.
#[derive(Clone)]
pub(crate) struct UserCache {
    here: KnownUsers,
    /// The cache from which users that are not here are copied.
    real: Option<KnownUsers>,
}

type KnownUsers = Arc<Cache<(UserKey, [u8; 32]), Arc<User>>>;

impl UserCache {
    pub(crate) fn new() -> Self {
        Self { here: Arc::new(Cache::new(USERS)), real: None }
    }

    /// Returns a copy with the same users; later changes in the original are not visible here.
    pub(super) fn read_only(&self) -> Self {
        Self { here: Arc::new(Cache::new(FEW)), real: Some(Arc::clone(&self.here)) }
    }

    pub(super) fn get(&self, directory: &WatchedDirectory, key: &UserKey) -> Option<Arc<User>> {
        let key = (key.clone(), directory.settings);
        if let Some(user) = self.here.get(&key) {
            return Some(user);
        }
        let copy = Arc::new(self.real.as_ref()?.get(&key)?.copy());
        self.here.insert(key, Arc::clone(&copy));
        Some(copy)
    }

    pub(super) fn insert(&self, directory: &WatchedDirectory, key: UserKey, user: Arc<User>) {
        self.here.insert((key, directory.settings), user);
    }
}
