//! Connections to upstreams for WebSocket handshakes: the answer is held back until the request was sent whole.
//!
//! The framework writes a request's head, and then takes its body from a queue while it reads the answer, in no fixed order.
//! If the upstream's 101 is read before the (empty) body of the handshake was taken from the queue, the end of that body
//! counts as the end of the tunnel, and both sides are closed (pingora-proxy 0.9.1, proxy_h1.rs:329-336). An upstream that
//! answers at once meets this a few times in a thousand. No phase of ours lies between the two reads, but the connection
//! does: the framework flushes it once after the head (pingora-core, v1/client.rs:147) and once after the end of the body
//! (v1/client.rs:194). Reads wait here until the second flush, so the order is always the right one.
//!
//! Such a connection is used for one handshake only ([`Pool::peer`](super::upstream::Pool::peer) gives each a group of its
//! own): a kept one would have seen its flushes already. TLS towards upstreams would have to be put on top of the socket
//! below this type, because its own handshake reads.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::{Error, ErrorType, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// After the head, and after the end of the body.
const FLUSHES: u8 = 2;

/// Connects for one handshake.
#[derive(Clone, Copy, Debug)]
pub(super) struct HandshakeConnect;

#[async_trait]
impl L4Connect for HandshakeConnect {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let Some(address) = address.as_inet() else {
            return Error::e_explain(ErrorType::ConnectError, "servers are reached over TCP");
        };
        // The framework limits the time (`total_connection_timeout`).
        let socket = TcpStream::connect(address).await.map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                    ErrorType::ConnectNoRoute
                }
                _ => ErrorType::ConnectError,
            };
            Error::because(kind, "connecting for a handshake", error)
        })?;
        Ok(VirtualSocketStream::new(Box::new(HeldBack::new(socket))).into())
    }
}

/// A connection from which nothing is read before the request was sent whole.
#[derive(Debug)]
struct HeldBack<S> {
    socket: S,
    flushes: u8,
    reader: Option<Waker>,
}

impl<S> HeldBack<S> {
    const fn new(socket: S) -> Self {
        Self { socket, flushes: 0, reader: None }
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
            return Poll::Pending;
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
            if self.flushes == FLUSHES
                && let Some(reader) = self.reader.take()
            {
                reader.wake();
            }
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl VirtualSocket for HeldBack<TcpStream> {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.socket.set_nodelay(true),
            // No upstream has such a setting.
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
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
}
