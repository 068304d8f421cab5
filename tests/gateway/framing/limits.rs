//! Tests the limits on connections, and connections that never lead to a request.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::floods::open;
use super::start;
use crate::support::client::Response;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::tls::{Stream, frame, header_block, next_frame};
use crate::support::upstream::Upstream;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const LAST: u8 = END_STREAM | END_HEADERS;

fn failures(gateway: &Gateway, reason: &str) -> f64 {
    let name = format!("doorwarden_connection_failures_total{{reason=\"{reason}\"}}");
    gateway.metric(&name).expect("it is there from the start")
}

fn is_served(stream: &mut TcpStream) -> bool {
    let request = b"GET /public/x HTTP/1.1\r\nHost: app.test\r\n\r\n";
    let mut first = [0; 12];
    stream.write_all(request).is_ok()
        && stream.read_exact(&mut first).is_ok()
        && &first == b"HTTP/1.1 200"
}

#[test]
fn connections_beyond_the_limits_are_closed_at_once() {
    let upstream = Upstream::start();
    for (keys, most, reason) in [
        ("max_connections_per_address = 3", 3, "address_limit"),
        ("max_connections = 16\nmax_connections_per_address = 0", 16, "limit"),
    ] {
        let (gateway, _) = start(Setup::new(upstream.address).listen(keys));
        let mut open: Vec<_> = (0..most).map(|_| gateway.client().connect()).collect();
        assert!(open.iter_mut().all(is_served), "{keys}");
        assert!(!is_served(&mut gateway.client().connect()), "{keys}");
        eventually("it to be counted", || (failures(&gateway, reason) >= 1.0).then_some(()));
        open.pop();
        eventually("the place of the closed one", || {
            is_served(&mut gateway.client().connect()).then_some(())
        });
    }
}

/// HTTP/2 connections count like others.
#[test]
fn an_http_2_connection_beyond_the_limit_is_closed_at_once() {
    let upstream = Upstream::start();
    let setup = Setup::new(upstream.address).listen("max_connections_per_address = 3");
    let (gateway, certificate) = start(setup);
    let is_served = |stream: &mut Stream| {
        let begun = stream.write_all(&frame(HEADERS, LAST, 1, &get("/public/x")));
        begun.and_then(|()| stream.flush()).is_ok()
            && std::iter::from_fn(|| next_frame(stream))
                .any(|(kind, id, _)| (kind, id) == (HEADERS, 1))
    };
    let mut open_ones: Vec<_> = (0..3).map(|_| open(&gateway, &certificate)).collect();
    assert!(open_ones.iter_mut().all(is_served));
    let mut beyond = gateway.client().connect();
    assert!(!self::is_served(&mut beyond));
    eventually("it to be counted", || (failures(&gateway, "address_limit") >= 1.0).then_some(()));
    open_ones.pop();
    eventually("the place of the closed one", || {
        self::is_served(&mut gateway.client().connect()).then_some(())
    });
}

