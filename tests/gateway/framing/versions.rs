//! Tests HTTP/1.0 clients: `ab`, health checks, old libraries.

use std::io::{Read as _, Write as _};

use super::start;
use crate::support::client::Response;
use crate::support::gateway::Setup;
use crate::support::scripted::Scripted;
use crate::support::upstream::Upstream;

fn until_closed(address: &crate::support::client::Client, request: &str) -> String {
    let mut stream = address.connect();
    stream.write_all(request.as_bytes()).unwrap();
    let mut all = Vec::new();
    // An error would be the read timeout: the connection was not closed.
    stream.read_to_end(&mut all).unwrap();
    String::from_utf8(all).unwrap()
}

/// RFC 9112 section 9.3: without `keep-alive` the connection is closed after the answer; section 6.1: no chunks.
#[test]
fn http_1_0_gets_a_plain_body_and_the_end_of_the_connection() {
    let upstream = Upstream::start();
    upstream.release();
    let setup = Setup::new(upstream.address)
        .route("name = \"drip\"\npath = \"/drip\"\naccess = \"public\"");
    let (gateway, _) = start(setup);
    let client = gateway.client();
    for target in ["/public/x", "/drip", "/app/x", "/login"] {
        for method in ["GET", "HEAD"] {
            let answer = until_closed(
                &client,
                &format!("{method} {target} HTTP/1.0\r\nHost: app.test\r\n\r\n"),
            );
            let lower = answer.to_ascii_lowercase();
            assert!(lower.contains("connection: close\r\n"), "{method} {target}: {answer}");
            assert!(!lower.contains("transfer-encoding"), "{method} {target}: {answer}");
        }
    }
    let drip = until_closed(&client, "GET /drip HTTP/1.0\r\nHost: app.test\r\n\r\n");
    assert!(drip.ends_with("\r\n\r\nfirstsecond"), "{drip}");
    // `Connection: close` in HTTP/1.1 has the same effect.
    let close = "GET /public/x HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n";
    assert!(until_closed(&client, close).to_ascii_lowercase().contains("connection: close\r\n"));
}

/// RFC 9112 section 9.3: HTTP/1.0's `keep-alive` is honored, as `ab -k` wants, if the answer has a length.
#[test]
fn http_1_0_keeps_its_connection_where_it_asks_for_it() {
    let upstream = Upstream::start();
    let (gateway, _) = start(Setup::new(upstream.address));
    let mut stream = gateway.client().connect();
    for _ in 0..3 {
        let request = "GET /public/x HTTP/1.0\r\nHost: app.test\r\nConnection: keep-alive\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let answer = Response::read(&mut stream, false);
        assert_eq!((answer.status, answer.header("connection")), (200, Some("keep-alive")));
    }
}

/// RFC 9110 section 15.2: no 1xx to an HTTP/1.0 client; section 10.1.1: its `Expect` is ignored.
#[test]
fn http_1_0_gets_no_interim_answer() {
    let upstream = Scripted::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
         HTTP/1.1 100 Continue\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
    );
    let (gateway, _) = start(Setup::new(upstream.address));
    for expect in ["", "Expect: 100-continue\r\n"] {
        let answer = until_closed(
            &gateway.client(),
            &format!(
                "POST /public/x HTTP/1.0\r\nHost: app.test\r\n{expect}Content-Length: 0\r\n\r\n"
            ),
        );
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(!answer.contains("HTTP/1.1 1"), "{answer}");
    }
    assert!(
        !upstream.received().to_ascii_lowercase().contains("expect"),
        "{}",
        upstream.received()
    );
    let modern = until_closed(
        &gateway.client(),
        "GET /public/x HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n",
    );
    assert!(modern.starts_with("HTTP/1.1 103"), "{modern}");
}
