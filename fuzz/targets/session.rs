//! Fuzzes Django's sessions: rows, cookies and cache entries, behind a valid signature and without one.
#![no_main]

use std::time::Duration;

use doorwarden::clock::Timestamp;
use doorwarden::django::session::{read_cached, read_cookie, read_row};
use doorwarden::django::signing::{SecretKeys, Signer};
use doorwarden::secret::Secret;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = read_cached(input);
    let Ok(text) = std::str::from_utf8(input) else { return };
    let keys = SecretKeys::new(Secret::new("k".repeat(50)), Vec::new());
    let now = Timestamp::from_secs(1_700_000_000);
    let _ = read_row(text, &keys);
    let _ = read_cookie(text, &keys, now, Duration::from_secs(60));
    for salt in ["django.contrib.sessions.SessionStore", "django.contrib.sessions.backends.signed_cookies"] {
        let signed = Signer::new(&keys, salt).sign(text, now);
        let _ = read_row(&signed, &keys);
        let _ = read_cookie(&signed, &keys, now, Duration::from_secs(60));
    }
});
