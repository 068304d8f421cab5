//! The PROXY protocol (HAProxy's `proxy-protocol.txt`), versions 1 and 2: a proxy's description of a connection, sent
//! before the client's first byte.
//!
//! A header is read piece by piece: [`read`] returns how many bytes are needed at least, so that its caller never reads a byte
//! that belongs to the client. The header is bounded: 107 bytes in version 1, as the protocol says, and [`LONGEST`] in version
//! 2, whose extensions (TLVs) are skipped. Everything that is not such a header is refused; nothing is guessed.
//!
//! `LOCAL` connections are the proxy's own (its health checks), and for `UNKNOWN` and `UNSPEC` ones the proxy knows no
//! address: then the connection's own address counts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header that is accepted. Extensions with a client's certificate stay below it.
pub const LONGEST: usize = 16 + 4096;
/// The longest line of version 1, its end included.
const LONGEST_LINE: usize = 107;
/// The shortest possible header: `PROXY UNKNOWN\r\n`.
const SHORTEST: usize = 15;
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const LINE: &[u8] = b"PROXY ";

/// The address in a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxiedAddress {
    /// Where the client's connection came from.
    From(SocketAddr),
    /// None: the connection is the proxy's own, or of a kind without addresses here.
    Itself,
}

/// The progress of reading a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderReading {
    /// At least this many bytes, those already read included, belong to the header.
    Needs(usize),
    /// The header is complete, and as long as the bytes that were read.
    Whole(ProxiedAddress),
}

/// The reason why the bytes are not a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoHeader {
    /// The bytes begin with something else.
    Missing,
    /// The header is longer than the limit.
    TooLong,
    /// The header breaks the protocol.
    Malformed,
}

/// The version of a header to write.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ProxyVersion {
    /// Version 1: one line of text.
    One,
    /// Version 2: binary.
    Two,
}

impl NoHeader {
    /// Returns the text for the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "it begins with something else",
            Self::TooLong => "it is too long",
            Self::Malformed => "it is malformed",
        }
    }
}

/// Reads the bytes that have come so far, which must not extend beyond the header.
///
/// # Errors
/// [`NoHeader`]
pub fn read(bytes: &[u8]) -> Result<HeaderReading, NoHeader> {
    let agrees = |with: &[u8]| bytes.iter().zip(with).all(|(byte, other)| byte == other);
    if agrees(&SIGNATURE) && bytes.len() >= SIGNATURE.len() {
        return read_two(bytes);
    }
    if agrees(LINE) && bytes.len() >= LINE.len() {
        return read_one(bytes);
    }
    match agrees(&SIGNATURE) || agrees(LINE) {
        true => Ok(HeaderReading::Needs(SHORTEST)),
        false => Err(NoHeader::Missing),
    }
}

fn read_one(bytes: &[u8]) -> Result<HeaderReading, NoHeader> {
    let end = bytes.windows(2).position(|two| two == b"\r\n");
    let Some(end) = end else {
        let rest = if bytes.ends_with(b"\r") { 1 } else { 2 };
        let needs = (bytes.len() + rest).max(SHORTEST);
        return if needs > LONGEST_LINE {
            Err(NoHeader::TooLong)
        } else {
            Ok(HeaderReading::Needs(needs))
        };
    };
    let line = bytes.get(LINE.len()..end).unwrap_or_default();
    // There must be nothing after the header: a reader takes no more than is needed.
    if end + 2 != bytes.len() {
        return Err(NoHeader::Malformed);
    }
    let line = std::str::from_utf8(line).map_err(|_| NoHeader::Malformed)?;
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Ok(HeaderReading::Whole(ProxiedAddress::Itself));
    }
    let mut words = line.split(' ');
    let (Some(family), Some(from), Some(to), Some(from_port), Some(to_port), None) =
        (words.next(), words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return Err(NoHeader::Malformed);
    };
    let address = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    let (from, _) = address(from).zip(address(to)).ok_or(NoHeader::Malformed)?;
    let (port, _) = port(from_port).zip(port(to_port)).ok_or(NoHeader::Malformed)?;
    Ok(HeaderReading::Whole(ProxiedAddress::From(SocketAddr::new(from, port))))
}

/// Parses a port: only digits, without a leading zero.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    (is_plain && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok())?
}

