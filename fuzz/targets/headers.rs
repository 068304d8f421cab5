//! Fuzzes the header fields that influence decisions: credentials, cookies, languages, and what `Connection` names.
#![no_main]

use std::sync::LazyLock;

use doorwarden::clock::Timestamp;
use doorwarden::wire::accept::Language;
use doorwarden::wire::forward::{ProtectedNames, connection_nominates};
use doorwarden::wire::jar::CookieChange;
use doorwarden::wire::next::Next;
use doorwarden::wire::{authorization, cookie, header_value};
use libfuzzer_sys::fuzz_target;

#[path = "../common.rs"]
mod common;

static PROTECTED: LazyLock<ProtectedNames> =
    LazyLock::new(|| ProtectedNames::new(["X-User-Id"]));

fuzz_target!(|input: &[u8]| {
    let headers = common::headers(input);
    let _ = authorization::read(&headers);
    let _ = Language::negotiate(&headers);
    let _ = connection_nominates(&headers, &PROTECTED);
    for value in cookie::values(&headers, "sessionid") {
        assert!(!value.contains(&b';'), "two cookies in one");
    }
    let _ = CookieChange::all(&headers, Timestamp::from_secs(1_700_000_000)).count();
    if let Ok(text) = std::str::from_utf8(input) {
        if let Some(next) = Next::parse(text) {
            let to = next.as_str();
            assert!(to.starts_with('/') && !to.starts_with("//") && !to.starts_with("/\\"), "{to}");
        }
        let value = header_value::value(text);
        let value = value.to_str().unwrap_or_default();
        assert_eq!(header_value::decode(value).as_deref(), Some(text));
    }
});
