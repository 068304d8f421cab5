//! Caches credentials that were verified recently, so that the next request need not verify them again.
//!
//! The key of an entry is 128 bits of a pseudorandom function ([`HashKey`]) of the credential's [`Space`] and the whole
//! credential, under a random key of this process. So an attacker gains nothing from a collision or from a part of the hash,
//! and no credential stays in memory, where a core dump would show it. The value is the store's own session record: whether the
//! session has ended is checked at every use, as are the token's expiry and both timeouts. Only valid credentials are cached;
//! memory is bounded, and the least used entries are removed first.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use parking_lot::Mutex;
use quick_cache::sync::Cache;

use super::keyed_hash::HashKey;
use crate::caller::{Proof, SessionId};
use crate::clock::Timestamp;
use crate::context::Events;
use crate::event::EventKind;
use crate::secret::NoRandomness;
use crate::store::Session;

/// The most credentials that are cached.
pub(crate) const CREDENTIALS: usize = 65_536;

/// A use from the same address is reported again after this time.
const TELL_AGAIN: Duration = Duration::from_secs(60);

const SPACE: usize = 8;

/// Hashes credentials to cache keys, under a random key of its own.
pub(crate) struct CredentialHasher(HashKey);

/// The cache of verified credentials.
pub(crate) struct CredentialCache {
    hasher: CredentialHasher,
    verified: Cache<u128, Remembered>,
    told: Cache<SessionId, Arc<ToldUse>>,
}

/// The space of cached credentials of one kind under the same settings. The same bytes mean something else to another issuer,
/// and become meaningless once its settings, its keys or its directory have changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Space([u8; SPACE]);

/// A credential that was verified and is valid now.
#[derive(Clone)]
pub(crate) struct Remembered {
    pub(crate) session: Arc<Session>,
    expires_at: Timestamp,
    told: Arc<ToldUse>,
}

/// The address and time of the last use of a session that was reported.
#[derive(Default)]
struct ToldUse(Mutex<Option<(IpAddr, Timestamp)>>);

impl Space {
    /// The space of session cookies, whose meaning is in the store.
    pub(crate) const COOKIE: Self = Self([0; SPACE]);

    /// The space of personal access tokens, whose meaning is in the store.
    pub(crate) const PERSONAL_TOKEN: Self = Self([u8::MAX; SPACE]);

    /// Returns the space for these parts; it changes if any of them changes.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut all = Context::new(&SHA256);
        for part in parts {
            all.update(&part.len().to_le_bytes());
            all.update(part);
        }
        let mut space = [0; SPACE];
        space.iter_mut().zip(all.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Self(space)
    }
}

impl CredentialCache {
    /// Creates a cache for this many credentials.
    pub(crate) fn new(credentials: usize) -> Result<Self, NoRandomness> {
        Ok(Self {
            hasher: CredentialHasher::new()?,
            verified: Cache::new(credentials),
            told: Cache::new(credentials),
        })
    }

    /// Returns the cached credential if it is valid at `at`.
    pub(crate) fn recall(
        &self,
        space: Space,
        credential: &str,
        at: Timestamp,
    ) -> Option<Remembered> {
        let key = self.key_of(space, credential);
        let remembered = self.verified.get(&key)?;
        if at < remembered.expires_at && remembered.session.is_live(at) {
            return Some(remembered);
        }
        self.verified.remove(&key);
        None
    }

    /// Caches a credential that was verified just now.
    pub(crate) fn remember(
        &self,
        space: Space,
        credential: &str,
        session: Arc<Session>,
        expires_at: Timestamp,
    ) -> Remembered {
        let told = self.told_of(&session.id);
        let remembered = Remembered { session, expires_at, told };
        self.verified.insert(self.key_of(space, credential), remembered.clone());
        remembered
    }

    /// Notes a use of a session whose credential is not in the cache.
    pub(crate) fn used(
        &self,
        session: Arc<Session>,
        proof: Proof,
        client: IpAddr,
        at: Timestamp,
        events: &Events,
    ) -> Arc<Session> {
        let told = self.told_of(&session.id);
        Remembered { session, expires_at: at, told }.used(proof, client, at, events)
    }

    fn told_of(&self, session: &SessionId) -> Arc<ToldUse> {
        self.told.get(session).unwrap_or_else(|| {
            // Two requests at once may both find nothing, and both report the use. One event too many does no harm.
            let told = Arc::<ToldUse>::default();
            self.told.insert(session.clone(), Arc::clone(&told));
            told
        })
    }

    fn key_of(&self, space: Space, credential: &str) -> u128 {
        self.hasher.key_of(space, credential)
    }
}

impl CredentialHasher {
    /// Creates a hasher with a new random key.
    pub(crate) fn new() -> Result<Self, NoRandomness> {
        HashKey::random().map(Self)
    }

    /// Returns the hash of a credential that is the same in every space.
    pub(crate) fn name_of(&self, credential: &str) -> u128 {
        self.0.hash([0; SPACE], credential.as_bytes())
    }

    /// Returns the cache key of a credential.
    pub(crate) fn key_of(&self, space: Space, credential: &str) -> u128 {
        self.0.hash(space.0, credential.as_bytes())
    }
}

