//! Tests what is open when its session ends: a WebSocket, an event stream and a long download, over HTTP/1 and HTTP/2.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use http::Request;
use serde_json::json;

use super::house;
use crate::support::gateway::{Gateway, Setup};
use crate::support::tls::{Body, Certificate, H2};
use crate::support::{DEADLINE, eventually};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The service counts open requests of all tests, so these tests run one after the other.
static COUNTED: Mutex<()> = Mutex::new(());

fn token(gateway: &Gateway) -> String {
    token_of(gateway, "kim", "correct horse battery")
}

fn token_of(gateway: &Gateway, name: &str, password: &str) -> String {
    let tokens = gateway.client().sign_in(name, password);
    tokens["access"].as_str().unwrap().to_owned()
}

/// Begins an exchange on a new connection, and reads up to this text.
fn begin(gateway: &Gateway, target: &str, token: &str, fields: &str, up_to: &str) -> TcpStream {
    let mut stream = gateway.client().connect();
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: app.test\r\nAuthorization: Bearer {token}\r\n{fields}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    read_up_to(&mut stream, up_to);
    stream
}

fn read_up_to(stream: &mut TcpStream, up_to: &str) {
    let mut received = Vec::new();
    while !String::from_utf8_lossy(&received).contains(up_to) {
        let mut byte = [0];
        let n = stream.read(&mut byte).unwrap();
        assert_eq!(n, 1, "closed after {:?}", String::from_utf8_lossy(&received));
        received.extend(byte);
    }
}

/// Reads until the other side closes, cleanly or not.
fn closed(mut stream: TcpStream) {
    let mut rest = vec![0; 64 * 1024];
    let started = Instant::now();
    while let Ok(1..) = stream.read(&mut rest) {
        assert!(started.elapsed() < DEADLINE, "it goes on");
    }
    assert!(started.elapsed() < DEADLINE, "it goes on");
}

/// An open exchange of a session, on a connection of its own, and the time when it was cut.
struct Open {
    what: &'static str,
    over: thread::JoinHandle<Instant>,
}

/// Opens a WebSocket, an event stream, a download of 64 GiB and an upload, over HTTP/1.1 and HTTP/2.
fn open_all(gateway: &Gateway, certificate: &Certificate, token: &str) -> Vec<Open> {
    let mut all = Vec::new();
    for (what, target, fields, up_to) in [
        ("WebSocket", "/node/ws", UPGRADE, "\r\n\r\n"),
        ("event stream", "/node/events?id=never", "", "data: first"),
        ("download", "/node/endless", "", "ggggg"),
    ] {
        let stream = begin(gateway, target, token, fields, up_to);
        all.push(Open { what, over: thread::spawn(move || over(stream)) });
    }
    let mut upload = gateway.client().connect();
    let head = "POST /node/sink HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n";
    let part = "\r\n5\r\nhello\r\n";
    upload.write_all(format!("{head}Authorization: Bearer {token}\r\n{part}").as_bytes()).unwrap();
    all.push(Open { what: "upload", over: thread::spawn(move || over(upload)) });
    for (what, method, target) in [
        ("event stream, HTTP/2", "GET", "/node/events?id=never"),
        ("download, HTTP/2", "GET", "/node/endless"),
        ("upload, HTTP/2", "POST", "/node/sink"),
    ] {
        let mut h2 = H2::connect(gateway.https.unwrap(), certificate.client(&["h2"]));
        let request = Request::builder()
            .method(method)
            .uri(format!("https://app.test{target}"))
            .header("authorization", format!("Bearer {token}"))
            .body(())
            .unwrap();
        let body = Body {
            stalls: method == "POST",
            data: (method == "POST").then_some(b"hello"),
            ..Body::default()
        };
        let over = thread::spawn(move || {
            // The tests' client grants only one window, so the download does not end by itself.
            let answer = h2.send(request, &body);
            assert!(answer.is_err(), "{:?}", answer.map(|answer| answer.status));
            Instant::now()
        });
        all.push(Open { what, over });
    }
    all
}

/// Reads until the other side closes, cleanly or not, and returns the time.
fn over(mut stream: TcpStream) -> Instant {
    let mut rest = vec![0; 64 * 1024];
    let started = Instant::now();
    let mut bytes = 0;
    while let Ok(n @ 1..) = stream.read(&mut rest) {
        bytes += n;
        assert!(started.elapsed() < DEADLINE && bytes < 64 << 30, "it goes on");
    }
    Instant::now()
}

