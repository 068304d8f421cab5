//! One address of a server, and its condition.
//!
//! An [`Endpoint`] is made for one configuration. Its condition ([`EndpointHealth`]) and that of its server ([`ServerState`])
//! outlive it: a reload, and a look-up that finds other addresses, keep them for the addresses and servers that remain.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use http::HeaderValue;
use pingora::upstreams::peer::HttpPeer;

use crate::telemetry::ServerMetrics;

/// The state of a server, whatever its addresses are.
pub(super) struct ServerState {
    pub(super) name: String,
    /// Whether an operator has taken it out of service; requests in flight are completed.
    pub(super) drained: AtomicBool,
    pub(super) metrics: ServerMetrics,
}

/// An address that requests are sent to.
pub(super) struct Endpoint {
    /// The name for the log.
    pub(super) name: Arc<str>,
    /// The address itself.
    pub(super) address: Arc<str>,
    /// The server's own host, for services that are asked by it.
    pub(super) host: HeaderValue,
    pub(super) weight: u32,
    /// Whether it is used only if others cannot be.
    pub(super) is_backup: bool,
    /// The hash of the address, for balancing by hash; the same in every process.
    pub(super) hash: u64,
    /// The settings that every connection to it shares.
    pub(super) peer: HttpPeer,
    pub(super) server: Arc<ServerState>,
    pub(super) condition: Arc<EndpointHealth>,
}

/// The condition of an address. Each field is read by itself, so a request may see a slightly old value.
#[derive(Default)]
pub(super) struct EndpointHealth {
    in_flight: AtomicUsize,
    /// The number of failures in a row.
    failures: AtomicU32,
    /// When its ejection ends, by [`now`]; zero: it is not ejected.
    ejected_until: AtomicU64,
    /// How often it was ejected recently.
    ejections: AtomicU32,
    /// When it last returned; zero: it was never away.
    returned_at: AtomicU64,
    /// Whether its health checks fail.
    unwell: AtomicBool,
    /// The number of health checks in a row that contradict `unwell`.
    checks: AtomicU32,
}

/// The state of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum EndpointState {
    /// The address gets requests.
    InService,
    /// The address has failed requests, and is ejected for a while.
    Ejected,
    /// The address's health checks fail.
    Unwell,
    /// An operator has taken the server out of service.
    Drained,
}

/// A request that was given to an address; it is in flight there until this is dropped.
pub(super) struct InFlightAt(Arc<Endpoint>);

/// Returns the milliseconds since the process began, never zero.
pub(super) fn now() -> u64 {
    static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
    millis(BEGINNING.elapsed()).saturating_add(1)
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl EndpointState {
    pub(super) const ALL: [Self; 4] = [Self::InService, Self::Ejected, Self::Unwell, Self::Drained];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::InService => "in_service",
            Self::Ejected => "ejected",
            Self::Unwell => "unwell",
            Self::Drained => "drained",
        }
    }
}

impl Endpoint {
    pub(super) fn standing(&self) -> EndpointState {
        if self.server.drained.load(Ordering::Relaxed) {
            EndpointState::Drained
        } else if self.condition.unwell.load(Ordering::Relaxed) {
            EndpointState::Unwell
        } else if self.is_ejected() {
            EndpointState::Ejected
        } else {
            EndpointState::InService
        }
    }

    /// Whether the address is ejected. The first check after its time is over puts it back.
    fn is_ejected(&self) -> bool {
        let until = self.condition.ejected_until.load(Ordering::Relaxed);
        if until == 0 {
            return false;
        }
        let now = now();
        if now < until {
            return true;
        }
        let ends = self.condition.ejected_until.compare_exchange(
            until,
            0,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if ends.is_ok() {
            self.condition.returned_at.store(now, Ordering::Relaxed);
            tracing::info!(server = %self.name, state = "in_service", "a server gets requests again");
        }
        false
    }

    /// Takes a place at the address, if fewer than `most` requests are in flight there (zero: any number).
    pub(super) fn enter(self: &Arc<Self>, most: usize) -> Option<InFlightAt> {
        let before = self.condition.in_flight.fetch_add(1, Ordering::Relaxed);
        let entered = InFlightAt(Arc::clone(self));
        (most == 0 || before < most).then_some(entered)
    }

    /// Returns its share of its weight during slow start, in thousandths.
    pub(super) fn share(&self, slow_start: Duration) -> u64 {
        const WHOLE: u64 = 1000;
        /// With no share at all, it would get no request by which it could prove itself.
        const LEAST: u64 = 50;
        let returned = self.condition.returned_at.load(Ordering::Relaxed);
        if returned == 0 || slow_start.is_zero() {
            return WHOLE;
        }
        let since = now().saturating_sub(returned);
        let whole = millis(slow_start).max(1);
        if since >= whole {
            self.condition.returned_at.store(0, Ordering::Relaxed);
            return WHOLE;
        }
        (since.saturating_mul(WHOLE) / whole).max(LEAST)
    }
}

impl EndpointHealth {
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(super) fn ejections(&self) -> u32 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// Returns after how long the address comes back, if it is ejected.
    pub(super) fn comes_back_in(&self) -> Option<Duration> {
        let until = self.ejected_until.load(Ordering::Relaxed);
        (until != 0).then(|| Duration::from_millis(until.saturating_sub(now())))
    }

