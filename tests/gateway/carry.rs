//! Tests proxying: streams, uploads, WebSockets, failing upstreams, closed connections.

use std::io::{Read, Write};

use crate::support::client::Response;
use crate::support::eventually;
use crate::support::gateway::Setup;
use crate::support::upstream::Upstream;

#[test]
fn an_answer_is_passed_on_as_it_comes() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .route("name = \"drip\"\npath = \"/drip\"\naccess = \"public\"")
        .start();
    let mut stream = gateway.client().connect();
    stream.write_all(&gateway.client().get("/drip").bytes()).unwrap();
    let mut received = Vec::new();
    let mut chunk = [0; 1024];
    while !String::from_utf8_lossy(&received).contains("first") {
        let n = stream.read(&mut chunk).unwrap();
        assert!(n > 0, "closed before the first half");
        received.extend(&chunk[..n]);
    }
    assert!(!String::from_utf8_lossy(&received).contains("second"));
    upstream.release();
    stream.read_to_end(&mut received).unwrap();
    assert!(String::from_utf8_lossy(&received).contains("second"));
}

#[test]
fn an_upload_of_any_size_streams_through() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let body = vec![b'u'; 20 * 1024 * 1024];
    let mut stream = gateway.client().connect();
    let request = gateway.client().post("/public/upload").body(&body).bytes();
    let mut writing = stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || writing.write_all(&request));
    assert_eq!(Response::read(&mut stream, false).status, 200);
    writer.join().unwrap().unwrap();
    assert_eq!(upstream.last().body.len(), body.len());
}

#[test]
fn a_websocket_passes_and_its_handshake_is_authenticated() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let token =
        client.sign_in("kim", "correct horse battery")["access"].as_str().unwrap().to_owned();
    let handshake = || {
        client
            .get("/socket")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    assert_eq!(handshake().send().status, 401);

    let mut stream = client.connect();
    stream.write_all(&handshake().bearer(&token).bytes()).unwrap();
    assert_eq!(Response::read(&mut stream, false).status, 101);
    assert_eq!(upstream.last().all("x-user-id"), ["kim"]);
    stream.write_all(b"frames go through").unwrap();
    let mut echoed = [0; 17];
    stream.read_exact(&mut echoed).unwrap();
    assert_eq!(&echoed, b"frames go through");
}

#[test]
fn a_websocket_that_a_cookie_authenticates_must_come_from_our_own_site() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let cookie = client
        .post("/login")
        .json(&serde_json::json!({"username": "kim", "password": "correct horse battery"}))
        .send()
        .set_cookie("__Host-doorwarden")
        .unwrap();
    let open = |origin: &str| {
        let mut stream = client.connect();
        let request = client
            .get("/socket")
            .cookie("__Host-doorwarden", &cookie)
            .header("Origin", origin)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        stream.write_all(&request.bytes()).unwrap();
        Response::read(&mut stream, false).status
    };
    assert_eq!(open("http://evil.test"), 403);
    assert_eq!(open("null"), 403);
    assert_eq!(open("http://app.test"), 101);
}

#[test]
fn a_websocket_on_a_route_without_them_is_an_ordinary_request() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let response = gateway
        .client()
        .get("/public/x")
        .header("Connection", "close, Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .send();
    assert_eq!(response.status, 200);
    assert_eq!(upstream.last().header("upgrade"), None);
}

#[test]
fn a_dead_a_silent_and_a_breaking_upstream_have_our_error_body() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .upstream("read_timeout = \"1s\"")
        .routes(
            "[[upstream]]\nname = \"dead\"\nservers = [\"127.0.0.1:1\"]\n\n\
             [[route]]\nname = \"dead\"\npath = \"/dead/\"\nupstream = \"dead\"\naccess = \"public\"\n\n\
             [[route]]\nname = \"all\"\npath = \"/\"\nupstream = \"app\"\naccess = \"public\"\n",
        )
        .start();
    let client = gateway.client();
    for (path, status, code) in [
        ("/dead/x", 502, "upstream_unavailable"),
        ("/break", 502, "upstream_unavailable"),
        ("/hang", 504, "upstream_timeout"),
    ] {
        let response = client.get(path).send();
        assert_eq!((response.status, response.code().as_str()), (status, code), "{path}");
        assert!(response.json()["request_id"].is_string());
    }
    let page = client.get("/dead/x").navigation().send();
    assert_eq!(page.status, 502);
    assert!(page.header("content-type").unwrap().starts_with("text/html"), "{}", page.text());
}

