//! Finds the client's address: the peer's, or the one that trusted proxies report.
//!
//! `X-Forwarded-For` grows to the right, and a client can write any left part. So all its lines are read as one list, from the
//! right: as long as the last known address is a trusted proxy, the entry before it is the address that this proxy saw. The
//! first address that is not trusted is the client. An entry that is not an address ends the search at the last valid one, and
//! so does the limit of 32 entries. Nothing left of the client is passed on. Without a trusted peer, forwarding headers are
//! ignored.
//!
//! IPv4-mapped IPv6 addresses count as IPv4 everywhere, or `::ffff:10.0.0.1` would be another client than `10.0.0.1`.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::host::Host;
use super::scheme::Scheme;

const MAX_ENTRIES: usize = 32;
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// The networks whose forwarding headers are trusted.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// The sender of a request, and the proxies in between.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientAddress {
    ip: IpAddr,
    /// The trusted proxies between the client and the gateway, the nearest last; empty if the peer is the client.
    proxies: Vec<IpAddr>,
    trusted: bool,
}

impl TrustedProxies {
    /// Creates the set from the configured networks; IPv4-mapped ones become IPv4.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(networks.into_iter().map(canonical_network).collect())
    }

    /// Whether a network has an address in common with one of these.
    pub fn overlaps(&self, network: &IpNet) -> bool {
        let network = canonical_network(*network);
        self.0.iter().any(|one| one.contains(&network) || network.contains(one))
    }

    /// Whether the address is in one of the networks.
    pub fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| network.contains(&ip))
    }
}

impl ClientAddress {
    /// Searches from the peer to the first address that is not a trusted proxy.
    pub fn resolve(peer: IpAddr, trusted: &TrustedProxies, headers: &HeaderMap) -> Self {
        let peer = peer.to_canonical();
        let mut found = Self { ip: peer, proxies: Vec::new(), trusted: trusted.trusts(peer) };
        if !found.trusted {
            return found;
        }
        let entries = headers
            .get_all(X_FORWARDED_FOR)
            .iter()
            .rev()
            .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        for entry in entries.take(MAX_ENTRIES) {
            let Some(ip) = parse_entry(entry) else { break };
            found.proxies.push(found.ip);
            found.ip = ip;
            if !trusted.trusts(ip) {
                break;
            }
        }
        found.proxies.reverse();
        found
    }

    /// Returns the client's address.
    pub const fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Returns the address that the connection came from.
    pub fn peer(&self) -> IpAddr {
        self.proxies.last().copied().unwrap_or(self.ip)
    }

    /// Whether the peer is a trusted proxy, so that its forwarding headers count.
    pub const fn through_trusted_proxy(&self) -> bool {
        self.trusted
    }

    /// Whether there were trusted proxies between the client and the gateway.
    pub const fn has_proxies(&self) -> bool {
        !self.proxies.is_empty()
    }

    /// Returns the client and the trusted proxies after it, the peer last.
    pub fn chain(&self) -> impl Iterator<Item = IpAddr> {
        std::iter::once(self.ip).chain(self.proxies.iter().copied())
    }

    /// Returns the scheme that a trusted proxy reports for the client: the last element of a list, which the peer wrote
    /// or passed on. Unknown schemes are ignored.
    pub fn forwarded_scheme(&self, headers: &HeaderMap) -> Option<Scheme> {
        let value = self.forwarded(headers, &X_FORWARDED_PROTO)?;
        // Some proxies write `ws` and `wss` for WebSocket handshakes.
        if [b"https".as_slice(), b"wss"].iter().any(|name| value.eq_ignore_ascii_case(name)) {
            Some(Scheme::Https)
        } else if [b"http".as_slice(), b"ws"].iter().any(|name| value.eq_ignore_ascii_case(name)) {
            Some(Scheme::Http)
        } else {
            None
        }
    }

    /// Returns the host that a trusted proxy reports for the client: the last element of a list. Malformed hosts are
    /// ignored.
    pub fn forwarded_host(&self, headers: &HeaderMap) -> Option<Host> {
        Host::parse(self.forwarded(headers, &X_FORWARDED_HOST)?).ok()
    }

