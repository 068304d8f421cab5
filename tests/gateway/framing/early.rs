//! Tests answers that come while the client still uploads (RFC 9112 section 9.6).

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use http::Request;

use super::{h2, start, tls};
use crate::support::client::Response;
use crate::support::gateway::{Gateway, Setup};
use crate::support::scripted::Scripted;
use crate::support::tls::Body;
use crate::support::upstream::Upstream;

const SIZE: usize = 1024 * 1024;

fn upload(target: &str, chunked: bool) -> Vec<u8> {
    let head = |framing: &str| {
        format!(
            "POST {target} HTTP/1.1\r\nHost: app.test\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
        )
    };
    let mut bytes = if chunked {
        head("Transfer-Encoding: chunked") + &format!("{SIZE:x}\r\n")
    } else {
        head(&format!("Content-Length: {SIZE}"))
    }
    .into_bytes();
    bytes.extend(vec![b'u'; SIZE]);
    if chunked {
        bytes.extend(b"\r\n0\r\n\r\n");
    }
    bytes
}

/// Sends as most clients do: all of the body, and only then reads the answer.
fn send(stream: &mut (impl Read + Write), bytes: &[u8], target: &str) -> u16 {
    // Clients read on after a broken pipe.
    let _ = stream.write_all(bytes).and_then(|()| stream.flush());
    let status = Response::read(stream, false).status;
    assert_ne!(status, 200, "{target}");
    status
}

/// The body is longer than what the gateway still reads, so the answer must wait in the sockets' buffers.
#[test]
fn an_answer_during_an_upload_arrives() {
    // Answers after the head, and reads no more.
    let hasty = Scripted::start(|connection| {
        connection.until("\r\n\r\n");
        connection
            .write("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    });
    let upstream = Upstream::start();
    let setup = Setup::new(upstream.address).with(&format!(
        "[[upstream]]\nname = \"hasty\"\nservers = [\"{}\"]\n\n\
         [[route]]\nname = \"hasty\"\npath = \"/hasty\"\nupstream = \"hasty\"\naccess = \"public\"\n",
        hasty.address
    ));
    let (gateway, certificate) = start(setup);
    for (target, expected) in
        [("/app/x", 401), ("/login", 413), ("/nowhere/../x", 400), ("/hasty", 413)]
    {
        for chunked in [false, true] {
            let bytes = upload(target, chunked);
            let mut plain = gateway.client().connect();
            assert_eq!(send(&mut plain, &bytes, target), expected, "{target} {chunked}");
            let mut secure = tls(&gateway, &certificate);
            assert_eq!(send(&mut secure, &bytes, target), expected, "{target} {chunked} over TLS");
        }
        let body = Body { data: Some(&[b'u'; SIZE]), ..Body::default() };
        let request = Request::post(format!("https://app.test{target}"))
            .header("content-type", "application/json")
            .body(())
            .unwrap();
        let answer = h2(&gateway, &certificate).send(request, &body).unwrap();
        assert_eq!(answer.status, expected, "{target} over HTTP/2");
    }
}

fn closes_within(gateway: &Gateway, bytes: &[u8], limit: Duration) {
    let mut stream = gateway.client().connect();
    stream.write_all(bytes).unwrap();
    let begun = Instant::now();
    // The answer comes, and then the end or a reset, depending on the rest of the upload.
    let _ = stream.read_to_end(&mut Vec::new());
    let mut dripping = stream.try_clone().unwrap();
    while begun.elapsed() < limit {
        std::thread::sleep(Duration::from_millis(50));
        if dripping.write_all(b"drip").is_err() {
            return;
        }
    }
    panic!("open after {limit:?}");
}

/// The gateway reads on for a short time only, and never after ambiguous framing.
#[test]
fn lingering_has_an_end() {
    let upstream = Upstream::start();
    let (gateway, _) = start(Setup::new(upstream.address));
    let unauthorised = "POST /app/x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 99999999\r\n\r\n";
    closes_within(&gateway, unauthorised.as_bytes(), Duration::from_secs(6));
    for ambiguous in [
        "POST /app/x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1, 2\r\n\r\n",
        "POST /public/x HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        "POST /public/x HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
    ] {
        closes_within(&gateway, ambiguous.as_bytes(), Duration::from_millis(1500));
    }
}
