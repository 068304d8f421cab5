//! Asks the directories again about the users of live sessions.
//!
//! Directories send no notifications: an operator disables a user or takes a group away in Django's admin, and the gateway
//! learns it here, at most `directory.refresh_interval` later. A new password, an inactive user or a missing user ends
//! sessions, as Django ends its own (but see `session::upgrade`, and `session::under_way` for users who change their own); a
//! new name or group is stored in the session and seen by the next request. If a directory cannot be asked, its sessions go on
//! unchanged. One that checks passwords itself cannot be asked about anybody, so its users stay as they were when they signed
//! in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::SessionManager;
use super::upgrade::Upgrades;
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::config::DirectorySettings;
use crate::context::Events;
use crate::directory::{Account, Directory};
use crate::event::{EndReason, EventKind};
use crate::secret::Digest;
use crate::store::{Session, SessionBy, SessionSelection};

/// A directory, and how often it is asked again.
pub struct WatchedDirectory {
    pub(crate) directory: Directory,
    pub(crate) every: Duration,
    asked_at: AtomicU64,
    pub(super) upgrades: Arc<Upgrades>,
    /// The hash of the directory's settings: entries cached under other settings are no longer found.
    pub(crate) settings: [u8; 32],
}

impl WatchedDirectory {
    /// Creates a watched directory. `every` is the directory's `refresh_interval`.
    pub fn new(directory: Directory, every: Duration) -> Self {
        let (asked_at, upgrades) = (AtomicU64::new(0), Arc::default());
        Self { directory, every, asked_at, upgrades, settings: [0; 32] }
    }

    /// Sets the settings of the directory.
    #[must_use]
    pub fn with_settings(mut self, settings: &DirectorySettings) -> Self {
        self.settings = *Digest::of(format!("{settings:?}").as_bytes()).as_bytes();
        self
    }

    /// Takes over the state of the same directory in an earlier configuration, which has the same users.
    #[must_use]
    pub fn in_place_of(mut self, earlier: &Self) -> Self {
        self.upgrades = Arc::clone(&earlier.upgrades);
        self
    }

    /// Returns the same directory for a caller that asks it at its own pace.
    pub(crate) fn beside(&self) -> Self {
        Self { settings: self.settings, ..Self::new(self.directory.clone(), self.every) }
    }

    /// Returns the directory itself.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    fn keeps_at_upgrade(&self) -> bool {
        self.directory.users().is_some_and(|users| users.upgrades_to().is_some())
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let asked_at = Timestamp::from_millis(self.asked_at.load(Ordering::Relaxed));
        now.since(asked_at) >= self.every
    }
}

impl SessionManager {
    /// Runs one round, which should be called about every second. Asks each directory that is due about each user once.
    pub async fn recheck(&self, now: Timestamp, events: &Events) {
        self.recheck_held(now, events).await;
        let mut due: Vec<&WatchedDirectory> =
            self.directories.iter().filter(|watched| watched.is_due(now)).collect();
        due.retain(|watched| watched.directory.users().is_some());
        // The first round runs even if no directory can be asked: users of a directory that is no longer configured are gone.
        let is_first = !self.has_rechecked.load(Ordering::Relaxed);
        if due.is_empty() && !is_first {
            return;
        }
        let sessions = match self.store.list(None, now).await {
            Ok(sessions) => sessions,
            Err(error) => {
                tracing::warn!(%error, "the users of live sessions could not be rechecked");
                return;
            }
        };
        self.has_rechecked.store(true, Ordering::Relaxed);
        // This is set only now, so that after a store failure the next round asks again.
        for watched in &due {
            watched.asked_at.store(now.as_millis(), Ordering::Relaxed);
        }
        let mut by_user: BTreeMap<UserKey, Vec<Arc<Session>>> = BTreeMap::new();
        for session in sessions {
            let user = session.identity.load().key.clone();
            by_user.entry(user).or_default().push(session);
        }
        for watched in due.iter().filter(|watched| watched.keeps_at_upgrade()) {
            let is_theirs = |user: &&UserKey| *user.directory == *watched.directory.name();
            let users = by_user.keys().filter(is_theirs).map(|user| Arc::clone(&user.id));
            watched.upgrades.keep(&users.collect());
        }
        for (user, sessions) in by_user {
            let configured =
                self.directories.iter().any(|watched| watched.directory.name() == &*user.directory);
            if !configured {
                // The operator removed the directory, and its users with it.
                self.end_changed(SessionSelection::User(user), now, events).await;
                continue;
            }
            let asked = due.iter().position(|due| due.directory.name() == &*user.directory);
            let Some((index, watched)) = asked.and_then(|at| Some((at, due.get(at)?))) else {
                continue;
            };
            let Some(users) = watched.directory.users() else { continue };
            match users.by_id(&user).await {
                Ok(Some(account)) if account.active => {
                    watched.upgrades.note(users, &account);
                    self.compare(watched, &account, &sessions, now, events).await;
                }
                Ok(_) => self.end_changed(SessionSelection::User(user), now, events).await,
                Err(error) => {
                    tracing::warn!(%error, "a directory cannot be asked; its sessions stay as they are");
                    due.swap_remove(index);
                }
            }
        }
    }

    /// Compares each session once more whose end was held until an answer of the service.
    async fn recheck_held(&self, now: Timestamp, events: &Events) {
        for held in self.under_way.due(now) {
            let name = &*held.user.directory;
            let watched = self.directories.iter().find(|one| one.directory.name() == name);
            let session = self.store.find(SessionBy::Id(&held.session), now).await;
            let (Some(watched), Ok(Some(session))) = (watched, session) else { continue };
            let Some(users) = watched.directory.users() else { continue };
            // A directory that cannot be asked is reported in its own turn, which follows.
            if let Ok(Some(account)) = users.by_id(&held.user).await
                && !watched.upgrades.is_of(&account, session.password_mark)
            {
                self.end_by_password(&session, now, events).await;
            }
        }
    }

    async fn compare(
        &self,
        watched: &WatchedDirectory,
        account: &Account,
        sessions: &[Arc<Session>],
        now: Timestamp,
        events: &Events,
    ) {
        for session in sessions {
            if !watched.upgrades.is_of(account, session.password_mark) {
                if !self.under_way.hold(&session.id, &account.identity.key, now) {
                    self.end_by_password(session, now, events).await;
                }
            } else if **session.identity.load() != *account.identity {
                session.identity.store(Arc::clone(&account.identity));
            }
        }
    }

    async fn end_by_password(&self, session: &Session, now: Timestamp, events: &Events) {
        self.ended_by_password.note(&session.id);
        let ends = Events::default();
        self.end_changed(SessionSelection::Session(session.id.clone()), now, &ends).await;
        let ends = ends.take();
        let has_ended = !ends.is_empty();
        events.note_all(ends);
        // The event is noted once for a user in a round, however many sessions ended.
        let user = session.identity.load().key.clone();
        let is_told = |what: &EventKind| matches!(what, EventKind::PasswordChanged { user: told, .. } if *told == user);
        if has_ended && !events.has(is_told) {
            events.note(EventKind::PasswordChanged { user, is_own: false });
        }
    }

    /// Ends sessions. If the store fails, the directory's next turn ends them.
    async fn end_changed(&self, which: SessionSelection, now: Timestamp, events: &Events) {
        let _ = self.end(&which, EndReason::DirectoryChanged, now, events).await;
    }
}
