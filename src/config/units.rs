//! Defines the durations and sizes with which defaults and limits are written.

use std::ops::RangeInclusive;
use std::time::Duration;

pub(super) const KIB: usize = 1024;
pub(super) const MINUTE: Duration = mins(1);
pub(super) const HOUR: Duration = hours(1);
pub(super) const DAY: Duration = days(1);

/// The range of a timeout: none is endless.
pub(super) const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=HOUR;

pub(super) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) const fn mins(mins: u64) -> Duration {
    secs(60 * mins)
}

pub(super) const fn hours(hours: u64) -> Duration {
    mins(60 * hours)
}

pub(super) const fn days(days: u64) -> Duration {
    hours(24 * days)
}
