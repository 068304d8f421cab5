//! Computes what django-otp computes: whether a code of a TOTP device is valid, and how long a device is locked after
//! failures.
//!
//! Each device stores the length of its steps, when they began, the digits of a code, how many steps to either side are
//! accepted (`tolerance`) and by how many steps its app is known to differ (`drift`). A code is not accepted if its step is
//! not after the last one that was used (`last_t`).

use std::time::Duration;

use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::hotp::{hotp, is_code};

/// The most steps to either side that are checked, whatever a row says: an hour of steps of the usual length.
const MOST_TOLERANCE: i64 = 120;

/// The accepted numbers of digits: those that its forms offer, and the one between.
const DIGITS: std::ops::RangeInclusive<usize> = 6..=8;

/// The longest wait that is reported: a year. django-otp's own longest wait is a hundred years.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 86_400);

/// The parameters of a TOTP device.
pub struct TotpParameters {
    /// The secret.
    pub key: Zeroizing<Vec<u8>>,
    /// The length of a step in seconds.
    pub step: i64,
    /// When the first step began, in seconds since 1970.
    pub t0: i64,
    /// The number of digits of a code.
    pub digits: usize,
    /// The number of steps to either side that are accepted.
    pub tolerance: i64,
    /// By how many steps the app's clock differs.
    pub drift: i64,
    /// The last step whose code was used.
    pub last_t: i64,
}

/// The result of checking a code of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodeMatch {
    /// The code is valid for a step.
    Right {
        /// The step that the code belongs to.
        t: i64,
        /// By how many steps the app's clock differs.
        drift: i64,
    },
    /// The code belongs to a step that is not after the last one that was used.
    Used,
    /// The code is wrong.
    Wrong,
}

impl TotpParameters {
    /// Decodes a key from its column. Returns `None` if it is not hexadecimal or too short for a key.
    pub fn read_key(hex: &str) -> Option<Zeroizing<Vec<u8>>> {
        const SHORTEST: usize = 10;
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()?;
        (bytes.len() >= SHORTEST).then(|| Zeroizing::new(bytes))
    }

    /// Whether the parameters allow any code to be valid.
    pub fn is_usable(&self) -> bool {
        self.step > 0 && DIGITS.contains(&self.digits) && self.tolerance >= 0
    }

    /// Checks a code.
    pub fn look_at(&self, code: &str, at: Timestamp) -> CodeMatch {
        if !self.is_usable() || code.len() != self.digits {
            return CodeMatch::Wrong;
        }
        let now = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
        let present = now.saturating_sub(self.t0).div_euclid(self.step).saturating_add(self.drift);
        let tolerance = self.tolerance.min(MOST_TOLERANCE);
        let mut found = CodeMatch::Wrong;
        // Every step is checked whatever the others give. The first match counts, as in django-otp.
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

/// Returns for how long a device is still locked: `factor` seconds after the first failure, and twice as long after each
/// further one.
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
