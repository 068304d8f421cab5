//! Implements time-based one-time passwords (RFC 6238) as authenticator apps do: HMAC-SHA-1, six digits, 30 seconds.

use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::hotp::{hotp, is_code};

/// The number of bytes of a secret: as long as the hash, as RFC 4226 section 4 recommends.
pub(super) const SECRET: usize = 20;

const STEP_SECS: u64 = 30;

/// The number of steps before and after the present one whose codes are right too: clocks differ, and people type slowly.
const SKEW: u64 = 1;

const DIGITS: usize = 6;

/// The secret of an authenticator app.
pub(super) struct TotpSecret(Zeroizing<Vec<u8>>);

impl TotpSecret {
    pub(super) const fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the secret in the form that is typed into apps by hand: base32 without padding (RFC 4648 section 6).
    pub(super) fn base32(&self) -> String {
        data_encoding::BASE32_NOPAD.encode(&self.0)
    }

    /// Returns the step of a code that is right now: the latest, if two steps have the same code.
    pub(super) fn step_of(&self, code: &str, at: Timestamp) -> Option<u64> {
        let now = at.as_secs() / STEP_SECS;
        let mut found = None;
        // Every code is compared, even after one that is equal, so that the time taken does not reveal the step.
        for step in now.saturating_sub(SKEW)..=now.saturating_add(SKEW) {
            if is_code(code, &self.code(step)) {
                found = Some(step);
            }
        }
        found
    }

    /// Returns the code of a step (RFC 4226 section 5.3).
    pub(super) fn code(&self, step: u64) -> Zeroizing<String> {
        hotp(&self.0, step, DIGITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> TotpSecret {
        TotpSecret::new(Zeroizing::new(b"12345678901234567890".to_vec()))
    }

    #[test]
    fn the_codes_are_those_of_the_rfcs() {
        // RFC 4226 appendix D.
        for (step, code) in [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583",
            "399871", "520489",
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(*secret().code(step as u64), code);
        }
        // RFC 6238 appendix B, the last six of eight digits.
        for (secs, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let at = Timestamp::from_secs(secs);
            assert_eq!(secret().step_of(code, at), Some(secs / 30), "{secs}");
        }
        assert_eq!(secret().base32(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    }

    #[test]
    fn one_step_to_either_side_is_right_and_no_more() {
        let code = secret().code(1000);
        for (secs, is_right) in
            [(29_969, false), (29_970, true), (30_000, true), (30_059, true), (30_060, false)]
        {
            let step = secret().step_of(&code, Timestamp::from_secs(secs));
            assert_eq!(step, is_right.then_some(1000), "{secs}");
        }
    }

    #[test]
    fn what_is_no_code_is_not_right() {
        let at = Timestamp::from_secs(30_000);
        let code = secret().code(1000).to_string();
        for wrong in ["", "000000", "12345", &format!("{code}0"), &code[1..], &format!(" {code}")] {
            assert_eq!(secret().step_of(wrong, at), None, "{wrong:?}");
        }
    }
}
