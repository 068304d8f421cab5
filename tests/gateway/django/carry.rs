//! Tests bodies and connections in front of gunicorn: what is particular to a WSGI server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::kim;
use crate::support::client::{Client, Response};
use crate::support::django::Django;
use crate::support::gateway::Setup;

/// Returns a gateway with open routes: proxying does not depend on who is calling.
fn open_to_all(django: &Django) -> Setup {
    django.setup().routes(
        "[[route]]\nname = \"all\"\npath = \"/\"\nupstream = \"app\"\naccess = \"public\"\n",
    )
}

/// Returns a `POST /upload` in chunks.
fn chunked(body: &[u8]) -> Vec<u8> {
    let mut bytes = b"POST /upload HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".to_vec();
    for chunk in body.chunks(1000) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

/// Returns bytes without a period, so that a lost or repeated buffer shows.
fn bytes(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect()
}

#[test]
fn a_chunked_body_arrives_whole_where_the_upstream_is_said_to_need_it() {
    let django = Django::shared();
    let with = open_to_all(&django).upstream("buffer_chunked = true").start();
    let without = open_to_all(&django).start();
    for size in [1, 5, 4000, 60_000] {
        let body = bytes(size);
        let expected = Client::new(django.address).post("/upload").body(&body).send().json();
        assert_eq!(expected["length"], size);
        assert_eq!(with.client().raw(&chunked(&body)).json(), expected, "{size}");
        // The reason for the option: in WSGI, a body without a length is empty.
        assert_eq!(without.client().raw(&chunked(&body)).json()["length"], 0, "{size}");
    }
}

#[test]
fn an_upload_streams_and_is_never_held_whole() {
    let django = Django::shared();
    let gateway = open_to_all(&django).start();
    let body = bytes(30 * 1024 * 1024);
    let upload = |client: Client| {
        let mut stream = client.connect();
        let mut writing = stream.try_clone().unwrap();
        thread::scope(|scope| {
            let sent =
                scope.spawn(|| writing.write_all(&client.post("/upload").body(&body).bytes()));
            let response = Response::read(&mut stream, false);
            sent.join().unwrap().unwrap();
            response.json()
        })
    };
    let expected = upload(Client::new(django.address));
    assert_eq!(expected["length"], body.len());
    let before = peak_memory(gateway.pid());
    assert_eq!(upload(gateway.client()), expected);
    let grown = peak_memory(gateway.pid()) - before;
    assert!(grown < 15 * 1024, "30 MiB passed, and the gateway grew by {grown} KiB");
}

/// Returns the peak memory of a process, in KiB.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn downloads_and_events_arrive_piece_by_piece() {
    let django = Django::shared();
    let gateway = open_to_all(&django).start();
    let client = gateway.client();
    for (target, first, last) in [
        ("/stream?chunks=2&pause=2", "chunk 0", "chunk 1"),
        ("/events?count=2&pause=2", "id: 0", "id: 1"),
    ] {
        let mut stream = client.connect();
        stream.write_all(&client.get(target).bytes()).unwrap();
        let mut received = String::new();
        read_until(&mut stream, &mut received, first);
        assert!(!received.contains(last), "{target}: the first piece waited for the last");
        let waited = Instant::now();
        read_until(&mut stream, &mut received, last);
        assert!(waited.elapsed() > Duration::from_millis(350), "{target}: {received}");
    }
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it() {
    let django = Django::shared();
    let gateway = open_to_all(&django).start();
    let body = bytes(100_000);
    let mut stream = gateway.client().connect();
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: app.test\r\nContent-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut interim = String::new();
    read_until(&mut stream, &mut interim, "\r\n\r\n");
    assert!(interim.starts_with("HTTP/1.1 100"), "{interim}");
    stream.write_all(&body).unwrap();
    let response = Response::read(&mut stream, false);
    assert_eq!((response.status, &response.json()["length"]), (200, &body.len().into()));
}

/// gunicorn closes a connection after 2 s without a request. A request that is sent at that very moment is lost, and a POST
/// must not be repeated; so the gateway closes its connections earlier. This test needs real time to pass.
#[test]
fn no_request_fails_because_gunicorn_closed_a_kept_connection() {
    const AT_ONCE: usize = 6;
    let django = Django::shared();
    // Every pause has a gateway of its own, so that no other requests keep its connections fresh.
    let gateways = [1480, 1500, 1520, 1960, 1990, 2000, 2010, 2040]
        .map(|pause| (Duration::from_millis(pause), open_to_all(&django).start()));
    thread::scope(|scope| {
        for (pause, gateway) in &gateways {
            for number in 0..AT_ONCE {
                scope.spawn(move || {
                    let mut stream = gateway.client().connect();
                    for round in 0..3 {
                        if round > 0 {
                            thread::sleep(*pause);
                        }
                        let what = format!("after {pause:?}, client {number}, round {round}");
                        exchange(&mut stream, number % 2 == 0, &what);
                    }
                });
            }
        }
    });
    for (_, gateway) in &gateways {
        let name = "doorwarden_refusals_total{code=\"upstream_unavailable\",reason=\"upstream_unavailable\"}";
        gateway.counts(name, 0.0);
    }
}

/// Sends one request on a kept connection.
fn exchange(stream: &mut TcpStream, post: bool, what: &str) {
    let request = if post {
        "POST /upload HTTP/1.1\r\nHost: app.test\r\nContent-Length: 4\r\n\r\nbody"
    } else {
        "GET /public/whoami HTTP/1.1\r\nHost: app.test\r\n\r\n"
    };
    stream.write_all(request.as_bytes()).unwrap();
    let response = Response::read(stream, false);
    assert_eq!(response.status, 200, "{what}: {}", response.text());
    if post {
        assert_eq!(response.json()["length"], 4, "{what}");
    }
}

#[test]
fn the_services_own_answers_pass_as_they_are() {
    let django = Django::shared();
    let gateway = django.setup().start();
    let client = gateway.client();
    let (access, _) = kim(&client);
    for code in [204, 302, 404, 418, 500, 503] {
        let target = format!("/status/{code}?location=/elsewhere");
        let response = client.get(&target).bearer(&access).send();
        assert_eq!(response.status, code);
        if code == 302 {
            assert_eq!(response.header("location"), Some("/elsewhere"));
        }
        if code != 204 {
            assert_eq!(response.json()["code"], Value::Null, "the service's own body");
        }
    }
}

#[test]
fn a_view_that_takes_too_long_is_given_up() {
    let django = Django::shared();
    let gateway = open_to_all(&django).upstream("read_timeout = \"500ms\"").start();
    let response = gateway.client().get("/slow?seconds=2").send();
    assert_eq!((response.status, response.code().as_str()), (504, "upstream_timeout"));
}

fn read_until(stream: &mut TcpStream, received: &mut String, text: &str) {
    let mut chunk = [0; 1024];
    while !received.contains(text) {
        let n = stream.read(&mut chunk).unwrap();
        assert!(n > 0, "closed before {text:?}: {received}");
        received.push_str(&String::from_utf8_lossy(&chunk[..n]));
    }
}
