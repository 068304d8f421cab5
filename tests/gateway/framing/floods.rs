//! Tests HTTP/2 frames that cost a server more than their client (RFC 9113 section 10.5), beside ordinary traffic.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use http::Request;

use super::{h2, start};
use crate::support::client::Response;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::scripted::Scripted;
use crate::support::soak;
use crate::support::tls::{Body, Certificate, Stream, connect, frame, header_block, next_frame};
use crate::support::upstream::Upstream;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn request() -> Vec<u8> {
    header_block(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "app.test"),
        (":path", "/public/x"),
    ])
}

fn upload() -> Vec<u8> {
    header_block(&[
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "app.test"),
        (":path", "/public/x"),
    ])
}

/// Returns the frames of one round of a flood; its streams have odd numbers.
type Flood = fn(round: u32) -> Vec<u8>;

const FLOODS: &[(&str, Flood)] = &[
    ("ping", |_| frame(PING, 0, 0, &[0; 8])),
    ("settings", |_| frame(SETTINGS, 0, 0, &[])),
    ("settings with values", |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])),
    ("priority", |round| frame(PRIORITY, 0, round * 2 + 1, &[0, 0, 0, 0, 1])),
    ("window update", |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    ("unknown", |_| frame(0xbe, 0, 0, &[0; 3])),
    ("rapid reset", |round| {
        let mut bytes = frame(HEADERS, END_STREAM | END_HEADERS, round * 2 + 1, &request());
        bytes.extend(frame(RST_STREAM, 0, round * 2 + 1, &[0, 0, 0, 8]));
        bytes
    }),
    ("continuation", |round| match round {
        0 => frame(HEADERS, END_STREAM, 1, &request()),
        _ => frame(CONTINUATION, 0, 1, &header_block(&[("x", "y")])),
    }),
    ("empty data", |round| match round {
        0 => frame(HEADERS, END_HEADERS, 1, &upload()),
        _ => frame(DATA, 0, 1, &[]),
    }),
    ("padded empty data", |round| match round {
        0 => frame(HEADERS, END_HEADERS, 1, &upload()),
        _ => frame(DATA, PADDED, 1, &[2, 0, 0]),
    }),
    // Beyond the limit of streams that SETTINGS announced.
    ("refused streams", |round| frame(HEADERS, END_HEADERS, round * 2 + 1, &upload())),
    ("malformed requests", |round| {
        let fields =
            [(":method", "GET"), (":scheme", "https"), (":path", "/public/x"), ("te", "x")];
        frame(HEADERS, END_STREAM | END_HEADERS, round * 2 + 1, &header_block(&fields))
    }),
];

/// Opens an HTTP/2 connection on which a test writes every frame itself.
pub(super) fn open(gateway: &Gateway, certificate: &Certificate) -> Stream {
    let mut stream = connect(gateway.https.unwrap(), &Arc::new(certificate.client(&["h2"])));
    stream.write_all(PREFACE).unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
    stream
}

/// Floods one connection until it is closed, or until the rounds or the time are over; returns the rounds.
fn flood(stream: &mut Stream, flood: Flood, rounds: u32, until: &dyn Fn() -> bool) -> Option<u32> {
    let mut batch = Vec::new();
    for round in 0..rounds {
        batch.extend(flood(round));
        if batch.len() > 4096 || round + 1 == rounds {
            if stream.write_all(&batch).and_then(|()| stream.flush()).is_err() || until() {
                return Some(round);
            }
            batch.clear();
        }
    }
    None
}

#[test]
fn a_flood_is_cut_off() {
    let upstream = Upstream::start();
    let (gateway, certificate) = start(Setup::new(upstream.address));
    for (name, frames) in FLOODS {
        let mut stream = open(&gateway, &certificate);
        let cut_off = flood(&mut stream, *frames, 200_000, &|| false);
        assert!(cut_off.is_some(), "{name}");
        assert_eq!(served(&gateway), 200, "{name}");
    }
    let counted = "doorwarden_connection_failures_total{reason=\"flood\"}";
    eventually("the floods to be counted", || {
        gateway.metric(counted).filter(|count| *count >= 5.0)
    });
}

/// A browser's page, and a client that sends pings, are no flood.
#[test]
fn ordinary_clients_are_not_cut_off() {
    let upstream = Upstream::start();
    let (gateway, certificate) = start(Setup::new(upstream.address));
    let mut client = h2(&gateway, &certificate);
    for _ in 0..300 {
        let request = Request::get("https://app.test/public/x").body(()).unwrap();
        assert_eq!(client.send(request, &Body::default()).unwrap().status, 200);
    }
    let mut stream = open(&gateway, &certificate);
    for round in 0..100_u32 {
        stream.write_all(&frame(PING, 0, 0, &[0; 8])).unwrap();
        let mut bytes = frame(HEADERS, END_STREAM | END_HEADERS, round * 2 + 1, &request());
        bytes.extend(frame(RST_STREAM, 0, round * 2 + 1, &[0, 0, 0, 8]));
        if round < 15 {
            stream.write_all(&bytes).unwrap();
        }
    }
    let bytes = frame(HEADERS, END_STREAM | END_HEADERS, 999, &request());
    stream.write_all(&bytes).unwrap();
    let mut seen = Vec::new();
    eventually("the answer's DATA", || {
        let mut chunk = [0; 4096];
        let n = stream.read(&mut chunk).unwrap();
        assert!(n > 0, "cut off");
        seen.extend(&chunk[..n]);
        // The body of the answer is JSON that contains the path.
        String::from_utf8_lossy(&seen).contains("/public/x").then_some(())
    });
}