    /// Returns the port that a trusted proxy reports for the client: the last element of a list. The other scheme's
    /// default port is ignored: proxies behind one that terminates TLS write the port that they listen on.
    pub fn forwarded_port(&self, headers: &HeaderMap, scheme: Scheme) -> Option<u16> {
        let value = std::str::from_utf8(self.forwarded(headers, &X_FORWARDED_PORT)?).ok()?;
        let other = match scheme {
            Scheme::Http => 443,
            Scheme::Https => 80,
        };
        value.parse().ok().filter(|port| *port != 0 && *port != other)
    }

    fn forwarded<'h>(&self, headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
        if !self.trusted {
            return None;
        }
        let last = headers.get_all(name).iter().next_back()?.as_bytes();
        last.rsplit(|byte| *byte == b',').next().map(<[u8]>::trim_ascii)
    }
}

/// Returns the network by which one client's failures are counted: the address, or the /64 that one IPv6 client has.
pub fn network_32_or_64(ip: IpAddr) -> IpNet {
    truncated(ip, 32, 64)
}

/// Returns the network by which one neighborhood's failures are counted: the /24, or the /48 that one IPv6 customer has.
pub fn network_24_or_48(ip: IpAddr) -> IpNet {
    truncated(ip, 24, 48)
}

/// Whether the address can be located. Private, local, shared, documentation, translated and reserved addresses cannot,
/// and have no country.
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            !(a == 0
                || ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_documentation()
                || a >= 224
                || (a == 100 && b & 0xC0 == 64)
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && b & 0xFE == 18))
        }
        // Global unicast, without IETF assignments (Teredo among them), 6to4, and both documentation blocks.
        IpAddr::V6(ip) => {
            let [a, b, ..] = ip.segments();
            a & 0xE000 == 0x2000
                && !(a == 0x2001 && b < 0x0200)
                && !(a == 0x2001 && b == 0x0DB8)
                && a != 0x2002
                && !(a == 0x3FFF && b < 0x1000)
        }
    }
}

/// Returns an address as text.
pub fn ip_text(ip: IpAddr) -> String {
    // An IPv4 address fits; for IPv6 the string grows.
    let mut text = String::with_capacity(15);
    push_ip(&mut text, ip);
    text
}

/// Writes an address as the standard library does. It is written by hand because every request needs it, and formatting costs
/// several times as much.
pub fn push_ip(text: &mut String, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            for (index, octet) in ip.octets().into_iter().enumerate() {
                text.push_str(if index > 0 { "." } else { "" });
                push_number(text, octet.into());
            }
        }
        IpAddr::V6(ip) => {
            let _ = write!(text, "{ip}");
        }
    }
}

/// Writes a number in decimal.
pub fn push_number(text: &mut String, number: u16) {
    let mut unit = match number {
        0..10 => 1,
        10..100 => 10,
        100..1_000 => 100,
        1_000..10_000 => 1_000,
        10_000.. => 10_000,
    };
    while unit > 0 {
        text.push(char::from(b'0' + (number / unit % 10).to_le_bytes()[0]));
        unit /= 10;
    }
}

fn truncated(ip: IpAddr, v4: u8, v6: u8) -> IpNet {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpNet::V4(Ipv4Net::new_assert(ip, v4).trunc()),
        IpAddr::V6(ip) => IpNet::V6(Ipv6Net::new_assert(ip, v6).trunc()),
    }
}

fn canonical_network(network: IpNet) -> IpNet {
    if let IpNet::V6(v6) = network
        && let Some(prefix) = v6.prefix_len().checked_sub(96)
        && let Some(v4) = v6.addr().to_ipv4_mapped()
    {
        return IpNet::V4(Ipv4Net::new_assert(v4, prefix));
    }
    network
}

