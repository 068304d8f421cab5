//! Compares the gateway with what people put in front of the same services: nginx, HAProxy, Envoy.
//!
//! All get the same bytes over 32 kept connections: one HS256 token of a service, again and again. The CPU time is that of
//! the whole process tree; each peer has as many threads (or worker processes) as the gateway. They take turns. The table
//! says what each does with the token: none of them ends a session.

mod config;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use self::config::Settings;
use crate::gateway::Gateway;
use crate::load::{self, Connections, Load};
use crate::process::Process;
use crate::report::{self, Peer};
use crate::service::{self, Service};

const CONNECTIONS: usize = 32;
/// Requests on each connection, in each round.
const REQUESTS: usize = 400;
const ROUNDS: usize = 7;

/// A running peer, the gateway, or the bare pass-through.
struct Running {
    name: &'static str,
    does: &'static str,
    process: Process,
    _folder: Option<TempDir>,
}

/// Measures and prints all of them, with one thread and with two.
pub(crate) fn compare() {
    let upstream = Process::this_program(&["upstream"]);
    for threads in [1, 2] {
        report::peers_heading(threads, ROUNDS, CONNECTIONS, REQUESTS);
        let folder = tempfile::tempdir().unwrap();
        let _service = Service::make(folder.path());
        let gateway = Gateway::start_with_issuer(upstream.address(), folder, threads);
        let (process, folder) = gateway.into_parts();
        let token = service::access_tokens(1, service::KEY).remove(0);
        let request = load::request("/app/small", Some(("Authorization", &token)));
        let load = Load::one(request);
        let mut all = vec![Running {
            name: "bare Pingora",
            does: "passes on",
            process: Process::this_program(&[
                "pass-through",
                &threads.to_string(),
                &upstream.address().to_string(),
            ]),
            _folder: None,
        }];
        all.push(Running {
            name: "Doorwarden",
            does: "signature (remembered), expiry, user, revocation, own headers, spoofed headers out",
            process,
            _folder: Some(folder),
        });
        all.extend(peers(upstream.address(), threads));
        measure(&all, &load);
    }
}

fn measure(all: &[Running], load: &Load) {
    let mut micros: Vec<Vec<f64>> = vec![Vec::new(); all.len()];
    for _ in 0..ROUNDS {
        for (running, micros) in all.iter().zip(&mut micros) {
            let mut connections = Connections::open(running.process.address(), CONNECTIONS);
            connections.drive(load, REQUESTS.div_ceil(20));
            let before = running.process.cpu_time();
            connections.drive(load, REQUESTS);
            let used = running.process.cpu_time().since(&before);
            micros.push(used.as_secs_f64() * 1e6 / (REQUESTS * CONNECTIONS) as f64);
        }
    }
    let bare = micros[0].clone();
    for (running, micros) in all.iter().zip(&micros) {
        report::peer(&Peer { name: running.name, does: running.does, micros, bare: &bare });
    }
}

fn peers(upstream: SocketAddr, threads: usize) -> Vec<Running> {
    let mut all = Vec::new();
    for peer in config::ALL {
        let folder = tempfile::tempdir().unwrap();
        let settings =
            Settings { upstream, address: free_address(), threads, folder: folder.path() };
        let Some(program) = program(peer.program) else {
            report::missing(peer.name, peer.program);
            continue;
        };
        let file = folder.path().join(peer.file);
        fs::write(&file, (peer.config)(&settings)).unwrap();
        let process = start(&program, &(peer.arguments)(&settings, &file), &settings);
        all.push(Running { name: peer.name, does: peer.does, process, _folder: Some(folder) });
    }
    all
}

fn start(program: &str, arguments: &[String], settings: &Settings<'_>) -> Process {
    let log = settings.folder.join("log");
    let out = fs::File::create(&log).unwrap();
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap();
    let listens = || TcpStream::connect(settings.address).is_ok().then_some(settings.address);
    Process::new(child, listens)
        .unwrap_or_else(|| panic!("{program}: {}", fs::read_to_string(&log).unwrap()))
}

/// Returns an address whose port was free a moment ago: a peer cannot report which port it got.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Returns the path of the program: from the environment of `scripts/setup-peers`, or from the usual folders.
fn program(name: &str) -> Option<String> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin").join(name);
    if ours.exists() {
        return ours.to_str().map(Into::into);
    }
    let known = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let path = known.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists());
    path.and_then(|path| path.to_str().map(Into::into))
}
