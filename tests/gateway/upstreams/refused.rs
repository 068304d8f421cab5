//! Tests an HTTP/2 server that declares a request unprocessed: by resetting its stream, and by going away.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use h2::Reason;
use tokio::net::TcpListener;

use crate::support::gateway::Setup;

/// What a server does with its first requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum First {
    /// Sends `REFUSED_STREAM` this many times.
    Refuses(usize),
    /// Sends a `GOAWAY` that counts the first request as processed.
    GoesAway,
    /// Sends another reset, which does not say whether the request was processed.
    Resets,
}

/// An h2c server, which records the method of each request that it processes.
struct Refusing {
    address: SocketAddr,
    came: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Refusing {
    fn start(first: First) -> Self {
        let came = Arc::new(AtomicUsize::new(0));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (counted, noted) = (Arc::clone(&came), Arc::clone(&seen));
        let (tell, told) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                loop {
                    let Ok((socket, _)) = listener.accept().await else { return };
                    let (counted, noted) = (Arc::clone(&counted), Arc::clone(&noted));
                    tokio::spawn(async move {
                        let Ok(mut connection) = h2::server::handshake(socket).await else {
                            return;
                        };
                        while let Some(Ok((request, mut respond))) = connection.accept().await {
                            let nth = counted.fetch_add(1, Ordering::SeqCst);
                            match first {
                                First::Refuses(times) if nth < times => {
                                    respond.send_reset(Reason::REFUSED_STREAM);
                                    continue;
                                }
                                First::Resets if nth == 0 => {
                                    respond.send_reset(Reason::INTERNAL_ERROR);
                                    continue;
                                }
                                First::GoesAway if nth == 0 => {
                                    connection.abrupt_shutdown(Reason::NO_ERROR);
                                    continue;
                                }
                                _ => {}
                            }
                            noted.lock().unwrap().push(request.method().to_string());
                            let answer = http::Response::builder().status(200).body(()).unwrap();
                            let mut body = respond.send_response(answer, false).unwrap();
                            let _ = body.send_data(Bytes::from_static(b"ok"), true);
                        }
                    });
                }
            });
        });
        Self { address: told.recv().unwrap(), came, seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn behind(server: &Refusing) -> Setup {
    Setup::new(server.address).upstream("http = \"2\"\n[upstream.ejection]\nafter = 0")
}

#[test]
fn a_refused_stream_is_tried_again_and_another_reset_is_not() {
    for (first, method, status, seen) in [
        (First::Refuses(1), "GET", 200, 1),
        (First::Refuses(1), "DELETE", 200, 1),
        (First::Resets, "GET", 502, 0),
        (First::Resets, "DELETE", 502, 0),
    ] {
        let server = Refusing::start(first);
        let gateway = behind(&server).upstream("[upstream.retry]\ntries = 2").start();
        let answer = gateway.client().request(method, "/public/x").send();
        assert_eq!((answer.status, server.seen().len()), (status, seen), "{first:?} {method}");
        let retried = format!(
            "doorwarden_upstream_retries_total{{reason=\"refused\",server=\"{}\",upstream=\"app\"}}",
            server.address
        );
        gateway.counts(&retried, if status == 200 { 1.0 } else { 0.0 });
    }
}

#[test]
fn what_a_server_may_have_looked_at_before_it_goes_away_is_not_sent_again() {
    let server = Refusing::start(First::GoesAway);
    let gateway = behind(&server).upstream("[upstream.retry]\ntries = 2").start();
    let answer = gateway.client().get("/public/x").send();
    assert_eq!((answer.status, server.came.load(Ordering::SeqCst)), (502, 1));
    // The next request uses a new connection.
    assert_eq!(gateway.client().get("/public/x").send().status, 200);
    assert_eq!(server.seen(), ["GET"]);
}

#[test]
fn a_server_that_refuses_everything_is_asked_as_often_as_may() {
    let server = Refusing::start(First::Refuses(usize::MAX));
    let gateway = behind(&server).upstream("[upstream.retry]\ntries = 3").start();
    assert_eq!(gateway.client().get("/public/x").send().status, 502);
    assert_eq!(server.came.load(Ordering::SeqCst), 3);
    // Part of the body has been sent, so the request is not repeated.
    let before = server.came.load(Ordering::SeqCst);
    assert_eq!(gateway.client().post("/public/x").body(b"pay").send().status, 502);
    assert_eq!(server.came.load(Ordering::SeqCst), before + 1, "a POST comes once");
}
