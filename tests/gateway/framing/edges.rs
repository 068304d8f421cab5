//! Tests odd clients and odd servers on connections that others use next.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::floods::open;
use super::{start, tls};
use crate::support::client::Response;
use crate::support::eventually;
use crate::support::gateway::Setup;
use crate::support::scripted::Scripted;
use crate::support::tls::{frame, header_block};
use crate::support::upstream::Upstream;

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "app.test"), (":path", "/public/x")];

/// No body follows to carry the head: the end of an answer is sent at once, whatever happens to the connection.
#[test]
fn an_answer_without_a_body_is_sent_at_once() {
    let breaks = Scripted::answering("");
    let (gateway, certificate) = start(
        Setup::new(breaks.address).upstream("read_timeout = \"1s\"").with(
            "[[upstream]]\nname = \"dead\"\nservers = [\"127.0.0.1:1\"]\n\n\
             [[route]]\nname = \"dead\"\npath = \"/dead\"\nupstream = \"dead\"\naccess = \"public\"\n",
        ),
    );
    for target in ["/dead", "/public/breaks", "/app", "/login"] {
        let mut plain = gateway.client().connect();
        let mut secure = tls(&gateway, &certificate);
        for round in 0..2 {
            let head = format!("HEAD {target} HTTP/1.1\r\nHost: app.test\r\n\r\n");
            let begun = Instant::now();
            plain.write_all(head.as_bytes()).unwrap();
            let status = Response::read(&mut plain, true).status;
            assert_ne!(status, 100, "{target}");
            secure.write_all(head.as_bytes()).unwrap();
            assert_eq!(Response::read(&mut secure, true).status, status, "{target}");
            assert!(begun.elapsed() < Duration::from_secs(5), "{target} {round}");
        }
    }
}

