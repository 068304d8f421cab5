//! Fuzzes request bodies of own paths: JSON, forms, multipart. The first byte chooses the kind.
#![no_main]

use doorwarden::wire::body::Fields;
use http::HeaderValue;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((kind, body)) = input.split_first() else { return };
    let kind = match kind % 3 {
        0 => "application/json",
        1 => "application/x-www-form-urlencoded",
        _ => "multipart/form-data; boundary=b",
    };
    if let Ok(fields) = Fields::parse(Some(&HeaderValue::from_static(kind)), body) {
        for name in ["username", "password", "refresh"] {
            if let Ok(text) = fields.text(name) {
                assert!(!text.is_empty() && !text.contains('\0'));
            }
        }
    }
});
