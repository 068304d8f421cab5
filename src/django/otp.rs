//! django-otp's arithmetic: when a code of a TOTP device is right, and how long a device that was guessed at rests.
//!
//! A device says itself how long its steps are, when they began, how many digits a code has, how many steps to either side
//! are right (`tolerance`) and by how many its app is known to be off (`drift`). A code of a step that is not after the last
//! one that was used (`last_t`) is not right.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::hotp::{hotp, is_code};

/// Steps to either side that are looked at, whatever a row says: an hour of the usual ones.
const MOST_TOLERANCE: i64 = 120;

/// The digits of a code: those of its forms, and what lies between.
const DIGITS: std::ops::RangeInclusive<usize> = 6..=8;

/// django-otp's own longest wait is a hundred years; whoever asks is told of no more than one.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 86_400);

/// What a TOTP device is.
pub struct TotpParameters {
    /// The secret.
    pub key: Zeroizing<Vec<u8>>,
    /// Seconds of a step.
    pub step: i64,
    /// When the first began, in seconds since 1970.
    pub t0: i64,
    /// Digits of a code.
    pub digits: usize,
    /// Steps to either side.
    pub tolerance: i64,
    /// By how many steps its app is off.
    pub drift: i64,
    /// The last step that was used.
    pub last_t: i64,
}

/// What a code is to a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodeMatch {
    /// It is the code of this step; and by so many the app is off.
    Right {
        /// The step.
        t: i64,
        /// The drift.
        drift: i64,
    },
    /// It is one of a step that is not after the last that was used.
    Used,
    /// It is none.
    Wrong,
}

impl TotpParameters {
    /// A key as its column has it. `None`: it is none, or too short to be one.
    pub fn read_key(hex: &str) -> Option<Zeroizing<Vec<u8>>> {
        const SHORTEST: usize = 10;
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()?;
        (bytes.len() >= SHORTEST).then(|| Zeroizing::new(bytes))
    }

    /// Can any code be right?
    pub fn is_usable(&self) -> bool {
        self.step > 0 && DIGITS.contains(&self.digits) && self.tolerance >= 0
    }

    /// Looks at a code.
    pub fn look_at(&self, code: &str, at: Timestamp) -> CodeMatch {
        if !self.is_usable() || code.len() != self.digits {
            return CodeMatch::Wrong;
        }
        let now = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
        let present = now.saturating_sub(self.t0).div_euclid(self.step).saturating_add(self.drift);
        let tolerance = self.tolerance.min(MOST_TOLERANCE);
        let mut found = CodeMatch::Wrong;
        // Each is looked at whatever the others say; the first that is right counts, as there.
        for offset in -tolerance..=tolerance {
            let t = present.saturating_add(offset);
            let Ok(counter) = u64::try_from(t) else { continue };
            let is_right = is_code(code, &hotp(&self.key, counter, self.digits));
            match (is_right, found) {
                (true, CodeMatch::Wrong | CodeMatch::Used) if t > self.last_t => {
                    found = CodeMatch::Right { t, drift: self.drift.saturating_add(offset) };
                }
                (true, CodeMatch::Wrong) => found = CodeMatch::Used,
                (_, _) => {}
            }
        }
        found
    }
}

/// How long a device is not looked at any more: `factor` seconds after the first failure, and twice as long after each further
/// one.
pub fn rest(
    factor: u32,
    failures: u32,
    last: Option<Timestamp>,
    at: Timestamp,
) -> Option<Duration> {
    let (last, further) = (last?, failures.checked_sub(1)?);
    let wait = Duration::from_secs(u64::from(factor).saturating_mul(2_u64.saturating_pow(further)));
    let until = last.plus(wait.min(LONGEST_WAIT));
    (at < until).then(|| until.since(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "3132333435363738393031323334353637383930";

    fn device(change: impl FnOnce(&mut TotpParameters)) -> TotpParameters {
        let key = TotpParameters::read_key(KEY).unwrap();
        let mut device =
            TotpParameters { key, step: 30, t0: 0, digits: 6, tolerance: 1, drift: 0, last_t: -1 };
        change(&mut device);
        device
    }

    fn code(t: u64, digits: usize) -> String {
        hotp(b"12345678901234567890", t, digits).to_string()
    }

    #[test]
    fn a_code_is_right_as_its_device_says() {
        let at = Timestamp::from_secs(30_000);
        let right = |t, drift| CodeMatch::Right { t, drift };
        let cases = [
            (device(|_| {}), 1000, 6, right(1000, 0)),
            (device(|_| {}), 999, 6, right(999, -1)),
            (device(|_| {}), 1001, 6, right(1001, 1)),
            (device(|_| {}), 1002, 6, CodeMatch::Wrong),
            (device(|one| one.tolerance = 0), 999, 6, CodeMatch::Wrong),
            (device(|one| one.last_t = 1000), 1000, 6, CodeMatch::Used),
            (device(|one| one.last_t = 1000), 999, 6, CodeMatch::Used),
            (device(|one| one.last_t = 1000), 1001, 6, right(1001, 1)),
            (device(|one| one.drift = 5), 1006, 6, right(1006, 6)),
            (device(|one| one.drift = 5), 1000, 6, CodeMatch::Wrong),
            (device(|one| one.digits = 8), 1000, 8, right(1000, 0)),
            (device(|one| one.digits = 8), 1000, 6, CodeMatch::Wrong),
            (device(|one| (one.step, one.t0) = (60, 60)), 499, 6, right(499, 0)),
            (device(|one| one.step = 0), 1000, 6, CodeMatch::Wrong),
        ];
        for (index, (device, t, digits, expected)) in cases.into_iter().enumerate() {
            let found = device.look_at(&code(t, digits), at);
            assert_eq!(found, expected, "{index}");
        }
        let early = device(|_| {}).look_at(&code(0, 6), Timestamp::from_secs(5));
        assert_eq!(early, right(0, 0), "no step before the first");
    }

    #[test]
    fn a_key_is_hexadecimal_and_long_enough() {
        assert_eq!(TotpParameters::read_key(KEY).unwrap().as_slice(), b"12345678901234567890");
        assert!(TotpParameters::read_key(&"AB".repeat(10)).is_some());
        for wrong in ["", "12", "xyz", &KEY[1..], &"0 ".repeat(20)] {
            assert!(TotpParameters::read_key(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn rests_double_and_end() {
        let last = Timestamp::from_secs(1000);
        let at = |millis: u64| Timestamp::from_millis(1_000_000 + millis);
        let wait = |factor, failures, after| {
            rest(factor, failures, Some(last), at(after)).map(|wait| wait.as_millis())
        };
        assert_eq!(wait(1, 0, 0), None);
        assert_eq!((wait(1, 1, 0), wait(1, 1, 999), wait(1, 1, 1000)), (Some(1000), Some(1), None));
        assert_eq!((wait(1, 4, 0), wait(3, 2, 0), wait(0, 9, 0)), (Some(8000), Some(6000), None));
        assert_eq!(wait(1, u32::MAX, 0), Some(LONGEST_WAIT.as_millis()));
        assert_eq!(rest(1, 9, None, last), None);
    }
}
