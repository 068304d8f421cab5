//! Fuzzes encoded passwords: what is accepted is spelled as Django spells it.
#![no_main]

use doorwarden::django::hashers::Encoded;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = Encoded::parse(text);
});