/// Parses `address`, `address:port`, `[address]` or `[address]:port`.
fn parse_entry(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    let ip = if let Ok(ip) = text.parse::<IpAddr>() {
        ip
    } else if let Ok(socket) = text.parse::<SocketAddr>() {
        socket.ip()
    } else {
        text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?.into()
    };
    // An unspecified address belongs to nobody; a proxy that writes it does not know the client.
    Some(ip.to_canonical()).filter(|ip| !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn trusted() -> TrustedProxies {
        TrustedProxies::new(
            ["10.0.0.0/8", "::ffff:192.168.0.0/112", "fd00::/8"].map(|n| n.parse().unwrap()),
        )
    }

    fn resolve(peer: &str, lines: &[&str]) -> ClientAddress {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        ClientAddress::resolve(peer.parse().unwrap(), &trusted(), &headers)
    }

    #[test]
    fn the_first_untrusted_address_from_the_right_is_the_client() {
        for (peer, lines, client) in [
            ("9.9.9.9", &["1.1.1.1"][..], "9.9.9.9"),
            ("::ffff:9.9.9.9", &[], "9.9.9.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1", &["6.6.6.6, 1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1", &["6.6.6.6, 1.1.1.1, 10.0.0.2,10.0.0.3"], "1.1.1.1"),
            ("10.0.0.1", &["6.6.6.6", "1.1.1.1, 10.0.0.2"], "1.1.1.1"),
            ("10.0.0.1", &["6.6.6.6, 1.1.1.1", "10.0.0.2"], "1.1.1.1"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("192.168.0.7", &["1.1.1.1"], "1.1.1.1"),
            ("::ffff:10.0.0.1", &["::ffff:1.1.1.1"], "1.1.1.1"),
            ("fd00::1", &["2a00::1"], "2a00::1"),
            ("10.0.0.1", &["1.1.1.1:4711"], "1.1.1.1"),
            ("10.0.0.1", &["[2a00::1]:4711"], "2a00::1"),
            ("10.0.0.1", &["[2a00::1]"], "2a00::1"),
        ] {
            assert_eq!(
                resolve(peer, lines).ip(),
                client.parse::<IpAddr>().unwrap(),
                "{peer} {lines:?}"
            );
        }
    }

    #[test]
    fn garbage_ends_the_walk_at_the_last_good_address() {
        for garbage in [
            "unknown",
            "",
            " ",
            "1.1.1",
            "1.1.1.1.",
            "1.1.1.1:99999",
            "[1.1.1.1]",
            "_hidden",
            "0.0.0.0",
            "::",
            "é",
            "a b",
        ] {
            let line = format!("6.6.6.6, {garbage}, 10.0.0.2");
            assert_eq!(resolve("10.0.0.1", &[&line]).ip().to_string(), "10.0.0.2", "{garbage:?}");
        }
    }

    #[test]
    fn the_walk_ends_after_32_entries() {
        let line = format!("1.1.1.1{}", ",10.0.0.2".repeat(32));
        assert_eq!(resolve("10.0.0.1", &[&line]).ip().to_string(), "10.0.0.2");
        let line = format!("1.1.1.1{}", ",10.0.0.2".repeat(31));
        assert_eq!(resolve("10.0.0.1", &[&line]).ip().to_string(), "1.1.1.1");
    }

    #[test]
    fn the_chain_holds_nothing_that_the_client_wrote() {
        let address = resolve("10.0.0.1", &["6.6.6.6, 1.1.1.1, 10.0.0.2"]);
        let chain: Vec<_> = address.chain().map(|ip| ip.to_string()).collect();
        assert_eq!(chain, ["1.1.1.1", "10.0.0.2", "10.0.0.1"]);
        assert_eq!(address.peer().to_string(), "10.0.0.1");
    }

    #[test]
    fn scheme_and_host_come_from_a_trusted_peer_alone_which_writes_last() {
        let mut headers = HeaderMap::new();
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("HTTPS"));
        headers.insert(X_FORWARDED_HOST, HeaderValue::from_static("App.example"));
        let from = |peer: &str, headers: &HeaderMap| {
            let address = ClientAddress::resolve(peer.parse().unwrap(), &trusted(), headers);
            (
                address.forwarded_scheme(headers),
                address.forwarded_host(headers).map(|host| host.to_string()),
            )
        };
        assert_eq!(from("10.0.0.1", &headers), (Some(Scheme::Https), Some("app.example".into())));
        assert_eq!(from("9.9.9.9", &headers), (None, None));

        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
        headers.append(X_FORWARDED_PROTO, HeaderValue::from_static("http, https"));
        headers.insert(X_FORWARDED_HOST, HeaderValue::from_static("evil.example,app.example "));
        assert_eq!(from("10.0.0.1", &headers), (Some(Scheme::Https), Some("app.example".into())));
        for unknown in ["https, ", "https, gopher", ""] {
            headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(unknown));
            assert_eq!(from("10.0.0.1", &headers).0, None, "{unknown:?}");
        }
    }

    #[test]
    fn the_port_comes_from_a_trusted_peer_alone_and_is_not_the_other_schemes() {
        for (peer, value, scheme, port) in [
            ("10.0.0.1", "8443", Scheme::Https, Some(8443)),
            ("10.0.0.1", "80, 8443", Scheme::Https, Some(8443)),
            ("10.0.0.1", "443,443", Scheme::Https, Some(443)),
            ("10.0.0.1", "80", Scheme::Https, None),
            ("10.0.0.1", "443", Scheme::Http, None),
            ("10.0.0.1", "0", Scheme::Http, None),
            ("10.0.0.1", "99999", Scheme::Http, None),
            ("9.9.9.9", "8443", Scheme::Https, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(X_FORWARDED_PORT, HeaderValue::from_static(value));
            let address = ClientAddress::resolve(peer.parse().unwrap(), &trusted(), &headers);
            assert_eq!(address.forwarded_port(&headers, scheme), port, "{peer} {value}");
        }
    }

    #[test]
    fn numbers_and_addresses_are_written_as_the_library_writes_them() {
        for number in [0, 9, 10, 80, 100, 443, 999, 1_000, 8_080, 9_999, 10_000, u16::MAX] {
            let mut text = String::new();
            push_number(&mut text, number);
            assert_eq!(text, number.to_string());
        }
        for ip in ["0.0.0.0", "127.0.0.1", "255.10.9.100", "2001:db8::1"] {
            assert_eq!(ip_text(ip.parse().unwrap()), ip);
        }
    }

    #[test]
    fn networks_count_mapped_addresses_as_ipv4() {
        for (ip, narrow, wide) in [
            ("198.51.100.7", "198.51.100.7/32", "198.51.100.0/24"),
            ("::ffff:198.51.100.7", "198.51.100.7/32", "198.51.100.0/24"),
            ("2a00:1:2:3:4::5", "2a00:1:2:3::/64", "2a00:1:2::/48"),
        ] {
            let ip = ip.parse().unwrap();
            assert_eq!(network_32_or_64(ip).to_string(), narrow);
            assert_eq!(network_24_or_48(ip).to_string(), wide);
        }
    }

    #[test]
    fn only_addresses_that_can_be_somewhere_are_public() {
        for ip in [
            "1.1.1.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.32.0.1",
            "198.20.0.1",
            "223.255.255.254",
            "2a00::1",
            "2001:4860::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.1.1",
            "100.64.0.1",
            "100.127.0.1",
            "127.0.0.2",
            "169.254.1.1",
            "172.16.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd00::1",
            "ff02::1",
            "2001:db8::1",
            "3fff::1",
            "2001::1",
            "2002:808:808::1",
            "64:ff9b::1.1.1.1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
    }

    proptest! {
        /// A client behind trusted proxies cannot choose its address, whatever it writes in its headers.
        #[test]
        fn what_the_client_writes_changes_nothing(forged in "[0-9a-f.:, \\[\\]]{0,40}") {
            let line = format!("{forged}, 1.1.1.1");
            let address = resolve("10.0.0.1", &[&line, "10.0.0.2"]);
            prop_assert_eq!(address.ip().to_string(), "1.1.1.1");
            prop_assert_eq!(address.chain().count(), 3);
        }
    }
}
