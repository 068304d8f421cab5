//! Makes connections to servers where the framework's own would not do: those that begin with a PROXY protocol header,
//! that carry a WebSocket handshake, or whose requests have a clock (`proxy::deadline`), whose end fails the next read.
//!
//! For WebSocket handshakes, the answer is held back until the request was sent completely. The framework writes a request's
//! head, and then takes its body from a queue while it reads the answer, in no fixed order. If the upstream's 101 is read
//! before the (empty) body of the handshake was taken from the queue, the end of that body counts as the end of the tunnel,
//! and both sides are closed (pingora-proxy 0.9.1, proxy_h1.rs:329-336). With an upstream that answers at once this happens a
//! few times in a thousand. None of the gateway's phases lies between the two reads, but the connection does: the framework
//! flushes it once after the head (pingora-core, v1/client.rs:147) and once after the end of the body (v1/client.rs:194).
//! Reads wait here until the second flush, so the order is always the right one. A test checks that the framework flushes
//! twice. If another version of it should flush only once, handshakes would be late by [`LONGEST`] and meet the race again,
//! and none would hang.
//!
//! Such a connection is used for one handshake only ([`Pool::peer`](super::Pool::peer) gives each a group of its own): a kept
//! one would have seen its flushes already. TLS is below this type, because its own handshake reads; so the TLS handshake is
//! made here too.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::tls::TlsConnector;
use pingora::{Error, ErrorType, Result};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Sleep;

use crate::proxy::deadline::fail_if_late;

/// The flushes of a handshake: one after the head, and one after the end of the body.
const FLUSHES: u8 = 2;
/// How long a read waits for the second flush. Only the framework's own queue is between the two.
const LONGEST: Duration = Duration::from_millis(500);

/// Connects to a server.
#[derive(Clone, Default, Debug)]
pub(super) struct Dial {
    /// Whether the connection is for a WebSocket handshake.
    pub(super) is_held_back: bool,
    /// The TLS settings and the server's name, for a connection with TLS.
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// The bytes that are sent first.
    pub(super) header: Option<Bytes>,
    /// Whether reads fail when the request's time is over.
    pub(super) is_timed: bool,
}

/// A bidirectional stream of bytes.
trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send + Sync + std::fmt::Debug {}

impl<T> ByteStream for T where T: AsyncRead + AsyncWrite + Unpin + Send + Sync + std::fmt::Debug {}

#[async_trait]
impl L4Connect for Dial {
    // The framework limits the time (`total_connection_timeout`).
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        match address {
            SocketAddr::Inet(address) => {
                let socket = TcpStream::connect(address).await.map_err(|e| failed(&e))?;
                // A connection works even if setting this option fails.
                let _ = socket.set_nodelay(true);
                self.on(socket).await
            }
            SocketAddr::Unix(address) => {
                let Some(path) = address.as_pathname() else {
                    return Error::e_explain(ErrorType::ConnectError, "a socket without a path");
                };
                let socket = UnixStream::connect(path).await.map_err(|e| failed(&e))?;
                self.on(socket).await
            }
        }
    }
}

impl Dial {
    async fn on<S>(&self, mut socket: S) -> Result<Stream>
    where
        S: ByteStream + Into<Stream> + 'static,
    {
        if let Some(header) = &self.header {
            socket.write_all(header).await.map_err(|e| failed(&e))?;
        }
        if self.is_timed {
            return Ok(VirtualSocketStream::new(Box::new(Timed(socket))).into());
        }
        let carrier: Box<dyn ByteStream> = match &self.tls {
            None if !self.is_held_back => return Ok(socket.into()),
            None => Box::new(socket),
            Some((config, name)) => {
                let connector = TlsConnector::from(Arc::clone(config));
                let connected = connector.connect(name.clone(), socket).await;
                let kind = ErrorType::TLSHandshakeFailure;
                let tls = connected
                    .map_err(|error| Error::because(kind, "TLS towards a server", error))?;
                Box::new(tls)
            }
        };
        Ok(VirtualSocketStream::new(Box::new(HeldBack::new(carrier))).into())
    }
}

