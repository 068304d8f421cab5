//! Runs a mail server and a webhook receiver, which a test can stop and start again on the same port
//! (`tests/peers/receivers.py`).

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

use super::eventually;

/// A receiver, running or stopped.
pub(crate) struct Receiver {
    child: Option<Child>,
    kind: &'static str,
    arguments: Vec<String>,
    pub(crate) address: SocketAddr,
    folder: TempDir,
}

impl Receiver {
    /// Starts a mail server, with these arguments of the program.
    pub(crate) fn smtp(arguments: &[&str]) -> Self {
        Self::start("smtp", arguments)
    }

    /// Starts a receiver of webhooks, which it verifies with this secret, and of any other posts.
    pub(crate) fn http(secret: &str) -> Self {
        Self::start("http", &["--secret", secret])
    }

    fn start(kind: &'static str, arguments: &[&str]) -> Self {
        install();
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let folder = tempfile::tempdir().unwrap();
        let address = free();
        let mut receiver = Self { child: None, kind, arguments, address, folder };
        // Another process may take the port first.
        while !receiver.run() {
            receiver.address = free();
        }
        receiver
    }

    /// Starts the receiver again, on its port.
    pub(crate) fn start_again(&mut self) {
        eventually("the receiver's port", || self.run().then_some(()));
    }

    fn run(&mut self) -> bool {
        let mut child = Command::new(venv().join("bin/python"))
            .arg(root().join("tests/peers/receivers.py"))
            .args([self.kind, &self.address.port().to_string()])
            .arg(self.file())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .spawn()
            .expect("the receiver starts; scripts/setup-test installs it");
        let listens = eventually(self.kind, || match child.try_wait().unwrap() {
            Some(_) => Some(false),
            None => TcpStream::connect(self.address).is_ok().then_some(true),
        });
        self.child = listens.then_some(child);
        listens
    }

    /// Stops the receiver: connections are refused.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Returns what it has received, in order.
    pub(crate) fn received(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.file()).unwrap_or_default();
        let whole = |line: &&str| line.ends_with('\n');
        text.split_inclusive('\n')
            .filter(whole)
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Waits until it has received this many.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Value> {
        let what = format!("{count} messages at the {} receiver", self.kind);
        eventually(&what, || Some(self.received()).filter(|all| all.len() >= count))
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("received.jsonl")
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn venv() -> PathBuf {
    std::env::var_os("DOORWARDEN_PEERS_VENV")
        .map_or_else(|| root().join(".tools/peers-venv"), PathBuf::from)
}

/// Installs the packages if they are missing, once.
fn install() {
    static THERE: OnceLock<()> = OnceLock::new();
    THERE.get_or_init(|| {
        let can_import = || {
            let import = Command::new(venv().join("bin/python"))
                .args(["-c", "import aiosmtpd, standardwebhooks"])
                .stderr(Stdio::null())
                .status();
            import.is_ok_and(|status| status.success())
        };
        if !can_import() {
            let status = Command::new(root().join("scripts/setup-test")).status();
            assert!(
                status.is_ok_and(|status| status.success()) && can_import(),
                "the receivers' packages are missing; run scripts/setup-test and see why"
            );
        }
    });
}