/// A length that fits no number is invalid (RFC 9110 section 8.6), and a head that is refused for another reason is read to
/// the end of its framing.
#[test]
fn a_refused_head_never_hides_a_request() {
    let upstream = Upstream::start();
    let (gateway, _) = start(Setup::new(upstream.address));
    let smuggled = "GET /public/smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n";
    let n = smuggled.len();
    for first in [
        format!("BREW /x HTTP/1.1\r\nHost: app.test\r\nContent-Length: {n}, {n}\r\n\r\n"),
        format!("POST /x HTTP/1.1\r\nHost: app.test\r\nOrigin: a\r\nOrigin: b\r\nContent-Length: {n}, {n}\r\n\r\n"),
        "POST /x HTTP/1.1\r\nHost: app.test\r\nExpect: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n".into(),
        "POST /x HTTP/1.1\r\nHost: app.test\r\nHost: b\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n".into(),
        "POST /public/x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 18446744073709551616\r\n\r\n".into(),
        "POST /public/x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 99999999999999999999999\r\n\r\n".into(),
        "POST /app/x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 18446744073709551615\r\n\r\n".into(),
        "POST /public/x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 9223372036854775808\r\n\r\n".into(),
        "CONNECT app.test:443 HTTP/1.1\r\nHost: app.test:443\r\n\r\n".into(),
        "TRACE /public/x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 99\r\n\r\n".into(),
    ] {
        let mut stream = gateway.client().connect();
        stream.write_all((first.clone() + smuggled).as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answers = Vec::new();
        let _ = stream.read_to_end(&mut answers);
        let answers = String::from_utf8_lossy(&answers);
        assert!(answers.matches("HTTP/1.1 ").count() <= 1, "{first}: {answers}");
        assert!(upstream.seen().iter().all(|seen| seen.target != "/public/smuggled"), "{first}");
    }
}

/// Bytes that a server sends after its answer belong to no answer (RFC 9112 section 9.2 and 6.3).
#[test]
fn what_follows_an_answer_is_nobodys() {
    for answer in [
        // In one piece, and a moment later.
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok|HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen",
        "HTTP/1.1 204 No Content\r\n\r\n|HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n|stolen",
        "HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\n|stolen",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n|6\r\nstolen\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n|HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok|\r\n",
    ] {
        for together in [true, false] {
            let upstream = Scripted::start(move |connection| {
                let mut served = 0;
                while let Some(head) = connection.until("\r\n\r\n") {
                    let right = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright";
                    match (head.contains("/public/odd"), together) {
                        (false, _) => connection.write(right),
                        (true, true) => connection.write(&answer.replace('|', "")),
                        (true, false) => {
                            let (first, more) = answer.split_once('|').unwrap();
                            connection.write(first);
                            std::thread::sleep(Duration::from_millis(30));
                            connection.write(more);
                        }
                    }
                    served += 1;
                    assert!(served < 100);
                }
            });
            let (gateway, _) = start(Setup::new(upstream.address));
            for _ in 0..3 {
                let odd = gateway.client().get("/public/odd").send();
                assert!(!odd.text().contains("stolen"), "{answer:?} {together}");
                // Bytes that come even later could not be told from an answer to the next request.
                std::thread::sleep(Duration::from_millis(60));
                let other = gateway.client().get("/public/other").send();
                assert_eq!(
                    (other.status, other.text().as_str()),
                    (200, "right"),
                    "{answer:?} {together}"
                );
            }
        }
    }
}

/// The same after HEAD, whose answer has no body whatever its fields say.
#[test]
fn a_body_after_head_is_nobodys() {
    let upstream = Scripted::start(|connection| {
        while let Some(head) = connection.until("\r\n\r\n") {
            let body = if head.starts_with("HEAD") { "stolen" } else { "right!" };
            connection.write(&format!("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n{body}"));
        }
    });
    let (gateway, _) = start(Setup::new(upstream.address));
    for _ in 0..5 {
        assert_eq!(gateway.client().request("HEAD", "/public/x").send().status, 200);
        assert_eq!(gateway.client().get("/public/x").send().text(), "right!");
    }
}

/// A length is digits alone (RFC 9110 section 8.6): servers and clients read anything else differently.
#[test]
fn an_answer_whose_length_is_no_number_reaches_nobody() {
    for length in ["+5", "-0", "5, +5", "5, 6", "0x5", ""] {
        let upstream = Scripted::start(move |connection| {
            while connection.until("\r\n\r\n").is_some() {
                connection
                    .write(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nright"));
            }
        });
        let (gateway, _) = start(Setup::new(upstream.address));
        let answer = gateway.client().get("/public/x").send();
        assert_eq!(answer.status, 502, "{length:?}: {}", answer.text());
    }
}

/// Clients end connections in many ways: without TLS's close_notify, with a reset, in the middle of a head or a body.
#[test]
fn no_end_of_a_connection_is_an_error() {
    let upstream = Upstream::start();
    let (gateway, certificate) = start(Setup::new(upstream.address).log("level = \"info\""));
    let get = b"GET /public/x HTTP/1.1\r\nHost: app.test\r\n\r\n";
    // A socket that is closed with unread bytes is reset.
    let has_unread = |stream: &TcpStream| assert!(stream.peek(&mut [0]).unwrap() > 0);
    for more in [
        &b""[..],
        b"GET /pub",
        b"POST /public/x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 9\r\n\r\nhel",
    ] {
        for resets in [false, true] {
            let mut plain = gateway.client().connect();
            plain.write_all(get).unwrap();
            assert_eq!(Response::read(&mut plain, false).status, 200);
            if resets {
                plain.write_all(get).unwrap();
                has_unread(&plain);
            }
            plain.write_all(more).unwrap();
            let mut secure = tls(&gateway, &certificate);
            secure.write_all(get).unwrap();
            assert_eq!(Response::read(&mut secure, false).status, 200);
            if resets {
                secure.write_all(get).unwrap();
                secure.flush().unwrap();
                has_unread(&secure.sock);
            }
            secure.write_all(more).unwrap();
            secure.flush().unwrap();
        }
    }
    // HTTP/2 clients that leave before, and while, they are answered.
    for resets in [false, true] {
        for _ in 0..20 {
            let mut http2 = open(&gateway, &certificate);
            if resets {
                for stream in 0..50 {
                    let bytes = frame(1, 5, stream * 2 + 1, &header_block(&GET));
                    http2.write_all(&bytes).unwrap();
                }
                http2.flush().unwrap();
                has_unread(&http2.sock);
            }
        }
    }
    eventually("all to be closed", || {
        gateway.metric("doorwarden_connections_active").filter(|open| *open < 1.0)
    });
    let errors: Vec<_> =
        gateway.log().into_iter().filter(|line| line.contains("\"ERROR\"")).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

/// `listen.write_timeout`: a client that requests much and reads nothing occupies neither the gateway nor the service.
#[test]
fn a_client_that_does_not_read_is_given_up() {
    let given_up = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&given_up);
    let upstream = Scripted::start(move |connection| {
        if connection.until("\r\n\r\n").is_some() {
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
            while connection.stream.write_all(&[b'd'; 64 * 1024]).is_ok() {}
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let (gateway, certificate) =
        start(Setup::new(upstream.address).listen("write_timeout = \"1s\""));
    let head = b"GET /public/x HTTP/1.1\r\nHost: app.test\r\n\r\n";
    let mut plain = gateway.client().connect();
    plain.write_all(head).unwrap();
    let mut secure = tls(&gateway, &certificate);
    secure.write_all(head).unwrap();
    secure.flush().unwrap();
    let mut http2 = open(&gateway, &certificate);
    http2.write_all(&frame(1, 5, 1, &header_block(&GET))).unwrap();
    http2.flush().unwrap();
    eventually("all three to be given up", || (given_up.load(Ordering::SeqCst) == 3).then_some(()));
}
