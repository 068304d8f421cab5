//! Tests services that pause within an answer, and clients that stall or drip: none of them occupies a connection, an
//! upstream or a hashing thread forever (R58).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::support::DEADLINE;
use crate::support::client::{Client, Response};
use crate::support::gateway::{Gateway, Setup};
use crate::support::scripted::Scripted;
use crate::support::upstream::Upstream;

/// The time between two bytes of a slow client.
const PACE: Duration = Duration::from_millis(50);

/// Long enough for a timeout of one second, too short for one of a minute.
const SOON: Duration = Duration::from_secs(10);

fn gateway(upstream: &Upstream) -> Gateway {
    Setup::new(upstream.address).listen("read_timeout = \"1s\"\nown_body_timeout = \"1s\"").start()
}

/// Sends these bytes and then one more after each pause, until the gateway answers.
fn drip(client: &Client, bytes: &[u8], more: u8) -> (Response, Duration) {
    let mut stream = client.connect();
    let started = Instant::now();
    stream.write_all(bytes).unwrap();
    stream.set_read_timeout(Some(PACE)).unwrap();
    let mut answer = Vec::new();
    while started.elapsed() < DEADLINE {
        if read_some(&mut stream, &mut answer) || stream.write_all(&[more]).is_err() {
            break;
        }
    }
    let took = started.elapsed();
    // An answer may come in parts.
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    (Response::read(&mut answer.as_slice().chain(stream), false), took)
}

/// Reads for one pause; returns whether the other side has answered or closed.
fn read_some(stream: &mut TcpStream, answer: &mut Vec<u8>) -> bool {
    let mut chunk = [0; 4096];
    match stream.read(&mut chunk) {
        Ok(n) => {
            answer.extend(&chunk[..n]);
            true
        }
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

fn head(target: &str, length: usize) -> Vec<u8> {
    format!(
        "POST {target} HTTP/1.1\r\nHost: app.test\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    )
    .into_bytes()
}

#[test]
fn a_body_that_stalls_is_given_up() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    for target in ["/public/upload", "/login"] {
        let mut stream = gateway.client().connect();
        let started = Instant::now();
        stream.write_all(&[head(target, 1000), b"{\"begun\"".to_vec()].concat()).unwrap();
        let mut answer = Vec::new();
        // Closing, even with a reset, is as good as an answer to a request that is never completed.
        let _ = stream.read_to_end(&mut answer);
        assert!(started.elapsed() < SOON, "{target}: {:?}", started.elapsed());
        if !answer.is_empty() {
            let answer = Response::read(&mut answer.as_slice(), false);
            assert_eq!((answer.status, answer.code().as_str()), (408, "body_timeout"), "{target}");
        }
    }
    assert!(upstream.seen().is_empty(), "no upstream takes half a body for a whole one");
}

#[test]
fn a_body_for_an_own_path_has_a_time_for_all_of_it() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    for target in ["/login", "/refresh", "/verify", "/logout"] {
        let (answer, took) = drip(&gateway.client(), &head(target, 1000), b' ');
        assert!(took < SOON, "{target}: {took:?}");
        assert!(took >= Duration::from_millis(900), "{target}: {took:?}");
        assert_eq!((answer.status, answer.code().as_str()), (408, "body_timeout"), "{target}");
    }
}

#[test]
fn a_body_that_drips_and_arrives_in_time_is_taken() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .listen("read_timeout = \"5s\"\nown_body_timeout = \"20s\"")
        .start();
    // The body takes half a second, which is within both timeouts.
    let (answer, _) = drip(&gateway.client(), &head("/login", 10), b' ');
    assert_eq!((answer.status, answer.code().as_str()), (400, "bad_body"));
}

#[test]
fn slow_clients_do_not_slow_others() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let client = gateway.client();
    // More clients than there are threads, each in the middle of something.
    let slow: Vec<TcpStream> = (0..40)
        .map(|number| {
            let mut stream = client.connect();
            let part = match number % 4 {
                0 => b"GET /app HTTP/1.1\r\nHost: a".to_vec(),
                1 => head("/login", 100),
                2 => head("/public/upload", 100),
                _ => Vec::new(),
            };
            stream.write_all(&part).unwrap();
            stream
        })
        .collect();
    for _ in 0..10 {
        let started = Instant::now();
        assert_eq!(client.get("/public/x").send().status, 200);
        assert!(started.elapsed() < SOON);
    }
    drop(slow);
}

#[test]
fn an_upload_that_goes_on_is_not_given_up() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    // Longer than both timeouts in total, but never silent for long: the duration of uploads is not limited.
    let length = 1500 / usize::try_from(PACE.as_millis()).unwrap();
    let (answer, took) = drip(&gateway.client(), &head("/public/upload", length), b'u');
    assert!(took > Duration::from_secs(1), "{took:?}");
    assert_eq!(answer.status, 200);
    assert_eq!(upstream.last().body, vec![b'u'; length]);
}

/// The service sends each part after the client has received the previous one: a proxy that held one back would wait
/// forever.
#[test]
fn each_part_of_an_answer_arrives_when_the_service_has_sent_it() {
    const PARTS: [&str; 3] = ["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "hello", "world"];
    let (go, went) = mpsc::channel::<()>();
    let went = Mutex::new(went);
    let upstream = Scripted::start(move |connection| {
        while connection.until("\r\n\r\n").is_some() {
            for part in PARTS {
                connection.write(part);
                let _ = went.lock().unwrap().recv_timeout(DEADLINE);
            }
        }
    });
    let gateway = Setup::new(upstream.address).start();
    let unfinished = "POST /public/a HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\nhe";
    for request in ["GET /public/a HTTP/1.1\r\nHost: app.test\r\n\r\n", unfinished] {
        let mut stream = gateway.client().connect();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut all = String::new();
        for end in ["\r\n\r\n", "hello", "world"] {
            while !all.ends_with(end) {
                let mut chunk = [0; 4096];
                let n = stream.read(&mut chunk).unwrap_or_else(|_| panic!("{request}: {all}"));
                assert_ne!(n, 0, "{request}: {all}");
                all.push_str(std::str::from_utf8(&chunk[..n]).unwrap());
            }
            go.send(()).unwrap();
        }
    }
}
