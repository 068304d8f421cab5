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
//!
//! The counters stand in the store's [`Counters`], where their memory is bounded: to push one out takes as many failed attempts as
//! a scope holds, each of which costs a password check. A store that cannot count lets nobody try.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use ipnet::IpNet;
use unicode_normalization::UnicodeNormalization;

use crate::clock::Timestamp;
use crate::config::Login;
use crate::secret::Digest;
use crate::store::StoreError;
use crate::store::counters::{CounterEntry, CounterKey, CounterScope, Counters, changed};
use crate::store::read_only::ReadOnlyCounters;

const ACCOUNT_WIDE_FACTOR: u32 = 2;
/// Whoever guesses from many places has waited for nothing yet.
const ACCOUNT_WIDE_WAITS: u32 = 30;
const DEVICE_FAILURES: u32 = 10;
const DAY: Duration = Duration::from_secs(86_400);
const NETWORK_STAYS_KNOWN: Duration = Duration::from_secs(90 * 86_400);
/// For some 110 000 counters, and for as many networks, each with an account that has signed in there.
const MOST_BYTES: usize = if cfg!(test) { 1 << 20 } else { 16 << 20 };
const ATTEMPTS: CounterScope = CounterScope { name: "sign-in attempts", most_bytes: MOST_BYTES };
const NETWORKS: CounterScope = CounterScope { name: "sign-in networks", most_bytes: MOST_BYTES };
/// What somebody waits for whom only attempts in flight are in the way.
const IN_FLIGHT_WAIT: Duration = Duration::from_secs(1);

/// Counts attempts to sign in.
pub(crate) struct Lockout {
    limits: AttemptLimits,
    counters: Arc<dyn Counters>,
}

/// A counted attempt that has not been settled.
pub(crate) struct CountedAttempt {
    limits: AttemptLimits,
    counters: Arc<dyn Counters>,
    keys: Vec<AttemptKey>,
    known: CounterKey,
    at: Timestamp,
    settled: bool,
}

/// Why nothing may be tried now.
#[derive(Debug)]
pub(crate) enum AttemptRefused {
    /// Too much was tried; for so long.
    Wait(Duration),
    /// It could not be counted.
    NotCounted(StoreError),
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

/// What is counted; the rows of the table at the head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AttemptKind {
    AccountInNetwork,
    Address,
    Network,
    AccountWide,
    AccountDaily,
    Device,
}

/// A counter, and where it is.
type AttemptKey = (AttemptKind, CounterKey);

/// What became of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AttemptOutcome {
    Failed,
    Succeeded,
    TakenBack,
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

impl Lockout {
    pub(super) fn new(login: &Login, counters: Arc<dyn Counters>) -> Self {
        let limits = AttemptLimits {
            account: login.account_failures.max(1),
            address: login.address_failures.max(1),
            network: login.network_failures.max(1),
            half_a_day: (login.guesses_per_day / 2).max(1),
            backoff_initial: login.backoff_initial,
            backoff_max: login.backoff_max,
            reset_after: login.reset_after,
        };
        Self { limits, counters }
    }

    /// With the same limits, and nothing is ever counted.
    pub(super) fn read_only(&self) -> Self {
        Self { limits: self.limits, counters: Arc::new(ReadOnlyCounters) }
    }

    /// Has a device failed so often that it is known no more?
    pub(crate) async fn is_used_up(
        &self,
        device: Digest,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let keys = [device_key(device).1];
        let is_used_up = |entries: &mut [CounterEntry]| {
            let counters = entries.iter().map(Counter::read);
            counters.map(|one| one.failures + one.in_flight).max() >= Some(DEVICE_FAILURES)
        };
        changed(&*self.counters, ATTEMPTS, &keys, at, is_used_up).await
    }

    /// Do strangers wait at this account (a folded name), because of what was tried there from everywhere?
    pub(super) async fn holds_back_strangers(
        &self,
        account: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let keys = [account_wide(account), account_daily(account)];
        let holds_back = |entries: &mut [CounterEntry]| {
            keys.iter().zip(entries).any(|((kind, _), entry)| {
                let (rule, mut counter) = (self.limits.rule(*kind), Counter::read(entry));
                counter.forget(rule, at);
                counter.failures >= rule.limit
            })
        };
        changed(&*self.counters, ATTEMPTS, &keys.map(|(_, key)| key), at, holds_back).await
    }

