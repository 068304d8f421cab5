//! Tests how long a service may take and how much a client may send, route by route.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use http::Request;

use crate::support::client::Response;
use crate::support::gateway::{Gateway, Setup};
use crate::support::scripted::{Connection, Scripted};
use crate::support::tls::{Body, Certificate, H2};

const SECOND: Duration = Duration::from_secs(1);

/// Starts a service that answers by path: `/…/late/MS` begins after this time, `/…/gap/MS` pauses within the answer for it,
/// `/…/drip/MS` sends a piece after each such time, without end.
fn timed() -> Scripted {
    Scripted::start(|connection: &mut Connection| {
        while let Some(head) = connection.until("\r\n\r\n") {
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let (rest, number) = path.rsplit_once('/').unwrap();
            let wait = Duration::from_millis(number.parse().unwrap_or(0));
            let what = rest.rsplit('/').next().unwrap();
            if what == "late" {
                std::thread::sleep(wait);
            }
            if connection
                .stream
                .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
                .is_err()
            {
                return;
            }
            if what == "drip" {
                loop {
                    std::thread::sleep(wait);
                    if connection.stream.write_all(b"3\r\nmor\r\n").is_err() {
                        return;
                    }
                }
            }
            if what == "gap" {
                std::thread::sleep(wait);
            }
            if connection.stream.write_all(b"3\r\ntwo\r\n0\r\n\r\n").is_err() {
                return;
            }
        }
    })
}

fn route(name: &str, timeouts: &str) -> String {
    format!(
        "name = \"{name}\"\npath = \"/{name}/\"\naccess = \"public\"\n[route.timeouts]\n{timeouts}"
    )
}

/// Returns the status, the body if it arrived whole, and how long that took.
fn got(gateway: &Gateway, path: &str) -> (u16, Option<String>, Duration) {
    let begun = Instant::now();
    let mut stream = gateway.client().connect();
    stream.write_all(&gateway.client().get(path).bytes()).unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let is_whole = bytes.ends_with(b"0\r\n\r\n") || bytes.ends_with(b"}");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split(' ').nth(1).unwrap_or_default().parse().unwrap_or(0);
    let body = is_whole.then(|| Response::read(&mut bytes.as_slice(), false).text());
    (status, body, begun.elapsed())
}

#[test]
fn each_route_has_its_own_times() {
    let service = timed();
    let gateway = Setup::new(service.address)
        .upstream("read_timeout = \"1s\"\n[upstream.ejection]\nafter = 0")
        .route(&route("first", "first_byte = \"200ms\"\nbetween_bytes = \"5s\""))
        .route(&route("between", "first_byte = \"5s\"\nbetween_bytes = \"200ms\""))
        .route(&route("whole", "total = \"500ms\""))
        .route(&route("long", "first_byte = \"5s\"\nbetween_bytes = \"5s\""))
        .start();
    let both = Some("onetwo".to_owned());
    for (path, status, whole, least, most) in [
        ("/first/late/50", 200, true, 50, 200),
        ("/first/late/900", 504, false, 200, 800),
        // Once the first byte has come, the route allows more time than the upstream's own setting.
        ("/first/gap/1500", 200, true, 1500, 4000),
        ("/between/late/1500", 200, true, 1500, 4000),
        ("/between/gap/50", 200, true, 50, 1000),
        ("/between/gap/3000", 200, false, 200, 1500),
        ("/whole/late/50", 200, true, 50, 500),
        ("/whole/late/900", 504, false, 500, 900),
        ("/whole/drip/50", 200, false, 500, 1500),
        ("/whole/gap/900", 200, false, 500, 1500),
        ("/long/late/1500", 200, true, 1500, 4000),
        // The upstream's own time applies if the route sets none.
        ("/public/late/2000", 504, false, 1000, 1900),
    ] {
        let (got_status, body, took) = got(&gateway, path);
        assert_eq!(got_status, status, "{path}: {body:?}");
        match status {
            504 => assert!(body.unwrap().contains("\"upstream_timeout\""), "{path}"),
            _ => assert_eq!(body == both, whole, "{path}: {body:?}"),
        }
        let millis = Duration::from_millis;
        assert!(took >= millis(least) && took < millis(most) + SECOND, "{path}: {took:?}");
        eprintln!("{path}: {got_status} after {took:.0?}");
    }
    let code = "doorwarden_refusals_total{code=\"upstream_timeout\",reason=\"upstream_timeout\"}";
    gateway.counts(code, 6.0);
    let cut = gateway.logged("the access line", |line| {
        line["path"] == "/whole/drip/50" && line["status"] == 200
    });
    assert!(cut["duration_ms"].as_f64().is_none_or(|took| took >= 490.0), "{cut}");
}