fn served(gateway: &Gateway) -> u16 {
    let mut stream = gateway.client().connect();
    stream.write_all(&gateway.client().get("/public/x").bytes()).unwrap();
    Response::read(&mut stream, false).status
}

fn p99(gateway: &Gateway, within: Duration) -> Duration {
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < within {
        let one = Instant::now();
        assert_eq!(served(gateway), 200);
        times.push(one.elapsed());
        thread::sleep(Duration::from_millis(2));
    }
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// Returns the resident memory in KiB.
fn memory(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn ordinary_traffic_goes_on_beside_a_flood() {
    let upstream = Upstream::start();
    let (gateway, certificate) =
        start(Setup::new(upstream.address).log("level = \"info\"\naccess = false"));
    let time = soak::times(Duration::from_millis(400), Duration::from_secs(20));
    let (quiet, before) = (p99(&gateway, time), memory(&gateway));
    let row = |name: &str, p99: Duration, kib: u64, connections: usize| {
        let (ms, mib) = (p99.as_secs_f64() * 1e3, kib / 1024);
        soak::report(&format!("| {name:20} | {ms:8.1} ms | {mib:5} MiB | {connections:6} |"));
    };
    soak::report("| flood                | p99 of others | memory | connections of the flood |");
    row("none", quiet, before, 0);
    for (name, frames) in FLOODS {
        let over = Arc::new(AtomicBool::new(false));
        let connections = AtomicUsize::new(0);
        let busy = thread::scope(|scope| {
            let _over = crate::support::Over(&over);
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    connections.fetch_add(1, Ordering::SeqCst);
                    let mut stream = open(&gateway, &certificate);
                    flood(&mut stream, *frames, u32::MAX / 4, &|| over.load(Ordering::SeqCst));
                }
            });
            let busy = p99(&gateway, time);
            over.store(true, Ordering::SeqCst);
            busy
        });
        let after = memory(&gateway);
        let connections = connections.load(Ordering::SeqCst);
        row(name, busy, after, connections);
        assert!(after < before + 64 * 1024, "{name}: {before} KiB grew to {after} KiB");
        // Both share two cores with the flood itself, which this test makes.
        assert!(busy < quiet + Duration::from_secs(1), "{name}: {quiet:?} became {busy:?}");
    }
}

/// Checks the gateway's first SETTINGS and WINDOW_UPDATE (RFC 9113 sections 6.5.2 and 6.9.2).
#[test]
fn windows_are_as_configured() {
    let upstream = Upstream::start();
    for (keys, stream_window, connection_window) in [
        ("", 2 << 20, 4 << 20),
        (
            "http2_stream_window = \"128KiB\"\nhttp2_connection_window = \"1MiB\"",
            128 << 10,
            1 << 20,
        ),
    ] {
        let (gateway, certificate) = start(Setup::new(upstream.address).listen(keys));
        let mut stream = open(&gateway, &certificate);
        let (mut of_stream, mut of_connection) = (65_535, 65_535);
        while of_connection == 65_535 {
            let mut head = [0; 9];
            stream.read_exact(&mut head).unwrap();
            let length = usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = vec![0; length];
            stream.read_exact(&mut payload).unwrap();
            let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
            match head[3] {
                SETTINGS => {
                    for setting in payload.chunks(6).filter(|setting| setting[..2] == [0, 4]) {
                        of_stream = number(&setting[2..]);
                    }
                }
                WINDOW_UPDATE => of_connection += number(&payload),
                _ => {}
            }
        }
        assert_eq!((of_stream, of_connection), (stream_window, connection_window), "{keys}");
    }
}

/// A service that does not read slows the client down: at most the windows are buffered in the gateway.
#[test]
fn an_upload_that_nobody_reads_is_bounded() {
    let upstream = Scripted::start(|connection| {
        connection.until("\r\n\r\n");
        thread::sleep(Duration::from_secs(5));
    });
    let (gateway, certificate) = start(Setup::new(upstream.address));
    let mut stream = open(&gateway, &certificate);
    let before = memory(&gateway);
    stream.sock.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    // A client that sends more than its windows is disconnected (RFC 9113 section 6.9.1); its 128 MiB are not read. The
    // connection's window is larger than the stream's once the gateway has announced it; before, the connection's would be
    // the one that is full.
    while next_frame(&mut stream).is_some_and(|(kind, ..)| kind != WINDOW_UPDATE) {}
    stream.write_all(&frame(HEADERS, END_HEADERS, 1, &upload())).unwrap();
    let data = frame(DATA, 0, 1, &[0; 16_000]);
    let sent = (0..8192).take_while(|_| stream.write_all(&data).is_ok()).count();
    // The windows, and what is in the sockets' buffers.
    assert!(sent < 1024, "{sent} frames");
    let after = memory(&gateway);
    assert!(after < before + 24 * 1024, "{before} KiB grew to {after} KiB");
}
