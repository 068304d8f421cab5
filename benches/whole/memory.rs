//! Measures the gateway's memory: resident bytes of its process, before and after.
//!
//! A stranger can send any number of forged tokens, so a million different ones must use no memory afterwards.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::count::growth;
use crate::gateway::Gateway;
use crate::load::{self, Connections, Load};
use crate::process::Process;
use crate::report;
use crate::service::Service;

const FORGED: u64 = 1_000_000;
const CLIENTS: usize = 8;
const IDLE: usize = 1_000;
const SESSIONS: usize = 100_000;

/// Measures and prints all lines.
pub(crate) fn measure(upstream: &Process, scale: u64) {
    report::memory_heading();
    forged(upstream, FORGED / scale);
    idle(upstream);
    sessions(upstream);
}

/// Measures and prints what stored sessions take.
pub(crate) fn sessions(upstream: &Process) {
    let few = growth::gateway_with_sessions(upstream, 1);
    let before = resident(few.process());
    drop(few);
    let many = growth::gateway_with_sessions(upstream, SESSIONS);
    report::memory(&format!("{SESSIONS} sessions"), before, resident(many.process()));
}

fn forged(upstream: &Process, count: u64) {
    let folder = tempfile::tempdir().unwrap();
    let _service = Service::make(folder.path());
    let gateway = Gateway::start_with_issuer(upstream.address(), folder, 2);
    let next = AtomicU64::new(0);
    let send = |count: u64| {
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut connection = Connections::open(gateway.process().address(), 1);
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            break;
                        }
                        let load = Load { requests: vec![forgery(number)], status: 401 };
                        connection.drive_here(&load);
                    }
                });
            }
        });
    };
    // What traffic of any kind makes the gateway allocate is allocated before the comparison starts.
    send(count / 20);
    let before = resident(gateway.process());
    next.store(count / 20, Ordering::Relaxed);
    send(count + count / 20);
    let after = resident(gateway.process());
    report::memory(&format!("{count} distinct forged tokens"), before, after);
}

/// Returns a token in the form of the service's, with an invalid signature.
fn forgery(number: u64) -> Vec<u8> {
    let claims = format!(
        "{{\"token_type\":\"access\",\"exp\":4102444800,\"iat\":1790000000,\"jti\":\"{number:032x}\",\"user_id\":\"2\"}}"
    );
    let [head, claims, mac] = [
        br#"{"alg":"HS256","typ":"JWT"}"#.as_slice(),
        claims.as_bytes(),
        &[&number.to_le_bytes()[..], &[7; 24]].concat(),
    ]
    .map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
    let token = format!("Bearer {head}.{claims}.{mac}");
    load::request("/app/small", Some(("Authorization", &token)))
}

fn idle(upstream: &Process) {
    let folder = tempfile::tempdir().unwrap();
    let _service = Service::make(folder.path());
    let gateway = Gateway::start_with_issuer(upstream.address(), folder, 2);
    let bare = Process::this_program(&["pass-through", "2", &upstream.address().to_string()]);
    for (name, process) in [("gateway", gateway.process()), ("bare Pingora", &bare)] {
        let load = Load::one(load::request("/public/small", None));
        let mut first = Connections::open(process.address(), 8);
        first.drive(&load, 100);
        let before = resident(process);
        let mut many = Connections::open(process.address(), IDLE);
        many.drive(&load, 1);
        report::memory(&format!("{IDLE} idle connections, {name}"), before, resident(process));
    }
}

/// Returns the resident memory in bytes.
fn resident(process: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has it");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
