//! Tests requests that come before the previous answer, and bytes that are no request.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{start, tls};
use crate::support::client::{Client, Response};
use crate::support::gateway::Setup;
use crate::support::scripted::Scripted;
use crate::support::upstream::Upstream;

/// Returns the status of each answer until the connection is closed.
fn statuses(stream: &mut TcpStream) -> Vec<u16> {
    let mut all = Vec::new();
    // A reset would be an error here.
    stream.read_to_end(&mut all).unwrap();
    let text = String::from_utf8_lossy(&all);
    text.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].parse().unwrap()).collect()
}

fn post(target: &str, more: &str, body: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: app.test\r\n{more}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// RFC 9112 section 9.3.2: requests are answered in order. Section 2.2: empty lines before a request line are skipped.
#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::start();
    let (gateway, _) = start(Setup::new(upstream.address));
    let last = "GET /public/last HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n";
    let chunked = "POST /public/2 HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n";
    for (requests, expected) in [
        (vec![post("/public/1", "", "a"), post("/public/2", "", "b"), last.into()], vec![200; 3]),
        (
            vec![post("/public/1", "", "a") + "\r\n", post("/public/2", "", "b"), last.into()],
            vec![200; 3],
        ),
        (vec![post("/public/1", "", "a"), "\r\n\r\n".into(), last.into()], vec![200; 2]),
        (vec![chunked.into(), chunked.into(), last.into()], vec![200; 3]),
        // Refusals and the gateway's own answers are among them.
        (
            vec![post("/app/1", "", ""), post("/public/2", "", "b"), last.into()],
            vec![401, 200, 200],
        ),
        (
            vec!["GET /session HTTP/1.1\r\nHost: app.test\r\n\r\n".into(), last.into()],
            vec![401, 200],
        ),
        (vec![post("/login", "", "{}"), last.into()], vec![415, 200]),
        (vec![post("/public/%00", "", ""), last.into()], vec![400, 200]),
    ] {
        for pause in [None, Some(Duration::from_millis(3))] {
            let mut stream = gateway.client().connect();
            match pause {
                None => stream.write_all(requests.concat().as_bytes()).unwrap(),
                Some(pause) => {
                    for request in &requests {
                        stream.write_all(request.as_bytes()).unwrap();
                        std::thread::sleep(pause);
                    }
                }
            }
            assert_eq!(statuses(&mut stream), expected, "{requests:?} {pause:?}");
        }
    }
    let many = post("/public/many", "", "x").repeat(100) + last;
    let mut stream = gateway.client().connect();
    stream.write_all(many.as_bytes()).unwrap();
    assert_eq!(statuses(&mut stream).len(), 101);
}

/// The result does not depend on where TCP splits the bytes.
#[test]
fn the_cut_of_the_bytes_means_nothing() {
    let upstream = Upstream::start();
    let (gateway, _) = start(Setup::new(upstream.address));
    let bytes = post("/public/1", "", "a")
        + "\r\nPOST /public/2 HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n"
        + "GET /public/3 HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n";
    for cut in (1..bytes.len()).step_by(2) {
        let mut stream = gateway.client().connect();
        stream.write_all(&bytes.as_bytes()[..cut]).unwrap();
        std::thread::sleep(Duration::from_millis(1));
        stream.write_all(&bytes.as_bytes()[cut..]).unwrap();
        assert_eq!(statuses(&mut stream), [200; 3], "cut at {cut}");
    }
}

/// The service may have carried out the first request, so its answer comes before the refusal of the second.
#[test]
fn what_cannot_be_read_ends_the_connection_after_the_first_answer() {
    let upstream = Upstream::start();
    let (gateway, _) = start(Setup::new(upstream.address));
    for second in [
        "garbage\r\n\r\n",
        "\0\0\0",
        "GET /x HTTP/9.9\r\n\r\n",
        "GET /public/x HTTP/1.1\nHost: a\n\n",
    ] {
        let mut stream = gateway.client().connect();
        stream.write_all((post("/public/x", "", "a") + second).as_bytes()).unwrap();
        assert_eq!(statuses(&mut stream), [200, 400], "{second:?}");
    }
    // Nothing, or half of a request, is not answered.
    for second in ["GET /public/x HT", "\r\n"] {
        let mut stream = gateway.client().connect();
        stream.write_all((post("/public/x", "", "a") + second).as_bytes()).unwrap();
        assert_eq!(Response::read(&mut stream, false).status, 200);
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(statuses(&mut stream), [0_u16; 0], "{second:?}");
    }
}

/// After `Connection: close` (RFC 9112 section 9.6), an upgrade (RFC 9110 section 7.8), or the unread rest of a body, no
/// byte is a request.
#[test]
fn what_follows_the_last_request_is_never_one() {
    let upstream = Upstream::start();
    let (gateway, _) = start(Setup::new(upstream.address));
    let smuggled = "GET /public/smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n";
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for first in [
        post("/public/x", "Connection: close\r\n", ""),
        "GET /public/x HTTP/1.0\r\nHost: app.test\r\n\r\n".into(),
        format!("GET /public/x HTTP/1.1\r\nHost: app.test\r\n{upgrade}\r\n"),
        format!("GET /public/x HTTP/1.1\r\nHost: app.test\r\n{upgrade}Content-Length: 0\r\n\r\n"),
        format!("GET /app/x HTTP/1.1\r\nHost: app.test\r\n{upgrade}\r\n"),
        format!("POST /app/x HTTP/1.1\r\nHost: app.test\r\nContent-Length: {}\r\n\r\n", smuggled.len() + 1),
        "POST /app/x HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n".into(),
        "POST /public/x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na".into(),
        "POST /public/x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
    ] {
        let mut stream = gateway.client().connect();
        stream.write_all(first.as_bytes()).unwrap();
        let _ = stream.write_all(smuggled.as_bytes());
        let _ = stream.set_read_timeout(Some(Duration::from_secs(3)));
        let _ = stream.read_to_end(&mut Vec::new());
        let _ = stream.write_all(smuggled.as_bytes());
        let _ = stream.read_to_end(&mut Vec::new());
        assert!(upstream.seen().iter().all(|seen| seen.target != "/public/smuggled"), "{first}");
    }
}

