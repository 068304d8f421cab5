//! Fuzzes header removal: no client field that an upstream trusts remains, in any spelling.
#![no_main]

use std::sync::LazyLock;

use doorwarden::wire::forward::{ProtectedNames, fold, strip_request};
use libfuzzer_sys::fuzz_target;

#[path = "../common.rs"]
mod common;

static PROTECTED: LazyLock<ProtectedNames> =
    LazyLock::new(|| ProtectedNames::new(["X-User-Id", "X-User-Name"]));

fuzz_target!(|input: &[u8]| {
    let mut headers = common::headers(input);
    strip_request(&mut headers, &PROTECTED, &[], false);
    for name in headers.keys() {
        assert!(!PROTECTED.is_spoofable(&fold(name.as_str())), "{name}");
    }
});
