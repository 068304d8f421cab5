//! Fuzzes PROXY protocol headers: no byte of the client's is consumed, and what is accepted can be written again.
#![no_main]

use doorwarden::wire::proxy_protocol::{
    HeaderReading, LONGEST, ProxiedAddress, ProxyVersion, read, write,
};
use libfuzzer_sys::fuzz_target;

fn announced(bytes: &[u8]) -> Option<(ProxiedAddress, usize)> {
    let mut taken = 0;
    loop {
        match read(bytes.get(..taken)?).ok()? {
            HeaderReading::Whole(announced) => return Some((announced, taken)),
            HeaderReading::Needs(more) => {
                assert!(more > taken && more <= LONGEST);
                taken = more;
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((announced, taken)) = announced(bytes) else { return };
    assert!(taken <= bytes.len());
    // The bytes after the header do not change the result.
    assert_eq!(self::announced(&bytes[..taken]), Some((announced, taken)));
    let ProxiedAddress::From(client) = announced else { return };
    for version in [ProxyVersion::One, ProxyVersion::Two] {
        let header = write(version, Some((client, client)));
        let Some((ProxiedAddress::From(again), length)) = self::announced(&header) else {
            panic!("{header:?}");
        };
        assert_eq!(length, header.len());
        assert_eq!(again.ip().to_canonical(), client.ip().to_canonical());
        assert_eq!(again.port(), client.port());
    }
});
