//! Examines the service's clock, its hosts and redirects, and whether it can be reached without passing the gateway.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr as _;

use jiff::fmt::rfc2822;

use super::http::{ProbeRequest, ProbedService};
use crate::clock::Timestamp;
use crate::doctor::finding::{DoctorReport, Weight};

/// A host that belongs to nobody (RFC 2606).
const STRANGER: &str = "doorwarden-probe.invalid";

/// How many seconds the gateway's tokens are dated back, for clocks that are slow.
const TOLERATED: u64 = 10;

/// Compares the service's clock with ours. `now` is called once the answer has arrived.
pub(super) fn clock(
    service: &ProbedService,
    now: impl Fn() -> Timestamp,
    report: &mut DoctorReport,
) -> io::Result<()> {
    let answer = service.get("/")?;
    let now = now().as_secs();
    let date = answer.header("date").and_then(|text| rfc2822::parse(text).ok());
    let Some(date) = date else {
        report.add(Weight::Note, "clock", "it sends no Date: its clock cannot be compared");
        return Ok(());
    };
    let theirs = u64::try_from(date.timestamp().as_second()).unwrap_or_default();
    let off = now.abs_diff(theirs);
    let which = if theirs > now { "ahead of" } else { "behind" };
    if off <= 2 {
        report.add(Weight::Fine, "clock", "as ours, to the second or two that Date shows");
    } else if off <= TOLERATED {
        report.add(Weight::Note, "clock", format!("{off} s {which} ours"));
    } else {
        report.tell(
            if off > 60 { Weight::Failure } else { Weight::Warning },
            "clock",
            format!("{off} s {which} ours"),
            "Tokens that one side makes are not yet, or no longer, valid on the other: set the clocks by NTP.",
        );
    }
    Ok(())
}

/// Finds out which hosts the service accepts, and where it redirects to.
pub(super) fn hosts(
    service: &ProbedService,
    path: &str,
    report: &mut DoctorReport,
) -> io::Result<()> {
    let plain = service.get(path)?;
    let to_tls = |location: Option<&str>| location.is_some_and(|to| to.starts_with("https://"));
    if to_tls(plain.header("location")) {
        let told =
            service.send(&ProbeRequest::new("GET", path).header("X-Forwarded-Proto", "https"))?;
        if to_tls(told.header("location")) {
            report.tell(
                Weight::Failure,
                "scheme",
                "it redirects to https:// for ever, whatever X-Forwarded-Proto says",
                "Django: SECURE_PROXY_SSL_HEADER = (\"HTTP_X_FORWARDED_PROTO\", \"https\").",
            );
        } else {
            report.tell(
                Weight::Note,
                "scheme",
                "it redirects to https://, and believes X-Forwarded-Proto",
                "Listen with TLS: listen.https.",
            );
        }
    }
    let stranger = service.send(&ProbeRequest::new("GET", path).host(STRANGER))?;
    if stranger.status == 400 && plain.status != 400 {
        report.tell(
            Weight::Note,
            "hosts",
            "it refuses hosts that it does not know (ALLOWED_HOSTS)",
            "The gateway hands on the client's Host: open it under a name that the service knows.",
        );
    } else {
        report.add(Weight::Note, "hosts", "it answers whatever the Host is");
    }
    let told =
        service.send(&ProbeRequest::new("GET", path).header("X-Forwarded-Host", STRANGER))?;
    let is_used = told.header("location").is_some_and(|to| to.contains(STRANGER));
    if is_used || (told.status == 400 && plain.status != 400) {
        report.tell(
            Weight::Note,
            "forwarded",
            "it believes X-Forwarded-Host (USE_X_FORWARDED_HOST)",
            "The gateway replaces a client's own.",
        );
    }
    Ok(())
}

/// Finds out whether others can connect to the service.
pub(super) fn bypass(service: &ProbedService, report: &mut DoctorReport) {
    let given = service.address.ip();
    if !given.is_loopback() {
        report.tell(
            Weight::Warning,
            "bypass",
            format!("{given} is no loopback address: others may reach the service without the gateway"),
            "A firewall, or a network of their own, must let nobody but the gateway connect. Whoever can connect can pose as \
             any user: the headers of [identity] are believed.",
        );
        return;
    }
    let port = service.address.port();
    let open: Vec<String> = own_addresses()
        .into_iter()
        .map(|ip| SocketAddr::new(ip, port))
        .filter(|address| service.at(*address).get("/").is_ok())
        .map(|address| address.to_string())
        .collect();
    if open.is_empty() {
        report.add(
            Weight::Fine,
            "bypass",
            "it answers on loopback only, of this machine's addresses",
        );
    } else {
        report.tell(
            Weight::Warning,
            "bypass",
            format!("it answers at {} as well: whoever can connect there bypasses the gateway", open.join(", ")),
            "Have it listen on 127.0.0.1 (gunicorn --bind 127.0.0.1:PORT), or let a firewall close that port.",
        );
    }
}

/// Returns this machine's addresses except loopback, from the kernel's lists, or else the address that packets leave from.
fn own_addresses() -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = Vec::new();
    let table = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    all.extend(local_v4(&table).into_iter().map(IpAddr::from));
    let table = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    all.extend(local_v6(&table).into_iter().map(IpAddr::from));
    if all.is_empty() {
        // Nothing is sent: connecting a datagram socket only chooses a route.
        let routed = std::net::UdpSocket::bind("0.0.0.0:0")
            .and_then(|socket| socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr()));
        all.extend(routed.map(|address| address.ip()).ok());
    }
    all.retain(|ip| !ip.is_loopback() && !ip.is_unspecified());
    all.sort_unstable();
    all.dedup();
    all
}

/// Returns the addresses that `fib_trie` marks as local: the line before `/32 host LOCAL`.
fn local_v4(table: &str) -> Vec<Ipv4Addr> {
    let lines: Vec<&str> = table.lines().map(str::trim).collect();
    lines
        .iter()
        .zip(lines.iter().skip(1))
        .filter(|(_, next)| next.starts_with("/32 host LOCAL"))
        .filter_map(|(line, _)| Ipv4Addr::from_str(line.rsplit(' ').next()?).ok())
        .collect()
}

/// Returns the global addresses of `if_inet6`: 32 hexadecimal digits, then device, prefix and scope (00).
fn local_v6(table: &str) -> Vec<Ipv6Addr> {
    table
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [digits, _, _, "00", ..] = fields[..] else { return None };
            u128::from_str_radix(digits, 16).ok().map(Ipv6Addr::from_bits)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lists_are_read() {
        let table = "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.1.2.0\n        /24 link UNICAST\n     |-- 10.1.2.3\n        /32 host LOCAL\n     |-- 10.1.2.255\n        /32 link BROADCAST\n";
        assert_eq!(local_v4(table), [Ipv4Addr::new(10, 1, 2, 3)]);
        let table = "fe800000000000000000000000000001 02 40 20 80 eth0\n20010db8000000000000000000000007 02 40 00 80 eth0\n";
        assert_eq!(local_v6(table), ["2001:db8::7".parse::<Ipv6Addr>().unwrap()]);
        assert!(local_v4("").is_empty() && local_v6("odd\n").is_empty());
    }
}
