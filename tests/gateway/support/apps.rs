//! Runs applications with a login form as processes: one in PHP, and one whose behavior tests control.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::Client;
use super::django::root;
use super::eventually;

/// `tests/apps/form_login.py`: users kim ("correct horse") and lee ("battery staple").
pub(crate) struct FormLogin {
    child: Child,
    pub(crate) address: SocketAddr,
}

/// `tests/apps/php/app.php`: users kim ("correct horse") and lee ("staple 한글 암호").
pub(crate) struct Php {
    child: Child,
    _sessions: TempDir,
    pub(crate) address: SocketAddr,
}

impl FormLogin {
    pub(crate) fn start() -> Self {
        let mut child = Command::new("python3")
            .arg(root().join("tests/apps/form_login.py"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().parse().unwrap_or_else(|_| panic!("no address: {line:?}"));
        Self { child, address }
    }

    /// Sets how it answers from now on.
    pub(crate) fn control(&self, control: &Value) {
        assert_eq!(Client::new(self.address).post("/control").json(control).send().status, 204);
    }

    /// Returns the requests so far.
    pub(crate) fn seen(&self) -> Vec<Value> {
        self.state()["seen"].as_array().unwrap().clone()
    }

    /// Returns its sessions: id and user.
    pub(crate) fn sessions(&self) -> Vec<(String, String)> {
        let state = self.state();
        let all = state["sessions"].as_object().unwrap().iter();
        all.map(|(id, user)| (id.clone(), user.as_str().unwrap().into())).collect()
    }

    /// Ends a session, as its own timeout would.
    pub(crate) fn ends(&self, id: &str) {
        let out = Client::new(self.address).post("/logout").cookie("sid", id).form(&[]).send();
        assert_eq!(out.status, 302);
    }

    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn state(&self) -> Value {
        Client::new(self.address).get("/seen").send().json()
    }

    /// Restores the initial behavior.
    pub(crate) fn well(&self) {
        self.control(&json!({"status": 0, "delay": 0, "huge": false}));
    }
}

impl Drop for FormLogin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Php {
    pub(crate) fn start() -> Self {
        let sessions = tempfile::tempdir().unwrap();
        // PHP's server does not support port 0. If another process takes the free port first, PHP ends and is started
        // again.
        let (child, address) = eventually("PHP to serve", || {
            let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let mut child = Command::new("php")
                .args(["-d", "expose_php=0", "-d", "session.cache_limiter=", "-S"])
                .arg(free.to_string())
                .arg("app.php")
                .current_dir(root().join("tests/apps/php"))
                .env("PHP_SESSIONS", sessions.path())
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("php starts: scripts/setup-test installs it");
            eventually("PHP to listen", || match child.try_wait().unwrap() {
                Some(_) => Some(None),
                None => TcpStream::connect(free).ok().map(|_| Some(free)),
            })
            .map(|address| (child, address))
        });
        Self { child, _sessions: sessions, address }
    }
}

impl Drop for Php {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
