//! A strict HTTP/1.1 client that writes exactly the bytes that a test wants. It checks on every answer that no identity
//! header and no server name leaks, and that the gateway's own refusals have their format.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use super::DEADLINE;

/// Header names that may occur in answers, besides those that a test's upstream sets on purpose.
const ALLOWED: &[&str] = &[
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "allow",
    "cache-control",
    "connection",
    "content-disposition",
    "content-language",
    "content-length",
    "content-security-policy",
    "content-type",
    "cross-origin-opener-policy",
    "date",
    "etag",
    "expires",
    // PHP's own server reports the host of the request.
    "host",
    "last-modified",
    "location",
    "ratelimit",
    "ratelimit-policy",
    "referrer-policy",
    "retry-after",
    "sec-websocket-accept",
    "server",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "upgrade",
    "vary",
    "www-authenticate",
    "x-application",
    "x-content-type-options",
    "x-frame-options",
    "x-request-id",
    "x-upstream",
];

/// A client of one gateway.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
}

/// A request under construction.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    client: Client,
    method: String,
    target: String,
    host: Option<String>,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    pub(crate) fn get(&self, target: &str) -> Request {
        self.request("GET", target)
    }

    pub(crate) fn post(&self, target: &str) -> Request {
        self.request("POST", target)
    }

    pub(crate) fn request(&self, method: &str, target: &str) -> Request {
        Request {
            client: self.clone(),
            method: method.into(),
            target: target.into(),
            host: Some("app.test".into()),
            headers: Vec::new(),
            body: None,
        }
    }

    /// Opens a connection whose reads time out at the deadline.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the gateway listens");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Sends these bytes unchanged, and reads one answer.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Response {
        let mut stream = self.connect();
        // The gateway may answer and close before it has read everything.
        let _ = stream.write_all(bytes);
        Response::read(&mut stream, false)
    }

    /// Signs in with JSON, and returns the answer's body.
    pub(crate) fn sign_in(&self, name: &str, password: &str) -> serde_json::Value {
        let response = self
            .post("/login")
            .json(&serde_json::json!({"username": name, "password": password}))
            .send();
        assert_eq!(response.status, 200, "sign-in: {}", response.text());
        response.json()
    }
}

impl Request {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn host(mut self, host: &str) -> Self {
        self.host = Some(host.into());
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn cookie(self, name: &str, value: &str) -> Self {
        self.header("Cookie", &format!("{name}={value}"))
    }

    /// Sets the client address, behind a trusted proxy.
    pub(crate) fn from(self, address: IpAddr) -> Self {
        self.header("X-Forwarded-For", &address.to_string())
    }

    /// Adds the headers of a browser that opens a page.
    pub(crate) fn navigation(self) -> Self {
        self.header("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
            .header("Sec-Fetch-Mode", "navigate")
            .header("Sec-Fetch-Dest", "document")
            .header("Sec-Fetch-Site", "same-origin")
    }

    pub(crate) fn json(self, body: &serde_json::Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string().as_bytes())
    }

    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Self {
        let mut body = form_urlencoded::Serializer::new(String::new());
        for (name, value) in fields {
            body.append_pair(name, value);
        }
        self.header("Content-Type", "application/x-www-form-urlencoded")
            .body(body.finish().as_bytes())
    }

    pub(crate) fn body(mut self, body: &[u8]) -> Self {
        self.body = Some(body.to_vec());
        self
    }

    /// Returns the bytes to be sent, with `Connection: close`.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if let Some(host) = &self.host {
            head += &format!("Host: {host}\r\n");
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = &self.body {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("connection")) {
            head += "Connection: close\r\n";
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        bytes.extend(self.body.as_deref().unwrap_or_default());
        bytes
    }

