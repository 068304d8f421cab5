//! Tests guesses at one account from thousands of addresses, and a flood of invented names: how many are checked, what they
//! cost, and how signed-in users are affected. `make test` runs a short version, `make soak` the full one.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::DEVICE_COOKIE;
use crate::support::client::{Client, Request, Response};
use crate::support::gateway::{Gateway, Setup};
use crate::support::soak::{report, times};
use crate::support::upstream::Upstream;

const PASSWORD: &str = "correct horse battery";

/// A kept connection, like a proxy's.
struct Kept<'a> {
    client: &'a Client,
    stream: Option<TcpStream>,
}

impl<'a> Kept<'a> {
    fn new(client: &'a Client) -> Self {
        Self { client, stream: None }
    }

    fn send(&mut self, request: Request) -> Response {
        let request = request.header("Connection", "keep-alive");
        let stream = self.stream.get_or_insert_with(|| self.client.connect());
        stream.write_all(&request.bytes()).unwrap();
        let response = Response::read(stream, false);
        if response.header("connection").is_some_and(|said| said.contains("close")) {
            self.stream = None;
        }
        response
    }
}

/// Returns an address; each is in a network (/24) of its own.
fn address(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0B00_0007 + (number << 8)).into()
}

fn login(client: &Client, from: IpAddr, name: &str, password: &str) -> Request {
    client.post("/login").from(from).json(&json!({"username": name, "password": password}))
}

fn start(upstream: &Upstream) -> Gateway {
    Setup::new(upstream.address).behind_a_proxy().start()
}

#[test]
fn ten_thousand_addresses_at_one_account_guess_little_and_its_owner_goes_on() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let client = gateway.client();
    let first = login(&client, "1.2.3.4".parse().unwrap(), "kim", PASSWORD).send();
    let mut device = first.set_cookie(DEVICE_COOKIE).unwrap();
    let access = first.json()["access"].as_str().unwrap().to_owned();
    let addresses: u32 = times(400, 10_000);
    let (begun, mut kept) = (Instant::now(), Kept::new(&client));
    let (mut checked, mut own, mut used) = (0, 0, 0);
    for number in 0..addresses {
        let guess = kept.send(login(&client, address(number), "kim", "a guess"));
        match guess.status {
            401 => checked += 1,
            429 => assert_eq!(guess.code(), "too_many_attempts"),
            other => panic!("{other}: {}", guess.text()),
        }
        if number % (addresses / 20) == 0 {
            // The owner signs in from their phone, wherever it is, and uses their token.
            let from = address(100_000 + number);
            let request = login(&client, from, "kim", PASSWORD).cookie(DEVICE_COOKIE, &device);
            let signed_in = request.send();
            assert_eq!(signed_in.status, 200, "{}", signed_in.text());
            device = signed_in.set_cookie(DEVICE_COOKIE).unwrap();
            own += 1;
            assert_eq!(client.get("/app").from(from).bearer(&access).send().status, 200);
            used += 1;
        }
    }
    let took = begun.elapsed();
    // 10 at full speed, then one after waits of 30 s, 1 m, 2 m and so on.
    let waits = [30, 90, 210, 450, 930];
    let more = waits.iter().filter(|secs| took.as_secs() >= **secs).count();
    assert!((10..=10 + more + 1).contains(&checked), "{checked} in {took:?}");
    let line = format!(
        "{addresses} addresses guessed at one account in {took:.1?}: {checked} guesses were checked; its owner signed in {own} of 20 \
         times and used {used} of 20"
    );
    eprintln!("{line}");
    report(&line);
    assert_eq!((own, used), (20, 20));
}

fn memory(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Returns how long a signed-in user's requests take, until `stop`; sorted.
fn signed_in(client: &Client, access: &str, stop: impl Fn() -> bool) -> Vec<Duration> {
    let (mut kept, mut took) = (Kept::new(client), Vec::new());
    while !stop() {
        let begun = Instant::now();
        let answer = kept.send(client.get("/app").from(address(200_000)).bearer(access));
        assert_eq!(answer.status, 200, "{}", answer.text());
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    took
}

fn p99(took: &[Duration]) -> Duration {
    took[took.len() * 99 / 100]
}

#[test]
fn a_flood_of_invented_names_takes_no_memory_and_nobodys_place() {
    let upstream = Upstream::start();
    // A sign-in that finds the queue full must retry later: most of the flood. The access token is valid for longer than
    // the long run takes.
    let queue = "[login]\nhash_threads = 1\nhash_queue = 4\n[tokens]\naccess_lifetime = \"1h\"\n";
    let gateway = Setup::new(upstream.address).behind_a_proxy().with(queue).start();
    let client = gateway.client();
    let access = client.sign_in("kim", PASSWORD)["access"].as_str().unwrap().to_owned();
    let (names, addresses): (u32, u32) = times((2000, 1000), (1_000_000, 100_000));
    let quiet_for = times(Duration::from_millis(500), Duration::from_secs(10));
    let begun = Instant::now();
    let quiet = signed_in(&client, &access, || begun.elapsed() >= quiet_for);
    let before = memory(&gateway);
    let (next, is_over) = (AtomicU32::new(0), AtomicBool::new(false));
    let statuses: Vec<AtomicU32> = (0..3).map(|_| AtomicU32::new(0)).collect();
    let begun = Instant::now();
    let loud = std::thread::scope(|scope| {
        let person =
            scope.spawn(|| signed_in(&client, &access, || is_over.load(Ordering::Relaxed)));
        let flood: Vec<_> = (0..12)
            .map(|_| {
                scope.spawn(|| {
                    let mut kept = Kept::new(&client);
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= names {
                            return;
                        }
                        let (from, name) = (address(number % addresses), format!("name-{number}"));
                        let answer = kept.send(login(&client, from, &name, "a guess"));
                        let index = match answer.status {
                            401 => 0,
                            429 => 1,
                            503 => 2,
                            other => panic!("{other}: {}", answer.text()),
                        };
                        statuses[index].fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        flood.into_iter().for_each(|one| one.join().unwrap());
        is_over.store(true, Ordering::Relaxed);
        person.join().unwrap()
    });
    let (took, after) = (begun.elapsed(), memory(&gateway));
    let [checked, refused, busy] = [0, 1, 2].map(|n: usize| statuses[n].load(Ordering::Relaxed));
    let line = format!(
        "{names} invented names from {addresses} addresses in {took:.1?}: {checked} checked, {refused} refused, {busy} busy; memory {before} MB, \
         then {after} MB; p99 of who is signed in {:.2?} ({} requests), quiet {:.2?} ({})",
        p99(&loud),
        loud.len(),
        p99(&quiet),
        quiet.len()
    );
    eprintln!("{line}");
    report(&line);
    assert!(after < before + times(60, 200), "{line}");
    gateway.counts("doorwarden_sessions_active", 1.0);
}
