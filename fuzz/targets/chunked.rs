//! Fuzzes chunked bodies: where a body ends does not depend on how its bytes are split.
#![no_main]

use doorwarden::wire::chunks::Chunks;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let mut whole = Chunks::new();
    let at_once = whole.take(body);
    let mut parts = Chunks::new();
    let mut taken = 0;
    for byte in body {
        match parts.take(std::slice::from_ref(byte)) {
            Ok(0) => break,
            Ok(more) => taken += more,
            Err(_) => {
                assert!(at_once.is_err(), "refused byte by byte alone");
                return;
            }
        }
    }
    assert_eq!(at_once, Ok(taken));
    assert_eq!(whole.is_ended(), parts.is_ended());
});
