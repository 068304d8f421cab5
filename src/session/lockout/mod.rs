//! How often a password may be tried.
//!
//! Every attempt is counted **before** the password is looked at, so that parallel guesses cannot exceed a limit, and is
//! settled afterwards: failed, succeeded, or taken back (the directory was down: nothing was tried). An attempt that is
//! dropped, because the client left, has failed.
//!
//! One counter:
//!
//! ```text
//!                 start                     failed, failures < limit
//!      Free ───────────────▶ Trying ──────────────────────────────────▶ Free
//!       ▲  ▲                  │   │
//!       │  └──────────────────┘   │ failed, failures >= limit
//!       │   succeeded, taken back ▼
//!       │                      Waiting ◀────────────────┐
//!       │ reset_after            │ the wait is over    │ failed: twice the wait,
//!       │                         ▼        start        │ up to backoff_max
//!       └──────────────────── Probeable ───────────▶ Probing (one at a time)
//!                                 ▲   succeeded, taken back │
//!                                 └─────────────────────────┘
//! ```
//!
//! While Free, attempts in flight count like failures: the limit is never exceeded, and who comes too early is told to try
//! again in a second. The counters of one attempt, all of which must let it through:
//!
//! | counter | limit | after a success |
//! |---|---|---|
//! | account **and** network (/24, /48) | `account_failures` | forgotten |
//! | address (/32, /64) | `address_failures` | stays |
//! | network (/24, /48) | `network_failures` | stays |
//! | account from everywhere, unless the network is known | twice `account_failures`, with waits 30 times as long | less what the first one had |
//! | account from everywhere, in a day | half of `guesses_per_day`, and so many more in the course of a day | less what the first one had |
//! | a known device of the account's, in place of all of the above | 10; then it is known no more | forgotten |
//!
//! **Nobody locks out somebody else.** Guesses from one network never slow the owner in another. Guesses from many
//! networks fill the counters of the account from everywhere: strangers wait longer and longer. Whoever comes with a device
//! cookie of the account's ([`devices`](super::devices)), or opened a mailed link ([`mailed_link`](super::mailed_link)),
//! goes on as ever, and so does, but for the day's limit, whoever comes from a network in which the same account has signed in
//! before (90 days). So a stranger can keep the owner from signing in from new places on new devices, where they cannot be
//! mailed a link, for a while, and otherwise never.
//!
//! **Addresses are shared**, so their failures also drain, one each `reset_after / limit`: an office of people who mistype
//! now and then stays below the limit, and a success resets nothing, because a guesser may own one account.
//!
//! Names are folded first (NFKC, case, what is not seen), so that spelling makes no second account. What is kept is a hash of the name.
//! Memory is bounded: of two generations of counters the older is dropped when the younger is full. To push a counter out
//! takes as many failed attempts as a generation holds, each of which costs a password check.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use parking_lot::Mutex;
use unicode_normalization::UnicodeNormalization;

use crate::clock::Timestamp;
use crate::config::Login;
use crate::secret::Digest;

const ACCOUNT_WIDE_FACTOR: u32 = 2;
/// Whoever guesses from many places has waited for nothing yet.
const ACCOUNT_WIDE_WAITS: u32 = 30;
const DEVICE_FAILURES: u32 = 10;
const DAY: Duration = Duration::from_secs(86_400);
const NETWORK_STAYS_KNOWN: Duration = Duration::from_secs(90 * 86_400);
const GENERATION: usize = 50_000;
/// What somebody waits for whom only attempts in flight are in the way.
const IN_FLIGHT_WAIT: Duration = Duration::from_secs(1);

/// Counts attempts to sign in.
pub(crate) struct Lockout {
    limits: AttemptLimits,
    counts: AttemptCounts,
}

/// What was counted, whatever the limits are.
#[derive(Clone)]
pub(crate) struct AttemptCounts(Arc<Mutex<LockoutState>>);