#[test]
fn what_lives_long_goes_on() {
    // An event stream with an event every 300 ms, and a WebSocket, on a route with short times.
    let service = timed();
    let gateway = Setup::new(service.address)
        .route(&route("events", "first_byte = \"200ms\"\nbetween_bytes = \"10s\""))
        .start();
    let mut stream = gateway.client().connect();
    stream.write_all(&gateway.client().get("/events/drip/300").bytes()).unwrap();
    let (mut text, mut part) = (String::new(), [0; 1024]);
    while text.matches("mor").count() < 3 {
        let n = stream.read(&mut part).unwrap();
        assert!(n > 0, "cut after {text}");
        text += &String::from_utf8_lossy(&part[..n]);
    }
    let upstream = crate::support::upstream::Upstream::start();
    let gateway = Setup::new(upstream.address)
        .route(&format!(
            "websocket = true\nmax_body_bytes = \"1KiB\"\n{}",
            route("ws", "first_byte = \"100ms\"\nbetween_bytes = \"100ms\"\ntotal = \"200ms\"")
        ))
        .start();
    let request = gateway
        .client()
        .get("/ws/x")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let mut stream = gateway.client().connect();
    stream.write_all(&request.bytes()).unwrap();
    assert_eq!(Response::read(&mut stream, false).status, 101);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(600) {
        // The service echoes everything; in the end that is more than the largest body.
        stream.write_all(&[b'x'; 200]).unwrap();
        stream.read_exact(&mut [0; 200]).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn over_http_2_a_late_service_is_504_too() {
    let (service, certificate) = (timed(), Certificate::make());
    let gateway = Setup::new(service.address)
        .route(&route("first", "first_byte = \"200ms\"\nbetween_bytes = \"5s\""))
        .route("name = \"small\"\npath = \"/small/\"\naccess = \"public\"\nmax_body_bytes = \"1KiB\"")
        .listen(
            "https = [\"127.0.0.1:0\"]\ncertificate_file = \"cert.pem\"\nprivate_key_file = \"key.pem\"",
        )
        .file("cert.pem", certificate.pem.as_bytes())
        .file("key.pem", certificate.key.as_bytes())
        .start();
    let mut client = H2::connect(gateway.https.unwrap(), certificate.client(&["h2"]));
    let request = |path: &str| Request::post(format!("https://app.test{path}")).body(()).unwrap();
    let answer = client.send(request("/first/late/900"), &Body::default()).unwrap();
    assert_eq!((answer.status, answer.json()["code"].as_str()), (504, Some("upstream_timeout")));
    let body = Body { data: Some(&[b'x'; 2000]), ..Body::default() };
    let answer = client.send(request("/small/late/0"), &body).unwrap();
    assert_eq!((answer.status, answer.json()["code"].as_str()), (413, Some("body_too_large")));
}

#[test]
fn a_body_is_as_large_as_its_route_allows() {
    let upstream = crate::support::upstream::Upstream::start();
    let gateway = Setup::new(upstream.address)
        .route(
            "name = \"small\"\npath = \"/small/\"\naccess = \"public\"\nmax_body_bytes = \"1KiB\"",
        )
        .start();
    let post = |path: &str, length: usize| {
        let answer = gateway.client().post(path).body(&vec![b'x'; length]).send();
        (answer.status, if answer.status == 413 { answer.code() } else { String::new() })
    };
    let too_large = || (413, "body_too_large".to_owned());
    assert_eq!(post("/small/x", 1024), (200, String::new()));
    assert_eq!(post("/small/x", 1025), too_large());
    assert_eq!(post("/public/x", 100_000), (200, String::new()));
    let before = upstream.seen().len();
    let chunked = |parts: &[usize]| {
        let mut bytes = b"POST /small/x HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for part in parts {
            bytes.extend(format!("{part:x}\r\n{}\r\n", "x".repeat(*part)).bytes());
        }
        bytes.extend(b"0\r\n\r\n");
        gateway.client().raw(&bytes).status
    };
    assert_eq!(chunked(&[1000, 24]), 200);
    assert_eq!(upstream.seen().len(), before + 1);
    assert_eq!(chunked(&[1000, 25]), 413);
    assert_eq!(chunked(&[5000]), 413);
    assert_eq!(upstream.seen().len(), before + 1, "the service never had one of them whole");
    // A client that waits for a 100 is refused before it sends the body.
    let asks = b"POST /small/x HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n";
    assert_eq!(gateway.client().raw(asks).status, 413);
}
