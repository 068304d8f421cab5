//! A request's place at an address, and the wait for one.
//!
//! Where `upstream.limits.requests` or `.connections` is reached at every address, a request waits for the first free place,
//! with no more than `pending` others and for no longer than `pending_timeout`; if there is no room to wait, it is refused at
//! once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderValue;
use tokio::sync::Notify;

use super::Pool;
use super::balance::Chosen;
use super::endpoint::{Endpoint, InFlightAt};

/// A request's place at an address; it is free again when this is dropped.
pub(in crate::proxy) struct Place {
    at: Option<InFlightAt>,
    /// Notifies the requests that wait for a place.
    room: Option<Arc<Notify>>,
    endpoint: Arc<Endpoint>,
}

/// The reason why there is no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::proxy) enum NoPlace {
    /// No server can be asked.
    NoServer,
    /// All servers have as many requests as they may.
    Busy,
}

/// Counts a waiting request until it is dropped.
struct WaitingRequest<'a>(&'a AtomicUsize);

impl Pool {
    /// Takes a place at the address whose turn it is, and waits for one if necessary and allowed.
    pub(in crate::proxy) async fn place(
        &self,
        key: Option<u64>,
        tried: &[Arc<str>],
    ) -> Result<Place, NoPlace> {
        match self.choose(key, tried) {
            Chosen::At(at) => return Ok(self.placed(at)),
            Chosen::None => return Err(NoPlace::NoServer),
            Chosen::Full => {}
        }
        let circuit = &self.settings.circuit;
        let _waiting =
            WaitingRequest::enter(&self.waiting, circuit.pending).ok_or(NoPlace::Busy)?;
        let waits = async {
            loop {
                let room = self.room.notified();
                // A place that became free just now is seen here, and a later one wakes this task.
                match self.choose(key, tried) {
                    Chosen::At(at) => return Ok(self.placed(at)),
                    Chosen::None => return Err(NoPlace::NoServer),
                    Chosen::Full => room.await,
                }
            }
        };
        tokio::time::timeout(circuit.pending_timeout, waits).await.unwrap_or(Err(NoPlace::Busy))
    }

    fn placed(&self, at: InFlightAt) -> Place {
        let endpoint = Arc::clone(at.endpoint());
        endpoint.server.metrics.request();
        self.budget.earn(self.settings.retry.budget_percent);
        let room = (self.most > 0).then(|| Arc::clone(&self.room));
        Place { at: Some(at), room, endpoint }
    }

    /// Returns the number of waiting requests.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Place {
    pub(super) const fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Returns the server's own host.
    pub(in crate::proxy) fn host(&self) -> &HeaderValue {
        &self.endpoint.host
    }

    /// Returns the server's name, for people.
    pub(in crate::proxy) fn name(&self) -> &Arc<str> {
        &self.endpoint.name
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.at = None;
        if let Some(room) = &self.room {
            room.notify_one();
        }
    }
}

impl<'a> WaitingRequest<'a> {
    fn enter(count: &'a AtomicUsize, most: usize) -> Option<Self> {
        let before = count.fetch_add(1, Ordering::Relaxed);
        let entered = Self(count);
        (before < most).then_some(entered)
    }
}

impl Drop for WaitingRequest<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::pool;
    use super::*;
    use crate::config::{Circuit, Upstream};

    fn limited(pending: usize) -> Arc<Pool> {
        let pending_timeout = Duration::from_secs(5);
        let circuit = Circuit { requests: 1, connections: 0, pending, pending_timeout };
        Arc::new(pool(Upstream { circuit, ..Upstream::new("app", &["127.0.0.1:1"]) }))
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_may_wait_gets_the_next_place() {
        let pool = limited(1);
        let first = pool.place(None, &[]).await.unwrap();
        let waits = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.place(None, &[]).await.map(|place| place.name().to_string()) }
        });
        tokio::task::yield_now().await;
        assert_eq!(pool.waiting(), 1);
        assert_eq!(pool.place(None, &[]).await.err(), Some(NoPlace::Busy), "no room to wait");
        drop(first);
        assert_eq!(waits.await.unwrap(), Ok("127.0.0.1:1".to_owned()));
        assert_eq!(pool.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_they_may() {
        let pool = limited(1);
        let _first = pool.place(None, &[]).await.unwrap();
        let begun = tokio::time::Instant::now();
        assert_eq!(pool.place(None, &[]).await.err(), Some(NoPlace::Busy));
        assert_eq!(begun.elapsed().as_secs(), 5);
    }

    #[tokio::test]
    async fn a_pool_without_servers_says_so_at_once() {
        let pool = pool(Upstream::new("app", &["nowhere.test:1"]));
        assert_eq!(pool.place(None, &[]).await.err(), Some(NoPlace::NoServer));
    }
}
