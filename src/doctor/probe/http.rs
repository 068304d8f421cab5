//! An HTTP client that sends what no usual client would: headers in odd spellings, folded lines, chunked bodies.
//!
//! Each request has its own connection, so that a server that answers and closes is read to the end. The requests are
//! harmless: GET, HEAD, OPTIONS, and POST without anybody's credential.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use crate::command::CommandFailure;

/// The time limit of a request, from its first byte to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of an answer that are read.
const MAX_ANSWER: usize = 4 << 20;

/// The address of the service.
#[derive(Clone, Debug)]
pub(super) struct ProbedService {
    pub(super) address: SocketAddr,
    /// The value of `Host`.
    pub(super) host: String,
}

/// A request to the service.
#[derive(Clone, Debug)]
pub(super) struct ProbeRequest<'a> {
    method: &'a str,
    target: &'a str,
    host: Option<&'a str>,
    headers: Vec<(&'a str, &'a str)>,
    body: Body<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Body<'a> {
    None,
    Length(&'a [u8]),
    Chunked(&'a [u8]),
}

/// An answer of the service.
#[derive(Clone, Debug)]
pub(super) struct ProbeAnswer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl ProbedService {
    /// Parses `http://host:port`, or `host:port`.
    pub(super) fn parse(url: &str) -> Result<Self, CommandFailure> {
        let usage = |why: &str| CommandFailure::Usage(format!("doorwarden: {url}: {why}"));
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some(_) => {
                return Err(usage("the gateway speaks plain HTTP to services: http://HOST:PORT"));
            }
            None => url,
        };
        let host = rest.trim_end_matches('/');
        if host.contains(['/', '?', '#', '@']) || host.is_empty() {
            return Err(usage("a service is named by http://HOST:PORT alone"));
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let with_port = if has_port { host.to_owned() } else { format!("{host}:80") };
        let address = with_port
            .to_socket_addrs()
            .map_err(|error| usage(&error.to_string()))?
            .next()
            .ok_or_else(|| usage("it does not resolve"))?;
        Ok(Self { address, host: host.to_owned() })
    }

    /// Returns the same service at another address.
    pub(super) fn at(&self, address: SocketAddr) -> Self {
        Self { address, host: self.host.clone() }
    }

    pub(super) fn get(&self, target: &str) -> io::Result<ProbeAnswer> {
        self.send(&ProbeRequest::new("GET", target))
    }

    pub(super) fn send(&self, request: &ProbeRequest<'_>) -> io::Result<ProbeAnswer> {
        let until = Instant::now() + TIMEOUT;
        let mut stream = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        // A server may answer and close before it has read everything, so a failed write does not end the exchange.
        let written = stream.write_all(&request.bytes(&self.host));
        let mut bytes = Vec::new();
        let read = hear_out(&mut stream, until, &mut bytes);
        match ProbeAnswer::parse(&bytes) {
            Some(answer) => Ok(answer),
            None => Err(written
                .err()
                .or(read.err())
                .unwrap_or_else(|| io::Error::other("its answer is not HTTP"))),
        }
    }
}

/// Reads until the other side closes, the answer is too long or the time is up, however slowly bytes arrive.
fn hear_out(stream: &mut TcpStream, until: Instant, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = [0; 8192];
    while bytes.len() < MAX_ANSWER {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
    }
    Ok(())
}

impl<'a> ProbeRequest<'a> {
    pub(super) const fn new(method: &'a str, target: &'a str) -> Self {
        Self { method, target, host: None, headers: Vec::new(), body: Body::None }
    }

    pub(super) fn header(mut self, name: &'a str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) const fn host(mut self, host: &'a str) -> Self {
        self.host = Some(host);
        self
    }

    pub(super) const fn body(mut self, body: &'a [u8]) -> Self {
        self.body = Body::Length(body);
        self
    }

    pub(super) const fn chunked(mut self, body: &'a [u8]) -> Self {
        self.body = Body::Chunked(body);
        self
    }

    fn bytes(&self, host: &str) -> Vec<u8> {
        let Self { method, target, headers, body, .. } = self;
        let host = self.host.unwrap_or(host);
        let mut head =
            format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        for (name, value) in headers {
            // Writing to a string cannot fail.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        match body {
            Body::None => {}
            Body::Length(body) => {
                let _ =
                    write!(head, "Content-Type: text/plain\r\nContent-Length: {}\r\n", body.len());
            }
            Body::Chunked(_) => {
                head += "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n"
            }
        }
        let mut bytes = (head + "\r\n").into_bytes();
        match body {
            Body::None => {}
            Body::Length(body) => bytes.extend_from_slice(body),
            Body::Chunked(body) => {
                bytes.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
                bytes.extend_from_slice(body);
                bytes.extend_from_slice(b"\r\n0\r\n\r\n");
            }
        }
        bytes
    }
}

impl ProbeAnswer {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let (head, rest) = bytes.split_at_checked(end)?;
        let head = String::from_utf8_lossy(head);
        let mut lines = head.split("\r\n");
        let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Self { status, headers, body: String::new() };
        let body = rest.get(4..).unwrap_or_default();
        let chunked =
            answer.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked"));
        let body = if chunked { dechunked(body) } else { body.to_vec() };
        answer.body = String::from_utf8_lossy(&body).into_owned();
        Some(answer)
    }

    /// Returns the first header of this name (in lower case).
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Returns the first member of a JSON answer with one of these names, at any depth.
    pub(super) fn member(&self, names: &[&str]) -> Option<String> {
        let body: serde_json::Value = serde_json::from_str(&self.body).ok()?;
        find(&body, names)
    }

    /// Returns the name of the member of a JSON answer whose text contains this.
    pub(super) fn name_of(&self, text: &str) -> Option<String> {
        let body: serde_json::Value = serde_json::from_str(&self.body).ok()?;
        named(&body, text)
    }
}

