//! The channel between a client's connection and the code that decides about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use pingora::protocols::Stream;
use tokio::io::BufWriter;

use super::{ClientStream, DroppedConnection, Follows, MessagePart};

/// The orders for a connection, and its reports.
///
/// An order takes effect when the connection is read again. The framework reads in the same task, after the order.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Orders {
    pub(super) order: AtomicU64,
    /// Whether to wait for another head after that.
    pub(super) next: AtomicBool,
    /// Whether the framing of a request could not be understood: nothing that follows is read.
    pub(super) broken: AtomicBool,
    /// Whether a final answer was given to the current request.
    pub(super) answered: AtomicBool,
    /// Whether the answer said that the connection stays open, although the framework drops it.
    pub(super) keep: AtomicBool,
    /// Whether bytes of the awaited head have arrived.
    pub(super) begun: AtomicBool,
    /// Whether there was a request.
    pub(super) used: AtomicBool,
    pub(super) left: Mutex<Option<DroppedConnection>>,
    /// The pool's key of the upstream connection that belongs to this client alone; 0 if there is none.
    pub(super) upstream: AtomicU64,
}

pub(super) const NO_ORDER: u64 = 0;
pub(super) const CHUNKS: u64 = 1;
pub(super) const UPGRADE: u64 = 2;
pub(super) const TUNNEL: u64 = 3;
/// The orders from this number on are lengths.
pub(super) const LENGTH: u64 = 4;

impl Orders {
    /// Announces the body that follows a head that was understood.
    pub(in crate::proxy) fn follows(&self, follows: Follows) {
        let order = match follows {
            Follows::Length(length) => length.saturating_add(LENGTH),
            Follows::Chunks => CHUNKS,
            Follows::Upgrade => UPGRADE,
        };
        self.order.store(order, Ordering::Relaxed);
    }

    /// Announces that the upstream has accepted an upgrade.
    pub(in crate::proxy) fn tunnel(&self) {
        self.order.store(TUNNEL, Ordering::Relaxed);
    }

    /// Waits for the next head. Returns whether there was one before it on this connection.
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

    /// Announces that the framing of the request was not understood.
    pub(in crate::proxy) fn broken(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    pub(in crate::proxy) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Announces that the head of a final answer was given.
    pub(in crate::proxy) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Keeps the connection open: the answer was given and the request read completely, and the answer said `keep-alive`.
    pub(in crate::proxy) fn keep(&self) {
        self.keep.store(true, Ordering::Relaxed);
    }

    /// Returns the pool's key of the upstream connection that belongs to this client alone.
    pub(in crate::proxy) fn upstream(&self) -> Option<u64> {
        Some(self.upstream.load(Ordering::Relaxed)).filter(|key| *key != 0)
    }

    /// Gives the client an upstream connection of its own, under this key.
    pub(in crate::proxy) fn bind_upstream(&self, key: u64) {
        self.upstream.store(key, Ordering::Relaxed);
    }

    /// Whether any byte of the awaited head has arrived.
    pub(in crate::proxy::connection) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Returns the connection, if it was dropped and is to be reused.
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

    /// Returns the connection, if it was dropped after an answer while the client was still sending, or in the middle
    /// of an answer of which a part was not sent.
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
