//! What those who decide about a client's connection tell it, and what it tells them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use pingora::protocols::Stream;
use tokio::io::BufWriter;

use super::{ClientStream, DroppedConnection, Follows, MessagePart};

/// How those who decide about a connection speak to it.
///
/// An order takes effect when the connection is read again. The framework reads in the same task, after the order.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Orders {
    pub(super) order: AtomicU64,
    /// After that, another head is waited for.
    pub(super) next: AtomicBool,
    /// The framing of a request could not be understood: nothing that follows is read.
    pub(super) broken: AtomicBool,
    /// A final answer was given to the current request.
    pub(super) answered: AtomicBool,
    /// The answer said that the connection is kept, although the framework drops it.
    pub(super) keep: AtomicBool,
    /// Bytes of the head that is waited for are here.
    pub(super) begun: AtomicBool,
    /// There was a request.
    pub(super) used: AtomicBool,
    pub(super) left: Mutex<Option<DroppedConnection>>,
    /// The pool's key of the upstream connection that is this client's alone; 0 if there is none.
    pub(super) upstream: AtomicU64,
}

pub(super) const NO_ORDER: u64 = 0;
pub(super) const CHUNKS: u64 = 1;
pub(super) const UPGRADE: u64 = 2;
pub(super) const TUNNEL: u64 = 3;
/// Lengths are put after the other orders.
pub(super) const LENGTH: u64 = 4;

impl Orders {
    /// After a head that was understood.
    pub(in crate::proxy) fn follows(&self, follows: Follows) {
        let order = match follows {
            Follows::Length(length) => length.saturating_add(LENGTH),
            Follows::Chunks => CHUNKS,
            Follows::Upgrade => UPGRADE,
        };
        self.order.store(order, Ordering::Relaxed);
    }

    /// The upstream has accepted an upgrade.
    pub(in crate::proxy) fn tunnel(&self) {
        self.order.store(TUNNEL, Ordering::Relaxed);
    }

    /// A head is waited for. Was there one before it on this connection?
    pub(in crate::proxy::connection) fn next_head(&self) -> bool {
        if !self.used.swap(true, Ordering::Relaxed) {
            return false;
        }
        self.answered.store(false, Ordering::Relaxed);
        self.keep.store(false, Ordering::Relaxed);
        self.begun.store(false, Ordering::Relaxed);
        self.next.store(true, Ordering::Relaxed);
        true
    }

    /// The framing of the request was not understood.
    pub(in crate::proxy) fn broken(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    pub(in crate::proxy) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// The head of a final answer was given.
    pub(in crate::proxy) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// The answer was given as a whole, the request read as a whole, and the answer said `keep-alive`.
    pub(in crate::proxy) fn keep(&self) {
        self.keep.store(true, Ordering::Relaxed);
    }

    /// The pool's key of the upstream connection that is this client's alone.
    pub(in crate::proxy) fn upstream(&self) -> Option<u64> {
        Some(self.upstream.load(Ordering::Relaxed)).filter(|key| *key != 0)
    }

    /// From now on the client has an upstream connection of its own, under this key.
    pub(in crate::proxy) fn bind_upstream(&self, key: u64) {
        self.upstream.store(key, Ordering::Relaxed);
    }

    /// Has any byte of the head that is waited for arrived?
    pub(in crate::proxy::connection) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// The connection, if it was dropped and is to be used again.
    pub(in crate::proxy::connection) fn take_kept(self: &Arc<Self>) -> Option<ClientStream> {
        if !self.keep.swap(false, Ordering::Relaxed) || self.is_broken() {
            return None;
        }
        let left = self.left.lock().take_if(|left| matches!(left.reading, MessagePart::Done))?;
        Some(ClientStream {
            inner: Some(left.stream),
            orders: Arc::clone(self),
            reading: left.reading,
            ahead: left.ahead,
            ended: left.ended,
            max_head_bytes: left.max_head_bytes,
        })
    }

    /// The connection, if it was dropped after an answer while the client still had something to say, or in the middle of an
    /// answer of which a part was not sent.
    pub(in crate::proxy::connection) fn take_unfinished(&self) -> Option<BufWriter<Stream>> {
        let left = self.left.lock().take()?;
        let more = match &left.reading {
            MessagePart::Length(0) | MessagePart::Done | MessagePart::Head { .. } => {
                !left.ahead.is_empty()
            }
            MessagePart::Length(_) | MessagePart::Chunked(_) | MessagePart::Judged => true,
            MessagePart::HandedOver { .. }
            | MessagePart::Given
            | MessagePart::Tunnel
            | MessagePart::Frames(_) => false,
        };
        let unsent = !left.stream.buffer().is_empty();
        let answered = self.answered.load(Ordering::Relaxed);
        let unfinished = unsent || (more && !left.ended);
        (unfinished && answered && !self.is_broken()).then_some(left.stream)
    }
}
