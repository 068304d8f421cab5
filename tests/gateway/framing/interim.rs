//! Tests upstreams that send an interim answer and no final one.

use std::io::{Read as _, Write as _};

use http::Request;

use super::{h2, start};
use crate::support::client::Response;
use crate::support::gateway::Setup;
use crate::support::scripted::Scripted;
use crate::support::tls::Body;

const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";

/// RFC 9110 section 15.2: an interim answer is followed by a final one, whatever happens to the upstream.
#[test]
fn an_interim_answer_is_always_followed_by_a_final_one() {
    for (interim, hangs, status) in [
        (CONTINUE, false, 502),
        (HINTS, false, 502),
        (HINTS, true, 504),
        (CONTINUE, true, 504),
        ("HTTP/1.1 102 Processing\r\n\r\n", false, 502),
        ("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n", false, 502),
        ("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 garbage\r\n\r\n", false, 502),
        ("", false, 502),
    ] {
        let upstream = Scripted::start(move |connection| {
            connection.until("\r\n\r\n");
            connection.write(interim);
            if hangs {
                connection.wait_for_the_end();
            }
        });
        let (gateway, certificate) =
            start(Setup::new(upstream.address).upstream("read_timeout = \"1s\""));
        let mut stream = gateway.client().connect();
        let head = "POST /public/x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let answer = Response::read(&mut stream, false);
        assert_eq!(answer.status, status, "{interim:?}");
        let logged = gateway.logged("the request", |line| line["status"].is_number());
        assert_eq!(logged["status"], status, "{interim:?}");

        let request = Request::post("https://app.test/public/x").body(()).unwrap();
        let answer = h2(&gateway, &certificate).send(request, &Body::default()).unwrap();
        assert_eq!(answer.status, status, "{interim:?} over HTTP/2");
    }
}

/// The same if the 100 came from the gateway itself.
#[test]
fn a_100_of_ours_is_followed_by_a_final_answer() {
    let upstream = Scripted::answering("");
    let (gateway, _) = start(Setup::new(upstream.address).upstream("buffer_chunked = true"));
    let mut stream = gateway.client().connect();
    let head = "POST /public/x HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, CONTINUE.as_bytes());
    stream.write_all(b"5\r\nhello\r\n0\r\n\r\n").unwrap();
    assert_eq!(Response::read(&mut stream, false).status, 502);
}
