//! Serves as the upstream of both: it does what the path's last segment says, and otherwise reports the request.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use crate::support::DEADLINE;
use crate::support::scripted::{Connection, Scripted};

const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A running upstream.
pub(super) struct Service {
    pub(super) scripted: Scripted,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// How often bytes came that are no request.
    strays: AtomicUsize,
    /// Waiting requests for `/hold`.
    held: AtomicUsize,
    released: Mutex<bool>,
    release: Condvar,
}

impl Service {
    pub(super) fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        let scripted = Scripted::start(move |connection| serve(connection, &serving));
        Self { scripted, shared }
    }

    /// Returns how often bytes came that are no request.
    pub(super) fn strays(&self) -> usize {
        self.shared.strays.load(Ordering::SeqCst)
    }

    pub(super) fn holds(&self) -> usize {
        self.shared.held.load(Ordering::SeqCst)
    }

    /// Answers the waiting requests, and holds none from now on.
    pub(super) fn release(&self) {
        *self.shared.released.lock().unwrap() = true;
        self.shared.release.notify_all();
    }
}

fn serve(connection: &mut Connection, shared: &Shared) {
    let mut is_kims = false;
    while let Some(head) = connection.until("\r\n\r\n") {
        let line = head.lines().next().unwrap_or_default().to_owned();
        let parts: Vec<&str> = line.split(' ').collect();
        let [_, target, _] = parts[..] else {
            shared.strays.fetch_add(1, Ordering::SeqCst);
            return connection.write(
                "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
        };
        let path = target.split('?').next().unwrap_or_default();
        let what = path.rsplit('/').next().unwrap_or_default();
        let lower = head.to_ascii_lowercase();
        is_kims |= lower.contains("negotiate yii") || lower.contains("ntlm tlrm");
        match what {
            "ws" => return tunnel(connection),
            "bye" => return connection.write(&format!("{ACCEPTED}bye")),
            "break" => return,
            "dies" => return connection.write("HTTP/1.1 100 Continue\r\n\r\n"),
            _ => {}
        }
        let Some(length) = body(connection, &lower) else { return };
        match what {
            "chunked" if head.starts_with("HEAD") => {
                connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            }
            "chunked" => connection.write(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nplain\r\n0\r\n\r\n",
            ),
            "none" => connection.write(
                "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\nKeep-Alive: timeout=5\r\n\r\n",
            ),
            "unchanged" => {
                connection.write("HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n");
            }
            "short" => {
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
                return connection.write(&format!("{head}short"));
            }
            "absolute" => connection.write(
                "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://app.test/cart\r\n\r\n",
            ),
            "redirect" => connection
                .write("HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /cart\r\n\r\n"),
            "who" => answer(connection, if is_kims { "kim" } else { "nobody" }),
            "hold" => {
                shared.held.fetch_add(1, Ordering::SeqCst);
                let released = shared.released.lock().unwrap();
                let wait = shared.release.wait_timeout_while(released, DEADLINE, |let_go| !*let_go);
                drop(wait.unwrap());
                answer(connection, "held");
            }
            _ if head.starts_with("HEAD") => {
                connection.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
            }
            _ => answer(connection, &format!("{head}{length}")),
        }
    }
}

fn answer(connection: &mut Connection, body: &str) {
    connection.write(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
}

/// Reads the request's body, and returns its length.
fn body(connection: &mut Connection, head: &str) -> Option<usize> {
    if head.contains("transfer-encoding: chunked") {
        let mut all = 0;
        loop {
            let line = connection.until("\r\n")?;
            let size = usize::from_str_radix(line.trim(), 16).ok()?;
            connection.exactly(size + 2)?;
            all += size;
            if size == 0 {
                return Some(all);
            }
        }
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(Some(0), |length| length.trim().parse().ok())?;
    connection.exactly(length)?;
    Some(length)
}

/// Accepts at once, and echoes everything.
fn tunnel(connection: &mut Connection) {
    connection.write(ACCEPTED);
    while let Some(bytes) = connection.some() {
        connection.write(&String::from_utf8_lossy(&bytes));
    }
}
