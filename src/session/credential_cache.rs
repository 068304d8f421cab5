//! What was verified a moment ago, so that the next request need not verify it again.
//!
//! The key is 128 bits of a pseudorandom function ([`HashKey`]) of the [`Space`] of the credential and all of the credential,
//! under a random key of this process: neither a collision nor a half-known hash is of use to anybody, and no credential lies in
//! memory, where a core dump would show it. The value is
//! the store's own session record: whether it has ended is looked at on every use, and so are the token's expiry and both
//! timeouts. Only what was good is remembered; memory is bounded, and what is used least goes first.

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

/// How many are remembered.
pub(crate) const CREDENTIALS: usize = 65_536;

/// Uses from one address are told this often.
const TELL_AGAIN: Duration = Duration::from_secs(60);

const SPACE: usize = 8;

/// Names credentials in a memory, under a random key of its own.
pub(crate) struct CredentialHasher(HashKey);

/// Remembers verified credentials.
pub(crate) struct CredentialCache {
    hasher: CredentialHasher,
    verified: Cache<u128, Remembered>,
    told: Cache<SessionId, Arc<ToldUse>>,
}

/// What credentials are remembered of one kind under the same settings. The same bytes mean something else to another issuer,
/// and nothing any more once its settings, its keys or its directory have changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Space([u8; SPACE]);

/// A credential that is good now.
#[derive(Clone)]
pub(crate) struct Remembered {
    pub(crate) session: Arc<Session>,
    expires_at: Timestamp,
    told: Arc<ToldUse>,
}

/// From where, and when, a session's use was last told.
#[derive(Default)]
struct ToldUse(Mutex<Option<(IpAddr, Timestamp)>>);

impl Space {
    /// Session cookies: what they mean is in the store.
    pub(crate) const COOKIE: Self = Self([0; SPACE]);

    /// Personal access tokens: what they mean is in the store.
    pub(crate) const PERSONAL_TOKEN: Self = Self([u8::MAX; SPACE]);

    /// What is remembered as long as all of these stay as they are.
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
    /// For so many credentials.
    pub(crate) fn new(credentials: usize) -> Result<Self, NoRandomness> {
        Ok(Self {
            hasher: CredentialHasher::new()?,
            verified: Cache::new(credentials),
            told: Cache::new(credentials),
        })
    }

    /// The credential, if it was verified and is good at `at`.
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

    /// Remembers a credential that was verified just now.
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

    /// Notes a use of a session whose credential is remembered as itself.
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
            // Two at once may both be first, and then both tell: that is one event too many and no harm.
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
    /// With another key than any other.
    pub(crate) fn new() -> Result<Self, NoRandomness> {
        HashKey::random().map(Self)
    }

    /// What a credential is known by in every space.
    pub(crate) fn name_of(&self, credential: &str) -> u128 {
        self.0.hash([0; SPACE], credential.as_bytes())
    }

    /// What a credential is known by.
    pub(crate) fn key_of(&self, space: Space, credential: &str) -> u128 {
        self.0.hash(space.0, credential.as_bytes())
    }
}

impl Remembered {
    /// Notes a use, and tells it if it is worth telling: the first, one from another address, or the first for a minute.
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
            // The session's next token: the same session, so nothing new.
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