#[test]
fn the_next_server_is_asked_when_one_is_dead() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .routes(&format!(
            "[[upstream]]\nname = \"two\"\nservers = [\"127.0.0.1:1\", \"{}\"]\n\n\
             [[route]]\nname = \"all\"\npath = \"/\"\nupstream = \"two\"\naccess = \"public\"\n",
            upstream.address
        ))
        .start();
    for _ in 0..6 {
        assert_eq!(gateway.client().post("/x").body(b"once").send().status, 200);
    }
    assert_eq!(upstream.seen().len(), 6);
}

#[test]
fn a_wsgi_server_gets_short_chunked_bodies_with_a_length() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).upstream("buffer_chunked = true").start();
    let client = gateway.client();
    let chunked = |size: usize| {
        let mut bytes =
            b"POST /public/x HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".to_vec();
        for part in vec![b'c'; size].chunks(1000) {
            bytes.extend(format!("{:x}\r\n", part.len()).bytes());
            bytes.extend(part);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n\r\n");
        client.raw(&bytes)
    };
    for size in [0, 1, 60_000] {
        assert_eq!(chunked(size).status, 200, "{size}");
        let seen = upstream.last();
        assert_eq!(seen.body.len(), size);
        assert_eq!(seen.header("content-length"), Some(size.to_string().as_str()));
        assert_eq!(seen.header("transfer-encoding"), None);
    }
    let before = upstream.seen().len();
    let refused = chunked(70_000);
    assert_eq!((refused.status, refused.code().as_str()), (411, "length_required"));
    assert_eq!(upstream.seen().len(), before);
}

#[test]
fn expect_100_continue_is_answered_here_and_behind() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let body = br#"{"username":"kim","password":"correct horse battery"}"#;
    for (path, type_) in [("/public/x", "text/plain"), ("/login", "application/json")] {
        let mut stream = client.connect();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: app.test\r\nContent-Type: {type_}\r\nContent-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut interim = [0; 12];
        stream.read_exact(&mut interim).unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100", "{path}");
        stream.write_all(body).unwrap();
        let mut rest = interim.to_vec();
        stream.read_to_end(&mut rest).unwrap();
        assert_eq!(Response::read(&mut rest.as_slice(), false).status, 200, "{path}");
    }
}

#[test]
fn a_kept_client_connection_without_a_request_is_closed() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).listen("keepalive_timeout = \"1s\"").start();
    let mut stream = gateway.client().connect();
    stream.write_all(b"GET /public/x HTTP/1.1\r\nHost: app.test\r\n\r\n").unwrap();
    let mut received = Vec::new();
    // This returns when the gateway closes the connection; a read timeout of the socket would be an error.
    stream.read_to_end(&mut received).unwrap();
    assert!(received.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn upstream_connections_are_kept() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).upstream("idle_timeout = \"1m\"").start();
    for _ in 0..20 {
        assert_eq!(gateway.client().get("/public/x").send().status, 200);
    }
    // An answer can reach the client a moment before the upstream connection is back in the pool.
    let used = upstream.connections();
    assert!(used < 10, "{used} connections for 20 requests");
}

#[test]
fn an_idle_upstream_connection_is_given_up_in_time() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).upstream("idle_timeout = \"300ms\"").start();
    let client = gateway.client();
    eventually("a new connection after the idle time", || {
        assert_eq!(client.get("/public/x").send().status, 200);
        std::thread::sleep(std::time::Duration::from_millis(400));
        (upstream.connections() > 1).then_some(())
    });
}

#[test]
fn requests_in_flight_finish_when_the_gateway_is_told_to_stop() {
    let upstream = Upstream::start();
    let mut gateway = Setup::new(upstream.address)
        .route("name = \"drip\"\npath = \"/drip\"\naccess = \"public\"")
        .start();
    let mut stream = gateway.client().connect();
    stream.write_all(&gateway.client().get("/drip").bytes()).unwrap();
    eventually("the request to arrive", || (!upstream.seen().is_empty()).then_some(()));
    gateway.terminate();
    gateway.logged("the stop", |line| line["message"] == "stopping");
    upstream.release();
    let response = Response::read(&mut stream, false);
    assert_eq!((response.status, response.text().as_str()), (200, "firstsecond"));
    assert_eq!(gateway.wait(), Some(0));
}

