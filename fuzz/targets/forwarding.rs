//! Fuzzes the client's address: no header of an untrusted peer changes it.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use doorwarden::wire::client_ip::{ClientAddress, TrustedProxies};
use libfuzzer_sys::fuzz_target;

#[path = "../common.rs"]
mod common;

fuzz_target!(|input: &[u8]| {
    let headers = common::headers(input);
    let trusted = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]);
    let stranger = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
    let client = ClientAddress::resolve(stranger, &trusted, &headers);
    assert_eq!(client.ip(), stranger);
    assert_eq!(client.forwarded_host(&headers), None);
    let proxy = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    let client = ClientAddress::resolve(proxy, &trusted, &headers);
    let _ = client.forwarded_scheme(&headers);
    let _ = client.forwarded_host(&headers);
});
