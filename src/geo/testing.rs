//! Writes small databases in MaxMind's format (version 2.0), so that the tests need no vendored file.
//!
//! A file consists of a search tree of 32-bit records over IPv6 addresses, with IPv4 at `::/96`; a 16-byte separator; one map
//! for each network; then the marker and the metadata. Each field starts with a control byte: its type in the upper three bits
//! (0: the type follows in the next byte, less 7), its length in the lower five (29: 29 more than the next byte).

use std::net::IpAddr;

use ipnet::IpNet;

/// How a row names the country.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Schema {
    /// `{"country": {"iso_code": "KR"}}`
    Nested,
    /// `{"country_code": "KR"}`
    Flat,
    /// `{"location": {"latitude": 37.5, ...}, "country": ...}`
    NestedCity,
    /// `{"latitude": 37.5, ..., "country_code": ...}`
    FlatCity,
    /// `{"autonomous_system_number": 64512}`
    Asn,
    /// `{"autonomous_system_organization": "KR"}`: no country.
    Other,
}

#[derive(Clone, Copy)]
enum Record {
    Nothing,
    Node(usize),
    Data(usize),
}

/// Returns a database with these networks, which must not overlap.
pub(crate) fn write_database(schema: Schema, networks: &[(&str, &str)]) -> Vec<u8> {
    let mut nodes = vec![[Record::Nothing; 2]];
    let mut rows = Vec::new();
    for (network, country) in networks {
        let at = rows.len();
        rows.extend(match schema {
            Schema::Nested => map(&[("country", map(&[("iso_code", text(country))]))]),
            Schema::Flat => map(&[("country_code", text(country))]),
            Schema::NestedCity => map(&[
                ("city", map(&[("names", map(&[("en", text("Seoul")), ("ko", text("서울"))]))])),
                (
                    "country",
                    map(&[
                        ("iso_code", text(country)),
                        ("names", map(&[("en", text("South Korea"))])),
                    ]),
                ),
                (
                    "location",
                    map(&[
                        ("latitude", double(37.5)),
                        ("longitude", double(-122.25)),
                        ("accuracy_radius", number(5, 20)),
                    ]),
                ),
            ]),
            Schema::FlatCity => map(&[
                ("city", text("Seoul")),
                ("country_code", text(country)),
                ("latitude", float(37.5)),
                ("longitude", float(-122.25)),
            ]),
            Schema::Asn => map(&[("autonomous_system_number", number(6, 64_512))]),
            Schema::Other => map(&[("autonomous_system_organization", text(country))]),
        });
        insert(&mut nodes, network.parse().unwrap(), at);
    }
    let mut bytes = Vec::new();
    for record in nodes.iter().flatten() {
        let value = match record {
            Record::Nothing => nodes.len(),
            Record::Node(node) => *node,
            Record::Data(at) => nodes.len() + 16 + at,
        };
        bytes.extend(u32::try_from(value).unwrap().to_be_bytes());
    }
    bytes.extend([0; 16]);
    bytes.extend(rows);
    bytes.extend(b"\xAB\xCD\xEFMaxMind.com");
    bytes.extend(map(&[
        ("node_count", number(6, u64::try_from(nodes.len()).unwrap())),
        ("record_size", number(5, 32)),
        ("ip_version", number(5, 6)),
        ("database_type", text("Test-Country")),
        ("languages", vec![0x00, 0x04]),
        ("binary_format_major_version", number(5, 2)),
        ("binary_format_minor_version", number(5, 0)),
        ("build_epoch", number(9, 1)),
        ("description", map(&[("en", text("a test"))])),
    ]));
    bytes
}

fn insert(nodes: &mut Vec<[Record; 2]>, network: IpNet, data: usize) {
    let (bits, length) = match network.network() {
        IpAddr::V4(address) => (u128::from(u32::from(address)), network.prefix_len() + 96),
        IpAddr::V6(address) => (u128::from(address), network.prefix_len()),
    };
    let mut node = 0;
    for depth in 0..length {
        let side = usize::from(bits >> (127 - depth) & 1 == 1);
        if depth + 1 == length {
            nodes[node][side] = Record::Data(data);
        } else if let Record::Node(next) = nodes[node][side] {
            node = next;
        } else {
            nodes.push([Record::Nothing; 2]);
            nodes[node][side] = Record::Node(nodes.len() - 1);
            node = nodes.len() - 1;
        }
    }
}

fn control(kind: u8, length: usize) -> Vec<u8> {
    let length = u8::try_from(length).unwrap();
    let (short, more) = if length < 29 { (length, None) } else { (29, Some(length - 29)) };
    let mut bytes = if kind < 8 { vec![kind << 5 | short] } else { vec![short, kind - 7] };
    bytes.extend(more);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [control(2, text.len()), text.as_bytes().to_vec()].concat()
}

fn map(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let members = members.iter().flat_map(|(name, value)| [text(name), value.clone()]);
    [control(7, members.clone().count() / 2), members.flatten().collect()].concat()
}

fn float(value: f32) -> Vec<u8> {
    [control(15, 4), value.to_be_bytes().to_vec()].concat()
}

fn double(value: f64) -> Vec<u8> {
    [control(3, 8), value.to_be_bytes().to_vec()].concat()
}

fn number(kind: u8, value: u64) -> Vec<u8> {
    let bytes: Vec<u8> = value.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    [control(kind, bytes.len()), bytes].concat()
}
