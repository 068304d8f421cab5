//! Limits how often a password may be tried.
//!
//! Every attempt is counted **before** the password is checked, so that parallel guesses cannot exceed a limit, and is settled
//! afterwards: failed, succeeded, or taken back (the directory was down, so nothing was tried). An attempt that is dropped
//! because the client disconnected counts as failed.
//!
//! The states of one counter:
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
//! While Free, attempts in flight count like failures, so the limit is never exceeded; a client that comes too early is asked
//! to retry after a second. One attempt has these counters, all of which must let it through:
//!
//! | counter | limit | after a success |
//! |---|---|---|
//! | account **and** network (/24, /48) | `account_failures` | forgotten |
//! | address (/32, /64) | `address_failures` | stays |
//! | network (/24, /48) | `network_failures` | stays |
//! | account on all networks, unless this one is known | twice `account_failures`, 30 times the wait | less the first one's |
//! | account on all networks, in a day | half of `guesses_per_day`, and as many again within a day | less the first one's |
//! | a known device of the account, in place of all of the above | 10; then the device is no longer known | forgotten |
//!
//! **Nobody can lock out somebody else.** Guesses from one network never slow down the owner in another. Guesses from many
//! networks fill the account-wide counters: strangers wait longer and longer. A browser with a device cookie of the account
//! ([`devices`](super::devices)) or an opened mailed link ([`mailed_link`](super::mailed_link)) is not affected, and neither,
//! except by the day's limit, is a client in a network in which the same account has signed in before (90 days). So an attacker
//! can only keep the owner for a while from signing in from new places on new devices, and only where the owner cannot be
//! mailed a link.
//!
//! **Addresses are shared**, so their failures also drain, one per `reset_after / limit`: an office whose people mistype
//! occasionally stays below the limit. A success resets nothing, because an attacker may own one of the accounts.
//!
//! Names are folded first (NFKC, case, invisible characters), so that another spelling is not another account. Only a hash of
//! the name is stored.
//!
//! The counters are in the store's [`Counters`], where their memory is bounded: evicting one takes as many failed attempts as a
//! scope holds, each of which costs a password check. If the store cannot count, no attempt is allowed.

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
/// The factor for waits on the account-wide counter, because an attacker with many networks has not waited on any other
/// counter.
const ACCOUNT_WIDE_WAITS: u32 = 30;
const DEVICE_FAILURES: u32 = 10;
const DAY: Duration = Duration::from_secs(86_400);
const NETWORK_STAYS_KNOWN: Duration = Duration::from_secs(90 * 86_400);
/// Enough for some 110 000 counters, and for as many networks, each with an account that has signed in there.
const MOST_BYTES: usize = if cfg!(test) { 1 << 20 } else { 16 << 20 };
const ATTEMPTS: CounterScope = CounterScope { name: "sign-in attempts", most_bytes: MOST_BYTES };
const NETWORKS: CounterScope = CounterScope { name: "sign-in networks", most_bytes: MOST_BYTES };
/// The wait if nothing but attempts in flight holds an attempt back.
const IN_FLIGHT_WAIT: Duration = Duration::from_secs(1);

/// Counts attempts to sign in, and refuses those beyond the limits.
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

/// Why no attempt is allowed now.
#[derive(Debug)]
pub(crate) enum AttemptRefused {
    /// A limit was exceeded; the time to wait.
    Wait(Duration),
    /// The attempt could not be counted.
    NotCounted(StoreError),
}

/// Returns the name under which attempts are counted: other case and other forms of the same letters are the same account.
///
/// Upper case followed by lower case equals Unicode's case folding for the letters that occur in names (`ß` and `SS`, the two
/// small sigmas).
///
/// White space at the ends and invisible characters are removed: an application that checks passwords itself, or the collation
/// of its database, may ignore them, and each spelling would otherwise have counters of its own.
pub fn folded(name: &str) -> String {
    let seen = name.chars().filter(|letter| !is_invisible(*letter));
    let folded: String =
        seen.nfkc().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfkc().collect();
    folded.trim().to_owned()
}

/// Whether a letter is one of Unicode's default ignorable code points, except those that are letters of a script.
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
    /// Half of the guesses allowed in a day: this many at once, and as many again in the course of a day.
    half_a_day: u32,
    backoff_initial: Duration,
    backoff_max: Duration,
    reset_after: Duration,
}

