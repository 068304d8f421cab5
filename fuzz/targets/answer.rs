//! Fuzzes the edits of services' answers: cookies, redirects, framing, and names that only the gateway may set.
#![no_main]

use std::sync::LazyLock;

use doorwarden::wire::cookie::{last_set, sets_cookie};
use doorwarden::wire::forward::{
    ProtectedNames, fold, restore_host, restore_prefix, strip_hop_by_hop, strip_response,
};
use doorwarden::wire::host::Host;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, LOCATION, SET_COOKIE, TRANSFER_ENCODING};
use libfuzzer_sys::fuzz_target;

#[path = "../common.rs"]
mod common;

static PROTECTED: LazyLock<ProtectedNames> =
    LazyLock::new(|| ProtectedNames::new(["X-User-Id", "X-User-Name"]));
static HOST: LazyLock<Host> = LazyLock::new(|| Host::parse("app.example").expect("a host"));

fuzz_target!(|input: &[u8]| {
    let mut headers = common::headers(input);
    let _ = last_set(&headers, "sessionid");
    strip_response(&mut headers, &PROTECTED, &["__Host-doorwarden"]);
    for name in headers.keys() {
        assert!(!PROTECTED.is_identity(&fold(name.as_str())), "{name}");
    }
    for value in headers.get_all(SET_COOKIE) {
        assert!(!sets_cookie(value, "__Host-doorwarden"), "{value:?}");
    }
    for status in [StatusCode::OK, StatusCode::NO_CONTENT] {
        let mut headers = headers.clone();
        if strip_hop_by_hop(&mut headers, status).is_ok() {
            assert!(headers.get_all(CONTENT_LENGTH).iter().count() <= 1, "{headers:?}");
            let framed = headers.contains_key(TRANSFER_ENCODING);
            assert!(status != StatusCode::NO_CONTENT || !framed, "{headers:?}");
            assert!(!headers.contains_key("keep-alive"), "{headers:?}");
        }
    }
    let before = headers.len();
    restore_host(&mut headers, "internal:8000", "https://app.example");
    restore_prefix(&mut headers, "/shop/", &HOST);
    assert_eq!(headers.len(), before, "edits of values add and remove no field");
    for value in headers.get_all(LOCATION).iter().filter_map(|value| value.to_str().ok()) {
        assert!(!value.starts_with("/shop//shop"), "{value}");
    }
});
