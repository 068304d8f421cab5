//! Fuzzes HTTP/1 heads: another parser reads an accepted head in the same way.
#![no_main]

use doorwarden::wire::framing::{HeadLimits, Methods, check_head};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|head: &[u8]| {
    let limits = HeadLimits { head_bytes: 1 << 16, headers: 100, target_bytes: 1 << 13 };
    if check_head(head, &limits, &Methods::default()).is_err() {
        return;
    }
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut fields);
    // Input without the final empty line is a head only for the gateway's check, which is always given whole heads.
    let Ok(httparse::Status::Complete(_)) = request.parse(head) else { return };
    let named = |name: &str| {
        request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).count()
    };
    assert_eq!(named("host"), 1);
    assert!(named("content-length") + named("transfer-encoding") <= 1, "two lengths");
    let method = request.method.unwrap_or_default();
    assert!(Methods::default().contains(method.as_bytes()), "{method}");
});
