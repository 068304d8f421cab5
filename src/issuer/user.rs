//! Caches a user of issued credentials, as their directory had them a moment ago.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use super::keyed;
use crate::caller::{Identity, UserKey};
use crate::clock::Timestamp;
use crate::directory::{Account, DirectoryError};
use crate::django::simplejwt::password_print;
use crate::event::IssuedRefusal;
use crate::secret::{Digest, Secret};
use crate::session::WatchedDirectory;

/// How soon a directory that failed is asked again.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A user whose tokens are in use.
pub(super) struct User {
    pub(super) key: UserKey,
    /// The store's key for the date at which all of the user's tokens ended.
    pub(super) end: Digest,
    /// The store's key for the date until which the user had another password.
    pub(super) password_end: Digest,
    known: ArcSwapOption<KnownUser>,
    asked_at: AtomicU64,
    /// Dates that were found and are not in the store yet. The user's tokens are refused until they are.
    owed: Mutex<Vec<(Digest, Timestamp)>>,
}

/// A user as the directory had them.
pub(crate) struct KnownUser {
    pub(crate) identity: Arc<Identity>,
    pub(super) active: bool,
    pub(super) has_second_factor: bool,
    /// The stored password in Django's encoding.
    pub(super) password: Secret,
    pub(super) password_print: String,
    pub(crate) password_mark: Digest,
    at: Timestamp,
}

impl User {
    pub(super) fn new(key: UserKey) -> Self {
        Self {
            end: end_of(&key),
            password_end: keyed(&["password", &key.directory, &key.id]),
            key,
            known: ArcSwapOption::empty(),
            asked_at: AtomicU64::new(0),
            owed: Mutex::default(),
        }
    }

    /// Returns a separate copy of the user, with what is known now.
    pub(super) fn copy(&self) -> Self {
        Self {
            key: self.key.clone(),
            end: self.end,
            password_end: self.password_end,
            known: ArcSwapOption::new(self.known.load_full()),
            asked_at: AtomicU64::new(self.asked_at.load(Ordering::Relaxed)),
            owed: Mutex::new(self.owed()),
        }
    }

    /// Returns the dates of ends of older tokens that are still to be written.
    pub(super) fn owed(&self) -> Vec<(Digest, Timestamp)> {
        self.owed.lock().clone()
    }

    /// Removes a date that the store has written.
    pub(super) fn paid(&self, end: &(Digest, Timestamp)) {
        self.owed.lock().retain(|owed| owed != end);
    }

    /// Makes the next look-up ask the directory, whenever the last one was.
    pub(super) fn ask_next(&self) {
        self.asked_at.store(0, Ordering::Relaxed);
    }

    /// Returns the user as known, or as the directory has them now if a query is due. Of concurrent callers one asks; the
    /// others use what was known. `None` if there is no such user. Ends of older tokens are then in [`Self::owed`].
    pub(super) async fn look(
        &self,
        directory: &WatchedDirectory,
        at: Timestamp,
    ) -> Result<Option<Arc<KnownUser>>, IssuedRefusal> {
        let before = self.known.load_full();
        if let Some(known) = &before {
            let asked_at = self.asked_at.load(Ordering::Relaxed);
            let is_due = at.since(Timestamp::from_millis(asked_at)) >= directory.every;
            let is_first = || {
                let order = (Ordering::Relaxed, Ordering::Relaxed);
                let now = at.as_millis();
                self.asked_at.compare_exchange(asked_at, now, order.0, order.1).is_ok()
            };
            if !is_due || !is_first() {
                return Ok(Some(Arc::clone(known)));
            }
        }
        match self.ask(directory, before.as_ref(), at).await {
            Ok(known) => Ok(known),
            Err(error) => {
                tracing::warn!(%error, "a directory cannot be asked; users that it knew before stay valid");
                let again = at.plus(ASK_AGAIN).minus(directory.every);
                self.asked_at.store(again.as_millis(), Ordering::Relaxed);
                before.map(Some).ok_or(IssuedRefusal::Unavailable)
            }
        }
    }

    /// Returns the user as the directory has them now, whatever was known.
    pub(super) async fn look_now(
        &self,
        directory: &WatchedDirectory,
        at: Timestamp,
    ) -> Result<Option<Arc<KnownUser>>, IssuedRefusal> {
        let before = self.known.load_full();
        self.ask(directory, before.as_ref(), at).await.map_err(|error| {
            tracing::warn!(%error, "a directory cannot be asked");
            IssuedRefusal::Unavailable
        })
    }

    async fn ask(
        &self,
        directory: &WatchedDirectory,
        before: Option<&Arc<KnownUser>>,
        at: Timestamp,
    ) -> Result<Option<Arc<KnownUser>>, DirectoryError> {
        let Some(users) = directory.directory.users() else {
            let reason = "it knows users only while they sign in".to_owned();
            return Err(DirectoryError {
                directory: directory.directory.name().to_owned(),
                reason,
            });
        };
        match users.by_id(&self.key).await {
            Ok(account) => {
                let known = account.map(|account| Arc::new(KnownUser::of(account, at)));
                self.asked_at.store(at.as_millis(), Ordering::Relaxed);
                let changed = |known: &KnownUser, before: &KnownUser| {
                    known.password_mark != before.password_mark
                        && !users.is_upgrade(&before.password, &known.password)
                };
                let is_active = known.as_ref().is_some_and(|known| known.active);
                if let Some(before) = before {
                    let mut owed = self.owed.lock();
                    if known.as_ref().is_some_and(|known| changed(known, before)) {
                        owed.push((self.password_end, before.at));
                    }
                    if before.active && !is_active {
                        owed.push((self.end, at));
                    }
                }
                // This comes last, so that whoever sees the new user also sees the dates that are owed.
                self.known.store(known.clone());
                Ok(known)
            }
            Err(error) => Err(error),
        }
    }
}

impl KnownUser {
    fn of(account: Account, at: Timestamp) -> Self {
        Self {
            password_print: password_print(&account.password),
            password_mark: account.password_mark(),
            password: account.password,
            identity: account.identity,
            active: account.active,
            has_second_factor: account.has_second_factor,
            at,
        }
    }
}

/// Returns the store's key for the date at which all of a user's tokens ended.
pub(super) fn end_of(user: &UserKey) -> Digest {
    keyed(&["end", &user.directory, &user.id])
}
