//! Tests running under a supervisor such as systemd: sockets that outlive the process, state notifications, the unit files.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::DEADLINE;
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup, write_private};
use crate::support::soak;
use crate::support::upstream::Upstream;

/// A supervisor: its listening socket, and the socket on which it receives the gateway's state.
struct Supervisor {
    socket: TcpListener,
    heard: UnixDatagram,
    folder: TempDir,
}

impl Supervisor {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let heard = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        heard.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { socket: TcpListener::bind("127.0.0.1:0").unwrap(), heard, folder }
    }

    fn notify(&self) -> std::path::PathBuf {
        self.folder.path().join("notify")
    }

    /// Starts a gateway whose only listener is the socket.
    fn start(&self, setup: Setup) -> Gateway {
        let folder = setup.prepare();
        let path = folder.path().join("gateway.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let address = self.socket.local_addr().unwrap().to_string();
        let text = text.replacen("http = [\"127.0.0.1:0\"]", &format!("http = [\"{address}\"]"), 1);
        write_private(&path, text);
        Gateway::launch_under(folder, &self.socket, &self.notify())
    }

    /// Returns the next state that the gateway reports.
    fn hears(&self) -> String {
        let mut message = [0; 256];
        let length = self.heard.recv(&mut message).expect("the gateway tells its state");
        String::from_utf8_lossy(&message[..length]).into_owned()
    }
}

#[test]
fn it_tells_when_it_is_ready_reloads_and_stops() {
    let upstream = Upstream::start();
    let supervisor = Supervisor::new();
    let mut gateway = supervisor.start(Setup::new(upstream.address));
    assert_eq!(supervisor.hears(), "READY=1\n");
    assert!(gateway.command(&["reload", "--config", "gateway.toml"]).status.success());
    let reloading = supervisor.hears();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(supervisor.hears(), "READY=1\n");
    gateway.terminate();
    assert_eq!(supervisor.hears(), "STOPPING=1\n");
    assert_eq!(gateway.wait(), Some(0));
}

/// A supervisor that never reads its messages does not block the gateway; a datagram socket buffers about ten.
#[test]
fn a_supervisor_that_does_not_listen_holds_nothing_up() {
    let upstream = Upstream::start();
    let supervisor = Supervisor::new();
    let mut gateway = supervisor.start(Setup::new(upstream.address));
    for _ in 0..20 {
        assert_eq!(gateway.operator("POST", "/reload").send().status, 200);
    }
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
}

/// Processes replace each other on the same socket, under load: no connection is refused, no request is lost, and sessions
/// that one process has ended stay ended.
#[test]
fn another_process_takes_the_sockets_over_and_nobody_notices() {
    let upstream = Upstream::start();
    let supervisor = Supervisor::new();
    let mut gateway = supervisor.start(Setup::new(upstream.address));
    let client = Client::new(supervisor.socket.local_addr().unwrap());
    let token = |client: &Client| {
        client.sign_in("kim", "correct horse battery")["access"].as_str().unwrap().to_owned()
    };
    let (stays, ended) = (token(&client), token(&client));
    let stop = Arc::new(AtomicBool::new(false));
    let (done, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let (stop, done, failed) = (Arc::clone(&stop), Arc::clone(&done), Arc::clone(&failed));
            let request = client.post("/x").bearer(&stays).body(b"hello");
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let status = request.try_send().map(|answer| answer.status);
                    done.fetch_add(1, Ordering::Relaxed);
                    failed.fetch_add(usize::from(status != Some(200)), Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(2));
                }
            })
        })
        .collect();
    let began = Instant::now();
    let restarts = soak::times(2, 10);
    for round in 0..restarts {
        if round == 1 {
            let logout = client.post("/logout").bearer(&ended).send();
            assert_eq!(logout.status, 204);
        }
        let goal = done.load(Ordering::Relaxed) + 200;
        eventually("two hundred requests more", || {
            (done.load(Ordering::Relaxed) >= goal).then_some(())
        });
        gateway.terminate();
        assert_eq!(gateway.wait(), Some(0));
        gateway.spawn_under(&supervisor.socket, &supervisor.notify());
    }
    let took = began.elapsed();
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.join().unwrap();
    }
    let (done, failed) = (done.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
    soak::report(&format!(
        "{restarts} handed over in {took:?}, {done} requests ({:.0}/s) each on a connection of its own, {failed} failed",
        done as f64 / took.as_secs_f64()
    ));
    assert_eq!(failed, 0, "of {done}");
    assert_eq!(client.get("/x").bearer(&ended).send().code(), "session_ended");
    assert_eq!(client.get("/x").bearer(&stays).send().status, 200);
}

#[test]
fn systemd_accepts_the_units() {
    let folder = tempfile::tempdir().unwrap();
    let docker = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker");
    let mut units = Vec::new();
    for name in ["doorwarden.service", "doorwarden.socket"] {
        let text = std::fs::read_to_string(docker.join(name)).unwrap();
        // systemd checks whether the program exists.
        let text = text.replace("/usr/local/bin/doorwarden", env!("CARGO_BIN_EXE_doorwarden"));
        let unit = folder.path().join(name);
        std::fs::write(&unit, text).unwrap();
        units.push(unit);
    }
    let verify = Command::new("systemd-analyze").arg("verify").args(&units).output();
    let verify = verify.expect("systemd-analyze is there: scripts/setup-test installs it");
    let said = String::from_utf8_lossy(&verify.stderr);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("doorwarden")).collect();
    assert!(verify.status.success() && ours.is_empty(), "{said}");
}
