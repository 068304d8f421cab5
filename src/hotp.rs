//! Implements HMAC-based one-time passwords (RFC 4226), on which time-based ones (RFC 6238) are built.
//!
//! HMAC and SHA-1 come from `aws-lc-rs`, the crate's one provider. What remains of RFC 4226 is the truncation below: a crate
//! for it (`totp-rs`) would bring a second HMAC and a second SHA-1 for five lines.

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

/// The most digits that the 31 bits of a truncated hash fill.
pub const MOST_DIGITS: usize = 9;

/// Returns the code of a counter (RFC 4226 section 5.3), with leading zeros; at most [`MOST_DIGITS`] digits.
pub fn hotp(secret: &[u8], counter: u64, digits: usize) -> Zeroizing<String> {
    let digits = digits.min(MOST_DIGITS);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &counter.to_be_bytes());
    let bytes = tag.as_ref();
    let offset = usize::from(bytes.last().copied().unwrap_or_default() & 0x0f);
    let word = bytes.iter().skip(offset).take(4);
    let number = word.fold(0_u32, |number, byte| (number << 8) | u32::from(*byte)) & 0x7fff_ffff;
    let modulus = 10_u32.pow(u32::try_from(digits).unwrap_or_default());
    Zeroizing::new(format!("{:0digits$}", number % modulus))
}

/// Whether the code is right. The time that the comparison takes does not reveal where the codes differ.
pub fn is_code(given: &str, right: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(right.as_bytes(), given.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_the_rfcs() {
        let secret = b"12345678901234567890";
        // RFC 4226 appendix D.
        for (counter, code) in ["755224", "287082", "359152", "969429"].into_iter().enumerate() {
            assert_eq!(*hotp(secret, counter as u64, 6), code);
        }
        // RFC 6238 appendix B.
        for (secs, code) in
            [(59, "94287082"), (1_111_111_109, "07081804"), (20_000_000_000, "65353130")]
        {
            assert_eq!(*hotp(secret, secs / 30, 8), code);
        }
        assert!(is_code("287082", "287082"));
        for wrong in ["", "28708", "2870822", "287083"] {
            assert!(!is_code(wrong, "287082"), "{wrong}");
        }
    }
}
