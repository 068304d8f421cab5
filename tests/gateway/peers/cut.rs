//! What is open when its session ends: a WebSocket, an event stream and a long download, over HTTP/1 and HTTP/2.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use http::Request;

use super::house;
use crate::support::gateway::{Gateway, Setup};
use crate::support::tls::{Body, Certificate, H2};
use crate::support::{DEADLINE, eventually};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn token(gateway: &Gateway) -> String {
    let tokens = gateway.client().sign_in("kim", "correct horse battery");
    tokens["access"].as_str().unwrap().to_owned()
}

/// Begins an exchange on a connection of its own, and reads up to this.
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

/// Reads until the other side closes, gently or not.
fn closed(mut stream: TcpStream) {
    let mut rest = vec![0; 64 * 1024];
    let started = Instant::now();
    while let Ok(1..) = stream.read(&mut rest) {
        assert!(started.elapsed() < DEADLINE, "it goes on");
    }
    assert!(started.elapsed() < DEADLINE, "it goes on");
}

#[test]
fn what_is_open_is_cut_when_its_session_ends_and_nothing_else_is() {
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
    // Over HTTP/2 nothing is seen before the answer is whole: it is there when the service has been asked.
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