/// However a session ends, and whoever is blocked: what is open is cut within about a second, and nothing else is.
#[test]
fn every_end_and_every_block_cuts_what_is_open() {
    let _alone = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
    let house = house();
    let certificate = Certificate::make();
    let gateway = Setup::new(house.servers.address("node"))
        .listen(
            "https = [\"127.0.0.1:0\"]\ncertificate_file = \"cert.pem\"\nprivate_key_file = \"key.pem\"",
        )
        .file("cert.pem", certificate.pem.as_bytes())
        .file("key.pem", certificate.key.as_bytes())
        .directories("[[directory]]\nkind = \"file\"\npath = \"users.toml\"\nrefresh_interval = \"1s\"\n")
        .start();
    let stays = token_of(&gateway, "root", "toor toor toor");
    let other = begin(&gateway, "/node/events?id=goes-on", &stays, "", "data: first");
    let is_open = || gateway.client().get("/node/open").bearer(&stays).send().json();
    for how in [
        "signed out",
        "ended by an operator",
        "session blocked",
        "user blocked",
        "disabled in the directory",
        "address blocked",
    ] {
        let token = token(&gateway);
        let me = gateway.client().get("/session").bearer(&token).send().json();
        let session = me["session_id"].as_str().unwrap().to_owned();
        let open = open_all(&gateway, &certificate, &token);
        // Downloads and uploads of both versions; data of the other streams has already been read.
        eventually("all to be open", || (is_open() == 4).then_some(()));
        let post = |target: &str, body: serde_json::Value| {
            let answer = gateway.operator("POST", target).json(&body).send();
            assert_eq!(answer.status, 200, "{}", answer.text());
        };
        let acted = Instant::now();
        match how {
            "signed out" => {
                let out = gateway.client().post("/logout").bearer(&token).send();
                assert!(out.status < 300, "{}", out.text());
            }
            "ended by an operator" => post("/sessions/end", json!({"session": session})),
            "session blocked" => post("/blocks", json!({"session": session})),
            "user blocked" => post("/blocks", json!({"user": "file/kim"})),
            "disabled in the directory" => {
                let output = gateway.command(&["user", "disable", "kim", "--file", "users.toml"]);
                assert!(output.status.success(), "{output:?}");
            }
            _ => post("/blocks", json!({"address": "127.0.0.1"})),
        }
        let mut told = Vec::new();
        for one in open {
            let after = one.over.join().unwrap().duration_since(acted);
            told.push(format!("{} {} ms", one.what, after.as_millis()));
            // The directory is rechecked at intervals; everything else has effect at once.
            let most = if how == "disabled in the directory" { 5000 } else { 1500 };
            assert!(after.as_millis() < most, "{how}: {}", told.join(", "));
        }
        eprintln!("{how}: {}", told.join(", "));
        match how {
            "user blocked" => post("/blocks/lift", json!({"user": "file/kim"})),
            "disabled in the directory" => {
                let output = gateway.command(&["user", "enable", "kim", "--file", "users.toml"]);
                assert!(output.status.success(), "{output:?}");
                let login = json!({"username": "kim", "password": "correct horse battery"});
                let login = gateway.client().post("/login").json(&login);
                eventually("the change to be seen", || (login.send().status == 200).then_some(()));
            }
            "address blocked" => {
                // All clients of this test come from there.
                post("/blocks/lift", json!({"address": "127.0.0.1"}));
                assert_eq!(
                    gateway.client().get("/session").bearer(&token).send().status,
                    200,
                    "they stay signed in"
                );
                closed(other);
                return;
            }
            _ => {}
        }
        eventually("the service to be told", || (is_open() == 0).then_some(()));
    }
    unreachable!("the last of them returns");
}

#[test]
fn what_is_open_is_cut_when_its_session_ends_and_nothing_else_is() {
    let _alone = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
    let house = house();
    let certificate = Certificate::make();
    let gateway = Setup::new(house.servers.address("node"))
        .listen(
            "https = [\"127.0.0.1:0\"]\ncertificate_file = \"cert.pem\"\nprivate_key_file = \"key.pem\"",
        )
        .file("cert.pem", certificate.pem.as_bytes())
        .file("key.pem", certificate.key.as_bytes())
        .start();
    let (ending, staying) = (token(&gateway), token(&gateway));
    let stays = begin(&gateway, "/node/events?id=stays", &staying, "", "data: first");
    let open = [
        begin(&gateway, "/node/ws", &ending, UPGRADE, "\r\n\r\n"),
        begin(&gateway, "/node/events?id=never", &ending, "", "data: first"),
        begin(&gateway, "/node/long", &ending, "", "lllll"),
    ];
    let mut upload = gateway.client().connect();
    let head = "POST /node/sink HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n";
    let part = "\r\n5\r\nhello\r\n";
    upload.write_all(format!("{head}Authorization: Bearer {ending}\r\n{part}").as_bytes()).unwrap();
    let mut h2 = H2::connect(gateway.https.unwrap(), certificate.client(&["h2"]));
    let long = Request::get("https://app.test/node/long")
        .header("authorization", format!("Bearer {ending}"))
        .body(())
        .unwrap();
    let long = thread::spawn(move || h2.send(long, &Body::default()).map(|answer| answer.status));
    // The tests' HTTP/2 client sees nothing until the answer is whole, so the service is asked what is open.
    let is_open = || gateway.client().get("/node/open").bearer(&staying).send().json();
    eventually("downloads and upload to be open", || (is_open() == 3).then_some(()));

    let ended = Instant::now();
    let out = gateway.client().post("/logout").bearer(&ending).send();
    assert!(out.status < 300, "{}", out.text());
    for stream in open.into_iter().chain([upload]) {
        closed(stream);
    }
    assert!(long.join().unwrap().is_err(), "the stream is reset");
    let within = ended.elapsed();
    eprintln!(
        "a WebSocket, an event stream, a download, an upload, an HTTP/2 stream: cut {within:?} after the end"
    );
    eventually("the service to be told", || (is_open() == 0).then_some(()));
    let cut = || gateway.log().iter().filter(|line| line.contains("was cut")).count();
    eventually("five lines in the log", || (cut() == 5).then_some(()));

    let mut stays = stays;
    assert_eq!(gateway.client().get("/node/release?id=stays").bearer(&staying).send().status, 204);
    read_up_to(&mut stays, "data: second");
}
