//! Stores about users, beyond a window and a restart, in which countries and on what devices they signed in.
//!
//! The history is a set of dates under hashes in the store ([`Stamps`]); no country or device can be read from it. It grows by
//! one date for each user and each of their countries and kinds of devices. Only successful sign-ins add to it, so that nobody
//! else can fill it. An entry that is not seen again for [`KEPT`] is forgotten. The answer "This was not me" voids all entries
//! of a user.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::geo::Country;
use crate::secret::Digest;
use crate::store::{Keep, NewStamp, Stamps, StoreError};

/// How long an entry that is not seen again is remembered.
pub const KEPT: Duration = Duration::from_secs(180 * 86_400);

/// The sort for countries from which a user has signed in.
pub(super) const COUNTRY: &str = "country";

/// The sort of a country that a finding reported to the user, because the same client was there and elsewhere.
const TOLD_COUNTRY: &str = "told country";

/// How often the date of an entry that is seen again is updated.
const WRITTEN_EVERY: Duration = Duration::from_secs(86_400);

/// The most dates that wait for the store.
const WAITING: usize = 10_000;

/// What was seen of a user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HistoryKey<'a> {
    /// Any entry of this sort.
    Any(&'static str),
    /// This entry of the sort.
    One(&'static str, &'a str),
}

/// The history of all users.
pub struct History {
    stamps: Arc<dyn Stamps>,
    /// Entries that the store does not have yet.
    waiting: Mutex<HashMap<Digest, Timestamp>>,
}

impl History {
    /// Creates a history in this store.
    pub fn new(stamps: Arc<dyn Stamps>) -> Self {
        Self { stamps, waiting: Mutex::default() }
    }

    /// Whether this was seen of the user within [`KEPT`] and not voided since.
    pub(super) fn has(&self, user: &UserKey, what: HistoryKey<'_>, at: Timestamp) -> bool {
        let voided = self.date(&void_key(user));
        self.date(&key(user, what))
            .is_some_and(|seen| at.since(seen) < KEPT && voided.is_none_or(|voided| seen > voided))
    }

    /// Records that this is seen of the user now.
    pub(super) fn note(&self, user: &UserKey, what: HistoryKey<'_>, at: Timestamp) {
        let key = key(user, what);
        let is_recent = |seen: Timestamp| at.since(seen) < WRITTEN_EVERY;
        if self.has(user, what, at) && self.date(&key).is_some_and(is_recent) {
            return;
        }
        self.wait(key, at);
    }

    /// Whether each of these countries is one that the user signed in from, or that was reported to them. False without
    /// countries.
    pub(super) fn knows(&self, user: &UserKey, countries: &[Country], at: Timestamp) -> bool {
        !countries.is_empty()
            && countries.iter().all(|country| {
                [COUNTRY, TOLD_COUNTRY]
                    .iter()
                    .any(|sort| self.has(user, HistoryKey::One(sort, country.as_str()), at))
            })
    }

    /// Records that a use from these countries is reported to the user.
    pub(super) fn told(&self, user: &UserKey, countries: &[Country], at: Timestamp) {
        for country in countries {
            self.note(user, HistoryKey::One(TOLD_COUNTRY, country.as_str()), at);
        }
    }

    /// Voids the user's history, because the uses in it were somebody else's.
    pub(super) fn void(&self, user: &UserKey, at: Timestamp) {
        self.wait(void_key(user), at);
    }

    /// Writes the waiting entries to the store.
    ///
    /// # Errors
    /// The store's error; entries that are not written stay waiting.
    pub async fn keep(&self) -> Result<(), StoreError> {
        let waiting: Vec<_> = self.waiting.lock().iter().map(|(key, at)| (*key, *at)).collect();
        for (key, at) in waiting {
            let new = NewStamp { key, at, keep: Keep::Latest, kept_until: at.plus(KEPT) };
            self.stamps.put(new).await?;
            self.waiting.lock().remove(&key);
        }
        Ok(())
    }

    fn date(&self, key: &Digest) -> Option<Timestamp> {
        self.waiting.lock().get(key).copied().max(self.stamps.stamp(key))
    }

    fn wait(&self, key: Digest, at: Timestamp) {
        let mut waiting = self.waiting.lock();
        if waiting.len() < WAITING {
            waiting.insert(key, at);
        }
    }
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "History({} waiting)", self.waiting.lock().len())
    }
}

fn key(user: &UserKey, what: HistoryKey<'_>) -> Digest {
    let (sort, one) = match what {
        HistoryKey::Any(sort) => (sort, ""),
        HistoryKey::One(sort, one) => (sort, one),
    };
    let UserKey { directory, id } = user;
    Digest::of(format!("seen of a user\0{directory}\0{id}\0{sort}\0{one}").as_bytes())
}

fn void_key(user: &UserKey) -> Digest {
    key(user, HistoryKey::Any("voided"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::at;
    use super::*;
    use crate::store::memory::Memory;

    const KOREA: HistoryKey<'_> = HistoryKey::One("country", "KR");

    #[tokio::test]
    async fn what_was_seen_is_known_at_once_and_after_a_restart() {
        let store = Memory::new();
        let (kim, lee) = (UserKey::new("django", "1"), UserKey::new("django", "2"));
        let history = History::new(Arc::clone(&store) as Arc<dyn Stamps>);
        assert!(!history.has(&kim, KOREA, at(0)));
        history.note(&kim, KOREA, at(0));
        assert!(history.has(&kim, KOREA, at(1)));
        history.keep().await.unwrap();
        let restarted = History::new(store);
        for (user, what, has) in [
            (&kim, KOREA, true),
            (&kim, HistoryKey::One("country", "US"), false),
            (&kim, HistoryKey::One("device", "KR"), false),
            (&kim, HistoryKey::Any("country"), false),
            (&lee, KOREA, false),
        ] {
            assert_eq!(restarted.has(user, what, at(2)), has, "{user} {what:?}");
        }
        assert!(!restarted.has(&kim, KOREA, at(0).plus(KEPT)), "it is forgotten in the end");
    }

    #[tokio::test]
    async fn what_was_not_them_is_not_theirs() {
        let history = History::new(Memory::new());
        let kim = UserKey::new("django", "1");
        history.note(&kim, KOREA, at(0));
        history.void(&kim, at(1));
        assert!(!history.has(&kim, KOREA, at(2)));
        history.note(&kim, KOREA, at(3));
        assert!(history.has(&kim, KOREA, at(4)));
    }

    #[test]
    fn a_country_is_usual_after_a_sign_in_or_a_message() {
        let history = History::new(Memory::new());
        let kim = UserKey::new("django", "1");
        let [korea, states] = ["KR", "US"].map(|name| Country::new(name).unwrap());
        history.note(&kim, KOREA, at(0));
        assert!(
            history.knows(&kim, &[korea], at(1)) && !history.knows(&kim, &[korea, states], at(1))
        );
        history.told(&kim, &[korea, states], at(1));
        assert!(history.knows(&kim, &[korea, states], at(2)));
        assert!(!history.knows(&UserKey::new("django", "2"), &[korea], at(2)));
        history.void(&kim, at(3));
        assert!(!history.knows(&kim, &[korea], at(4)));
    }

    #[test]
    fn what_waits_for_the_store_is_bounded() {
        let history = History::new(Memory::new());
        for n in 0..WAITING + 10 {
            history.note(&UserKey::new("django", &n.to_string()), KOREA, at(0));
        }
        assert_eq!(history.waiting.lock().len(), WAITING);
    }
}
