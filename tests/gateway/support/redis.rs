//! A Redis as a process, on a port of its own, which keeps nothing on disk.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use super::eventually;

/// A running server; what was in it goes with it.
pub(crate) struct Redis {
    address: SocketAddr,
    child: Option<Child>,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut redis = Self { address, child: None };
        redis.run();
        redis
    }

    /// Its first database.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    /// Starts the process, again after [`Self::kill`].
    pub(crate) fn run(&mut self) {
        let port = self.address.port().to_string();
        let child = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts (scripts/setup-test installs it)");
        self.child = Some(child);
        eventually("redis to listen", || TcpStream::connect(self.address).ok());
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