fn read_two(bytes: &[u8]) -> Result<HeaderReading, NoHeader> {
    let Some((head, rest)) = bytes.split_at_checked(16) else {
        return Ok(HeaderReading::Needs(16));
    };
    let [.., command, family, high, low] = *head else { return Err(NoHeader::Malformed) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if command >> 4 != 2 {
        return Err(NoHeader::Malformed);
    }
    let is_local = match command & 0x0F {
        0 => true,
        1 => false,
        _ => return Err(NoHeader::Malformed),
    };
    if 16 + length > LONGEST {
        return Err(NoHeader::TooLong);
    }
    if rest.len() < length {
        return Ok(HeaderReading::Needs(16 + length));
    }
    if rest.len() > length {
        return Err(NoHeader::Malformed);
    }
    if is_local {
        return Ok(HeaderReading::Whole(ProxiedAddress::Itself));
    }
    let port = |at: usize| match rest.get(at..at + 2) {
        Some(&[high, low]) => Ok(u16::from_be_bytes([high, low])),
        _ => Err(NoHeader::Malformed),
    };
    let from = match family {
        // A stream over IPv4 or IPv6.
        0x11 if length >= 12 => {
            let octets: [u8; 4] = slice(rest)?;
            SocketAddr::new(IpAddr::from(octets), port(8)?)
        }
        0x21 if length >= 36 => {
            let octets: [u8; 16] = slice(rest)?;
            SocketAddr::new(IpAddr::from(octets), port(32)?)
        }
        // An unknown address, or a socket on the proxy's machine.
        0x00 | 0x31 => return Ok(HeaderReading::Whole(ProxiedAddress::Itself)),
        _ => return Err(NoHeader::Malformed),
    };
    Ok(HeaderReading::Whole(ProxiedAddress::From(from)))
}

fn slice<const N: usize>(bytes: &[u8]) -> Result<[u8; N], NoHeader> {
    bytes.first_chunk().copied().ok_or(NoHeader::Malformed)
}

/// Writes a header with the addresses that a connection came from and was accepted at; `None` if the connection is the
/// gateway's own.
pub fn write(version: ProxyVersion, connection: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    // Both addresses are of one family: an IPv4 address beside an IPv6 one is written as a mapped one.
    let pair = connection.map(|(from, to)| match (canonical(from), canonical(to)) {
        (from @ SocketAddr::V4(_), to @ SocketAddr::V4(_)) => (from, to),
        (from, to) => (mapped(from), mapped(to)),
    });
    match (version, pair) {
        (ProxyVersion::One, None) => b"PROXY UNKNOWN\r\n".to_vec(),
        (ProxyVersion::One, Some((from, to))) => {
            let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
            let (a, b) = (from.ip(), to.ip());
            format!("PROXY {family} {a} {b} {} {}\r\n", from.port(), to.port()).into_bytes()
        }
        (ProxyVersion::Two, None) => [&SIGNATURE[..], &[0x20, 0, 0, 0]].concat(),
        (ProxyVersion::Two, Some((from, to))) => {
            let mut bytes = SIGNATURE.to_vec();
            let octets = |address: SocketAddr| match address.ip() {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            let (family, length) = if from.is_ipv4() { (0x11, 12) } else { (0x21, 36) };
            bytes.extend([0x21, family, 0, length]);
            bytes.extend(octets(from));
            bytes.extend(octets(to));
            bytes.extend(from.port().to_be_bytes());
            bytes.extend(to.port().to_be_bytes());
            bytes
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads as a real reader does: never a byte more than is needed.
    fn read_all(bytes: &[u8]) -> (Result<ProxiedAddress, Option<NoHeader>>, usize) {
        let mut taken = 0;
        loop {
            let Some(so_far) = bytes.get(..taken) else { return (Err(None), taken) };
            match read(so_far) {
                Ok(HeaderReading::Whole(announced)) => return (Ok(announced), taken),
                Ok(HeaderReading::Needs(more)) => {
                    assert!(more > taken && more <= LONGEST, "{more} after {taken}");
                    taken = more;
                }
                Err(no) => return (Err(Some(no)), taken),
            }
        }
    }

    fn from(text: &str) -> Result<ProxiedAddress, Option<NoHeader>> {
        Ok(ProxiedAddress::From(text.parse().unwrap()))
    }

    #[test]
    fn a_line_is_read_up_to_its_end() {
        let itself = || Ok(ProxiedAddress::Itself);
        let malformed = || Err(Some(NoHeader::Malformed));
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\r\n", from("192.0.2.1:1234")),
            ("PROXY TCP6 2001:db8::1 ::1 1 2\r\n", from("[2001:db8::1]:1")),
            ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", from("0.0.0.0:0")),
            ("PROXY UNKNOWN\r\n", itself()),
            ("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", itself()),
            ("PROXY TCP4 192.0.2.1 198.51.100.2 1234\r\n", malformed()),
            ("PROXY TCP4 192.0.2.1 198.51.100.2 1234 443 5\r\n", malformed()),
            ("PROXY TCP4 192.0.2.1  198.51.100.2 1234 443\r\n", malformed()),
            ("PROXY TCP4 2001:db8::1 ::1 1 2\r\n", malformed()),
            ("PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n", malformed()),
            ("PROXY TCP4 192.0.2.1 198.51.100.2 65536 1\r\n", malformed()),
            ("PROXY TCP4 192.0.2.1 198.51.100.2 +1 1\r\n", malformed()),
            ("PROXY TCP4 192.0.2.1 198.51.100.2 01 1\r\n", malformed()),
            ("PROXY TCP4 192.0.2.01 198.51.100.2 1 1\r\n", malformed()),
            ("PROXY UDP4 192.0.2.1 198.51.100.2 1 1\r\n", malformed()),
            ("PROXY UNKNOWNS\r\n", malformed()),
            ("PROXY \r\nPROXY \r\n", malformed()),
            ("GET / HTTP/1.1\r\n\r\n", Err(Some(NoHeader::Missing))),
            ("proxy TCP4 192.0.2.1 198.51.100.2 1 1\r\n", Err(Some(NoHeader::Missing))),
            ("PROXY TCP4 192.0.2.1 198.51.100.2 1", Err(None)),
        ] {
            let (read, taken) = read_all(line.as_bytes());
            assert_eq!(read, expected, "{line}");
            assert!(read.is_err() || taken == line.len(), "{line}: {taken}");
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_LINE - 16));
        assert_eq!((long.len(), read_all(long.as_bytes()).0), (107, Ok(ProxiedAddress::Itself)));
        let longer = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_LINE - 15));
        assert_eq!(read_all(longer.as_bytes()).0, Err(Some(NoHeader::TooLong)));
    }

    fn two(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    #[test]
    fn bytes_are_read_with_whatever_extends_them() {
        let four = [192, 0, 2, 1, 198, 51, 100, 2, 0x04, 0xD2, 0x01, 0xBB];
        let extended = [&four[..], &[0x20, 0, 3, 1, 2, 3]].concat();
        let six = [&[0x20, 1, 0x0D, 0xB8], &[0; 11][..], &[1], &[0; 16], &[0, 1, 0, 2]].concat();
        let malformed = Err(Some(NoHeader::Malformed));
        for (bytes, expected) in [
            (two(0x21, 0x11, &four), from("192.0.2.1:1234")),
            (two(0x21, 0x11, &extended), from("192.0.2.1:1234")),
            (two(0x21, 0x21, &six), from("[2001:db8::1]:1")),
            (two(0x20, 0x11, &four), Ok(ProxiedAddress::Itself)),
            (two(0x20, 0x00, &[]), Ok(ProxiedAddress::Itself)),
            (two(0x20, 0xFF, &[1; 300]), Ok(ProxiedAddress::Itself)),
            (two(0x21, 0x00, &[]), Ok(ProxiedAddress::Itself)),
            (two(0x21, 0x31, &[0; 216]), Ok(ProxiedAddress::Itself)),
            (two(0x21, 0x12, &four), malformed),
            (two(0x21, 0x11, &four[..11]), malformed),
            (two(0x21, 0x21, &six[..35]), malformed),
            (two(0x11, 0x11, &four), malformed),
            (two(0x22, 0x11, &four), malformed),
            (two(0x21, 0x11, &[0; 5000]), Err(Some(NoHeader::TooLong))),
            (two(0x21, 0x11, &[0; 12])[..20].to_vec(), Err(None)),
        ] {
            let (read, taken) = read_all(&bytes);
            assert_eq!(read, expected, "{bytes:x?}");
            assert!(read.is_err() || taken == bytes.len(), "{taken}");
        }
    }

    fn address() -> impl Strategy<Value = SocketAddr> {
        let ip = prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from)
        ];
        (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(from in address(), to in address(), rest in any::<[u8; 8]>()) {
            for version in [ProxyVersion::One, ProxyVersion::Two] {
                let header = write(version, Some((from, to)));
                // The client's bytes follow immediately, and are not touched.
                let (read, taken) = read_all(&[&header[..], &rest].concat());
                prop_assert_eq!(taken, header.len());
                let Ok(ProxiedAddress::From(read)) = read else { panic!("{read:?}") };
                prop_assert_eq!(canonical(read), canonical(from));
                let header = write(version, None);
                prop_assert_eq!(read_all(&header), (Ok(ProxiedAddress::Itself), header.len()));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read_all(&bytes);
            let _ = read_all(&[&SIGNATURE[..], &bytes].concat());
            let _ = read_all(&[LINE, &bytes].concat());
        }
    }
}
