//! Checks passwords in a pool of threads.
//!
//! A check takes a core for 10 to 300 ms and up to 100 MiB, so it never runs on a thread that carries traffic: a few threads
//! of its own take checks from a bounded queue. If the queue is full, the caller gets [`Busy`] at once (503). Proxied traffic
//! is not affected: where cores are scarce, these threads yield to all others. Equal checks are not merged, because the time
//! would then reveal whether two requests have the same password.
//!
//! Every [`check`](PasswordPool::check) does the same work whatever its result. A stored password that can never match
//! (Django's `!`, a hasher that is not allowed, a malformed row) is refused without work, so the decoy is checked in its
//! place, in the same job; for an unknown user only the decoy is checked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, LazyLock};
use std::thread;

use argon2::{Algorithm as Variant, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::django::hashers::{self, PasswordHasher, Verdict};
use crate::secret::{Secret, random_bytes};

/// The memory on which OWASP's and RFC 9106's low-memory advice agree: 19 MiB, with two passes and one lane; 12 ms.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;

/// A pool that checks passwords on its own threads. Clones share them.
#[derive(Clone)]
pub struct PasswordPool {
    queue: SyncSender<PasswordJob>,
    counts: Arc<PoolCounts>,
}

/// The pool's counters, for metrics.
#[derive(Debug, Default)]
struct PoolCounts {
    waiting: AtomicU64,
    done: AtomicU64,
    rejected: AtomicU64,
}

/// One password to check.
#[derive(Clone, Debug)]
pub struct PasswordCheck {
    /// The password as given: exact bytes.
    pub password: Secret,
    /// The stored password, in Django's encoding. `None` for an unknown name: only the decoy is checked.
    pub encoded: Option<Secret>,
    /// The encoded password that is checked where `encoded` cannot be: it matches nothing and costs what the directory's
    /// passwords cost.
    pub decoy: Secret,
    /// The encodings that the directory accepts.
    pub hashers: Arc<[PasswordHasher]>,
}

/// The result of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PasswordOutcome {
    /// The password is the user's.
    Match,
    /// The password is wrong.
    Mismatch,
    /// The stored password can never match.
    Unusable,
    /// The user is unknown.
    Nobody,
}

/// The queue is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("too many passwords wait to be checked")]
pub struct Busy;

/// A password could not be hashed: no memory, or no randomness.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the password could not be hashed: {0}")]
pub struct HashError(&'static str);

struct PasswordJob {
    check: PasswordCheck,
    answer: oneshot::Sender<PasswordOutcome>,
}

impl PasswordPool {
    /// Starts the threads; 0 means half the cores, at least one. At most `queue` checks may wait for one of them.
    ///
    /// The threads end when the last clone is dropped.
    ///
    /// # Errors
    /// If the operating system cannot start a thread.
    pub fn start(threads: usize, queue: usize) -> std::io::Result<Self> {
        let threads = match threads {
            0 => thread::available_parallelism().map_or(1, |cores| cores.get() / 2).max(1),
            given => given,
        };
        let (sender, receiver) = sync_channel(queue);
        let receiver = Arc::new(Mutex::new(receiver));
        let counts = Arc::new(PoolCounts::default());
        for index in 0..threads {
            let (receiver, counts) = (Arc::clone(&receiver), Arc::clone(&counts));
            thread::Builder::new()
                .name(format!("password-{index}"))
                .spawn(move || work(&receiver, &counts))?;
        }
        Ok(Self { queue: sender, counts })
    }

    /// Checks one password.
    ///
    /// # Errors
    /// [`Busy`] if the queue is full.
    pub async fn check(&self, check: PasswordCheck) -> Result<PasswordOutcome, Busy> {
        let (answer, answered) = oneshot::channel();
        self.counts.waiting.fetch_add(1, Ordering::Relaxed);
        match self.queue.try_send(PasswordJob { check, answer }) {
            Ok(()) => answered.await.map_err(|_| Busy),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
                self.counts.rejected.fetch_add(1, Ordering::Relaxed);
                Err(Busy)
            }
        }
    }

    /// Returns a pool whose queue is always full, so that it checks nothing.
    pub(crate) fn always_busy() -> Self {
        Self { queue: sync_channel(0).0, counts: Arc::default() }
    }

    /// Returns how many passwords have been checked.
    pub fn checks_done(&self) -> u64 {
        self.counts.done.load(Ordering::Acquire)
    }

    /// Returns how many checks are waiting for a thread.
    pub fn waiting(&self) -> u64 {
        self.counts.waiting.load(Ordering::Relaxed)
    }

    /// Returns how many checks were rejected because the queue was full.
    pub fn rejected(&self) -> u64 {
        self.counts.rejected.load(Ordering::Relaxed)
    }
}

impl PasswordCheck {
    fn run(&self) -> PasswordOutcome {
        let password = self.password.expose().as_bytes();
        let decoy = || {
            // The result is ignored: the decoy matches nothing, and only the work counts.
            let _ = hashers::verify(password, self.decoy.expose(), PasswordHasher::ALL);
        };
        let Some(encoded) = &self.encoded else {
            decoy();
            return PasswordOutcome::Nobody;
        };
        match hashers::verify(password, encoded.expose(), &self.hashers) {
            Verdict::Match => PasswordOutcome::Match,
            Verdict::Mismatch => PasswordOutcome::Mismatch,
            Verdict::Refused(_) => {
                decoy();
                PasswordOutcome::Unusable
            }
        }
    }
}

/// Hashes a password for the users' file: `$argon2id$v=19$m=19456,t=2,p=1$...`.
///
/// # Errors
/// [`HashError`] if there is no memory for it, or no randomness.
pub fn hash(password: &Secret) -> Result<String, HashError> {
    hash_at(password, MEMORY_KIB, PASSES)
}