fn failed(error: &io::Error) -> Box<Error> {
    let kind = match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => ErrorType::ConnectRefused,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            ErrorType::ConnectNoRoute
        }
        _ => ErrorType::ConnectError,
    };
    Error::explain(kind, format!("connecting to a server: {error}"))
}

/// A connection that is not read before the request was sent completely.
#[derive(Debug)]
struct HeldBack<S> {
    socket: S,
    flushes: u8,
    reader: Option<Waker>,
    /// Begins with the first read that waits after the first flush.
    longest: Option<Pin<Box<Sleep>>>,
}

impl<S> HeldBack<S> {
    const fn new(socket: S) -> Self {
        Self { socket, flushes: 0, reader: None, longest: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeldBack<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.flushes < FLUSHES {
            self.reader = Some(cx.waker().clone());
            if self.flushes == 0 {
                return Poll::Pending;
            }
            let longest = self.longest.get_or_insert_with(|| Box::pin(tokio::time::sleep(LONGEST)));
            ready!(longest.as_mut().poll(cx));
            self.flushes = FLUSHES;
        }
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeldBack<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        if flushed.is_ready() && self.flushes < FLUSHES {
            self.flushes += 1;
            // After the first flush the reader's time begins.
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// A connection whose reads fail when the time of the request that waits for them is over.
#[derive(Debug)]
struct Timed<S>(S);

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.0).poll_read(cx, buf) {
            // When the clock expires this is polled again, because it is in the same task.
            Poll::Pending => fail_if_late(),
            ready => ready,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl<S: ByteStream> VirtualSocket for Timed<S> {
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}

impl VirtualSocket for HeldBack<Box<dyn ByteStream>> {
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        // The useful option was set when the connection was made.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use pingora::http::RequestHeader;
    use pingora::protocols::http::v1::client::HttpSession;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn an_answer_is_read_after_the_second_flush() {
        let (socket, mut upstream) = tokio::io::duplex(64);
        let mut held = HeldBack::new(socket);
        upstream.write_all(b"101").await.unwrap();
        held.write_all(b"head").await.unwrap();
        held.flush().await.unwrap();
        let mut answer = [0; 3];
        assert!(held.read_exact(&mut answer).now_or_never().is_none());
        held.flush().await.unwrap();
        held.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"101");
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken() {
        let (socket, mut upstream) = tokio::io::duplex(64);
        upstream.write_all(b"101").await.unwrap();
        let (mut read, mut write) = tokio::io::split(HeldBack::new(socket));
        let reading = tokio::spawn(async move { read.read_u8().await.unwrap() });
        tokio::task::yield_now().await;
        write.flush().await.unwrap();
        write.flush().await.unwrap();
        assert_eq!(reading.await.unwrap(), b'1');
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_flush_that_does_not_come_holds_nothing_up_for_long() {
        let (socket, mut upstream) = tokio::io::duplex(64);
        upstream.write_all(b"101").await.unwrap();
        let (mut read, mut write) = tokio::io::split(HeldBack::new(socket));
        let reading = tokio::spawn(async move { read.read_u8().await.unwrap() });
        tokio::task::yield_now().await;
        let begun = tokio::time::Instant::now();
        write.flush().await.unwrap();
        assert_eq!(reading.await.unwrap(), b'1');
        assert!(begun.elapsed() >= LONGEST);
    }

    /// Everything here relies on this: the framework flushes after a head, and after the end of its body.
    #[tokio::test]
    async fn the_framework_flushes_twice() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut upstream, _) = listener.accept().await.unwrap();
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        upstream.write_all(answer).await.unwrap();
        socket.readable().await.unwrap();

        let stream: Stream = VirtualSocketStream::new(Box::new(HeldBack::new(
            Box::new(socket) as Box<dyn ByteStream>
        )))
        .into();
        let mut session = HttpSession::new(Box::new(stream));
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        request.insert_header("Upgrade", "websocket").unwrap();
        session.write_request_header(Box::new(request)).await.unwrap();
        assert!(session.read_response().now_or_never().is_none(), "read after one flush");
        session.finish_body().await.unwrap();
        session.read_response().now_or_never().expect("read after two flushes").unwrap();
        assert_eq!(session.resp_header().unwrap().status, 101);
    }
}
