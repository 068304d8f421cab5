//! One connection: counted while it is open, and closed if the head of a request takes too long.
//!
//! The framework limits the time of each read, so one byte a minute holds a connection for ever. Its application is wrapped
//! here twice: [`Counted`] sees connections, [`HeadDeadline`] sees requests on them. The latter lets a request run against
//! a clock that stops when our first phase is reached ([`head_is_read`]); if it does not stop in time, the future is
//! dropped, and the connection with it. On a kept connection the wait for the next request is part of the time. Heads of
//! HTTP/2 are read before a request exists; there the framework's idle timeout holds.

use std::cell::Cell;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::server::ShutdownWatch;
use pingora::time::fast_timeout::fast_timeout;

use super::observe::Observer;

tokio::task_local! {
    /// Whether the head of this task's request has been read.
    static HEAD_IS_READ: Cell<bool>;
}

/// Stops the clock of the request that this task serves.
pub(super) fn head_is_read() {
    // Without a clock there is nothing to stop: HTTP/2, and unit tests.
    let _ = HEAD_IS_READ.try_with(|read| read.set(true));
}

/// Counts connections.
pub(super) struct Counted<A> {
    pub(super) app: Arc<A>,
    pub(super) observer: Observer,
}

/// Limits the time that a head may take.
pub(super) struct HeadDeadline<A> {
    pub(super) app: Arc<A>,
    /// For the first head of a connection.
    pub(super) head_timeout: Duration,
    /// A kept connection may be idle for this long before the next head begins.
    pub(super) keepalive_timeout: Duration,
}

#[async_trait]
impl<A> ServerApp for Counted<A>
where
    A: ServerApp + Send + Sync + 'static,
{
    async fn process_new(
        self: &Arc<Self>,
        session: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let _counted = self.observer.connection();
        self.app.process_new(session, shutdown).await
    }

    async fn cleanup(&self) {
        self.app.cleanup().await;
    }
}

#[async_trait]
impl<A> HttpServerApp for HeadDeadline<A>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        if session.is_http2() {
            return self.app.process_new_http(session, shutdown).await;
        }
        // `persist_connection_context` leaves this on every connection that is kept.
        let kept = session.take_connection_user_context();
        let within = match kept {
            Some(_) => self.keepalive_timeout.saturating_add(self.head_timeout),
            None => self.head_timeout,
        };
        session.set_connection_user_context(kept);
        HEAD_IS_READ
            .scope(Cell::new(false), async {
                let served = self.app.process_new_http(session, shutdown);
                tokio::pin!(served);
                // The framework's own timers: coarse, and cheaper than one of the runtime's for each request.
                let in_time = fast_timeout(within, async {
                    tokio::select! {
                        biased;
                        served = &mut served => Some(served),
                        () = head_read() => None,
                    }
                });
                match in_time.await {
                    Ok(Some(served)) => served,
                    Ok(None) => served.await,
                    Err(_) => {
                        tracing::debug!("a request's head did not arrive in time");
                        None
                    }
                }
            })
            .await
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.app.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.app.server_options()
    }

    async fn http_cleanup(&self) {
        self.app.http_cleanup().await;
    }
}

/// Ready once [`head_is_read`] was called in this task.
///
/// Nothing has to wake it: the same task is polled when the head arrives, and when its time is over.
async fn head_read() {
    std::future::poll_fn(|_| {
        if HEAD_IS_READ.with(Cell::get) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
