//! Fuzzes hosts: an accepted host is written in one way.
#![no_main]

use doorwarden::wire::host::Host;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| {
    if let Ok(host) = Host::parse(raw) {
        assert_eq!(Host::parse(host.to_string()).as_ref(), Ok(&host));
    }
});
