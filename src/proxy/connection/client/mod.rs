//! The bytes of one client connection, split at the boundaries of HTTP messages.
//!
//! The framework reads as much as is there, and decides afterwards how to treat unexpected bytes: bytes after a request
//! end the connection, before the answer if they come a moment later (pingora-core 0.9.1, v1/server.rs:1289-1296), and
//! an empty size line passes for a chunk (v1/body.rs:668). So it is given one message at a time:
//!
//! ```text
//! Head --whole--> Judged --order--> Body --last byte--> Done --next--> Head
//!                                    \--101--> Tunnel
//! ```
//!
//! - a head is handed over when it is complete; empty lines before it are skipped (RFC 9112 section 2.2)
//! - then [`Orders`] say which body follows, from the head as the gateway has parsed it; a chunked one is checked
//!   ([`Chunks`]), and an invalid one is an error
//! - later bytes wait here until the answer was given, and are then the next head (section 9.3.2)
//! - after an upgrade the bytes belong to the tunnel, and are never a request
//!
//! Writes are buffered up to a few kilobytes, and sent when the framework flushes, which it does at the end of an
//! answer whose length is known (pingora-core 0.9.1, v1/body.rs:1366). A service may pause before that; so the buffer
//! is sent as soon as the framework has nothing more to write and reads ([`ClientStream::send_on`]).
//!
//! Over HTTP/2 the bytes pass unchanged, and frames without data are counted ([`FrameBudget`]).
//!
//! When the framework is done with a connection it drops it. The rest ([`DroppedConnection`]) is handed back through
//! the orders: a connection whose request was read completely is reused (`super`), and one whose client still sends, or
//! which has a part of an answer that the service broke off, is closed gently ([`linger`](super::linger)).

mod orders;

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use async_trait::async_trait;
use bytes::{Buf as _, BytesMut};
use memchr::memchr_iter;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufWriter, ReadBuf};

pub(in crate::proxy) use self::orders::Orders;
use self::orders::{CHUNKS, LENGTH, NO_ORDER, TUNNEL, UPGRADE};
use crate::telemetry::ConnectionFailure;
use crate::wire::chunks::{Chunks, is_token};
use crate::wire::frames::FrameBudget;

/// The size of the buffer in which small writes are combined, like the head of an answer with its body.
const WRITE_BUFFER: usize = 8 * 1024;
/// The bytes that are read at a time where the caller has set no size.
const READ_SIZE: usize = 4 * 1024;
/// The most empty lines before a head: a few from careless clients, but not a stream of them.
const MAX_EMPTY_LINES: u8 = 8;

/// The preface that an HTTP/2 client sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The kind of data that follows the head of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::proxy) enum Follows {
    /// A body of this many bytes.
    Length(u64),
    /// A chunked body.
    Chunks,
    /// Nothing before the answer, and perhaps a tunnel after it. Bytes that come earlier are not a request.
    Upgrade,
}

/// The rest of a connection that was dropped.
#[derive(Debug)]
struct DroppedConnection {
    stream: BufWriter<Stream>,
    reading: MessagePart,
    ahead: BytesMut,
    ended: bool,
    max_head_bytes: usize,
}

/// The client's position in a message.
#[derive(Debug)]
enum MessagePart {
    /// Before the end of a head; `seen` bytes were searched for it.
    Head {
        seen: usize,
        empty_lines: u8,
    },
    /// `left` bytes of a complete head are still to be handed over.
    HandedOver {
        left: usize,
    },
    /// A head that is too large, or bytes that are not a head, handed over as they come: the framework or the gate refuses
    /// them.
    Given,
    /// The head was handed over, and the kind of its body is not known yet.
    Judged,
    Length(u64),
    Chunked(Chunks),
    /// The message is over. Bytes that come now belong to the next.
    Done,
    Tunnel,
    Frames(FrameBudget),
}

/// A client's connection as the framework sees it.
pub(in crate::proxy) struct ClientStream {
    /// `None` once it was dropped.
    inner: Option<BufWriter<Stream>>,
    orders: Arc<Orders>,
    reading: MessagePart,
    /// Bytes that were read, and not handed over yet.
    ahead: BytesMut,
    /// Whether the client will send nothing more.
    ended: bool,
    max_head_bytes: usize,
}