    /// Records that a request was answered.
    pub(super) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Records that a request failed, and returns the number of failures in a row.
    pub(super) fn failed(&self) -> u32 {
        self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Ejects the address, for longer each time, and returns for how long. Times without a failure reduce the duration again.
    ///
    /// The first failure after its return is enough for the next ejection (`after` minus one failures are remembered).
    pub(super) fn eject(&self, after: u32, time: Duration, longest: Duration) -> Duration {
        self.eject_at(now(), after, time, longest)
    }

    fn eject_at(&self, now: u64, after: u32, time: Duration, longest: Duration) -> Duration {
        let unit = millis(time).max(1);
        let returned = self.returned_at.load(Ordering::Relaxed);
        let quiet = if returned == 0 { 0 } else { now.saturating_sub(returned) / unit };
        let before = self.ejections.load(Ordering::Relaxed);
        let forgotten = u32::try_from(quiet).unwrap_or(u32::MAX);
        let times = before.saturating_sub(forgotten).min(16);
        let length = millis(longest).min(unit.saturating_mul(1 << times)).max(1);
        self.ejections.store(times.saturating_add(1), Ordering::Relaxed);
        self.failures.store(after.saturating_sub(1), Ordering::Relaxed);
        self.ejected_until.store(now.saturating_add(length), Ordering::Relaxed);
        Duration::from_millis(length)
    }

    /// Records the result of a health check. Returns whether the address is well, if that has changed.
    pub(super) fn checked(&self, is_well: bool, rise: u32, fall: u32) -> Option<bool> {
        let was_well = !self.unwell.load(Ordering::Relaxed);
        if is_well == was_well {
            self.checks.store(0, Ordering::Relaxed);
            return None;
        }
        let in_a_row = self.checks.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if in_a_row < if is_well { rise } else { fall } {
            return None;
        }
        self.checks.store(0, Ordering::Relaxed);
        self.unwell.store(!is_well, Ordering::Relaxed);
        if is_well {
            self.failures.store(0, Ordering::Relaxed);
            self.ejected_until.store(0, Ordering::Relaxed);
            self.returned_at.store(now(), Ordering::Relaxed);
        }
        Some(is_well)
    }

    /// Marks the address as well, because health checks have ended.
    pub(super) fn unchecked(&self) {
        self.unwell.store(false, Ordering::Relaxed);
    }

    /// Puts the address back after it was drained.
    pub(super) fn returns(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.ejected_until.store(0, Ordering::Relaxed);
        self.returned_at.store(now(), Ordering::Relaxed);
    }
}

impl InFlightAt {
    pub(super) const fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }
}

impl Drop for InFlightAt {
    fn drop(&mut self) {
        self.0.condition.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_ejection_is_longer_than_the_one_before_up_to_the_longest() {
        let condition = EndpointHealth::default();
        let lengths: Vec<u64> =
            (0..6).map(|_| condition.eject(5, SECOND, SECOND * 10).as_secs()).collect();
        assert_eq!(lengths, [1, 2, 4, 8, 10, 10]);
        assert_eq!(condition.failures(), 4, "one more is enough");
    }

    #[test]
    fn a_quiet_time_shortens_the_next_one() {
        let condition = EndpointHealth::default();
        for _ in 0..4 {
            condition.eject_at(1000, 1, SECOND, SECOND * 100);
        }
        condition.returned_at.store(9000, Ordering::Relaxed);
        assert_eq!(condition.eject_at(11_000, 1, SECOND, SECOND * 100), SECOND * 4, "two less");
        condition.returned_at.store(15_000, Ordering::Relaxed);
        assert_eq!(condition.eject_at(99_000, 1, SECOND, SECOND * 100), SECOND);
    }

    #[test]
    fn health_changes_after_so_many_checks_in_a_row() {
        let condition = EndpointHealth::default();
        let outcomes = [false, true, false, false, true, false, true, true];
        let changes = outcomes.map(|is_well| condition.checked(is_well, 2, 2));
        let none = None;
        assert_eq!(changes, [none, none, none, Some(false), none, none, none, Some(true)]);
    }
}
