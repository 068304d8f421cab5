//! Runs a Redis server as a process, on a port of its own, without persistence.
//!
//! `scripts/setup-test` installs it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use super::django::root;
use super::eventually;

/// A running server, with an optional password.
pub(crate) struct Redis {
    child: Option<Child>,
    address: SocketAddr,
    password: Option<String>,
}

impl Redis {
    pub(crate) fn start() -> Self {
        Self::with(None)
    }

    /// Starts a server that demands a password.
    pub(crate) fn with_password(password: &str) -> Self {
        Self::with(Some(password.to_owned()))
    }

    fn with(password: Option<String>) -> Self {
        install();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut redis = Self { child: None, address, password };
        redis.run();
        redis
    }

    /// Returns its URL without the password, as the gateway's settings have it.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    /// Returns its URL with the password, as Django's settings have it (`DJANGO_CACHE_URL`).
    pub(crate) fn url_for_django(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@{}/0", self.address),
            None => self.url(),
        }
    }

    /// Starts it (again), empty, and waits until it accepts connections.
    pub(crate) fn run(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &self.address.port().to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--databases", "2"]);
        if let Some(password) = &self.password {
            command.args(["--requirepass", password]);
        }
        let child = command
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("{command:?}: {error}")));
        eventually("redis to be ready", || {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                panic!("redis ended with {status}");
            }
            TcpStream::connect(self.address).ok()
        });
    }

    /// Kills it; its contents are lost.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Runs a command, and returns its answer.
    pub(crate) fn ask<T: redis::FromRedisValue>(&self, arguments: &[&str]) -> T {
        let client = redis::Client::open(self.url_for_django()).unwrap();
        let mut command = redis::Cmd::new();
        for argument in arguments {
            command.arg(*argument);
        }
        command.query(&mut client.get_connection().unwrap()).unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn install() {
    let found = || Command::new("redis-server").arg("--version").output().is_ok();
    if !found() {
        let status = Command::new(root().join("scripts/setup-test")).status();
        assert!(status.is_ok_and(|status| status.success()), "scripts/setup-test failed");
    }
}