/// Returns an encoded password that matches nothing and costs what a password of [`hash`] costs.
pub fn decoy() -> Secret {
    static DECOY: LazyLock<String> = LazyLock::new(|| {
        hashers::dummy_like(&format!(
            "argon2$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1${}${}",
            STANDARD_NO_PAD.encode([0; 16]),
            STANDARD_NO_PAD.encode([0; 32]),
        ))
    });
    Secret::new(DECOY.as_str())
}

/// Hashes a password as [`hash`] does, at another cost, so that tests do not wait.
pub(super) fn hash_at(password: &Secret, memory: u32, passes: u32) -> Result<String, HashError> {
    let salt = random_bytes::<16>().map_err(|_| HashError("no randomness"))?;
    let params = Params::new(memory, passes, 1, None).map_err(|_| HashError("bad parameters"))?;
    let mut digest = [0; Params::DEFAULT_OUTPUT_LEN];
    Argon2::new(Variant::Argon2id, Version::V0x13, params)
        .hash_password_into(password.expose().as_bytes(), &salt, &mut digest)
        .map_err(|_| HashError("not enough memory"))?;
    Ok(format!(
        "$argon2id$v=19$m={memory},t={passes},p=1${}${}",
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(digest)
    ))
}

/// The niceness of these threads: those that carry traffic go first, and hold a core only for microseconds at a time.
const NICE: i32 = 10;

fn work(queue: &Mutex<Receiver<PasswordJob>>, counts: &PoolCounts) {
    // On Linux this applies to the thread alone. If it fails, sign-ins run at normal priority.
    let _ = rustix::process::nice(NICE);
    loop {
        // One thread waits in `recv` and the others for the lock, so each job wakes exactly one.
        let job = queue.lock().recv();
        let Ok(PasswordJob { check, answer }) = job else { return };
        counts.waiting.fetch_sub(1, Ordering::Relaxed);
        // The client has left and nobody needs the result.
        if answer.is_closed() {
            continue;
        }
        let checked = check.run();
        counts.done.fetch_add(1, Ordering::AcqRel);
        // The client may have left in the meantime.
        let _ = answer.send(checked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_of(password: &str, encoded: Option<&str>) -> PasswordCheck {
        PasswordCheck {
            password: Secret::new(password),
            encoded: encoded.map(Secret::new),
            decoy: Secret::new(hashers::dummy_like(&cheap("x"))),
            hashers: Arc::from(PasswordHasher::DEFAULT),
        }
    }

    fn cheap(password: &str) -> String {
        format!("argon2{}", hash_at(&Secret::new(password), 8, 1).unwrap())
    }

    #[tokio::test]
    async fn every_outcome_is_exactly_one_unit_of_work() {
        let pool = PasswordPool::start(1, 8).unwrap();
        let right = cheap("right");
        let table = [
            ("right", Some(right.as_str()), PasswordOutcome::Match),
            ("wrong", Some(right.as_str()), PasswordOutcome::Mismatch),
            ("right", None, PasswordOutcome::Nobody),
            ("right", Some("!unusable"), PasswordOutcome::Unusable),
            ("right", Some(""), PasswordOutcome::Unusable),
            ("right", Some("md5$salt$5a105e8b9d40e1329780d62ea2265d8a"), PasswordOutcome::Unusable),
            ("right", Some("gibberish"), PasswordOutcome::Unusable),
        ];
        for (index, (password, encoded, expected)) in table.into_iter().enumerate() {
            assert_eq!(pool.check(check_of(password, encoded)).await, Ok(expected), "{encoded:?}");
            assert_eq!(pool.checks_done(), index as u64 + 1);
        }
    }

    #[tokio::test]
    async fn a_full_queue_is_busy_at_once() {
        // No thread takes from the queue, so a check stays there.
        let (queue, _receiver) = sync_channel(1);
        let pool = PasswordPool { queue, counts: Arc::default() };
        let waiting = pool.check(check_of("a", None));
        let mut waiting = std::pin::pin!(waiting);
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        assert_eq!(pool.check(check_of("b", None)).await, Err(Busy));
    }

    #[tokio::test]
    async fn a_check_whose_client_left_is_not_worked_on() {
        let (queue, receiver) = sync_channel(2);
        let pool = PasswordPool { queue, counts: Arc::default() };
        {
            let left = pool.check(check_of("a", None));
            let mut left = std::pin::pin!(left);
            assert!(futures_util::poll!(left.as_mut()).is_pending());
        }
        let counts = Arc::clone(&pool.counts);
        drop(pool);
        work(&Mutex::new(receiver), &counts);
        assert_eq!(counts.done.load(Ordering::Acquire), 0);
    }

    #[test]
    fn a_hash_has_the_settled_parameters_and_verifies() {
        let encoded = hash(&Secret::new("correct horse")).unwrap();
        assert!(encoded.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{encoded}");
        let verdict = hashers::verify(
            b"correct horse",
            &format!("argon2{encoded}"),
            &[PasswordHasher::Argon2],
        );
        assert!(verdict.is_match());
        assert_ne!(encoded, hash(&Secret::new("correct horse")).unwrap(), "the salt is random");
    }

    #[test]
    fn the_decoy_is_well_formed_and_costs_the_same() {
        let decoy = decoy();
        assert!(decoy.expose().starts_with("argon2$argon2id$v=19$m=19456,t=2,p=1$"));
        let verdict = hashers::verify(b"", decoy.expose(), &[PasswordHasher::Argon2]);
        assert_eq!(verdict, Verdict::Mismatch);
    }
}
