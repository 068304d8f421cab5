//! Fuzzes HTTP/2 frames: what they cost does not depend on how the bytes are split.
#![no_main]

use std::time::Instant;

use doorwarden::wire::frames::FrameBudget;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let now = Instant::now();
    let whole = FrameBudget::new(now).read(bytes, now);
    let mut parts = FrameBudget::new(now);
    let apart = bytes.chunks(3).try_for_each(|part| parts.read(part, now));
    assert_eq!(whole.is_ok(), apart.is_ok());
});
