//! The format of a personal access token: `dwp_`, 33 random letters and digits, and a checksum of 6.
//!
//! The prefix and the checksum help secret scanners: a text that matches `dwp_[0-9A-Za-z]{39}` and whose checksum is right is
//! almost certainly a token of the gateway. The checksum is the CRC-32 of IEEE 802.3 of everything before it, as a number in
//! base 62 (digits, capitals, small letters), padded with zeros. It protects nothing: the security is in the 33 letters, of 196
//! bits.

use crate::secret::{NoRandomness, Secret, random_bytes};

/// The prefix of every token.
pub(crate) const PREFIX: &str = "dwp_";

/// The length of every token.
const LENGTH: usize = PREFIX.len() + RANDOM + CHECKSUM;

/// The number of random letters out of 62: `33 * log2(62)` is 196 bits.
const RANDOM: usize = 33;

/// The length of the checksum: `62^6` is more than `2^32`.
const CHECKSUM: usize = 6;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Whether a text claims to be a token, complete or not. Used to withhold it from upstreams.
pub(crate) fn says_token(text: &[u8]) -> bool {
    text.starts_with(PREFIX.as_bytes())
}

/// Whether a text has the form of a token and the right checksum.
pub(crate) fn is_well_formed(text: &str) -> bool {
    let Some((body, checksum)) = text.split_at_checked(LENGTH - CHECKSUM) else { return false };
    text.len() == LENGTH
        && body.starts_with(PREFIX)
        && body.bytes().skip(PREFIX.len()).all(|byte| byte.is_ascii_alphanumeric())
        && checksum.as_bytes() == checksum_of(body)
}

/// Creates a new token.
pub(super) fn random() -> Result<Secret, NoRandomness> {
    let mut text = String::with_capacity(LENGTH);
    text.push_str(PREFIX);
    while text.len() < PREFIX.len() + RANDOM {
        // Bytes of the last, incomplete round of 62 are skipped, so that each letter is equally likely.
        let bytes = random_bytes::<64>()?;
        let even = bytes.iter().filter(|byte| usize::from(**byte) < 256 / 62 * 62);
        let missing = PREFIX.len() + RANDOM - text.len();
        text.extend(even.take(missing).map(|byte| letter(u32::from(*byte))));
    }
    text.extend(checksum_of(&text).map(char::from));
    Ok(Secret::new(text))
}

fn checksum_of(text: &str) -> [u8; CHECKSUM] {
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut digits = [b'0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = byte_of(rest);
        rest /= 62;
    }
    digits
}

fn letter(number: u32) -> char {
    char::from(byte_of(number))
}

fn byte_of(number: u32) -> u8 {
    let index = usize::try_from(number % 62).unwrap_or_default();
    ALPHABET.get(index).copied().unwrap_or(b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_has_the_form_and_differs() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert_ne!(one, other);
        for token in [one, other] {
            let text = token.expose();
            assert_eq!(text.len(), 43, "{text}");
            assert!(is_well_formed(text) && says_token(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn the_checksum_is_one_that_anybody_can_compute() {
        // zlib.crc32(b"dwp_" + b"0" * 33), in base 62.
        assert!(is_well_formed("dwp_0000000000000000000000000000000003c6Ebk"));
    }

    #[test]
    fn a_changed_or_cut_one_is_none() {
        let token = random().unwrap();
        let text = token.expose();
        for index in 0..text.len() {
            let mut other = text.to_owned().into_bytes();
            other[index] = if other[index] == b'a' { b'b' } else { b'a' };
            assert!(!is_well_formed(str::from_utf8(&other).unwrap()), "{index}");
        }
        for other in
            [&text[..42], &format!("{text}0"), "", "dwp_", &text[4..], &text.to_uppercase()]
        {
            assert!(!is_well_formed(other), "{other}");
        }
        let foreign = format!("dwp_{}", "é".repeat(20));
        assert!(!is_well_formed(&foreign) && says_token(foreign.as_bytes()));
    }

    #[test]
    fn every_letter_comes_up_about_as_often() {
        let mut counts = [0_u32; 256];
        for _ in 0..2000 {
            let token = random().unwrap();
            token.expose().bytes().skip(4).take(33).for_each(|byte| counts[usize::from(byte)] += 1);
        }
        for letter in ALPHABET {
            // 66 000 letters: 1064 of each are expected, plus or minus 32.
            let count = counts[usize::from(*letter)];
            assert!((864..1264).contains(&count), "{} {count}", char::from(*letter));
        }
    }
}
