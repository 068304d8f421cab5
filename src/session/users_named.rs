//! Finds users by name: operators have a person's name, while everything else uses directory and id.

use super::{SessionManager, store_failed};
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::refusal::Refusal;

impl SessionManager {
    /// Returns all users with this name, among the live sessions and in the directories that can be asked. There may be
    /// several, one in each directory.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]; [`Refusal::DirectoryUnavailable`] if nobody was found and a directory is down.
    pub async fn users_named(&self, name: &str, at: Timestamp) -> Result<Vec<UserKey>, Refusal> {
        let sessions = self.store.list(None, at).await.map_err(store_failed)?;
        let identities = sessions.iter().map(|session| session.identity.load());
        let mut found: Vec<UserKey> = identities
            .filter(|identity| identity.name == name)
            .map(|identity| identity.key.clone())
            .collect();
        let mut is_down = false;
        for users in self.directories.iter().filter_map(|one| one.directory.users()) {
            match users.find(name).await {
                Ok(account) => found.extend(account.map(|one| one.identity.key.clone())),
                Err(error) => {
                    tracing::warn!(%error, "a directory cannot be asked for users of a name");
                    is_down = true;
                }
            }
        }
        if found.is_empty() && is_down {
            return Err(Refusal::DirectoryUnavailable);
        }
        found.sort_unstable_by_key(ToString::to_string);
        found.dedup();
        Ok(found)
    }
}