    /// Counts an attempt on an account (a folded name), or says how long to wait. `device`: a device of the account's.
    pub(crate) async fn attempt(
        &self,
        account: &str,
        client: IpAddr,
        device: Option<Digest>,
        at: Timestamp,
    ) -> Result<CountedAttempt, AttemptRefused> {
        let (address, network) = networks(client);
        let in_network = CounterKey::of(&format!("{network}\0{account}"));
        let device = match device {
            Some(device) if !self.is_used_up(device, at).await? => Some(device_key(device)),
            Some(_) | None => None,
        };
        let keys = match device {
            Some(device) => vec![device],
            None => {
                let mut keys = vec![
                    (AttemptKind::AccountInNetwork, in_network),
                    (AttemptKind::Address, CounterKey::of(&format!("address {address}"))),
                    (AttemptKind::Network, CounterKey::of(&format!("network {network}"))),
                    account_daily(account),
                ];
                if !self.is_known(in_network, at).await? {
                    keys.push(account_wide(account));
                }
                keys
            }
        };
        // Who is not let through adds no counter: names cost nothing, and would push out counters that were paid for.
        let count = |entries: &mut [CounterEntry]| {
            let mut counters: Vec<Counter> = entries.iter().map(Counter::read).collect();
            let each = || keys.iter().map(|(kind, _)| self.limits.rule(*kind));
            let wait = each().zip(&mut counters).filter_map(|(rule, one)| one.wait(rule, at)).max();
            if wait.is_none() {
                for ((rule, mut counter), entry) in each().zip(counters).zip(entries) {
                    counter.in_flight += 1;
                    *entry = counter.written(rule, at);
                }
            }
            wait
        };
        let places: Vec<CounterKey> = keys.iter().map(|(_, key)| *key).collect();
        if let Some(wait) = changed(&*self.counters, ATTEMPTS, &places, at, count).await? {
            return Err(AttemptRefused::Wait(wait));
        }
        let (limits, counters) = (self.limits, Arc::clone(&self.counters));
        Ok(CountedAttempt { limits, counters, keys, known: in_network, at, settled: false })
    }

    /// Has this account signed in in this network before?
    async fn is_known(&self, in_network: CounterKey, at: Timestamp) -> Result<bool, StoreError> {
        let is_known = |entries: &mut [CounterEntry]| {
            let since = entries.first().and_then(|entry| number(&entry.value));
            since.is_some_and(|(since, _)| at.since(since) < NETWORK_STAYS_KNOWN)
        };
        changed(&*self.counters, NETWORKS, &[in_network], at, is_known).await
    }
}

impl CountedAttempt {
    /// The password was another.
    pub(crate) fn failed(mut self) {
        self.settle(AttemptOutcome::Failed);
    }

    /// Nothing was tried: a part of the gateway was down or busy.
    pub(crate) fn take_back(mut self) {
        self.settle(AttemptOutcome::TakenBack);
    }

    /// It was the owner.
    pub(crate) fn succeeded(mut self) {
        self.settle(AttemptOutcome::Succeeded);
    }

    /// Whoever settles it waits for nothing: a store that needs time for it gets it afterwards.
    fn settle(&mut self, outcome: AttemptOutcome) {
        self.settled = true;
        let (limits, counters, at) = (self.limits, Arc::clone(&self.counters), self.at);
        let (keys, known) = (std::mem::take(&mut self.keys), self.known);
        let settled = async move {
            let places: Vec<CounterKey> = keys.iter().map(|(_, key)| *key).collect();
            let settle = |entries: &mut [CounterEntry]| limits.settle(&keys, entries, outcome, at);
            changed(&*counters, ATTEMPTS, &places, at, settle).await?;
            if outcome == AttemptOutcome::Succeeded {
                let until = at.plus(NETWORK_STAYS_KNOWN);
                let know = |entries: &mut [CounterEntry]| {
                    let value = at.as_millis().to_be_bytes();
                    entries.fill(CounterEntry { value: value.to_vec(), until });
                };
                changed(&*counters, NETWORKS, &[known], at, know).await?;
            }
            Ok(())
        };
        let settled = settled.map(|settled: Result<(), StoreError>| {
            if let Err(error) = settled {
                tracing::warn!(%error, "how an attempt to sign in ended was not counted");
            }
        });
        let mut settled = Box::pin(settled);
        if settled.as_mut().now_or_never().is_none()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(settled);
        }
    }
}

impl Drop for CountedAttempt {
    fn drop(&mut self) {
        if !self.settled {
            self.settle(AttemptOutcome::Failed);
        }
    }
}

impl From<StoreError> for AttemptRefused {
    fn from(error: StoreError) -> Self {
        Self::NotCounted(error)
    }
}

