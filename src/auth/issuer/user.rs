//! A user of such tokens, as their directory knew them a moment ago.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::keyed;
use crate::auth::Watched;
use crate::caller::{Identity, UserKey};
use crate::clock::Timestamp;
use crate::directory::Account;
use crate::django::simplejwt::password_print;
use crate::event::IssuedRefusal;
use crate::secret::Digest;

/// A directory that failed is asked again after this.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A user whose tokens are in use.
pub(super) struct User {
    pub(super) key: UserKey,
    /// Names the date at which everything of theirs ended.
    pub(super) end: Digest,
    /// Names the date until which their password was another.
    pub(super) password_end: Digest,
    known: ArcSwapOption<Known>,
    asked_at: AtomicU64,
}

/// What a directory said.
pub(super) struct Known {
    pub(super) identity: Arc<Identity>,
    pub(super) active: bool,
    pub(super) password_print: String,
    password_mark: Digest,
    at: Timestamp,
}

/// What a look found, and what it means for older tokens.
pub(super) struct Looked {
    /// `None`: there is no such user.
    pub(super) known: Option<Arc<Known>>,
    /// The password is another than at this time.
    pub(super) password_changed_after: Option<Timestamp>,
    /// They were active and are not any longer.
    pub(super) was_switched_off: bool,
}

impl User {
    pub(super) fn new(key: UserKey) -> Self {
        Self {
            end: end_of(&key),
            password_end: keyed(&["password", &key.directory, &key.id]),
            key,
            known: ArcSwapOption::empty(),
            asked_at: AtomicU64::new(0),
        }
    }

    /// The user as known, or as the directory says now if that is due. Of many at once one asks; the others go by what
    /// was known.
    pub(super) async fn look(
        &self,
        directory: &Watched,
        at: Timestamp,
    ) -> Result<Looked, IssuedRefusal> {
        let before = self.known.load_full();
        let unchanged = |known| Looked {
            known: Some(known),
            password_changed_after: None,
            was_switched_off: false,
        };
        if let Some(known) = &before {
            let asked_at = self.asked_at.load(Ordering::Relaxed);
            let is_due = at.since(Timestamp::from_millis(asked_at)) >= directory.every;
            let is_first = || {
                let order = (Ordering::Relaxed, Ordering::Relaxed);
                let now = at.as_millis();
                self.asked_at.compare_exchange(asked_at, now, order.0, order.1).is_ok()
            };
            if !is_due || !is_first() {
                return Ok(unchanged(Arc::clone(known)));
            }
        }
        match directory.directory.by_id(&self.key).await {
            Ok(account) => {
                let known = account.map(|account| Arc::new(Known::of(account, at)));
                self.asked_at.store(at.as_millis(), Ordering::Relaxed);
                self.known.store(known.clone());
                let changed =
                    |known: &Known, before: &Known| known.password_mark != before.password_mark;
                let password_changed_after = match (&known, &before) {
                    (Some(known), Some(before)) if changed(known, before) => Some(before.at),
                    _ => None,
                };
                let was_active = before.is_some_and(|before| before.active);
                let is_active = known.as_ref().is_some_and(|known| known.active);
                let was_switched_off = was_active && !is_active;
                Ok(Looked { known, password_changed_after, was_switched_off })
            }
            Err(error) => {
                tracing::warn!(%error, "a directory cannot be asked; whom it has known stay so");
                let again = at.plus(ASK_AGAIN).minus(directory.every);
                self.asked_at.store(again.as_millis(), Ordering::Relaxed);
                before.map(unchanged).ok_or(IssuedRefusal::Unavailable)
            }
        }
    }
}

impl Known {
    fn of(account: Account, at: Timestamp) -> Self {
        Self {
            password_print: password_print(&account.password),
            password_mark: account.password_mark(),
            identity: account.identity,
            active: account.active,
            at,
        }
    }
}

/// Names the date at which everything of a user's ended.
pub(super) fn end_of(user: &UserKey) -> Digest {
    keyed(&["end", &user.directory, &user.id])
}
