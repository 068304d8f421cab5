//! Tests bodies from HTTP/2 and HTTP/1 as they arrive at the upstream, byte by byte.

use http::{HeaderMap, HeaderValue, Request};

use super::{h2, start};
use crate::support::gateway::Setup;
use crate::support::scripted::Scripted;
use crate::support::tls::Body;

/// Answers every request, chunked or with a length of zero, and keeps the connection open.
fn keeps() -> Scripted {
    Scripted::start(|connection| {
        while let Some(head) = connection.until("\r\n\r\n") {
            if head.to_ascii_lowercase().contains("transfer-encoding: chunked")
                && connection.until("0\r\n\r\n").is_none()
            {
                return;
            }
            if let Some(length) = head.to_ascii_lowercase().split("content-length: ").nth(1) {
                let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
                if length > 0 && connection.until("hello").is_none() {
                    return;
                }
            }
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    })
}

fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("1"));
    trailers
}

/// RFC 9112 section 7.1: one last chunk ends a body. RFC 9113 section 8.1: the last DATA frame may be empty.
#[test]
fn an_http_2_upload_ends_with_one_last_chunk() {
    for buffered in [false, true] {
        let upstream = keeps();
        let setup = Setup::new(upstream.address)
            .upstream(&format!("buffer_chunked = {buffered}\nidle_timeout = \"1m\""));
        let (gateway, certificate) = start(setup);
        let mut client = h2(&gateway, &certificate);
        let mut expected = 0;
        for body in [
            Body { data: Some(b"hello"), empty_end: true, ..Body::default() },
            Body { data: Some(b""), empty_end: true, ..Body::default() },
            Body { data: Some(b"hello"), ..Body::default() },
            Body { data: Some(b""), ..Body::default() },
            Body { data: Some(b"hello"), trailers: trailers(), ..Body::default() },
            Body { data: Some(b""), trailers: trailers(), ..Body::default() },
            Body { trailers: trailers(), ..Body::default() },
        ] {
            // It is sent twice, so that the second upload meets what the first one left on the connection.
            for _ in 0..2 {
                let request = Request::post("https://app.test/public/up").body(()).unwrap();
                let answer = client.send(request, &body).unwrap();
                assert_eq!(answer.status, 200, "{body:?}");
                expected += 1;
            }
        }
        let received = upstream.received();
        let (mut rest, mut requests) = (received.as_str(), 0);
        while let Some((head, after)) = rest.split_once("\r\n\r\n") {
            assert!(head.starts_with("POST /public/up HTTP/1.1\r\n"), "{head:?} in {received}");
            let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
            assert_ne!(chunked, buffered, "{head}");
            rest = after
                .strip_prefix(if chunked { "5\r\nhello\r\n" } else { "hello" })
                .unwrap_or(after);
            if chunked {
                rest = rest.strip_prefix("0\r\n\r\n").expect("one last chunk");
            }
            requests += 1;
        }
        assert_eq!((rest, requests), ("", expected), "{received}");
        assert!(upstream.connections() < expected, "connections are kept");
    }
}

/// The same for HTTP/1 (RFC 9112 section 7.1), however the chunks are split.
#[test]
fn an_http_1_upload_ends_with_one_last_chunk() {
    use std::io::{Read as _, Write as _};
    let upstream = keeps();
    let (gateway, _) = start(Setup::new(upstream.address));
    let head = "POST /public/up HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    for parts in [
        &["5\r\nhello\r\n0\r\n\r\n"][..],
        &["5\r\nhello\r\n", "0\r\n\r\n"],
        &["5\r\nhel", "lo\r\n0\r\n\r", "\n"],
        &["0\r\n", "\r\n"],
        &["5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n"],
        &["5;a=b;c=\"d e\"\r\nhello\r\n0;e\r\n\r\n"],
    ] {
        let mut stream = gateway.client().connect();
        stream.write_all(head.as_bytes()).unwrap();
        for part in parts {
            std::thread::sleep(std::time::Duration::from_millis(5));
            stream.write_all(part.as_bytes()).unwrap();
        }
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200", "{parts:?}");
    }
    let received = upstream.received();
    assert_eq!(received.matches("0\r\n\r\n").count(), 6, "{received}");
    assert_eq!(received.matches("POST ").count(), 6, "{received}");
    assert!(!received.to_ascii_lowercase().contains("trailer"), "{received}");
}