impl ClientStream {
    /// Wraps a connection whose handshake is over.
    pub(super) fn new(stream: Stream, max_head_bytes: usize) -> Self {
        let reading = if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) {
            MessagePart::Frames(FrameBudget::new(Instant::now()))
        } else {
            MessagePart::head()
        };
        Self {
            inner: Some(BufWriter::with_capacity(WRITE_BUFFER, stream)),
            orders: Arc::default(),
            reading,
            ahead: BytesMut::new(),
            ended: false,
            max_head_bytes,
        }
    }

    /// Waits for the preface of an HTTP/2 client (RFC 9113 section 3.4). The framework sets no time limit for it, and
    /// logs an error if it does not come.
    pub(super) async fn preface(&mut self) -> Result<(), ConnectionFailure> {
        while self.ahead.len() < PREFACE.len() {
            let filled = std::future::poll_fn(|cx| self.fill(cx)).await;
            if filled.is_err() || self.ended {
                let is_empty = self.ahead.is_empty();
                let failure = ConnectionFailure::Unreadable;
                return Err(if is_empty { ConnectionFailure::Empty } else { failure });
            }
            if !PREFACE.starts_with(&self.ahead) && !self.ahead.starts_with(PREFACE) {
                return Err(ConnectionFailure::Unreadable);
            }
        }
        Ok(())
    }

    /// Returns the orders, through which the connection is controlled.
    pub(super) const fn orders(&self) -> &Arc<Orders> {
        &self.orders
    }

    /// Returns the orders of the connection below an HTTP/1 session; `None` in unit tests.
    pub(in crate::proxy) fn orders_of(stream: &Stream) -> Option<&Arc<Orders>> {
        (**stream).as_any().downcast_ref::<Self>().map(Self::orders)
    }

    fn follow_orders(&mut self) {
        // Orders are rare compared to reads, so a cheap check comes before taking one.
        if self.orders.order.load(Ordering::Relaxed) != NO_ORDER {
            self.follow(self.orders.order.swap(NO_ORDER, Ordering::Relaxed));
        }
        if self.orders.next.load(Ordering::Relaxed)
            && self.orders.next.swap(false, Ordering::Relaxed)
        {
            match self.reading {
                MessagePart::Done => self.reading = MessagePart::head(),
                MessagePart::Frames(_) => {}
                // Bytes in the middle of a body cannot be the start of a request.
                _ => self.orders.broken(),
            }
        }
    }

    fn follow(&mut self, order: u64) {
        let reading = std::mem::replace(&mut self.reading, MessagePart::Done);
        self.reading = match (order, reading) {
            (_, MessagePart::Frames(budget)) => MessagePart::Frames(budget),
            (TUNNEL, _) => MessagePart::Tunnel,
            (CHUNKS, MessagePart::Judged) => MessagePart::Chunked(Chunks::new()),
            (UPGRADE, MessagePart::Judged) => MessagePart::Done,
            (length, MessagePart::Judged) => match length.saturating_sub(LENGTH) {
                0 => MessagePart::Done,
                length => MessagePart::Length(length),
            },
            (_, other) => other,
        };
    }

    /// Reads more into `ahead`.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(Err(gone())) };
        let mut bytes = [const { MaybeUninit::uninit() }; READ_SIZE];
        let mut read = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(inner).poll_read(cx, &mut read))?;
        if read.filled().is_empty() {
            self.ended = true;
        }
        self.ahead.extend_from_slice(read.filled());
        Poll::Ready(Ok(()))
    }

    /// Hands over bytes that were read ahead, at most `limit`, and returns their number.
    fn hand_over(&mut self, buf: &mut ReadBuf<'_>, limit: usize) -> usize {
        let n = self.ahead.len().min(buf.remaining()).min(limit);
        buf.put_slice(self.ahead.get(..n).unwrap_or_default());
        self.ahead.advance(n);
        if self.ahead.is_empty() {
            // Most connections wait most of the time, and need no memory for it.
            self.ahead = BytesMut::new();
        }
        n
    }

    /// Reads the available bytes: first those read ahead, then the connection's.
    fn pass(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            self.hand_over(buf, usize::MAX);
            return Poll::Ready(Ok(()));
        }
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        let Some(inner) = &mut self.inner else { return Poll::Ready(Err(gone())) };
        let before = buf.filled().len();
        ready!(Pin::new(inner).poll_read(cx, buf))?;
        self.ended = buf.filled().len() == before;
        Poll::Ready(Ok(()))
    }

    /// Puts bytes that were read beyond `keep` aside for the next message.
    fn cut(&mut self, buf: &mut ReadBuf<'_>, before: usize, keep: usize) {
        let beyond = buf.filled().get(before + keep..).unwrap_or_default();
        if !beyond.is_empty() {
            let mut ahead = BytesMut::from(beyond);
            ahead.unsplit(std::mem::take(&mut self.ahead));
            self.ahead = ahead;
            buf.set_filled(before + keep);
        }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let MessagePart::Head { seen, empty_lines } = &mut self.reading else {
                return Poll::Ready(Ok(()));
            };
            while self.ahead.starts_with(b"\r\n") {
                self.ahead.advance(2);
                (*seen, *empty_lines) = (0, *empty_lines + 1);
                if *empty_lines > MAX_EMPTY_LINES {
                    self.orders.broken();
                    return Poll::Ready(Ok(()));
                }
            }
            self.orders.begun.store(!self.ahead.is_empty(), Ordering::Relaxed);
            if let Some(left) = head_end(&self.ahead, *seen) {
                self.reading = MessagePart::HandedOver { left };
                return self.poll_whole_head(buf);
            }
            // A lone CR may be half of an empty line.
            let is_head = self.ahead.first().is_none_or(|one| is_token(*one) || *one == b'\r');
            if !is_head || self.ahead.len() > self.max_head_bytes {
                self.reading = MessagePart::Given;
                return self.pass(cx, buf);
            }
            *seen = self.ahead.len();
            if self.ended {
                // The framework would log half a head as an error.
                return Poll::Ready(Ok(()));
            }
            if ready!(self.fill(cx)).is_err() {
                // Many clients end a connection like this without a request: with a reset, or TLS without its closing message.
                self.ended = true;
            }
        }
    }

    fn poll_whole_head(&mut self, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let MessagePart::HandedOver { left } = self.reading {
            let left = left - self.hand_over(buf, left);
            self.reading =
                if left == 0 { MessagePart::Judged } else { MessagePart::HandedOver { left } };
        }
        Poll::Ready(Ok(()))
    }

    fn poll_chunks(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(self.pass(cx, buf))?;
        let MessagePart::Chunked(chunks) = &mut self.reading else { return Poll::Ready(Ok(())) };
        let Ok(taken) = chunks.take(buf.filled().get(before..).unwrap_or_default()) else {
            self.orders.broken();
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the body is not chunked as its head says",
            )));
        };
        if chunks.is_ended() {
            self.reading = MessagePart::Done;
            self.cut(buf, before, taken);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_length(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(self.pass(cx, buf))?;
        let MessagePart::Length(left) = &mut self.reading else { return Poll::Ready(Ok(())) };
        let read = buf.filled().len() - before;
        let here = usize::try_from(*left).unwrap_or(usize::MAX).min(read);
        *left = left.saturating_sub(u64::try_from(here).unwrap_or(u64::MAX));
        if *left == 0 {
            self.reading = MessagePart::Done;
            self.cut(buf, before, here);
        }
        Poll::Ready(Ok(()))
    }

    /// Lets the framework learn that the client went away. Bytes of the next request wait here.
    fn poll_between(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        if !self.ahead.is_empty() {
            // No wake-up is needed for waiting bytes: they are taken by a later read.
            return Poll::Pending;
        }
        ready!(self.fill(cx))?;
        if self.ended { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_frames(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if ready!(self.pass(cx, buf)).is_err() {
            // The framework would log an error for each client that closes without notice. The end of the connection
            // does not complete a message, so nothing incomplete passes as complete.
            self.ended = true;
            return Poll::Ready(Ok(()));
        }
        let MessagePart::Frames(budget) = &mut self.reading else { return Poll::Ready(Ok(())) };
        let bytes = buf.filled().get(before..).unwrap_or_default();
        budget.read(bytes, Instant::now()).map_err(|_| {
            self.orders.broken();
            io::Error::other("too many frames that carry nothing")
        })?;
        Poll::Ready(Ok(()))
    }

    /// Sends buffered writes: a reader has nothing to write for now. Over HTTP/2 the framework flushes by itself.
    fn send_on(&mut self, cx: &mut Context<'_>) {
        if let Some(inner) = &mut self.inner
            && !inner.buffer().is_empty()
            && !matches!(self.reading, MessagePart::Frames(_))
        {
            // Unsent bytes stay in the buffer; a broken connection reports its error at the next write or read.
            let _ = Pin::new(inner).poll_flush(cx);
        }
    }

    fn stream(&self) -> Option<&Stream> {
        self.inner.as_ref().map(BufWriter::get_ref)
    }
}

impl MessagePart {
    const fn head() -> Self {
        Self::Head { seen: 0, empty_lines: 0 }
    }
}

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

/// Returns the end of the head that these bytes begin with, if it is among them; it is not in the first `seen` bytes.
///
/// Lines may end with a bare LF here, as they do for the framework: the gate refuses such a head, and both must agree
/// on its end.
fn head_end(bytes: &[u8], seen: usize) -> Option<usize> {
    let from = seen.saturating_sub(2);
    let mut lines = memchr_iter(b'\n', bytes.get(from..)?).map(|at| from + at);
    lines.find_map(|at| match bytes.get(at + 1..) {
        Some([b'\n', ..]) => Some(at + 2),
        Some([b'\r', b'\n', ..]) => Some(at + 3),
        _ => None,
    })
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.follow_orders();
        this.send_on(cx);
        if this.orders.is_broken() {
            return Poll::Ready(Ok(()));
        }
        match &this.reading {
            MessagePart::Head { .. } => this.poll_head(cx, buf),
            MessagePart::HandedOver { .. } => this.poll_whole_head(buf),
            MessagePart::Given | MessagePart::Tunnel => this.pass(cx, buf),
            MessagePart::Judged | MessagePart::Done => this.poll_between(cx),
            MessagePart::Length(_) => this.poll_length(cx, buf),
            MessagePart::Chunked(_) => this.poll_chunks(cx, buf),
            MessagePart::Frames(_) => this.poll_frames(cx, buf),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let is_http2 = matches!(self.reading, MessagePart::Frames(_));
        let Some(inner) = &mut self.inner else { return Poll::Ready(Err(gone())) };
        let written = match ready!(Pin::new(inner).poll_write(cx, buf)) {
            Err(_) if is_http2 => {
                // As in reading: the connection ends with the next read.
                self.ended = true;
                return Poll::Ready(Ok(buf.len()));
            }
            written => written?,
        };
        if let MessagePart::Frames(budget) = &mut self.reading
            && budget.wrote(buf.get(..written).unwrap_or_default(), Instant::now()).is_err()
        {
            // The end of reading is the end of the connection, after the pending writes.
            self.orders.broken();
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_http2 = matches!(self.reading, MessagePart::Frames(_));
        let Some(inner) = &mut self.inner else { return Poll::Ready(Err(gone())) };
        match ready!(Pin::new(inner).poll_flush(cx)) {
            Err(_) if is_http2 => {
                self.ended = true;
                Poll::Ready(Ok(()))
            }
            flushed => Poll::Ready(flushed),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(Ok(())) };
        Pin::new(inner).poll_shutdown(cx)
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        // There may have been no read since the last order.
        self.follow_orders();
        if let Some(stream) = self.inner.take() {
            *self.orders.left.lock() = Some(DroppedConnection {
                stream,
                reading: std::mem::replace(&mut self.reading, MessagePart::Done),
                ahead: std::mem::take(&mut self.ahead),
                ended: self.ended,
                max_head_bytes: self.max_head_bytes,
            });
        }
    }
}

impl fmt::Debug for ClientStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStream").field("reading", &self.reading).finish_non_exhaustive()
    }
}

#[async_trait]
impl Shutdown for ClientStream {
    async fn shutdown(&mut self) {
        if let Some(inner) = &mut self.inner {
            // The connection is closed whether this succeeds or not.
            let _ = inner.shutdown().await;
        }
    }
}

impl UniqueID for ClientStream {
    fn id(&self) -> UniqueIDType {
        self.stream().map_or(-1, |stream| stream.id())
    }
}

impl Ssl for ClientStream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream()?.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream()?.selected_alpn_proto()
    }
}

#[async_trait]
impl Peek for ClientStream {}

impl GetTimingDigest for ClientStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream().map(|stream| stream.get_timing_digest()).unwrap_or_default()
    }
}

impl GetProxyDigest for ClientStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream()?.get_proxy_digest()
    }
}

impl GetSocketDigest for ClientStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream()?.get_socket_digest()
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
