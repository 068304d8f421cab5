//! A recording upstream: stores every request head as the received bytes, and answers as a test chooses.
//!
//! By default it answers with JSON about the request. Other paths: `/status/404`, `/hang` (reads and never answers),
//! `/break` (closes without an answer), `/cookies` (tries to set the gateway's cookie and identity headers), `/sets?COOKIE`
//! (sets this cookie), `/drip` (a chunked answer whose second half waits until the test calls [`Upstream::release`]).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use super::DEADLINE;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) version: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A running upstream.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    seen: Mutex<Vec<Seen>>,
    released: Mutex<bool>,
    release: Condvar,
    stopped: AtomicBool,
    connections: AtomicUsize,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let serving = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), state) = (stream, Arc::clone(&serving)) else { continue };
                state.connections.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || serve(stream, &state));
            }
        });
        Self { address, state }
    }

    /// Returns all requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// Returns the last request.
    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("the upstream has seen a request")
    }

    /// Returns how many connections were opened to it.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Lets `/drip` continue.
    pub(crate) fn release(&self) {
        *self.state.released.lock().unwrap() = true;
        self.state.release.notify_all();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        self.release();
        let _ = TcpStream::connect(self.address);
    }
}

impl Seen {
    /// Returns the first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// Returns all values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
            .collect()
    }

    /// Returns every header with this name when case and all characters but letters and digits are ignored.
    pub(crate) fn folded(&self, name: &str) -> Vec<(&str, &str)> {
        let fold = |text: &str| -> String {
            text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
        };
        self.headers
            .iter()
            .filter(|(n, _)| fold(n) == fold(name))
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect()
    }
}

fn serve(mut stream: TcpStream, state: &State) {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::new();
    while let Some(seen) = read_request(&mut stream, &mut buffer) {
        let (target, upgrade) =
            (seen.target.clone(), seen.header("upgrade").map(str::to_ascii_lowercase));
        state.seen.lock().unwrap().push(seen.clone());
        let path = target.split('?').next().unwrap_or_default();
        let answered = if upgrade.as_deref() == Some("websocket") {
            websocket(&mut stream, &buffer);
            return;
        } else if path.starts_with("/public/missing/") {
            answer(&mut stream, "404", &[], b"{}")
        } else if let Some(code) = path.strip_prefix("/status/") {
            answer(&mut stream, code, &[], b"{}")
        } else {
            match path {
                "/hang" => {
                    let mut rest = [0; 64];
                    let _ = stream.read(&mut rest);
                    return;
                }
                "/break" => return,
                "/sets" => {
                    let cookie = target.split_once('?').unwrap_or_default().1;
                    answer(&mut stream, "200", &[("Set-Cookie", cookie)], b"{}")
                }
                "/cookies" => answer(
                    &mut stream,
                    "200",
                    &[
                        ("Set-Cookie", "theme=dark; Path=/"),
                        ("Set-Cookie", "__Host-doorwarden=stolen; Path=/; Secure"),
                        ("Set-Cookie", "__host-DOORWARDEN=stolen; Path=/; Secure"),
                        ("Set-Cookie", "sessionid=abc; HttpOnly; Path=/"),
                        ("X-User-Id", "1"),
                        ("X-User-Groups", "root"),
                    ],
                    b"{}",
                ),
                "/drip" => drip(&mut stream, state),
                // A body after HEAD would be read as the next answer.
                _ if seen.method == "HEAD" => answer(&mut stream, "200", &[], b""),
                _ => answer(&mut stream, "200", &[], report(&seen).as_bytes()),
            }
        };
        if answered.is_err() {
            return;
        }
    }
}

fn report(seen: &Seen) -> String {
    serde_json::json!({
        "method": seen.method,
        "target": seen.target,
        "headers": seen.headers,
        "body": String::from_utf8_lossy(&seen.body),
    })
    .to_string()
}

fn answer(
    stream: &mut TcpStream,
    status: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<()> {
    let mut head = format!(
        "HTTP/1.1 {status} Something\r\nContent-Length: {}\r\nContent-Type: application/json\r\nX-Upstream: yes\r\n",
        body.len()
    );
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    stream.write_all(body)
}

fn drip(stream: &mut TcpStream, state: &State) -> std::io::Result<()> {
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\nX-Upstream: yes\r\n\r\n5\r\nfirst\r\n",
    )?;
    let mut released = state.released.lock().unwrap();
    while !*released {
        let (guard, timeout) = state.release.wait_timeout(released, DEADLINE).unwrap();
        released = guard;
        if timeout.timed_out() {
            break;
        }
    }
    stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n")
}

/// Accepts at once, and then echoes every byte.
fn websocket(stream: &mut TcpStream, early: &[u8]) {
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(early);
    let mut bytes = [0; 4096];
    while let Ok(n) = stream.read(&mut bytes) {
        if n == 0 || stream.write_all(&bytes[..n]).is_err() {
            return;
        }
    }
}

fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let head_end = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        more(stream, buffer)?;
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    buffer.drain(..head_end + 4);
    let mut lines = head.split("\r\n");
    let mut request_line = lines.next()?.split(' ');
    let (method, target) = (request_line.next()?.to_owned(), request_line.next()?.to_owned());
    let version = request_line.next().unwrap_or_default().to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut seen = Seen { method, target, version, headers, body: Vec::new() };
    if seen.header("expect").is_some() {
        let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
    }
    if seen.header("transfer-encoding").is_some() {
        loop {
            let size = loop {
                if let Some(end) = buffer.windows(2).position(|two| two == b"\r\n") {
                    let line: Vec<u8> = buffer.drain(..end + 2).collect();
                    break usize::from_str_radix(std::str::from_utf8(&line[..end]).ok()?, 16)
                        .ok()?;
                }
                more(stream, buffer)?;
            };
            while buffer.len() < size + 2 {
                more(stream, buffer)?;
            }
            seen.body.extend(buffer.drain(..size));
            buffer.drain(..2);
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = seen.header("content-length").and_then(|l| l.parse().ok()) {
        while buffer.len() < length {
            more(stream, buffer)?;
        }
        seen.body = buffer.drain(..length).collect();
    }
    Some(seen)
}

fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 64 * 1024];
    match stream.read(&mut chunk) {
        Ok(n) if n > 0 => {
            buffer.extend(&chunk[..n]);
            Some(())
        }
        _ => None,
    }
}