/// RFC 9113 sections 5.1.2 and 6.5.2: the limits of the first SETTINGS are enforced, and do not affect other streams.
#[test]
fn http_2_has_limits_on_streams_and_on_heads() {
    const MAX_STREAMS: [u8; 6] = [0, 3, 0, 0, 0, 100];
    const MAX_HEADER_LIST: [u8; 6] = [0, 6, 0, 0, 0x20, 0];
    const REFUSED: [u8; 4] = [0, 0, 0, 7];
    let upstream = Upstream::start();
    let setup = Setup::new(upstream.address)
        .listen("max_head_bytes = \"8KiB\"\nmax_target_bytes = \"2KiB\"")
        .route("name = \"hang\"\npath = \"/hang\"\naccess = \"public\"");
    let (gateway, certificate) = start(setup);
    let mut stream = open(&gateway, &certificate);
    let (kind, _, settings) = next_frame(&mut stream).unwrap();
    assert_eq!(kind, SETTINGS);
    for setting in [MAX_STREAMS, MAX_HEADER_LIST] {
        assert!(settings.chunks(6).any(|one| one == setting), "{setting:?} in {settings:?}");
    }
    for nth in 0..101 {
        stream.write_all(&frame(HEADERS, LAST, nth * 2 + 1, &get("/hang"))).unwrap();
    }
    let reset =
        std::iter::from_fn(|| next_frame(&mut stream)).find(|(kind, ..)| *kind == RST_STREAM);
    assert_eq!(reset, Some((RST_STREAM, 201, REFUSED.to_vec())));

    // A head of 12 KiB is refused, and the connection continues; one of 40 KiB, in several frames, ends it.
    for (fields, kept) in [(110, true), (400, false)] {
        let mut stream = open(&gateway, &certificate);
        let mut block = get("/public/x");
        let field = header_block(&[("x-long", &"y".repeat(100))]);
        (0..fields).for_each(|_| block.extend(&field));
        let mut parts = block.chunks(16_000).peekable();
        let (mut kind, mut end) = (HEADERS, END_STREAM);
        while let Some(part) = parts.next() {
            let flags = end | if parts.peek().is_none() { END_HEADERS } else { 0 };
            stream.write_all(&frame(kind, flags, 1, part)).unwrap();
            (kind, end) = (CONTINUATION, 0);
        }
        let _ = stream
            .write_all(&frame(HEADERS, LAST, 3, &get("/public/next")))
            .and_then(|()| stream.flush());
        let answered = std::iter::from_fn(|| next_frame(&mut stream))
            .any(|(kind, id, _)| (kind, id) == (HEADERS, 3));
        assert_eq!(answered, kept, "{fields}");
    }
    // The one on the connection that continued.
    assert_eq!(upstream.seen().iter().filter(|seen| seen.target.starts_with("/public")).count(), 1);
}

fn get(path: &str) -> Vec<u8> {
    header_block(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "app.test"),
        (":path", path),
    ])
}

/// Many people come through a trusted proxy.
#[test]
fn a_trusted_proxy_has_no_limit_of_its_own() {
    let upstream = Upstream::start();
    let setup =
        Setup::new(upstream.address).listen("max_connections_per_address = 3").behind_a_proxy();
    let (gateway, _) = start(setup);
    let mut open: Vec<_> = (0..10).map(|_| gateway.client().connect()).collect();
    assert!(open.iter_mut().all(is_served));
}

/// Health checks, port scans, PROXY bytes and the wrong port are counted, with one line at `debug` and none above it.
#[test]
fn what_comes_to_nothing_is_counted() {
    let upstream = Upstream::start();
    let setup =
        Setup::new(upstream.address).listen("head_timeout = \"1s\"").log("level = \"debug\"");
    let (gateway, _) = start(setup);
    let secure = || TcpStream::connect(gateway.https.unwrap()).unwrap();
    let plain = || TcpStream::connect(gateway.http).unwrap();
    let say = |mut stream: TcpStream, bytes: &[u8]| {
        let _ = stream.write_all(bytes);
        // Until the other side closes it.
        let _ = stream.read_to_end(&mut Vec::new());
    };
    drop(secure());
    drop(plain());
    say(secure(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    say(secure(), b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
    say(secure(), b"\x16\x03\x01\x00\x05hello");
    say(secure(), b"\x16\x03\x01\x02\x00");
    say(plain(), b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    say(plain(), b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
    say(plain(), b"\x16\x03\x01\x02\x00\x01");
    say(plain(), b"");
    say(plain(), b"GET / HTT");
    for (reason, expected) in [
        ("empty", 2.0),
        ("not_tls", 2.0),
        ("tls", 1.0),
        ("unreadable", 3.0),
        ("timeout", 3.0),
        ("flood", 0.0),
    ] {
        eventually(reason, || (failures(&gateway, reason) == expected).then_some(()));
    }
    let lines: Vec<serde_json::Value> =
        gateway.log().iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(lines.iter().all(|line| line["level"] != "ERROR"), "{lines:?}");
    let told = lines.iter().filter(|line| line["message"] == "a connection failed").count();
    assert_eq!(told, 11);
    assert_eq!(Response::read(&mut served(&gateway), false).status, 200);
}

fn served(gateway: &Gateway) -> TcpStream {
    let mut stream = gateway.client().connect();
    stream.write_all(&gateway.client().get("/public/x").bytes()).unwrap();
    stream
}
