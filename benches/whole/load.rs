//! The load: a fixed number of requests over connections that are kept, each waiting for its whole answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

/// Open connections to one proxy.
pub(crate) struct Connections(Vec<Connection>);

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A request as a front end's script sends it, with the fields that browsers add.
pub(crate) fn request(path: &str, credential: Option<(&str, &str)>) -> Vec<u8> {
    let credential =
        credential.map_or_else(String::new, |(name, value)| format!("{name}: {value}\r\n"));
    format!(
        "GET {path} HTTP/1.1\r\n\
         Host: 127.0.0.1\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         Accept: application/json\r\n\
         Accept-Language: en-US,en;q=0.5\r\n\
         Sec-Fetch-Dest: empty\r\n\
         Sec-Fetch-Mode: cors\r\n\
         Sec-Fetch-Site: same-origin\r\n\
         {credential}\r\n"
    )
    .into_bytes()
}

impl Connections {
    /// Opens so many.
    pub(crate) fn open(address: SocketAddr, count: usize) -> Self {
        Self((0..count).map(|_| Connection::open(address)).collect())
    }

    /// Sends so many requests on each, all at once, and reads the answers.
    pub(crate) fn drive(&mut self, request: &[u8], each: usize) {
        thread::scope(|scope| {
            for connection in &mut self.0 {
                scope.spawn(move || {
                    for _ in 0..each {
                        connection.ask(request);
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
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { stream, buffer: vec![0; 128 * 1024] }
    }

    /// The body of the answer.
    fn ask(&mut self, request: &[u8]) -> &[u8] {
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
        assert!(head.starts_with("HTTP/1.1 200 "), "no 200, but {head}");
        let length = content_length(head).unwrap_or_else(|| panic!("no length in {head}"));
        let end = head_end + length;
        while filled < end {
            filled += self.read(filled);
        }
        assert_eq!(filled, end, "no more than one answer");
        &self.buffer[head_end..end]
    }

    /// Reads on after what is there already.
    fn read(&mut self, filled: usize) -> usize {
        let length = self.stream.read(&mut self.buffer[filled..]).unwrap();
        assert_ne!(length, 0, "the connection was closed");
        length
    }
}

/// Sends one request on a connection of its own; the body of the answer.
pub(crate) fn fetch(address: SocketAddr, request: &[u8]) -> String {
    String::from_utf8(Connection::open(address).ask(request).to_vec()).unwrap()
}

/// By the head of a message.
pub(crate) fn content_length(head: &str) -> Option<usize> {
    head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
    })
}
