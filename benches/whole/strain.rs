//! Measures traffic beside the most expensive work: a flood of sign-ins, each of which hashes a password, and refreshes,
//! each of which waits for the disk.
//!
//! | line | meaning |
//! |---|---|
//! | quiet, beside a flood | how long a checked request that comes at a fixed pace takes, without and with the flood |
//! | one refresh at a time | how long one refresh takes, and how often the disk could have written in that time |
//! | many at a time | refreshes per second: refreshes that wait at the same time are written together |

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::{self, AccessLog, Gateway};
use crate::load::{self, Connections, Load};
use crate::process::Process;
use crate::report::{self, Latency};

/// Clients of the traffic, and the interval between the requests of each.
const CLIENTS: usize = 4;
const PACE: Duration = Duration::from_millis(10);
/// Clients of the flood, each of which sends its next request at once.
const ATTACKERS: usize = 16;
const REFRESHERS: usize = 64;
/// The number of turns: quiet time and flood alternate.
const TURNS: usize = 5;

/// The gateway slows guesses after a few, and a session that refreshes without end. Here it does neither, so that each
/// guess costs a hash and each refresh a rotation.
const NO_LIMITS: &str = "
[detect.refresh_burst]
dry_run = true

[login]
account_failures = 1000000
address_failures = 1000000
network_failures = 1000000
guesses_per_day = 1000000
";

/// Measures and prints all lines; each turn takes as long as `turn`.
pub(crate) fn measure(upstream: &Process, turn: Duration) {
    report::strain_heading(CLIENTS, PACE, ATTACKERS);
    for threads in [1, 2] {
        flood(upstream, threads, turn);
    }
    refresh(upstream, turn);
}

fn flood(upstream: &Process, threads: usize, turn: Duration) {
    let gateway = gateway_without_limits(upstream, threads);
    let request = Load::one(load::request("/app/small", Some(gateway.bearer())));
    let address = gateway.process().address();
    traffic(address, &request, turn / 4);
    let (mut quiet, mut beside) = (Vec::new(), Vec::new());
    let guesses = AtomicU64::new(0);
    for _ in 0..TURNS {
        quiet.extend(traffic(address, &request, turn));
        let over = AtomicBool::new(false);
        beside.extend(thread::scope(|scope| {
            for _ in 0..ATTACKERS {
                scope.spawn(|| guess(address, &guesses, &over));
            }
            let times = traffic(address, &request, turn);
            over.store(true, Ordering::SeqCst);
            times
        }));
    }
    let a_second = guesses.load(Ordering::SeqCst) as f64 / (turn * TURNS as u32).as_secs_f64();
    report::flood(threads, &Latency::of(quiet), &Latency::of(beside), a_second);
}

fn gateway_without_limits(upstream: &Process, threads: usize) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    gateway::add_user(folder.path());
    let more = NO_LIMITS.to_owned() + gateway::USERS;
    Gateway::start_with(upstream.address(), folder, threads, AccessLog::Off, &more)
}

/// Returns how long each request took. Requests come at their pace, however long the previous one took.
fn traffic(address: SocketAddr, load: &Load, lasts: Duration) -> Vec<Duration> {
    let clients: Vec<_> = thread::scope(|scope| {
        let client = |number: u32| {
            move || {
                let mut connection = Connections::open(address, 1);
                let (begun, mut times) = (Instant::now(), Vec::new());
                let mut due = begun + PACE / CLIENTS as u32 * number;
                while begun.elapsed() < lasts {
                    wait_until(due);
                    connection.drive_here(load);
                    times.push(due.elapsed());
                    due += PACE;
                }
                times
            }
        };
        let all: Vec<_> = (0..CLIENTS as u32).map(|number| scope.spawn(client(number))).collect();
        all.into_iter().map(|client| client.join().unwrap()).collect()
    });
    clients.concat()
}

#[expect(clippy::disallowed_methods, reason = "the pace of the traffic is what is measured by")]
fn wait_until(due: Instant) {
    thread::sleep(due.saturating_duration_since(Instant::now()));
}

/// Guesses passwords of accounts that do not exist, which cost a hash like existing ones.
fn guess(address: SocketAddr, guesses: &AtomicU64, over: &AtomicBool) {
    let mut connection = Connections::open(address, 1);
    while !over.load(Ordering::SeqCst) {
        let number = guesses.fetch_add(1, Ordering::Relaxed);
        let body = json!({"username": format!("nobody-{number}"), "password": "a guess"});
        connection.ask_here(&load::post_json("/login", &body.to_string()));
    }
}

fn refresh(upstream: &Process, turn: Duration) {
    let gateway = gateway_without_limits(upstream, 2);
    let disk = syncs(gateway.folder());
    let one = refreshes(&gateway, 1, turn);
    report::refresh("one refresh at a time", &Latency::of(one), turn, &disk);
    let many = refreshes(&gateway, REFRESHERS, turn);
    report::refresh(&format!("{REFRESHERS} at a time"), &Latency::of(many), turn, &disk);
}

/// Measures how long the disk takes to write a page, in the folder of the store.
fn syncs(folder: &std::path::Path) -> Latency {
    let path = folder.join("page");
    let file = File::create(&path).unwrap();
    // The page is overwritten in place, as in the store's log: a growing file costs the file system more.
    let page = |byte: u8| file.write_all_at(&[byte; 4096], 0).unwrap();
    page(0);
    file.sync_all().unwrap();
    let sync = |number: u8| {
        let begun = Instant::now();
        page(number);
        file.sync_data().unwrap();
        begun.elapsed()
    };
    let times = (0..200).map(sync).collect();
    fs::remove_file(path).unwrap();
    Latency::of(times)
}

/// Refreshes `clients` sessions in parallel, each again and again with its latest refresh token.
fn refreshes(gateway: &Gateway, clients: usize, lasts: Duration) -> Vec<Duration> {
    let address = gateway.process().address();
    let firsts: Vec<String> = (0..clients).map(|_| gateway.refresh_token()).collect();
    let clients: Vec<_> = thread::scope(|scope| {
        let all: Vec<_> = firsts
            .into_iter()
            .map(|first| {
                scope.spawn(move || {
                    let mut connection = Connections::open(address, 1);
                    let (begun, mut times, mut token) = (Instant::now(), Vec::new(), first);
                    while begun.elapsed() < lasts {
                        let body = json!({"refresh": token}).to_string();
                        let asked = Instant::now();
                        let (status, body) =
                            connection.ask_here(&load::post_json("/refresh", &body));
                        times.push(asked.elapsed());
                        let body: Value = serde_json::from_slice(&body).unwrap();
                        assert_eq!(status, 200, "{body}");
                        token = body["refresh"].as_str().expect("the next one").to_owned();
                    }
                    times
                })
            })
            .collect();
        all.into_iter().map(|client| client.join().unwrap()).collect()
    });
    clients.concat()
}
