//! Measures the cost of the gateway: CPU time of a proxied request, beside a bare Pingora pass-through in the same run.
//!
//! It measures CPU time and neither throughput nor latency: on a machine that also runs the load and the upstream, those
//! two depend mostly on the other processes. One run starts these processes:
//!
//! | process | description |
//! |---|---|
//! | upstream | this program as [`upstream`]: fixed answers, one thread for each connection |
//! | bare | this program as [`pass_through`]: only the framework, without the gateway's code |
//! | control | a second bare pass-through: how far its ratio is from 1 is how far off every ratio may be |
//! | gateway | the `doorwarden` binary of the same build profile: without an access log, with it, and with [`forms`] |
//! | load | this process: [`load`] over kept connections |
//!
//! Both proxies have the same allocator and the same number of worker threads, and get the same bytes. Their rounds
//! alternate, and they take turns in going first, so that changes in the machine's load affect both. Each ratio is that of
//! two consecutive rounds. No time is asserted, because people learn to ignore a check that fails on a busy machine.
//! Asserted are a 200 and a whole body for every request, and in [`forms`] also what the upstream received.
//!
//! `count` counts instructions instead: see [`count`]. `peers` measures other gateways beside this one: see [`peers`].
//! `memory` and `strain` run only those parts: see [`memory`] and [`strain`].
//!
//! Without `--bench` (as `cargo test --benches` starts it) it makes one short round of everything, to show that it works.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement that meets anything unexpected has to stop"
)]

mod count;
mod forms;
mod gateway;
mod load;
mod memory;
mod pass_through;
mod peers;
mod process;
mod report;
mod service;
mod strain;
mod upstream;

use std::thread;
use std::time::Duration;

use gateway::{AccessLog, Gateway};
use load::{Connections, Load};
use process::Process;
use report::Round;

/// The same allocator as in `src/main.rs`: the comparison is not about allocators.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How much is measured.
#[derive(Clone, Copy)]
struct Extent {
    rounds: usize,
    connections: usize,
    /// Requests on each connection in each round; another hundredth of it is sent before and not measured.
    requests: usize,
}

const FULL: Extent = Extent { rounds: 21, connections: 4, requests: 3_000 };
/// For each form and issuer: there are many, and each is compared with a request that takes nearly the same work.
const FORMS: Extent = Extent { rounds: 9, connections: 4, requests: 1_500 };
/// The length of a turn beside sign-ins, and of the refreshes.
const TURN: Duration = Duration::from_secs(6);
const SHORT: Extent = Extent { rounds: 1, connections: 4, requests: 200 };

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["upstream"] => upstream::run(),
        ["pass-through", threads, upstream, ref certificate @ ..] => {
            let certificate = certificate.first().map(std::path::Path::new);
            pass_through::run(threads.parse().unwrap(), upstream.parse().unwrap(), certificate);
        }
        ["peers", ..] => peers::compare(),
        ["memory", "sessions", ..] => {
            memory::sessions(&Process::this_program(&["upstream"]));
        }
        ["memory", ..] => memory::measure(&Process::this_program(&["upstream"]), 1),
        ["strain", ..] => strain::measure(&Process::this_program(&["upstream"]), TURN),
        ["count", ref flags @ ..] => count::run(flags),
        ref flags => {
            if flags.contains(&"--bench") {
                compare(FULL, FORMS)
            } else {
                compare(SHORT, SHORT)
            }
        }
    }
}

fn compare(extent: Extent, forms: Extent) {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let upstream = Process::this_program(&["upstream"]);
    let address = upstream.address().to_string();
    let pass_through = ["pass-through", &threads.to_string(), &address];
    let bare = Process::this_program(&pass_through);
    let same = Process::this_program(&pass_through);

    report::heading(extent, threads);
    let line = |name: &str, other: &Process, path: &str, credential: Option<(&str, &str)>| {
        let request = load::request(path, credential);
        let pairs = pairs(extent, (&bare, &request), (other, &request));
        report::line(name, &pairs);
    };
    line("control: bare, twice", &same, "/public/small", None);
    drop(same);
    for access_log in [AccessLog::Off, AccessLog::On] {
        let gateway = Gateway::start(upstream.address(), threads, access_log);
        let process = gateway.process();
        report::section(access_log);
        line("public route", process, "/public/small", None);
        line("access token", process, "/app/small", Some(gateway.bearer()));
        line("session cookie", process, "/app/small", Some(gateway.cookie()));
        line("access token, 100 KB answer", process, "/app/large", Some(gateway.bearer()));
    }
    forms::compare(forms, upstream.address(), threads);
    let is_short = extent.rounds == 1;
    memory::measure(&upstream, if is_short { 100 } else { 1 });
    strain::measure(&upstream, if is_short { TURN / 20 } else { TURN });
    report::footing(extent);
}

/// Measures consecutive rounds of two processes, or of two requests to one; the two take turns in going first.
fn pairs(extent: Extent, one: (&Process, &[u8]), other: (&Process, &[u8])) -> Vec<(Round, Round)> {
    let measure = |(process, request)| round(process, request, extent);
    let pair = |number| {
        if number % 2 == 0 {
            let one = measure(one);
            (one, measure(other))
        } else {
            let other = measure(other);
            (measure(one), other)
        }
    };
    (0..extent.rounds).map(pair).collect()
}

/// Returns the CPU time of one process for the requests of one round.
fn round(process: &Process, request: &[u8], extent: Extent) -> Round {
    let load = Load::one(request.to_vec());
    let mut connections = Connections::open(process.address(), extent.connections);
    connections.drive(&load, extent.requests.div_ceil(100));
    let before = process.cpu_time();
    connections.drive(&load, extent.requests);
    let used = process.cpu_time().since(&before);
    Round { micros: used.as_secs_f64() * 1e6 / (extent.requests * extent.connections) as f64 }
}