/// RFC 9112 section 7.1: a body that is not chunked as its head claims is refused, and nothing after it is read.
#[test]
fn malformed_chunks_are_refused_and_end_the_connection() {
    let upstream = Upstream::start();
    let (gateway, certificate) = start(Setup::new(upstream.address));
    let head = |target: &str| {
        format!("POST {target} HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n")
    };
    for target in ["/public/x", "/login"] {
        for body in [
            "\r\nA\r\n0\r\n\r\n",
            "FFFFFFFFFFFFFFFFF\r\nA\r\n0\r\n\r\n",
            "8000000000000000\r\nA\r\n0\r\n\r\n",
            "5;a\nb\r\nhello\r\n0\r\n\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhelloX0\r\n\r\n",
            "0x1\r\nA\r\n0\r\n\r\n",
            "1 1\r\nA\r\n0\r\n\r\n",
            "0\r\nGET / HTTP/1.1\r\n\r\n",
        ] {
            let bytes =
                head(target) + body + "GET /public/smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n";
            let mut stream = gateway.client().connect();
            let _ = stream.write_all(bytes.as_bytes());
            assert_eq!(statuses(&mut stream), [400], "{target} {body:?}");
            let mut stream = tls(&gateway, &certificate);
            stream.write_all(bytes.as_bytes()).unwrap();
            assert_eq!(
                Response::read(&mut stream, false).status,
                400,
                "{target} {body:?} over TLS"
            );
        }
    }
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
}

/// RFC 9112 section 9.3: the gateway does with the connection what the answer's head says.
#[test]
fn an_answer_of_ours_keeps_what_it_says() {
    let breaks = Scripted::answering("");
    let upstream = Upstream::start();
    let (gateway, _) = start(Setup::new(upstream.address).upstream("read_timeout = \"1s\"").routes(&format!(
        "[[upstream]]\nname = \"dead\"\nservers = [\"127.0.0.1:1\"]\n\n\
         [[upstream]]\nname = \"breaks\"\nservers = [\"{}\"]\n\n\
         [[route]]\nname = \"dead\"\npath = \"/dead\"\nupstream = \"dead\"\naccess = \"public\"\n\n\
         [[route]]\nname = \"breaks\"\npath = \"/breaks\"\nupstream = \"breaks\"\naccess = \"public\"\n\n\
         [[route]]\nname = \"public\"\npath = \"/\"\nupstream = \"app\"\naccess = \"public\"\n\n\
         [[route]]\nname = \"app\"\npath = \"/app\"\nupstream = \"app\"\n",
        breaks.address
    )));
    let client: Client = gateway.client();
    for (target, status) in [
        ("/dead", 502),
        ("/breaks", 502),
        ("/hang", 504),
        ("/app", 401),
        ("/session", 405),
        ("/status/500", 500),
    ] {
        for body in ["", "hello"] {
            let mut stream = client.connect();
            for round in 0..3 {
                stream.write_all(post(target, "", body).as_bytes()).unwrap();
                let answer = Response::read(&mut stream, false);
                assert_eq!(answer.status, status, "{target} {body:?} {round}");
                assert_eq!(answer.header("connection"), Some("keep-alive"), "{target} {body:?}");
            }
            // The next request on the connection is answered, too.
            stream.write_all(post("/fine", "Connection: close\r\n", "").as_bytes()).unwrap();
            assert_eq!(statuses(&mut stream), [200], "{target}");
        }
        // If the body was not read, because it does not come or is too long, the head says `close`.
        for length in [5, 1 << 20] {
            let mut stream = client.connect();
            let head = format!(
                "POST {target} HTTP/1.1\r\nHost: app.test\r\nContent-Length: {length}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            if !["/hang", "/status/500", "/session"].contains(&target) {
                let answer = Response::read(&mut stream, false);
                assert_eq!(
                    (answer.status, answer.header("connection")),
                    (status, Some("close")),
                    "{target} {length}"
                );
            }
        }
        // A chunked body is read the same way, and a client that waits for a 100 (RFC 9110 section 10.1.1) gets the answer
        // at once.
        let mut stream = client.connect();
        let chunked =
            format!("POST {target} HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n");
        stream.write_all(format!("{chunked}\r\n5\r\nhello\r\n0\r\n\r\n").as_bytes()).unwrap();
        let answer = Response::read(&mut stream, false);
        assert_eq!(answer.header("connection"), Some("keep-alive"), "{target}");
        if status == 401 {
            stream.write_all(format!("{chunked}Expect: 100-continue\r\n\r\n").as_bytes()).unwrap();
            let begun = Instant::now();
            let answer = Response::read(&mut stream, false);
            assert_eq!((answer.status, answer.header("connection")), (401, Some("close")));
            assert!(begun.elapsed() < Duration::from_millis(400), "{:?}", begun.elapsed());
        }
    }
}