/// A counted attempt that has not been settled.
pub(crate) struct CountedAttempt {
    limits: AttemptLimits,
    state: Arc<Mutex<LockoutState>>,
    keys: Vec<Key>,
    known: (Digest, IpNet),
    at: Timestamp,
    settled: bool,
}

/// The name as it is counted: other case and other forms of the same letters are the same account.
///
/// Upper, then lower case is what Unicode's case folding amounts to for the letters that people have in names (`ß` and
/// `SS`, the two small sigmas).
///
/// White space at the ends and characters that are not seen go: an application that checks passwords itself, or the collation
/// of its database, may ignore them, and each would be an account with failures of its own.
pub fn folded(name: &str) -> String {
    let seen = name.chars().filter(|letter| !is_invisible(*letter));
    let folded: String =
        seen.nfkc().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfkc().collect();
    folded.trim().to_owned()
}

/// Unicode's default ignorable code points, less those that are letters of a script.
const fn is_invisible(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[derive(Clone, Copy, Debug)]
struct AttemptLimits {
    account: u32,
    address: u32,
    network: u32,
    /// Half of what may be guessed in a day: so many at once, and so many more while a day passes.
    half_a_day: u32,
    backoff_initial: Duration,
    backoff_max: Duration,
    reset_after: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Key {
    AccountInNetwork(Digest, IpNet),
    Address(IpNet),
    Network(IpNet),
    AccountWide(Digest),
    AccountDaily(Digest),
    Device(Digest),
}

struct LockoutState {
    counters: Generations<Key, Counter>,
    known: Generations<(Digest, IpNet), Option<Timestamp>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    failures: u32,
    in_flight: u32,
    /// The last failure, or the last that drained.
    at_millis: u64,
    /// Nothing is let through before.
    until_millis: u64,
}

#[derive(Clone, Copy)]
struct Rule {
    limit: u32,
    /// In this time as many failures drain as the limit is.
    drains_in: Option<Duration>,
    first_wait: Duration,
    longest_wait: Duration,
    forget_after: Duration,
}

struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    size: usize,
}

impl AttemptCounts {
    pub(crate) fn new() -> Self {
        let state = LockoutState {
            counters: Generations::new(GENERATION),
            known: Generations::new(GENERATION),
        };
        Self(Arc::new(Mutex::new(state)))
    }
}

impl Lockout {
    pub(super) fn new(login: &Login, counts: AttemptCounts) -> Self {
        let limits = AttemptLimits {
            account: login.account_failures.max(1),
            address: login.address_failures.max(1),
            network: login.network_failures.max(1),
            half_a_day: (login.guesses_per_day / 2).max(1),
            backoff_initial: login.backoff_initial,
            backoff_max: login.backoff_max,
            reset_after: login.reset_after,
        };
        Self { limits, counts }
    }

    /// With the same limits, and nothing counted yet.
    pub(super) fn read_only(&self) -> Self {
        Self { limits: self.limits, counts: AttemptCounts::new() }
    }

    /// Has a device failed so often that it is known no more?
    pub(crate) fn is_used_up(&self, device: Digest) -> bool {
        self.counts.0.lock().is_used_up(&Key::Device(device))
    }

    /// Do strangers wait at this account (a folded name), because of what was tried there from everywhere?
    pub(super) fn holds_back_strangers(&self, account: &str, at: Timestamp) -> bool {
        let account = Digest::of(account.as_bytes());
        let mut state = self.counts.0.lock();
        [Key::AccountWide(account), Key::AccountDaily(account)].iter().any(|key| {
            let rule = self.limits.rule(key);
            state.counters.get_mut(key).is_some_and(|counter| {
                counter.forget(rule, at);
                counter.failures >= rule.limit
            })
        })
    }

    /// Counts an attempt on an account (a folded name), or says how long to wait. `device`: a device of the account's.
    pub(crate) fn attempt(
        &self,
        account: &str,
        client: IpAddr,
        device: Option<Digest>,
        at: Timestamp,
    ) -> Result<CountedAttempt, Duration> {
        let account = Digest::of(account.as_bytes());
        let (address, network) = networks(client);
        let mut state = self.counts.0.lock();
        let device = device.map(Key::Device).filter(|device| !state.is_used_up(device));
        let keys = match device {
            Some(device) => vec![device],
            None => {
                let mut keys = vec![
                    Key::AccountInNetwork(account, network),
                    Key::Address(address),
                    Key::Network(network),
                    Key::AccountDaily(account),
                ];
                if !state.is_known(account, network, at) {
                    keys.push(Key::AccountWide(account));
                }
                keys
            }
        };
        // Who is not let through adds no counter: names cost nothing, and would push out counters that were paid for.
        let wait = keys
            .iter()
            .filter_map(|key| {
                let counter = state.counters.get_mut(key)?;
                counter.wait(self.limits.rule(key), at)
            })
            .max();
        if let Some(wait) = wait {
            return Err(wait);
        }
        for key in &keys {
            state.counters.entry(*key).in_flight += 1;
        }
        drop(state);
        let (limits, state) = (self.limits, Arc::clone(&self.counts.0));
        Ok(CountedAttempt { limits, state, keys, known: (account, network), at, settled: false })
    }
}

impl CountedAttempt {
    /// The password was another.
    pub(crate) fn failed(mut self) {
        self.settle_failed();
    }

    /// Nothing was tried: a part of the gateway was down or busy.
    pub(crate) fn take_back(mut self) {
        self.settled = true;
        let mut state = self.state.lock();
        for key in &self.keys {
            let counter = state.counters.entry(*key);
            counter.take_back();
            let is_idle = counter.failures == 0 && counter.in_flight == 0;
            if is_idle {
                state.counters.remove(key);
            }
        }
    }

    /// It was the owner.
    pub(crate) fn succeeded(mut self) {
        self.settled = true;
        let mut state = self.state.lock();
        let mut own_failures = 0;
        for key in &self.keys {
            let counter = state.counters.entry(*key);
            counter.take_back();
            match key {
                Key::AccountInNetwork(..) | Key::Device(_) => {
                    own_failures = std::mem::take(&mut counter.failures);
                    counter.until_millis = 0;
                }
                // The owner's own slips are no guesses. (They come first in `keys`.)
                Key::AccountWide(_) | Key::AccountDaily(_) => {
                    counter.failures = counter.failures.saturating_sub(own_failures);
                }
                Key::Address(_) | Key::Network(_) => {}
            }
        }
        *state.known.entry(self.known) = Some(self.at);
    }

    fn settle_failed(&mut self) {
        self.settled = true;
        let limits = &self.limits;
        let mut state = self.state.lock();
        for key in &self.keys {
            state.counters.entry(*key).fail(limits.rule(key), self.at);
        }
    }
}

impl Drop for CountedAttempt {
    fn drop(&mut self) {
        if !self.settled {
            self.settle_failed();
        }
    }
}

impl AttemptLimits {
    fn rule(&self, key: &Key) -> Rule {
        let rule = Rule {
            limit: self.account,
            drains_in: None,
            first_wait: self.backoff_initial,
            longest_wait: self.backoff_max,
            forget_after: self.reset_after,
        };
        let shared = Rule { drains_in: Some(self.reset_after), ..rule };
        match key {
            Key::AccountInNetwork(..) => rule,
            Key::Address(_) => Rule { limit: self.address, ..shared },
            Key::Network(_) => Rule { limit: self.network, ..shared },
            Key::AccountWide(_) => Rule {
                limit: self.account.saturating_mul(ACCOUNT_WIDE_FACTOR),
                first_wait: self
                    .backoff_initial
                    .saturating_mul(ACCOUNT_WIDE_WAITS)
                    .min(self.backoff_max),
                ..shared
            },
            // Whoever waits, waits until one has drained: no probe comes before.
            Key::AccountDaily(_) => Rule {
                limit: self.half_a_day,
                drains_in: Some(DAY),
                first_wait: DAY / self.half_a_day,
                longest_wait: DAY,
                forget_after: DAY,
            },
            // It never waits (see `is_used_up`), and is forgotten with its cookie.
            Key::Device(_) => {
                Rule { limit: DEVICE_FAILURES, forget_after: super::devices::LIFETIME, ..rule }
            }
        }
    }
}

impl Rule {
    /// The wait after the limit was passed for the `nth` time, from 0.
    fn wait(&self, nth: u32) -> Duration {
        let doubled = 2_u32.checked_pow(nth).and_then(|factor| self.first_wait.checked_mul(factor));
        doubled.unwrap_or(self.longest_wait).min(self.longest_wait)
    }
}

impl LockoutState {
    /// Have so many attempts with this device failed, or may yet, that it is known no more?
    fn is_used_up(&self, device: &Key) -> bool {
        let counter = self.counters.get(device).copied().unwrap_or_default();
        counter.failures + counter.in_flight >= DEVICE_FAILURES
    }

    fn is_known(&mut self, account: Digest, network: IpNet, at: Timestamp) -> bool {
        let known = self.known.get(&(account, network)).copied().flatten();
        known.is_some_and(|since| at.since(since) < NETWORK_STAYS_KNOWN)
    }
}

impl Counter {
    /// How long an attempt has to wait; none if it may start.
    fn wait(&mut self, rule: Rule, now: Timestamp) -> Option<Duration> {
        self.forget(rule, now);
        if self.failures < rule.limit {
            return (self.failures + self.in_flight >= rule.limit).then_some(IN_FLIGHT_WAIT);
        }
        let until = Timestamp::from_millis(self.until_millis);
        if now < until {
            return Some(until.since(now));
        }
        (self.in_flight > 0).then_some(IN_FLIGHT_WAIT)
    }

    fn fail(&mut self, rule: Rule, at: Timestamp) {
        self.take_back();
        self.failures = self.failures.saturating_add(1);
        self.at_millis = self.at_millis.max(at.as_millis());
        if let Some(nth) = self.failures.checked_sub(rule.limit) {
            self.until_millis = self.until_millis.max(at.plus(rule.wait(nth)).as_millis());
        }
    }

    const fn take_back(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    fn forget(&mut self, rule: Rule, now: Timestamp) {
        let quiet_since = Timestamp::from_millis(self.at_millis.max(self.until_millis));
        if now.since(quiet_since) >= rule.forget_after {
            self.failures = 0;
            return;
        }
        if let Some(drains_in) = rule.drains_in {
            let drains_every = (drains_in / rule.limit).max(Duration::from_millis(1));
            let since = now.since(Timestamp::from_millis(self.at_millis));
            let drained = since.as_millis() / drains_every.as_millis();
            let drained = u32::try_from(drained).unwrap_or(u32::MAX);
            self.failures = self.failures.saturating_sub(drained);
            let moved = drains_every.saturating_mul(drained);
            self.at_millis = Timestamp::from_millis(self.at_millis).plus(moved).as_millis();
        }
    }
}

impl<K: Copy + Eq + Hash, V: Default> Generations<K, V> {
    fn new(size: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), size }
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.young.get_mut(key).or_else(|| self.old.get_mut(key))
    }

    fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }

    fn entry(&mut self, key: K) -> &mut V {
        if !self.young.contains_key(&key) {
            let value = self.old.remove(&key).unwrap_or_default();
            if self.young.len() >= self.size {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(key, value);
        }
        self.young.entry(key).or_default()
    }
}

/// What counts as one address, and as one network.
fn networks(client: IpAddr) -> (IpNet, IpNet) {
    let client = client.to_canonical();
    let (address, network) = if client.is_ipv4() { (32, 24) } else { (64, 48) };
    let cut = |length| IpNet::new(client, length).map_or(IpNet::from(client), |net| net.trunc());
    (cut(address), cut(network))
}

#[cfg(test)]
mod tests;
