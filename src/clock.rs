//! Provides time as a value and as a port.
//!
//! Every function that depends on the time takes a [`Timestamp`]; only the edges (a request's arrival, a background task's
//! tick) ask a [`Clock`]. Tests pass any time they need.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point of wall-clock time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

/// A source of the present time.
pub trait Clock: Send + Sync {
    /// Returns the present time.
    fn now(&self) -> Timestamp;
}

/// The machine's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Timestamp {
    /// Creates a timestamp from milliseconds since 1970.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Creates a timestamp from whole seconds since 1970 (JWT's NumericDate, RFC 7519 section 2).
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Returns the milliseconds since 1970.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns the whole seconds since 1970, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// Returns this point moved later by `by`; stays at the greatest value instead of overflowing.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Returns this point moved earlier by `by`; stays at 1970 instead of underflowing.
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Returns how long after `earlier` this point lies; zero if it lies before it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Timestamp {
    /// Parses what [`Display`](fmt::Display) writes: RFC 3339 in UTC with milliseconds, as in the audit trail.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let is_as_written = bytes.len() == 24
            && bytes.iter().zip(b"0000-00-00T00:00:00.000Z").all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                other => byte == other,
            });
        if !is_as_written {
            return None;
        }
        let number = |from, to| text.get(from..to)?.parse::<u64>().ok();
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute) = (number(11, 13)?, number(14, 16)?);
        let (second, millis) = (number(17, 19)?, number(20, 23)?);
        let is_a_time = (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        if !is_a_time || year < 1970 {
            return None;
        }
        let of_day = ((hour * 60 + minute) * 60 + second) * 1000 + millis;
        Some(Self(days(year, month, day)? * DAY + of_day))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.as_secs(), self.0 % 1000)
    }
}

impl fmt::Display for Timestamp {
    /// Writes RFC 3339 in UTC with milliseconds, for logs and command output.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > LAST {
            return fmt::Debug::fmt(self, f);
        }
        // This is written by hand because the access log shows two timestamps for each request.
        let (days, millis) = (self.0 / DAY, self.0 % DAY);
        let (year, month, day) = civil(days);
        let (secs, millis) = (millis / 1000, millis % 1000);
        let (hour, minute, second) = (secs / 3600, secs / 60 % 60, secs % 60);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        for (end, length, mut number) in [
            (4, 4, year),
            (7, 2, month),
            (10, 2, day),
            (13, 2, hour),
            (16, 2, minute),
            (19, 2, second),
            (23, 3, millis),
        ] {
            let digits = text.get_mut(end - length..end).unwrap_or_default();
            for digit in digits.iter_mut().rev() {
                *digit = b'0' + (number % 10).to_le_bytes()[0];
                number /= 10;
            }
        }
        f.write_str(str::from_utf8(&text).unwrap_or_default())
    }
}

/// The milliseconds of a day.
const DAY: u64 = 86_400_000;
/// The last millisecond of a year with four digits: the end of 9999.
const LAST: u64 = 253_402_300_799_999;

/// Returns the year, month and day of a day since 1970, in the Gregorian calendar. Years begin in March here, so that a leap
/// day is the last day of its year.
const fn civil(days: u64) -> (u64, u64, u64) {
    // Days are counted from the first of March of the year 0; an era is the 400 years after which the calendar repeats.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// Returns the day since 1970 of a date: the reverse of [`civil`].
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    (era * 146_097 + days).checked_sub(719_468)
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for millis in [0, 1, 951_782_400_000, 1_795_422_879_042, 4_102_444_799_999, LAST] {
            let at = Timestamp::from_millis(millis);
            assert_eq!(Timestamp::parse(&at.to_string()), Some(at), "{at}");
        }
        for wrong in [
            "",
            "2026-11-23",
            "2026-11-23T08:34:39Z",
            "2026-13-23T08:34:39.042Z",
            "1969-11-23T08:34:39.042Z",
            "2026-11-23T08:34:39.042+",
            "2026-11-2ä08:34:39.042Z",
        ] {
            assert_eq!(Timestamp::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn shows_rfc_3339_with_milliseconds() {
        let at = Timestamp::from_millis(1_795_422_879_042);
        assert_eq!(at.to_string(), "2026-11-23T08:34:39.042Z");
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (LAST, "9999-12-31T23:59:59.999Z"),
            (LAST + 1, "253402300800.000"),
        ] {
            assert_eq!(Timestamp::from_millis(millis).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn shows_what_a_calendar_shows(millis in 0..253_402_207_200_000_u64) {
            let at = jiff::Timestamp::from_millisecond(i64::try_from(millis).unwrap()).unwrap();
            prop_assert_eq!(Timestamp::from_millis(millis).to_string(), format!("{at:.3}"));
        }
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let minute = Duration::from_secs(60);
        assert_eq!(Timestamp::from_secs(1).minus(minute), Timestamp::from_millis(0));
        assert_eq!(Timestamp::from_millis(u64::MAX).plus(minute).as_millis(), u64::MAX);
        assert_eq!(Timestamp::from_secs(1).since(Timestamp::from_secs(2)), Duration::ZERO);
    }
}