fn named(value: &serde_json::Value, text: &str) -> Option<String> {
    let members = value.as_object()?;
    let is_it = |member: &serde_json::Value| member.as_str().is_some_and(|own| own.contains(text));
    let found = members.iter().find(|(_, member)| is_it(member)).map(|(name, _)| name.clone());
    found.or_else(|| members.values().find_map(|member| named(member, text)))
}

fn find(value: &serde_json::Value, names: &[&str]) -> Option<String> {
    match value {
        serde_json::Value::Object(members) => {
            let named = members.iter().find(|(name, _)| names.contains(&name.as_str()));
            if let Some((_, found)) = named {
                return Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned));
            }
            members.values().find_map(|member| find(member, names))
        }
        serde_json::Value::Array(members) => members.iter().find_map(|member| find(member, names)),
        _ => None,
    }
}

/// Decodes a chunked body. An invalid one ends where it becomes invalid.
fn dechunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = rest.get(..end).and_then(|line| std::str::from_utf8(line).ok());
        let size = size.map(|line| line.split(';').next().unwrap_or_default().trim());
        let Some(Ok(size)) = size.map(|size| usize::from_str_radix(size, 16)) else { break };
        let chunk = rest.get(end + 2..).unwrap_or_default();
        let (chunk, after) = chunk.split_at(size.min(chunk.len()));
        body.extend_from_slice(chunk);
        if size == 0 {
            break;
        }
        rest = after.get(2..).unwrap_or_default();
    }
    body
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_answer_is_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = ProbeAnswer::parse(&bytes);
            let _ = dechunked(&bytes);
        }
    }

    #[test]
    fn a_chunked_answer_is_put_together() {
        let answer = ProbeAnswer::parse(
            b"HTTP/1.1 200 OK\r\nServer: x\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\n{\"a\"\r\n4\r\n: 1}\r\n0\r\n\r\n",
        );
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.header("server")), (200, Some("x")));
        assert_eq!(answer.member(&["a"]), Some("1".into()));
    }

    #[test]
    fn nobody_is_heard_out_for_ever() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut trickle, _) = listener.accept().unwrap();
        let talker = std::thread::spawn(move || while trickle.write_all(b"HTTP").is_ok() {});
        let mut bytes = vec![b'x'; MAX_ANSWER - 1];
        let until = Instant::now() + TIMEOUT;
        hear_out(&mut stream, until, &mut bytes).unwrap();
        assert!(bytes.len() < MAX_ANSWER + 8192, "it has said enough");
        bytes.clear();
        // Each read returns data, and so does not time out by itself.
        let until = Instant::now() + Duration::from_millis(2);
        let error =
            hear_out(&mut stream, until, &mut bytes).and(Err::<(), _>(io::Error::other("no end")));
        drop(stream);
        talker.join().unwrap();
        let kind = error.unwrap_err().kind();
        assert!(matches!(kind, io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock), "{kind:?}");
    }

    #[test]
    fn a_service_is_an_address() {
        for (url, host) in [
            ("http://127.0.0.1:8000/", "127.0.0.1:8000"),
            ("127.0.0.1:8000", "127.0.0.1:8000"),
            ("http://[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(ProbedService::parse(url).unwrap().host, host);
        }
        for url in ["https://127.0.0.1", "http://", "http://a/b", "http://u@127.0.0.1"] {
            assert!(matches!(ProbedService::parse(url), Err(CommandFailure::Usage(_))), "{url}");
        }
    }

    #[test]
    fn a_chunked_request_is_framed() {
        let bytes = ProbeRequest::new("POST", "/x").header("X_A", "1").chunked(b"hello").bytes("h");
        let text = String::from_utf8(bytes).unwrap();
        assert!(
            text.starts_with("POST /x HTTP/1.1\r\nHost: h\r\n") && text.contains("\r\nX_A: 1\r\n")
        );
        assert!(text.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{text}");
    }
}