impl AttemptLimits {
    fn settle(
        &self,
        keys: &[AttemptKey],
        entries: &mut [CounterEntry],
        outcome: AttemptOutcome,
        at: Timestamp,
    ) {
        let mut own_failures = 0;
        for ((kind, _), entry) in keys.iter().zip(entries) {
            let (rule, mut counter) = (self.rule(*kind), Counter::read(entry));
            counter.in_flight = counter.in_flight.saturating_sub(1);
            match (outcome, kind) {
                (AttemptOutcome::Failed, _) => counter.fail(rule, at),
                (
                    AttemptOutcome::Succeeded,
                    AttemptKind::AccountInNetwork | AttemptKind::Device,
                ) => {
                    own_failures = std::mem::take(&mut counter.failures);
                    counter.until_millis = 0;
                }
                // The owner's own slips are no guesses. (They come first in `keys`.)
                (
                    AttemptOutcome::Succeeded,
                    AttemptKind::AccountWide | AttemptKind::AccountDaily,
                ) => counter.failures = counter.failures.saturating_sub(own_failures),
                (AttemptOutcome::Succeeded, AttemptKind::Address | AttemptKind::Network)
                | (AttemptOutcome::TakenBack, _) => {}
            }
            *entry = counter.written(rule, at);
        }
    }

    fn rule(&self, kind: AttemptKind) -> Rule {
        let rule = Rule {
            limit: self.account,
            drains_in: None,
            first_wait: self.backoff_initial,
            longest_wait: self.backoff_max,
            forget_after: self.reset_after,
        };
        let shared = Rule { drains_in: Some(self.reset_after), ..rule };
        match kind {
            AttemptKind::AccountInNetwork => rule,
            AttemptKind::Address => Rule { limit: self.address, ..shared },
            AttemptKind::Network => Rule { limit: self.network, ..shared },
            AttemptKind::AccountWide => Rule {
                limit: self.account.saturating_mul(ACCOUNT_WIDE_FACTOR),
                first_wait: self
                    .backoff_initial
                    .saturating_mul(ACCOUNT_WIDE_WAITS)
                    .min(self.backoff_max),
                ..shared
            },
            // Whoever waits, waits until one has drained: no probe comes before.
            AttemptKind::AccountDaily => Rule {
                limit: self.half_a_day,
                drains_in: Some(DAY),
                first_wait: DAY / self.half_a_day,
                longest_wait: DAY,
                forget_after: DAY,
            },
            // It never waits (see `is_used_up`), and is forgotten with its cookie.
            AttemptKind::Device => {
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

impl Counter {
    /// As it is kept; anything else is one that counts nothing yet.
    fn read(entry: &CounterEntry) -> Self {
        let read = || {
            let (failures, rest) = entry.value.split_first_chunk::<4>()?;
            let (in_flight, rest) = rest.split_first_chunk::<4>()?;
            let (at, rest) = number(rest)?;
            let (until, _) = number(rest)?;
            Some(Self {
                failures: u32::from_be_bytes(*failures),
                in_flight: u32::from_be_bytes(*in_flight),
                at_millis: at.as_millis(),
                until_millis: until.as_millis(),
            })
        };
        read().unwrap_or_default()
    }

    /// As it is kept; one that says nothing is not.
    fn written(self, rule: Rule, at: Timestamp) -> CounterEntry {
        let Self { failures, in_flight, at_millis, until_millis } = self;
        if failures == 0 && in_flight == 0 && until_millis <= at.as_millis() {
            return CounterEntry::default();
        }
        let mut value = Vec::with_capacity(24);
        value.extend_from_slice(&failures.to_be_bytes());
        value.extend_from_slice(&in_flight.to_be_bytes());
        value.extend_from_slice(&at_millis.to_be_bytes());
        value.extend_from_slice(&until_millis.to_be_bytes());
        let quiet_since = Timestamp::from_millis(at_millis.max(until_millis));
        let until = quiet_since.plus(rule.forget_after);
        CounterEntry { value, until: if in_flight == 0 { until } else { until.max(at.plus(DAY)) } }
    }

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
        self.failures = self.failures.saturating_add(1);
        self.at_millis = self.at_millis.max(at.as_millis());
        if let Some(nth) = self.failures.checked_sub(rule.limit) {
            self.until_millis = self.until_millis.max(at.plus(rule.wait(nth)).as_millis());
        }
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

fn device_key(device: Digest) -> AttemptKey {
    let text = [b"device ".as_slice(), device.as_bytes()].concat();
    (AttemptKind::Device, CounterKey::from(&Digest::of(&text)))
}

fn account_wide(account: &str) -> AttemptKey {
    (AttemptKind::AccountWide, CounterKey::of(&format!("account from everywhere\0{account}")))
}

fn account_daily(account: &str) -> AttemptKey {
    (AttemptKind::AccountDaily, CounterKey::of(&format!("account in a day\0{account}")))
}

/// A time, and what stands behind it.
fn number(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (millis, rest) = bytes.split_first_chunk::<8>()?;
    Some((Timestamp::from_millis(u64::from_be_bytes(*millis)), rest))
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
