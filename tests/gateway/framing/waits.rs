//! Tests that the time a client takes for its body is not counted as the gateway's, and that each part of a body has a
//! limit.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use super::start;
use crate::support::client::Response;
use crate::support::gateway::Setup;
use crate::support::upstream::Upstream;

const PAUSE: Duration = Duration::from_millis(600);

/// `listen.read_timeout` is the longest wait for the next byte, also if the body is buffered before it is forwarded
/// (`upstream.buffer_chunked`); and a slow body does not count in `doorwarden_gateway_duration_seconds`.
#[test]
fn a_body_that_drips_has_a_time_for_each_part() {
    let upstream = Upstream::start();
    let setup = Setup::new(upstream.address)
        .upstream("buffer_chunked = true")
        .listen("read_timeout = \"1s\"");
    let (gateway, _) = start(setup);
    for (head, parts, path, status) in [
        (
            "POST /public/x HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n",
            ["1\r\na\r\n", "1\r\nb\r\n", "1\r\nc\r\n0\r\n\r\n"],
            "/public/x",
            200,
        ),
        (
            "POST /login HTTP/1.1\r\nHost: app.test\r\nContent-Type: application/json\r\nContent-Length: 6\r\n\r\n",
            ["{ ", "  ", "no"],
            "/login",
            400,
        ),
    ] {
        let mut stream = gateway.client().connect();
        stream.write_all(head.as_bytes()).unwrap();
        for part in parts {
            // The whole body takes longer than the limit, and each part less.
            thread::sleep(PAUSE);
            stream.write_all(part.as_bytes()).unwrap();
        }
        assert_eq!(Response::read(&mut stream, false).status, status, "{path}");
        let line = gateway.logged("the access line", |line| line["path"] == path);
        let time = |field: &str| Duration::from_micros(line[field].as_u64().unwrap());
        assert!(time("duration_us") > PAUSE * 2, "{line}");
        assert!(time("own_us") < PAUSE, "{line}");
    }
    // A body that stalls is refused.
    let mut stream = gateway.client().connect();
    stream
        .write_all(b"POST /public/x HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        .unwrap();
    assert_eq!(Response::read(&mut stream, false).status, 408);
}

/// The log says at `debug` which problem a refused head has.
#[test]
fn why_a_head_is_refused_is_told_at_debug() {
    let upstream = Upstream::start();
    let (gateway, _) = start(Setup::new(upstream.address).log("level = \"debug\""));
    for (fields, why) in [
        ("Content-Length: 5, 5", "bad-length"),
        ("Transfer-Encoding: gzip, chunked", "bad-transfer-encoding"),
        ("Origin: a\r\nOrigin: b", "repeated-header"),
    ] {
        let head = format!("POST /public/x HTTP/1.1\r\nHost: app.test\r\n{fields}\r\n\r\n");
        assert_eq!(gateway.client().raw(head.as_bytes()).status, 400);
        gateway.logged(why, |line| {
            line["message"] == "a request's head is refused" && line["why"] == why
        });
    }
}