    pub(crate) fn send(&self) -> Response {
        let mut stream = self.client.connect();
        let _ = stream.write_all(&self.bytes());
        Response::read(&mut stream, self.method == "HEAD")
    }
}

impl Request {
    /// Returns the answer if a whole one came: for a gateway that may be killed at any moment.
    pub(crate) fn try_send(&self) -> Option<Response> {
        let mut stream = TcpStream::connect(self.client.address).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(&self.bytes()).ok()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).ok()?;
        let head = String::from_utf8_lossy(&bytes).split_once("\r\n\r\n")?.0.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        let whole = bytes.len() == head.len() + 4 + length;
        whole.then(|| Response::read(&mut bytes.as_slice(), false))
    }
}

impl Response {
    /// Reads one answer (interim ones are skipped) and checks it.
    pub(crate) fn read(stream: &mut impl Read, head_only: bool) -> Self {
        let mut reader = Reader { stream, buffer: Vec::new() };
        let (status, headers) = loop {
            let (status, headers) = reader.head();
            if status >= 200 || status == 101 {
                break (status, headers);
            }
        };
        let find = |name: &str| {
            headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
        };
        let body = if head_only || status == 204 || status == 304 || status == 101 {
            Vec::new()
        } else if find("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
            reader.chunked()
        } else if let Some(length) = find("content-length") {
            reader.exactly(length.parse().expect("a number as Content-Length"))
        } else {
            reader.until_closed()
        };
        let response = Self { status, headers, body };
        response.check();
        response
    }

    fn check(&self) {
        for (name, value) in &self.headers {
            let name = name.to_ascii_lowercase();
            assert!(ALLOWED.contains(&name.as_str()), "unexpected header {name}: {value}");
            assert!(
                !(name == "server" && value.to_ascii_lowercase().contains("doorwarden")),
                "the gateway names itself: {value}"
            );
        }
        let body = serde_json::from_slice::<serde_json::Value>(&self.body).unwrap_or_default();
        if self.status >= 400 && body.get("request_id").is_some() {
            assert!(body["code"].is_string(), "a refusal without a code: {body}");
            assert_eq!(self.header("cache-control"), Some("no-store"), "{body}");
        }
    }

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

    /// Returns each `Set-Cookie`, except for the device cookie.
    pub(crate) fn sets(&self) -> Vec<&str> {
        let is_device =
            |line: &&str| line.split_once('=').is_some_and(|(name, _)| name.ends_with("-device"));
        self.all("set-cookie").into_iter().filter(|line| !is_device(line)).collect()
    }

    /// Returns the value that `Set-Cookie` gives a cookie.
    pub(crate) fn set_cookie(&self, name: &str) -> Option<String> {
        self.all("set-cookie").iter().find_map(|line| {
            let (n, rest) = line.split_once('=')?;
            (n == name).then(|| rest.split(';').next().unwrap_or_default().to_owned())
        })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}), {}: {}", self.status, self.text()))
    }

    /// Returns the stable code of a refusal.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

struct Reader<'a, R> {
    stream: &'a mut R,
    buffer: Vec<u8>,
}

impl<R: Read> Reader<'_, R> {
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(n) => {
                self.buffer.extend(&chunk[..n]);
                true
            }
            Err(error) => panic!(
                "reading the answer: {error}; so far: {:?}",
                String::from_utf8_lossy(&self.buffer)
            ),
        }
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return String::from_utf8_lossy(&line[..end]).into_owned();
            }
            assert!(
                self.fill(),
                "closed within the head: {:?}",
                String::from_utf8_lossy(&self.buffer)
            );
        }
    }

    fn head(&mut self) -> (u16, Vec<(String, String)>) {
        let status_line = self.line();
        let status = status_line
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap_or_else(|| panic!("no status line: {status_line:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                return (status, headers);
            }
            let (name, value) = line.split_once(':').expect("a colon in a header line");
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert!(self.fill(), "closed after {} of {length} bytes", self.buffer.len());
        }
        self.buffer.drain(..length).collect()
    }

    fn chunked(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(self.line().trim(), 16).expect("a chunk size");
            body.extend(self.exactly(size));
            assert_eq!(self.line(), "", "a chunk ends with CRLF");
            if size == 0 {
                return body;
            }
        }
    }

    fn until_closed(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }
}
