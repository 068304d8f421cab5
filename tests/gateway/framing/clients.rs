//! Tests real clients: what they send and what they receive. A client that is not installed is named and left out.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::start;
use crate::support::gateway::{Gateway, Setup};
use crate::support::soak;
use crate::support::upstream::Upstream;

/// Runs the program with the gateway's two addresses, and returns its line of JSON. `None` if it is not installed.
fn run(gateway: &Gateway, program: &str, script: &str) -> Option<serde_json::Value> {
    let output = Command::new(program)
        .arg(format!("{}/tests/clients/{script}", env!("CARGO_MANIFEST_DIR")))
        .arg(format!("https://{}", gateway.https.unwrap()))
        .arg(format!("http://{}", gateway.http))
        .output()
        .inspect_err(|_| eprintln!("left out: {program} is not here"))
        .ok()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("ModuleNotFoundError") {
        eprintln!("left out: {errors}");
        return None;
    }
    Some(serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{program}: {errors}")))
}

fn are_all(answers: &serde_json::Value, status: u16) -> bool {
    match answers {
        serde_json::Value::Array(list) => !list.is_empty() && list.iter().all(|one| *one == status),
        serde_json::Value::Object(map) => !map.is_empty() && map.values().all(|one| *one == status),
        _ => false,
    }
}

/// Streamed uploads (RFC 9112 section 7.1) arrive whole, and so do answers during an upload (section 9.6).
#[test]
fn uploads_of_real_clients() {
    let upstream = Upstream::start();
    let (gateway, _) = start(Setup::new(upstream.address));
    if let Some(node) = run(&gateway, "node", "uploads.mjs") {
        assert!(are_all(&node["streamed"], 200), "{node}");
        assert!(are_all(&node["fetch"], 200), "{node}");
        assert!(are_all(&node["early"], 401), "{node}");
    }
    let python = std::env::var("DOORWARDEN_CLIENTS_PYTHON").unwrap_or_else(|_| "python3".into());
    if let Some(python) = run(&gateway, &python, "uploads.py") {
        assert!(are_all(&python["streamed"], 200), "{python}");
        assert!(are_all(&python["early"], 401), "{python}");
    }
    assert!(upstream.seen().iter().all(|seen| seen.method == "POST"), "no stray request");
}

/// `curl -T -` reads standard input, so it has no length to send.
#[test]
fn uploads_of_curl() {
    let upstream = Upstream::start();
    let (gateway, _) = start(Setup::new(upstream.address));
    let (https, http) =
        (format!("https://{}", gateway.https.unwrap()), format!("http://{}", gateway.http));
    let put = |version: &str, url: &str, size: usize| {
        let child = Command::new("curl")
            .args(["-sk", version, "-T", "-", "-o", "/dev/null", "-w", "%{http_code}", url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("left out: curl is not here");
            return None;
        };
        // The client may stop reading once it has its answer.
        let _ = child.stdin.take().unwrap().write_all(&vec![b'u'; size]);
        Some(String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap())
    };
    for _ in 0..5 {
        for (version, base) in
            [("--http2", &https), ("--http1.1", &https), ("--http1.1", &http), ("--http1.0", &http)]
        {
            for size in [0, 5, 100_000] {
                let Some(status) = put(version, &format!("{base}/public/up"), size) else { return };
                // HTTP/1.0 has no way to send a body without a length, and curl does not try.
                if version == "--http1.0" {
                    continue;
                }
                assert_eq!(status, "200", "{version} {base} {size}");
                assert_eq!(upstream.last().body.len(), size, "{version} {base}");
            }
        }
    }
    // The body is longer than what the gateway reads after an answer in HTTP/1, and shorter than a window of HTTP/2: a
    // client that is still writing would learn only of a reset right after the answer (RFC 9113 section 8.1).
    for round in 0..soak::times(10, 200) {
        for (version, base) in [("--http2", &https), ("--http1.1", &https), ("--http1.1", &http)] {
            let status = put(version, &format!("{base}/app/up"), 1024 * 1024).unwrap();
            assert_eq!(status, "401", "{version} {base} {round}");
        }
    }
}
