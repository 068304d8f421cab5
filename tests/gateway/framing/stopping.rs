//! Tests SIGTERM under traffic: the last answer says `close`, and no request is lost.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::start;
use crate::support::client::Response;
use crate::support::eventually;
use crate::support::gateway::Setup;
use crate::support::load::{Kind, Load, Target};
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
    // These had no request when the stop began: one more request on each is answered.
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

/// A silent client does not delay the stop.
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

/// Restarts under load lose no request: not on kept connections, not on new ones, not over TLS or HTTP/2.
#[test]
fn no_request_is_lost_in_a_restart() {
    let upstream = Scripted::start(|connection| {
        while connection.until("hello").is_some() {
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let (mut gateway, certificate) =
        start(Setup::new(upstream.address).log("level = \"info\"\naccess = false"));
    let (http, https) = (gateway.http, gateway.https.unwrap());
    // The next process takes the same ports.
    let file = gateway.folder().join("gateway.toml");
    let toml = std::fs::read_to_string(&file).unwrap();
    let toml = toml
        .replacen("http = [\"127.0.0.1:0\"]", &format!("http = [\"{http}\"]"), 1)
        .replacen("https = [\"127.0.0.1:0\"]", &format!("https = [\"{https}\"]"), 1);
    std::fs::write(&file, toml).unwrap();
    let (restarts, steady) =
        soak::times((1, Duration::from_millis(1500)), (10, Duration::from_secs(3)));
    let target = Target {
        http,
        https,
        tls: Arc::new(certificate.client(&["http/1.1"])),
        http2: Arc::new(certificate.client(&["h2"])),
    };
    // Four of 64 clients open a connection for each request.
    let mut kinds = vec![Kind::Kept; 48];
    kinds.extend([Kind::Short; 4]);
    kinds.extend([Kind::Tls; 6]);
    kinds.extend([Kind::Http2; 6]);
    let load = Load::start(target, 1000, &kinds);
    let mut rates = Vec::new();
    let mut downtime = Duration::ZERO;
    for restart in 0..restarts {
        traffic(&load);
        rates.push(load.rate(steady));
        let begun = Instant::now();
        gateway.terminate();
        assert_eq!(gateway.wait(), Some(0), "restart {restart}");
        gateway.spawn();
        downtime += begun.elapsed();
        assert_eq!((gateway.http, gateway.https), (http, Some(https)));
    }
    traffic(&load);
    rates.push(load.rate(steady));
    let outcome = load.stop();
    rates.sort_unstable_by(f64::total_cmp);
    soak::report(&format!(
        "{restarts} restarts under {:.0} to {:.0} POSTs a second: {} of {} lost; p50 {:?}, p99 {:?}; {:?} from SIGTERM to \
         the next one's readiness",
        rates.first().unwrap(),
        rates.last().unwrap(),
        outcome.lost.len(),
        outcome.answered + outcome.lost.len(),
        outcome.percentile(50),
        outcome.percentile(99),
        downtime / restarts,
    ));
    assert!(outcome.lost.is_empty(), "of {}: {:?}", outcome.answered, outcome.lost);
    if soak::is_long() {
        assert!(rates.iter().sum::<f64>() > 950.0 * rates.len() as f64, "{rates:?} a second");
    }
}

fn traffic(load: &Load) {
    let before = load.answered();
    eventually("traffic", || (load.answered() > before + 300).then_some(()));
}
