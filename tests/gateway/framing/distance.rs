//! Tests uploads over a distance of 50 ms there and back: HTTP/2 sends one window in each round trip.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Request;

use super::start;
use crate::support::DEADLINE;
use crate::support::client::Response;
use crate::support::distance::far_from;
use crate::support::gateway::Setup;
use crate::support::soak;
use crate::support::tls::{Body, H2, connect};
use crate::support::upstream::Upstream;

const ONE_WAY: Duration = Duration::from_millis(25);
static UPLOAD: [u8; 8 << 20] = [b'u'; 8 << 20];

/// RFC 9113 section 6.9.2: the default of 64 KiB for each round trip is 1.3 MB/s here, or 6.5 s for this upload.
#[test]
fn an_upload_from_far_away_is_not_held_back_by_its_window() {
    let upstream = Upstream::start();
    let setup = |keys: &str| {
        Setup::new(upstream.address)
            .listen(keys)
            .route("name = \"status\"\npath = \"/status\"\naccess = \"public\"")
    };
    let small = "http2_stream_window = \"64KiB\"\nhttp2_connection_window = \"64KiB\"";
    let mut took = Vec::new();
    for keys in ["", small] {
        let (gateway, certificate) = start(setup(keys));
        let near = far_from(gateway.https.unwrap(), ONE_WAY);
        let mut client = H2::connect(near, certificate.client(&["h2"]));
        let upload = |client: &mut H2, size: usize| {
            let request = Request::post("https://app.test/status/200").body(()).unwrap();
            let begun = Instant::now();
            let body = Body { data: Some(&UPLOAD[..size]), ..Body::default() };
            assert_eq!(client.send(request, &body).unwrap().status, 200);
            assert_eq!(upstream.last().body.len(), size);
            begun.elapsed()
        };
        // The first round trips are spent on TCP's own window.
        upload(&mut client, 1 << 20);
        let size = if keys.is_empty() { UPLOAD.len() } else { UPLOAD.len() / 8 };
        let time = upload(&mut client, size);
        soak::report(&format!("{} MiB over HTTP/2, 50 ms away, {keys:?}: {time:?}", size >> 20));
        took.push(time);

        let tls = connect(near, &Arc::new(certificate.client(&["http/1.1"])));
        let plain: TcpStream = TcpStream::connect(far_from(gateway.http, ONE_WAY)).unwrap();
        plain.set_read_timeout(Some(DEADLINE)).unwrap();
        let head = format!(
            "POST /status/200 HTTP/1.1\r\nHost: app.test\r\nContent-Length: {}\r\n\r\n",
            UPLOAD.len()
        );
        let begun = Instant::now();
        for mut stream in [Box::new(tls) as Box<dyn ReadWrite>, Box::new(plain)] {
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&UPLOAD).unwrap();
            assert_eq!(Response::read(&mut stream, false).status, 200);
        }
        soak::report(&format!("8 MiB over HTTP/1.1, with TLS and without: {:?}", begun.elapsed()));
    }
    // The windows make the difference: with the small ones an eighth of the upload takes 16 round trips.
    assert!(took[0] < Duration::from_secs(4), "{took:?}");
    assert!(took[1] > Duration::from_millis(600), "{took:?}");
}

trait ReadWrite: std::io::Read + std::io::Write {}
impl<T: std::io::Read + std::io::Write> ReadWrite for T {}
