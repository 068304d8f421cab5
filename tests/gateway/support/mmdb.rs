//! Writes small databases in MaxMind's format (version 2.0): networks, and the country or the place of each.
//!
//! A database is a search tree of 32-bit records over IPv6 addresses, with IPv4 at `::/96`; 16 zero bytes; one map for each
//! network; a marker and the metadata. A field begins with its type in three bits (0: in the next byte, minus 7) and its
//! length in five; all texts here are shorter than 29 bytes, from where lengths would continue in the next byte.

use std::net::IpAddr;

use ipnet::IpNet;

#[derive(Clone, Copy)]
enum Record {
    Nothing,
    Node(usize),
    Row(usize),
}

/// Returns a database of these networks, which must not overlap.
pub(crate) fn country_database(networks: &[(&str, &str)]) -> Vec<u8> {
    let row = |country: &str| map(&[("country", map(&[("iso_code", text(country))]))]);
    database(networks.iter().map(|(network, country)| (*network, row(country))))
}

/// Returns a database of networks with latitude and longitude, accurate to 20 km.
pub(crate) fn city_database(networks: &[(&str, f64, f64)]) -> Vec<u8> {
    let row = |latitude, longitude| {
        let point = map(&[
            ("latitude", double(latitude)),
            ("longitude", double(longitude)),
            ("accuracy_radius", number(5, 20)),
        ]);
        map(&[("location", point)])
    };
    database(networks.iter().map(|(network, north, east)| (*network, row(*north, *east))))
}

fn database<'a>(networks: impl Iterator<Item = (&'a str, Vec<u8>)>) -> Vec<u8> {
    let mut tree = vec![[Record::Nothing; 2]];
    let mut rows = Vec::new();
    for (network, row) in networks {
        insert(&mut tree, network.parse().unwrap(), rows.len());
        rows.extend(row);
    }
    let nodes = tree.len();
    let mut bytes: Vec<u8> = tree
        .iter()
        .flatten()
        .flat_map(|record| {
            let value = match *record {
                Record::Nothing => nodes,
                Record::Node(node) => node,
                Record::Row(at) => nodes + 16 + at,
            };
            u32::try_from(value).unwrap().to_be_bytes()
        })
        .collect();
    bytes.extend([0; 16]);
    bytes.extend(rows);
    bytes.extend(b"\xAB\xCD\xEFMaxMind.com");
    bytes.extend(map(&[
        ("node_count", number(6, nodes)),
        ("record_size", number(5, 32)),
        ("ip_version", number(5, 6)),
        ("database_type", text("Test-Country")),
        ("languages", vec![0x00, 0x04]), // an empty list
        ("binary_format_major_version", number(5, 2)),
        ("binary_format_minor_version", number(5, 0)),
        ("build_epoch", number(9, 1)),
        ("description", map(&[("en", text("for a test"))])),
    ]));
    bytes
}

fn insert(tree: &mut Vec<[Record; 2]>, network: IpNet, row: usize) {
    let (bits, length) = match network.network() {
        IpAddr::V4(address) => (u128::from(u32::from(address)), network.prefix_len() + 96),
        IpAddr::V6(address) => (u128::from(address), network.prefix_len()),
    };
    let mut node = 0;
    for depth in 0..length {
        let side = usize::from(bits >> (127 - depth) & 1 == 1);
        node = match tree[node][side] {
            _ if depth + 1 == length => {
                tree[node][side] = Record::Row(row);
                return;
            }
            Record::Node(next) => next,
            Record::Nothing | Record::Row(_) => {
                tree.push([Record::Nothing; 2]);
                let next = tree.len() - 1;
                tree[node][side] = Record::Node(next);
                next
            }
        };
    }
}

fn field(kind: u8, length: usize, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(length).unwrap();
    assert!(length < 29, "longer lengths are written differently");
    let mut bytes = if kind < 8 { vec![kind << 5 | length] } else { vec![length, kind - 7] };
    bytes.extend(content);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    field(2, text.len(), text.as_bytes())
}

fn map(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let content: Vec<u8> =
        members.iter().flat_map(|(name, value)| [text(name), value.clone()].concat()).collect();
    field(7, members.len(), &content)
}

fn double(value: f64) -> Vec<u8> {
    field(3, 8, &value.to_be_bytes())
}

fn number(kind: u8, value: usize) -> Vec<u8> {
    let bytes: Vec<u8> = value.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    field(kind, bytes.len(), &bytes)
}
