//! Prints the tables.

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use std::time::Duration;

use super::Extent;
use super::gateway::AccessLog;

/// The result of one round.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    /// The CPU time of a request, in microseconds.
    pub(crate) micros: f64,
}

/// Median, minimum and maximum.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

/// Prints the heading before the first line.
pub(crate) fn heading(extent: Extent, threads: usize) {
    println!(
        "CPU time per proxied request in microseconds: median (least to most) of {} rounds,\n\
         {} connections x {} requests each, {threads} worker threads\n",
        extent.rounds, extent.connections, extent.requests
    );
    println!("{:<30}{:<22}{:<22}gateway / bare", "", "bare Pingora", "gateway");
}

/// Prints one line, from rounds of the bare proxy and of the gateway that ran side by side.
pub(crate) fn line(name: &str, pairs: &[(Round, Round)]) {
    let spread = |value: fn(&(Round, Round)) -> f64| Spread::of(pairs.iter().map(value));
    println!(
        "{name:<30}{:<22}{:<22}{}",
        spread(|(bare, _)| bare.micros).show(1),
        spread(|(_, gateway)| gateway.micros).show(1),
        spread(|(bare, gateway)| gateway.micros / bare.micros).show(2),
    );
}

/// Prints the heading before the lines of one gateway.
pub(crate) fn section(access_log: AccessLog) {
    println!(
        "{}",
        match access_log {
            AccessLog::Off => "access log off",
            AccessLog::On => "access log on (JSON, to a file)",
        }
    );
}

/// Prints the heading before forms and issuers, which are compared with a request with the session cookie and no form.
pub(crate) fn forms_section(extent: Extent) {
    println!(
        "\nsession cookie and X-User-Id alone, beside each identity form (for a caller with that cookie) and each\n\
         issuer (no form); access log off, {} rounds of {} requests\n",
        extent.rounds,
        extent.connections * extent.requests
    );
    println!("{:<30}{:<22}{:<22}with / alone", "", "alone", "with");
}

/// A peer, measured beside the bare pass-through.
pub(crate) struct Peer<'a> {
    pub(crate) name: &'static str,
    pub(crate) does: &'static str,
    pub(crate) micros: &'a [f64],
    pub(crate) bare: &'a [f64],
}

/// Prints the heading before the lines of peers with this number of threads.
pub(crate) fn peers_heading(threads: usize, rounds: usize, connections: usize, requests: usize) {
    println!(
        "\nCPU time per request in microseconds: median (least to most) of {rounds} rounds,\n\
         {connections} connections x {requests} requests each, {threads} worker thread(s)\n"
    );
    println!("{:<22}{:<24}{:<22}what is done with the token", "", "microseconds", "/ bare Pingora");
}

/// Prints the line of a peer.
pub(crate) fn peer(peer: &Peer<'_>) {
    let ratios = peer.micros.iter().zip(peer.bare).map(|(micros, bare)| micros / bare);
    println!(
        "{:<22}{:<24}{:<22}{}",
        peer.name,
        Spread::of(peer.micros.iter().copied()).show(1),
        Spread::of(ratios).show(2),
        peer.does
    );
}

/// Prints the line of a peer that is not installed.
pub(crate) fn missing(name: &str, program: &str) {
    println!("{name:<22}not measured: there is no {program}; scripts/setup-peers brings it");
}

/// Prints the heading before the lines of memory.
pub(crate) fn memory_heading() {
    println!("\n{:<40}{:>12}{:>12}{:>12}", "resident memory, MiB", "before", "after", "more");
}

/// Prints one line of memory.
pub(crate) fn memory(name: &str, before: u64, after: u64) {
    let mebibytes = |bytes: u64| bytes as f64 / 1_048_576.0;
    let (before, after) = (mebibytes(before), mebibytes(after));
    println!("{name:<40}{before:>12.1}{after:>12.1}{:>12.1}", after - before);
}

/// Latencies of one kind of request.
pub(crate) struct Latency {
    count: usize,
    median: Duration,
    p99: Duration,
}

impl Latency {
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |hundredths: usize| times[(times.len() - 1) * hundredths / 100];
        Self { count: times.len(), median: at(50), p99: at(99) }
    }
}

/// Prints the heading before the lines of traffic beside sign-ins.
pub(crate) fn strain_heading(clients: usize, pace: Duration, attackers: usize) {
    println!(
        "\nmilliseconds of a checked request, of {clients} clients that ask every {} ms, without and with {attackers}\n\
         clients that guess passwords as fast as they can; median and p99\n",
        pace.as_millis()
    );
    println!("{:<16}{:<20}{:<20}{:<14}guesses a second", "", "quiet", "flood", "p99, ratio");
}

/// Prints one line of traffic beside sign-ins.
pub(crate) fn flood(threads: usize, quiet: &Latency, beside: &Latency, guesses: f64) {
    let show = |of: &Latency| format!("{:.2} and {:.2}", millis(of.median), millis(of.p99));
    let ratio = millis(beside.p99) / millis(quiet.p99);
    println!(
        "{:<16}{:<20}{:<20}{ratio:<14.2}{guesses:.0}",
        format!("{threads} thread(s)"),
        show(quiet),
        show(beside)
    );
}

/// Prints the times of refreshes, and how long the disk alone takes to write a page.
pub(crate) fn refresh(name: &str, times: &Latency, lasts: Duration, disk: &Latency) {
    let in_syncs = millis(times.median) / millis(disk.median);
    println!(
        "{name:<24}{:>8.0} a second; {:.2} ms, p99 {:.2} ms; the disk keeps a page in {:.2} ms, p99 {:.2} ms: {in_syncs:.1} of it",
        times.count as f64 / lasts.as_secs_f64(),
        millis(times.median),
        millis(times.p99),
        millis(disk.median),
        millis(disk.p99),
    );
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Prints what follows the last line.
pub(crate) fn footing(extent: Extent) {
    if extent.rounds == 1 {
        println!("\none short round: this shows that it works, and measures nothing");
    }
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        Self { median: sorted[sorted.len() / 2], least: sorted[0], most: sorted[sorted.len() - 1] }
    }

    fn show(&self, digits: usize) -> String {
        let Self { median, least, most } = self;
        format!("{median:.digits$} ({least:.digits$} to {most:.digits$})")
    }
}
