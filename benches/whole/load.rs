//! Generates the load: a fixed number of requests over kept connections, each of which waits for the whole answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

/// The requests, which are sent in turn, and the expected status of each answer.
pub(crate) struct Load {
    pub(crate) requests: Vec<Vec<u8>>,
    pub(crate) status: u16,
}

/// Open connections to one proxy.
pub(crate) struct Connections(Vec<Connection>);

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The number of requests that the connection has sent.
    sent: usize,
}

impl Load {
    /// Creates a load of one repeated request, which is answered with 200.
    pub(crate) fn one(request: Vec<u8>) -> Self {
        Self { requests: vec![request], status: 200 }
    }
}

/// Returns a request as a front end's script sends it, with the fields that browsers add.
pub(crate) fn request(path: &str, credential: Option<(&str, &str)>) -> Vec<u8> {
    let credential =
        credential.map_or_else(String::new, |(name, value)| format!("{name}: {value}\r\n"));
    head("GET", path, &credential, "").into_bytes()
}

/// Returns the same request as a POST with a body of this length.
pub(crate) fn post(path: &str, (name, value): (&str, &str), length: usize) -> Vec<u8> {
    let more = format!("Content-Type: application/json\r\nContent-Length: {length}\r\n");
    let mut request = head("POST", path, &format!("{name}: {value}\r\n"), &more).into_bytes();
    request.extend(std::iter::repeat_n(b'1', length));
    request
}

/// Returns a POST of JSON to the gateway itself.
pub(crate) fn post_json(path: &str, body: &str) -> Vec<u8> {
    let more = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    (head("POST", path, "", &more) + body).into_bytes()
}

fn head(method: &str, path: &str, credential: &str, more: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\n\
         Host: 127.0.0.1\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         Accept: application/json\r\n\
         Accept-Language: en-US,en;q=0.5\r\n\
         Sec-Fetch-Dest: empty\r\n\
         Sec-Fetch-Mode: cors\r\n\
         Sec-Fetch-Site: same-origin\r\n\
         {more}{credential}\r\n"
    )
}

impl Connections {
    /// Opens `count` connections.
    pub(crate) fn open(address: SocketAddr, count: usize) -> Self {
        Self((0..count).map(|_| Connection::open(address)).collect())
    }

    /// Sends the first request on each connection, one after another, and reads the answers.
    pub(crate) fn drive_here(&mut self, load: &Load) {
        for connection in &mut self.0 {
            connection.ask(&load.requests[0], load.status);
        }
    }

    /// Sends the request on the first connection, and returns status and body of the answer, whatever they are.
    pub(crate) fn ask_here(&mut self, request: &[u8]) -> (u16, Vec<u8>) {
        let (status, body) = self.0[0].exchange(request);
        (status, body.to_vec())
    }

    /// Sends `each` requests on each connection, on all connections at once, and reads the answers.
    pub(crate) fn drive(&mut self, load: &Load, each: usize) {
        thread::scope(|scope| {
            for connection in &mut self.0 {
                scope.spawn(move || {
                    for _ in 0..each {
                        let request = &load.requests[connection.sent % load.requests.len()];
                        connection.sent += 1;
                        connection.ask(request, load.status);
                    }
                });
            }
        });
    }
}

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { stream, buffer: vec![0; 128 * 1024], sent: 0 }
    }

    /// Returns the body of the answer, which must have this status.
    fn ask(&mut self, request: &[u8], status: u16) -> &[u8] {
        let (answered, body) = self.exchange(request);
        assert_eq!(answered, status, "{}", String::from_utf8_lossy(body));
        body
    }

    /// Returns the answer's status and body.
    fn exchange(&mut self, request: &[u8]) -> (u16, &[u8]) {
        self.stream.write_all(request).unwrap();
        let mut filled = 0;
        let head_end = loop {
            filled += self.read(filled);
            let read = &self.buffer[..filled];
            if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let head = std::str::from_utf8(&self.buffer[..head_end]).unwrap();
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status in {head}"));
        let length = content_length(head).unwrap_or_else(|| panic!("no length in {head}"));
        let end = head_end + length;
        while filled < end {
            filled += self.read(filled);
        }
        assert_eq!(filled, end, "no more than one answer");
        (status, &self.buffer[head_end..end])
    }

    /// Reads more bytes into the buffer after the first `filled` ones.
    fn read(&mut self, filled: usize) -> usize {
        let length = self.stream.read(&mut self.buffer[filled..]).unwrap();
        assert_ne!(length, 0, "the connection was closed");
        length
    }
}

/// Sends one request on a new connection, and returns the body of the answer.
pub(crate) fn fetch(address: SocketAddr, request: &[u8]) -> String {
    String::from_utf8(Connection::open(address).ask(request, 200).to_vec()).unwrap()
}

/// Returns the `Content-Length` of a message's head.
pub(crate) fn content_length(head: &str) -> Option<usize> {
    head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
    })
}
