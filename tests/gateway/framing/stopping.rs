//! SIGTERM under traffic: the last answer says so, and no request is lost.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::start;
use crate::support::client::Response;
use crate::support::eventually;
use crate::support::gateway::Setup;
use crate::support::scripted::Scripted;
use crate::support::soak;
use crate::support::upstream::Upstream;

const POST: &str = "POST /public/x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\nhello";

/// RFC 9112 section 9.6: the answer after which a server closes says `close`.
#[test]
fn the_last_answer_of_each_connection_says_close() {
    let go = Arc::new(AtomicBool::new(false));
    let may_go = Arc::clone(&go);
    let upstream = Scripted::start(move |connection| {
        while connection.until("hello").is_some() {
            while !may_go.load(Ordering::SeqCst) && connection_waits() {}
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let (mut gateway, _) = start(Setup::new(upstream.address));
    let (mut busy, mut idle, mut refused) =
        (gateway.client().connect(), gateway.client().connect(), gateway.client().connect());
    go.store(true, Ordering::SeqCst);
    for stream in [&mut busy, &mut idle, &mut refused] {
        stream.write_all(POST.as_bytes()).unwrap();
        let answer = Response::read(stream, false);
        assert_eq!((answer.status, answer.header("connection")), (200, Some("keep-alive")));
    }
    go.store(false, Ordering::SeqCst);
    busy.write_all(POST.as_bytes()).unwrap();
    eventually("the request to arrive", || {
        (upstream.received().matches("hello").count() == 4).then_some(())
    });
    gateway.terminate();
    gateway.logged("the stop", |line| line["message"] == "stopping");
    // These had no request when the stop began: one more of each is answered.
    idle.write_all(POST.as_bytes()).unwrap();
    refused.write_all(b"GET /app/x HTTP/1.1\r\nHost: app.test\r\n\r\n").unwrap();
    go.store(true, Ordering::SeqCst);
    for (stream, status) in [(&mut busy, 200), (&mut idle, 200), (&mut refused, 401)] {
        let answer = Response::read(stream, false);
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")));
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "closed after it");
    }
    assert_eq!(gateway.wait(), Some(0));
}

fn connection_waits() -> bool {
    thread::sleep(Duration::from_millis(2));
    true
}

/// Nobody waits for a client that is silent.
#[test]
fn a_silent_connection_does_not_hold_the_stop_up() {
    let upstream = Upstream::start();
    let (mut gateway, _) = start(Setup::new(upstream.address));
    let mut silent = gateway.client().connect();
    silent.write_all(POST.as_bytes()).unwrap();
    assert_eq!(Response::read(&mut silent, false).status, 200);
    let _never_said_a_word = gateway.client().connect();
    let begun = Instant::now();
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
}

#[derive(Default)]
struct Count {
    answered: AtomicUsize,
    lost: AtomicUsize,
    stop: AtomicBool,
}

/// One client that keeps its connection and posts at this pace. A request is lost if any of it was written and no answer came.
fn post_on(address: SocketAddr, pause: Duration, count: &Count) {
    let mut connection: Option<TcpStream> = None;
    while !count.stop.load(Ordering::SeqCst) {
        thread::sleep(pause);
        let Some(mut stream) = connection.take().or_else(|| TcpStream::connect(address).ok())
        else {
            continue;
        };
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        let whole = stream.write_all(POST.as_bytes()).is_ok()
            && loop {
                match stream.read(&mut chunk) {
                    Ok(n @ 1..) => answer.extend(&chunk[..n]),
                    _ => break false,
                }
                if answer.ends_with(b"ok") {
                    break true;
                }
            };
        if whole && answer.starts_with(b"HTTP/1.1 200") {
            count.answered.fetch_add(1, Ordering::SeqCst);
            let closes =
                String::from_utf8_lossy(&answer).to_ascii_lowercase().contains("connection: close");
            connection = (!closes).then_some(stream);
        } else {
            count.lost.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Restarts under load lose nothing that was sent.
#[test]
fn no_request_is_lost_in_a_restart() {
    let upstream = Scripted::start(|connection| {
        while connection.until("hello").is_some() {
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let (mut gateway, _) =
        start(Setup::new(upstream.address).log("level = \"info\"\naccess = false"));
    // The next one takes the same port.
    let file = gateway.folder().join("gateway.toml");
    let toml = std::fs::read_to_string(&file).unwrap();
    let toml = toml.replacen("127.0.0.1:0", &gateway.http.to_string(), 1);
    std::fs::write(&file, toml).unwrap();
    let (restarts, clients) = soak::times((1, 8), (10, 20));
    // A thousand a second, of all clients.
    let pause = Duration::from_millis(u64::try_from(clients).unwrap());
    let count = Arc::new(Count::default());
    let address = gateway.http;
    let threads: Vec<_> = (0..clients)
        .map(|_| {
            let count = Arc::clone(&count);
            thread::spawn(move || post_on(address, pause, &count))
        })
        .collect();
    for restart in 0..restarts {
        let before = count.answered.load(Ordering::SeqCst);
        eventually("traffic", || {
            (count.answered.load(Ordering::SeqCst) > before + 300).then_some(())
        });
        gateway.terminate();
        assert_eq!(gateway.wait(), Some(0), "restart {restart}");
        gateway.spawn();
        assert_eq!(gateway.http, address);
    }
    let before = count.answered.load(Ordering::SeqCst);
    eventually("traffic", || (count.answered.load(Ordering::SeqCst) > before + 300).then_some(()));
    count.stop.store(true, Ordering::SeqCst);
    for thread in threads {
        thread.join().unwrap();
    }
    let (answered, lost) =
        (count.answered.load(Ordering::SeqCst), count.lost.load(Ordering::SeqCst));
    soak::report(&format!("{restarts} restarts: {lost} of {} requests lost", answered + lost));
    assert_eq!(lost, 0, "of {answered}");
}