impl Remembered {
    /// Notes a use, and reports it if it is the first, comes from another address, or is the first for a minute.
    pub(crate) fn used(
        self,
        proof: Proof,
        client: IpAddr,
        at: Timestamp,
        events: &Events,
    ) -> Arc<Session> {
        self.session.touch(at);
        let tell = {
            let mut last = self.told.0.lock();
            let tell = last
                .is_none_or(|(address, when)| address != client || at.since(when) >= TELL_AGAIN);
            if tell {
                *last = Some((client, at));
            }
            tell
        };
        if tell {
            events.note(EventKind::SessionUsed {
                session: self.session.id.clone(),
                user: self.session.identity.load().key.clone(),
                proof,
            });
        }
        self.session
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::testkit::{NOW, session};

    const PROOF: Proof = Proof::AccessToken;
    const TOKEN: Space = Space([1; SPACE]);

    fn later(secs: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(secs))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_credential_is_recalled_until_it_expires() {
        let memory = CredentialCache::new(CREDENTIALS).unwrap();
        memory.remember(TOKEN, "token", session("s", "7"), later(10));
        assert!(memory.recall(TOKEN, "token", later(9)).is_some());
        assert!(memory.recall(TOKEN, "token", later(10)).is_none());
        assert!(memory.recall(TOKEN, "token", later(9)).is_none(), "and is then forgotten");
    }

    #[test]
    fn the_end_of_a_session_is_seen_at_the_next_use() {
        let memory = CredentialCache::new(CREDENTIALS).unwrap();
        let session = session("s", "7");
        memory.remember(TOKEN, "token", Arc::clone(&session), later(10));
        session.mark_ended();
        assert!(memory.recall(TOKEN, "token", later(1)).is_none());
    }

    #[test]
    fn idleness_ends_a_remembered_credential_and_use_prevents_it() {
        let memory = CredentialCache::new(CREDENTIALS).unwrap();
        let session = session("s", "7");
        let idle = session.idle_timeout;
        memory.remember(TOKEN, "token", Arc::clone(&session), later(1_000_000));
        let before = NOW.plus(idle).minus(Duration::from_millis(1));
        let hit = memory.recall(TOKEN, "token", before).unwrap();
        hit.used(PROOF, ip("192.0.2.1"), before, &Events::default());
        assert!(memory.recall(TOKEN, "token", NOW.plus(idle)).is_some());
        assert!(memory.recall(TOKEN, "token", before.plus(idle)).is_none());
    }

    #[test]
    fn one_kind_of_credential_is_never_taken_for_the_other() {
        let memory = CredentialCache::new(CREDENTIALS).unwrap();
        memory.remember(TOKEN, "x", session("s", "7"), later(10));
        assert!(memory.recall(Space::COOKIE, "x", NOW).is_none());
        for other in ["", "x ", "xx", "X", "\0x"] {
            assert!(memory.recall(TOKEN, other, NOW).is_none(), "{other:?}");
        }
    }

    #[test]
    fn long_credentials_are_told_apart_like_short_ones() {
        let memory = CredentialCache::new(CREDENTIALS).unwrap();
        for length in [7, 8, 1023, 1024, 4096] {
            let long = "a".repeat(length);
            memory.remember(TOKEN, &long, session("s", "7"), later(10));
            assert!(memory.recall(TOKEN, &long, NOW).is_some(), "{length}");
            assert!(memory.recall(TOKEN, &format!("{}b", &long[1..]), NOW).is_none());
        }
    }

    #[test]
    fn a_use_is_told_first_from_elsewhere_and_once_a_minute() {
        let memory = CredentialCache::new(CREDENTIALS).unwrap();
        let table = [
            ("first", "192.0.2.1", 0, true),
            ("first", "192.0.2.1", 59, false),
            ("first", "192.0.2.1", 60, true),
            ("first", "192.0.2.2", 61, true),
            ("first", "192.0.2.2", 62, false),
            // The session's next token belongs to the same session, so there is nothing to report.
            ("second", "192.0.2.2", 63, false),
            ("second", "192.0.2.1", 64, true),
        ];
        let session = session("s", "7");
        for (credential, client, at, told) in table {
            let events = Events::default();
            let hit = memory.recall(TOKEN, credential, later(at)).unwrap_or_else(|| {
                memory.remember(TOKEN, credential, Arc::clone(&session), later(999))
            });
            hit.used(PROOF, ip(client), later(at), &events);
            assert_eq!(!events.take().is_empty(), told, "{credential} from {client} at {at}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let memory = CredentialCache::new(CREDENTIALS).unwrap();
        for index in 0..CREDENTIALS + 1000 {
            memory.remember(TOKEN, &index.to_string(), session("s", "7"), later(10));
        }
        assert!(memory.verified.len() <= CREDENTIALS);
    }

    #[test]
    fn what_was_remembered_under_other_settings_is_not_known() {
        let memory = CredentialCache::new(CREDENTIALS).unwrap();
        let space = |parts: &[&str]| {
            let parts: Vec<_> = parts.iter().map(|part| part.as_bytes()).collect();
            Space::of(&parts)
        };
        memory.remember(space(&["jwt", "key"]), "x", session("s", "7"), later(10));
        assert!(memory.recall(space(&["jwt", "key"]), "x", NOW).is_some());
        for other in [&["jwt", "other"][..], &["jwtk", "ey"], &["jwt"], &["jwt", "key", ""], &[]] {
            assert!(memory.recall(space(other), "x", NOW).is_none(), "{other:?}");
        }
    }
}
