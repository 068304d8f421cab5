//! Tests WebSockets whose upstream answers before anything else happens.

use std::io::{Read as _, Write as _};

use super::start;
use crate::support::client::Response;
use crate::support::gateway::Setup;
use crate::support::soak;
use crate::support::upstream::Upstream;

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// RFC 9110 section 7.8: after the 101 the connection belongs to the tunnel, however fast the 101 came.
#[test]
fn no_websocket_is_closed_by_a_fast_upstream() {
    let upstream = Upstream::start();
    let setup = Setup::new(upstream.address)
        .route("name = \"ws\"\npath = \"/ws\"\naccess = \"public\"\nwebsocket = true");
    let (gateway, _) = start(setup);
    let times = soak::times(400, 20_000);
    let mut closed = 0;
    for round in 0..times {
        let mut stream = gateway.client().connect();
        stream.write_all(HANDSHAKE.as_bytes()).unwrap();
        assert_eq!(Response::read(&mut stream, false).status, 101, "{round}");
        let mut echoed = [0; 5];
        let whole = stream.write_all(b"hello").and_then(|()| stream.read_exact(&mut echoed));
        if whole.is_err() || &echoed != b"hello" {
            closed += 1;
        }
    }
    soak::report(&format!("{closed} of {times} WebSockets were closed"));
    assert_eq!(closed, 0, "of {times}");
}

/// What the client sends before the 101 belongs to the tunnel, and none of it is lost.
#[test]
fn what_a_client_sends_with_its_handshake_reaches_the_tunnel() {
    let upstream = Upstream::start();
    let setup = Setup::new(upstream.address)
        .route("name = \"ws\"\npath = \"/ws\"\naccess = \"public\"\nwebsocket = true");
    let (gateway, _) = start(setup);
    for _ in 0..50 {
        let mut stream = gateway.client().connect();
        stream.write_all(format!("{HANDSHAKE}hello").as_bytes()).unwrap();
        // The echo may come together with the head.
        let mut received = Vec::new();
        while !received.ends_with(b"\r\n\r\nhello") {
            let mut chunk = [0; 1024];
            let n = stream.read(&mut chunk).unwrap();
            assert!(n > 0, "closed after {:?}", String::from_utf8_lossy(&received));
            received.extend(&chunk[..n]);
        }
        assert!(received.starts_with(b"HTTP/1.1 101"));
    }
}