#[test]
fn a_head_that_drips_is_cut_off() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .listen("head_timeout = \"1s\"\nkeepalive_timeout = \"1s\"")
        .start();
    // The first head of a connection, and one on a kept connection.
    for before in ["", "GET /public/x HTTP/1.1\r\nHost: app.test\r\n\r\n"] {
        let mut stream = gateway.client().connect();
        stream.write_all(before.as_bytes()).unwrap();
        stream.write_all(b"GET /public/y HTTP/1.1\r\nHost: app.test\r\n").unwrap();
        let started = std::time::Instant::now();
        eventually("the connection to be closed", || {
            std::thread::sleep(std::time::Duration::from_millis(100));
            stream.write_all(b"X-Drip: 1\r\n").err()
        });
        assert!(started.elapsed() < std::time::Duration::from_secs(6), "{:?}", started.elapsed());
    }
    assert!(upstream.seen().iter().all(|seen| seen.target == "/public/x"));
    eventually("no connection to be counted", || {
        (gateway.metric("doorwarden_connections_active") == Some(0.0)).then_some(())
    });
}

/// Answers every request with 200, keeps the connection open, and records all received bytes.
fn refuses_upgrades() -> (std::net::SocketAddr, std::sync::Arc<std::sync::Mutex<Vec<u8>>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let received = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = std::sync::Arc::clone(&received);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let noted = std::sync::Arc::clone(&noted);
            std::thread::spawn(move || {
                let mut chunk = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut chunk) {
                    noted.lock().unwrap().extend(&chunk[..n]);
                    if chunk[..n].ends_with(b"\r\n\r\n") {
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno");
                    }
                }
            });
        }
    });
    (address, received)
}

#[test]
fn what_follows_a_handshake_that_is_refused_is_no_request_of_the_upstreams() {
    let (address, received) = refuses_upgrades();
    let gateway = Setup::new(address)
        .route("name = \"ws\"\npath = \"/ws\"\naccess = \"public\"\nwebsocket = true")
        .start();
    for (target, upgrade) in [
        ("/ws", "websocket"),
        ("/ws", "h2c"),
        ("/ws", "h2c, websocket"),
        ("/public/x", "websocket"),
        ("/public/x", "h2c"),
    ] {
        for more in ["", "Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n"] {
            let mut stream = gateway.client().connect();
            let handshake = format!(
                "GET {target} HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
            );
            stream.write_all(handshake.as_bytes()).unwrap();
            let smuggled = "GET /app/secret HTTP/1.1\r\nHost: app.test\r\nX-User-Id: root\r\n\r\n";
            let _ = stream.write_all(smuggled.as_bytes());
            let mut rest = Vec::new();
            let _ = stream.set_read_timeout(Some(std::time::Duration::from_secs(1)));
            let _ = stream.read_to_end(&mut rest);
            let _ = stream.write_all(smuggled.as_bytes());
            let _ = stream.read_to_end(&mut rest);
            let seen = String::from_utf8_lossy(&received.lock().unwrap()).into_owned();
            assert!(
                !seen.contains("/app/secret"),
                "{target} {upgrade} {more}: {seen}\n--- client got: {}",
                String::from_utf8_lossy(&rest)
            );
        }
    }
}

#[test]
fn the_body_of_an_answered_request_is_no_request() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let smuggled = "GET /public/smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n";
    let chunk = format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len());
    for head in [
        "POST /app/x",
        "GET /app/x",
        "DELETE /nowhere-at-all",
        "GET /login",
        "GET /session",
        "PUT /login",
        "POST /login",
        "POST /public/%2e%2e/x",
        "OPTIONS /app/x",
        "HEAD /app/x",
        "GET /public/x",
        "HEAD /public/x",
    ] {
        for (framing, body) in [
            (format!("Content-Length: {}", smuggled.len()), smuggled),
            ("Transfer-Encoding: chunked".to_owned(), &*chunk),
            (format!("Content-Length: {}\r\nExpect: 100-continue", smuggled.len()), smuggled),
        ] {
            let mut stream = gateway.client().connect();
            let request = format!("{head} HTTP/1.1\r\nHost: app.test\r\n{framing}\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
            let _ = stream.write_all(body.as_bytes());
            let _ = stream.set_read_timeout(Some(std::time::Duration::from_millis(200)));
            let _ = stream.read_to_end(&mut Vec::new());
            let seen = upstream.seen();
            assert!(
                seen.iter().all(|seen| seen.target != "/public/smuggled"),
                "{head} with {framing}"
            );
        }
    }
}
