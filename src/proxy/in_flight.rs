//! Counts the requests in flight, so that a stopping gateway knows when the last one is done.
//!
//! Every request is counted, and only the end of the gateway asks for the count: counting is one atomic addition, and
//! it wakes nobody while a request is in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The number of requests in flight.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    count: AtomicUsize,
    /// Notified each time that the count becomes zero.
    none: Notify,
}

/// Counts one request until it is dropped.
#[derive(Debug)]
pub(super) struct Counted(Arc<InFlight>);

impl InFlight {
    /// Counts one more request.
    pub(super) fn begin(self: &Arc<Self>) -> Counted {
        self.count.fetch_add(1, Ordering::SeqCst);
        Counted(Arc::clone(self))
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until no request is in flight.
    pub(super) async fn none(&self) {
        loop {
            // It is notified of everything from here on, so nothing is missed between the check and the wait.
            let told = self.none.notified();
            if self.count() == 0 {
                return;
            }
            told.await;
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_waits_for_the_last_one() {
        let in_flight = Arc::new(InFlight::default());
        in_flight.none().await;
        let (one, other) = (in_flight.begin(), in_flight.begin());
        let waiting = Arc::clone(&in_flight);
        let waiting = tokio::spawn(async move { waiting.none().await });
        drop(one);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        assert_eq!(in_flight.count(), 1);
        drop(other);
        waiting.await.unwrap();
    }
}
