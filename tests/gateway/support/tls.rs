//! TLS for tests: self-signed certificates, clients that trust only these, and HTTP/2 in two ways: through a real client,
//! and as frames written by hand that no client would send.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::runtime::Runtime;

use super::DEADLINE;

/// A certificate for `app.test` with its key, as PEM, and what a client needs to trust it.
pub(crate) struct Certificate {
    pub(crate) pem: String,
    pub(crate) key: String,
    der: CertificateDer<'static>,
}

impl Certificate {
    pub(crate) fn make() -> Self {
        Self::of("app.test")
    }

    /// Creates a certificate for another name.
    pub(crate) fn of(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        Self {
            pem: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            der: made.cert.der().clone(),
        }
    }

    /// Returns a client configuration that trusts this certificate and offers these protocols.
    pub(crate) fn client(&self, alpn: &[&str]) -> ClientConfig {
        self.client_of(alpn, rustls::ALL_VERSIONS)
    }

    /// Does the same, with these versions of TLS.
    pub(crate) fn client_of(
        &self,
        alpn: &[&str],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(versions)
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// A TLS connection on which nothing has been sent yet.
pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Connects; the handshake takes place with the first bytes.
pub(crate) fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Stream {
    connect_to("app.test", address, config)
}

/// Does the same, to this server name.
pub(crate) fn connect_to(name: &str, address: SocketAddr, config: &Arc<ClientConfig>) -> Stream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.set_nodelay(true).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), socket)
}

/// An HTTP/2 client on one connection.
pub(crate) struct H2 {
    runtime: Runtime,
    send: h2::client::SendRequest<Bytes>,
}

/// The answer to an HTTP/2 request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// The body of an HTTP/2 request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body {
    pub(crate) data: Option<&'static [u8]>,
    pub(crate) trailers: HeaderMap,
    /// Whether an empty DATA frame ends it.
    pub(crate) empty_end: bool,
    /// Whether it is never completed.
    pub(crate) stalls: bool,
}

impl H2 {
    pub(crate) fn connect(address: SocketAddr, config: ClientConfig) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let send = runtime.block_on(async {
            let socket = tokio::net::TcpStream::connect(address).await.unwrap();
            let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
            let name = ServerName::try_from("app.test").unwrap();
            let tls = connector.connect(name, socket).await.unwrap();
            assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let (send, connection) = h2::client::handshake(tls).await.unwrap();
            tokio::spawn(connection);
            send
        });
        Self { runtime, send }
    }

    /// Sends one request, and reads the whole answer; an error is what the gateway did to the stream.
    pub(crate) fn send(&mut self, request: Request<()>, body: &Body) -> Result<Answer, h2::Error> {
        let work = async {
            let mut send = self.send.clone().ready().await?;
            let empty = body.data.is_none() && body.trailers.is_empty() && !body.stalls;
            let (answer, mut stream) = send.send_request(request, empty)?;
            if let Some(data) = body.data {
                let last = body.trailers.is_empty() && !body.stalls;
                stream.send_data(Bytes::from_static(data), last && !body.empty_end)?;
            }
            if body.empty_end {
                stream.send_data(Bytes::new(), true)?;
            }
            if !body.trailers.is_empty() {
                stream.send_trailers(body.trailers.clone())?;
            }
            let (head, mut receive) = answer.await?.into_parts();
            let mut bytes = Vec::new();
            while let Some(data) = receive.data().await {
                bytes.extend(data?);
            }
            Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: bytes })
        };
        self.runtime
            .block_on(async { tokio::time::timeout(DEADLINE, work).await })
            .expect("an answer over HTTP/2")
    }
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// The result of a stream that was opened with frames written by hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Response headers came.
    Answered,
    /// The stream was reset, with this error code.
    Reset(u32),
    /// The connection was closed.
    Closed,
}

/// Opens stream 1 with exactly these fields, and returns the result.
pub(crate) fn send_fields(mut stream: Stream, fields: &[(&str, &str)]) -> Outcome {
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const SETTINGS: u8 = 4;
    const GO_AWAY: u8 = 7;
    const END_STREAM_AND_HEADERS: u8 = 0x1 | 0x4;
    let block = header_block(fields);
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(frame(HEADERS, END_STREAM_AND_HEADERS, 1, &block));
    stream.write_all(&bytes).unwrap();
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).is_err() {
            return Outcome::Closed;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        if stream.read_exact(&mut payload).is_err() {
            return Outcome::Closed;
        }
        match (head[3], head[8]) {
            (HEADERS, 1) => return Outcome::Answered,
            (RESET, 1) => {
                return Outcome::Reset(u32::from_be_bytes(payload.try_into().unwrap()));
            }
            (GO_AWAY, _) => return Outcome::Closed,
            _ => {}
        }
    }
}

/// Returns a header block: literals without indexing, names and values without Huffman coding (RFC 7541 section 6.2.2).
pub(crate) fn header_block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            let length = u8::try_from(text.len()).unwrap();
            assert!(length < 127, "longer lengths are written differently");
            block.push(length);
            block.extend(text.as_bytes());
        }
    }
    block
}

/// Reads the next frame: its type, its stream and its payload. `None` at the end of the connection.
pub(crate) fn next_frame(stream: &mut impl Read) -> Option<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload).ok()?;
    Some((head[3], u32::from_be_bytes(head[5..].try_into().unwrap()), payload))
}

/// Returns one HTTP/2 frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}
