//! Reads the answers on one connection with few demands on their form, so that nginx's can be read too.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::DEADLINE;

/// A connection on which answers are read one after the other.
pub(super) struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// The head of an answer in lower case, and its body.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) interim: Vec<u16>,
    head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Returns what the head says about the connection.
    pub(super) fn says(&self) -> &str {
        self.field("connection").unwrap_or("keep-alive")
    }

    /// Returns a field of the request, as the service reported it.
    pub(super) fn told(&self, name: &str) -> String {
        let mut lines = self.body.lines().filter_map(|line| line.split_once(": "));
        let value = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
        value.map_or("nothing", |(_, value)| value).to_owned()
    }

    /// Returns the target of the request, as the service reported it.
    pub(super) fn target(&self) -> &str {
        self.body.split(' ').nth(1).unwrap_or("nothing")
    }
}

impl Wire {
    pub(super) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// Writes all bytes, or as many as the other side accepts.
    pub(super) fn write(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.stream.write_all(bytes.as_ref());
        self
    }

    /// Sends a request with these fields, each with its line end, and returns the answer.
    pub(super) fn ask(&mut self, line: &str, fields: &str, body: &str) -> Answer {
        self.write(format!("{line} HTTP/1.1\r\nHost: app.test\r\n{fields}\r\n{body}"));
        self.answer()
    }

    /// Returns the head of the next answer; one without a status if there is none.
    pub(super) fn head(&mut self) -> Answer {
        let mut answer = Answer::default();
        while let Some(head) = self.until(b"\r\n\r\n") {
            answer.head = head.to_ascii_lowercase();
            answer.status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
            if answer.status == 101 || answer.status >= 200 {
                break;
            }
            answer.interim.push(answer.status);
        }
        answer
    }

    /// Returns the next answer as a whole.
    pub(super) fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        if answer.status < 200 || matches!(answer.status, 204 | 304) {
            return answer;
        }
        let body = if answer.field("transfer-encoding") == Some("chunked") {
            self.chunks()
        } else {
            let length = answer.field("content-length").and_then(|length| length.parse().ok());
            self.exactly(length.unwrap_or(usize::MAX))
        };
        answer.body = String::from_utf8_lossy(&body).into_owned();
        answer
    }

    /// Returns everything up to the end of the connection.
    pub(super) fn rest(&mut self) -> String {
        String::from_utf8_lossy(&self.exactly(usize::MAX)).into_owned()
    }

    /// Returns `count` bytes, or those up to the end.
    pub(super) fn bytes(&mut self, count: usize) -> String {
        String::from_utf8_lossy(&self.exactly(count)).into_owned()
    }

    /// Whether the other side closes the connection now.
    pub(super) fn is_closed(&mut self) -> bool {
        self.stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        let closed = match self.stream.read(&mut [0; 64]) {
            Ok(n) => n == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        };
        self.stream.set_read_timeout(Some(DEADLINE)).unwrap();
        closed
    }

    fn more(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(n @ 1..) => {
                self.unread.extend(&chunk[..n]);
                true
            }
            _ => false,
        }
    }

    fn until(&mut self, end: &[u8]) -> Option<String> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                let bytes: Vec<u8> = self.unread.drain(..at + end.len()).collect();
                return Some(String::from_utf8_lossy(&bytes).into_owned());
            }
            if !self.more() {
                return None;
            }
        }
    }

    fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length && self.more() {}
        self.unread.drain(..length.min(self.unread.len())).collect()
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some(line) = self.until(b"\r\n") {
            let size = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
            body.extend(self.exactly(size));
            let _ = self.until(b"\r\n");
            if size == 0 {
                break;
            }
        }
        body
    }
}