/// The kinds of counters: the rows of the table in the module's documentation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AttemptKind {
    AccountInNetwork,
    Address,
    Network,
    AccountWide,
    AccountDaily,
    Device,
}

/// The kind of a counter, and its key in the store.
type AttemptKey = (AttemptKind, CounterKey);

/// How an attempt ended.
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
    /// The time of the last failure, or of the last one that drained.
    at_millis: u64,
    /// The time before which no attempt is let through.
    until_millis: u64,
}

#[derive(Clone, Copy)]
struct Rule {
    limit: u32,
    /// The time in which `limit` failures drain.
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

    /// Returns a lockout with the same limits that never counts anything.
    pub(super) fn read_only(&self) -> Self {
        Self { limits: self.limits, counters: Arc::new(ReadOnlyCounters) }
    }

    /// Whether a device has failed so often that it is no longer known.
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

    /// Whether strangers have to wait at this account (a folded name), because of attempts from all networks.
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

    /// Counts an attempt on an account (a folded name), or returns how long to wait. `device` is a known device of the account.
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
        // A refused attempt adds no counter: names cost nothing, and would evict counters that cost a password check each.
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

    /// Whether this account has signed in before in this network.
    async fn is_known(&self, in_network: CounterKey, at: Timestamp) -> Result<bool, StoreError> {
        let is_known = |entries: &mut [CounterEntry]| {
            let since = entries.first().and_then(|entry| number(&entry.value));
            since.is_some_and(|(since, _)| at.since(since) < NETWORK_STAYS_KNOWN)
        };
        changed(&*self.counters, NETWORKS, &[in_network], at, is_known).await
    }
}

impl CountedAttempt {
    /// Settles the attempt as failed: the password was wrong.
    pub(crate) fn failed(mut self) {
        self.settle(AttemptOutcome::Failed);
    }

    /// Settles the attempt as not made: a part of the gateway was down or busy.
    pub(crate) fn take_back(mut self) {
        self.settle(AttemptOutcome::TakenBack);
    }

    /// Settles the attempt as succeeded: it was the owner.
    pub(crate) fn succeeded(mut self) {
        self.settle(AttemptOutcome::Succeeded);
    }

    /// Settles the attempt without waiting: if the store needs time, the rest runs in the background.
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
                tracing::warn!(%error, "the result of a sign-in attempt was not counted");
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
                // The owner's own typing errors are not guesses. (The counter of the account in this network is the first in
                // `keys`.)
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
            // A wait lasts until one failure has drained; no probe is let through before.
            AttemptKind::AccountDaily => Rule {
                limit: self.half_a_day,
                drains_in: Some(DAY),
                first_wait: DAY / self.half_a_day,
                longest_wait: DAY,
                forget_after: DAY,
            },
            // This counter never waits (see `is_used_up`), and is forgotten together with the cookie.
            AttemptKind::Device => {
                Rule { limit: DEVICE_FAILURES, forget_after: super::devices::LIFETIME, ..rule }
            }
        }
    }
}

impl Rule {
    /// Returns the wait after the limit was exceeded for the `nth` time, from 0.
    fn wait(&self, nth: u32) -> Duration {
        let doubled = 2_u32.checked_pow(nth).and_then(|factor| self.first_wait.checked_mul(factor));
        doubled.unwrap_or(self.longest_wait).min(self.longest_wait)
    }
}

impl Counter {
    /// Reads a counter from its stored form; anything invalid is read as a counter without failures.
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

    /// Returns the stored form of a counter; an empty counter is not stored.
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

    /// Returns how long an attempt has to wait; `None` if it may start.
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

/// Splits a time from the bytes that follow it.
fn number(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (millis, rest) = bytes.split_first_chunk::<8>()?;
    Some((Timestamp::from_millis(u64::from_be_bytes(*millis)), rest))
}

/// Returns the network that counts as one address, and the one that counts as one network.
fn networks(client: IpAddr) -> (IpNet, IpNet) {
    let client = client.to_canonical();
    let (address, network) = if client.is_ipv4() { (32, 24) } else { (64, 48) };
    let cut = |length| IpNet::new(client, length).map_or(IpNet::from(client), |net| net.trunc());
    (cut(address), cut(network))
}

#[cfg(test)]
mod tests;
