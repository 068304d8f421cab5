//! Makes an id for every request: a random start for each process, and a count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::secret::{NoRandomness, random_bytes};

/// The digits of the random start.
const START: usize = 16;
/// The least digits of the count: `-00000000`.
const LEAST: usize = 8;
/// The longest id: a count has at most 16 digits.
const LONGEST: usize = START + 1 + 16;

/// Makes request ids.
pub(super) struct RequestIds {
    start: [u8; START],
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Result<Self, NoRandomness> {
        let mut start = [0; START];
        let number = u64::from_be_bytes(random_bytes()?);
        write_hex(number, &mut start);
        Ok(Self { start, next: AtomicU64::new(0) })
    }

    /// Returns the next id. It is formatted by hand because every request needs one, and formatting costs several times as
    /// much.
    pub(super) fn next(&self) -> Arc<str> {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let mut id = [0; LONGEST];
        let (start, rest) = id.split_at_mut(START);
        start.copy_from_slice(&self.start);
        let digits = LEAST.max((u64::BITS - count.leading_zeros()).div_ceil(4) as usize);
        if let Some((hyphen, rest)) = rest.split_first_mut() {
            *hyphen = b'-';
            write_hex(count, rest.get_mut(..digits).unwrap_or_default());
        }
        // Digits and a hyphen are valid UTF-8.
        let id = id.get(..START + 1 + digits);
        Arc::from(id.and_then(|id| str::from_utf8(id).ok()).unwrap_or_default())
    }
}

/// Writes as many of the last digits as there is room for.
fn write_hex(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        let nibble = (number & 0xF).to_le_bytes()[0];
        *digit = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
        number >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_start_and_the_count_in_hexadecimal() {
        let ids = RequestIds { start: *b"0123456789abcdef", next: AtomicU64::new(0) };
        for (count, id) in [
            (0, "0123456789abcdef-00000000"),
            (0xfe, "0123456789abcdef-000000fe"),
            (0xffff_ffff, "0123456789abcdef-ffffffff"),
            (0x1_0000_0000, "0123456789abcdef-100000000"),
            (u64::MAX, "0123456789abcdef-ffffffffffffffff"),
        ] {
            ids.next.store(count, Ordering::Relaxed);
            assert_eq!(&*ids.next(), id);
        }
        let random = RequestIds::new().unwrap();
        assert_ne!(random.start, RequestIds::new().unwrap().start);
    }
}
