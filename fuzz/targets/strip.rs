//! Fuzzes header removal: no client field that an upstream trusts remains, in any spelling.
#![no_main]

use doorwarden::wire::forward::{ProtectedNames, fold, strip_request};
use libfuzzer_sys::fuzz_target;

#[path = "../common.rs"]
mod common;

fuzz_target!(|input: &[u8]| {
    let mut headers = common::headers(input);
    let protected = ProtectedNames::new(["X-User-Id", "X-User-Name"]);
    strip_request(&mut headers, &protected, &[], false);
    for name in headers.keys() {
        assert!(!protected.is_spoofable(&fold(name.as_str())), "{name}");
    }
});
