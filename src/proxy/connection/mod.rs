//! Serves one connection: counted while it is open, closed if the head of a request takes too long, and closed so that
//! its last answer arrives.
//!
//! The framework's application is wrapped here twice. [`Connections`] sees connections: it puts a [`ClientStream`]
//! between each and the framework, and lets it [`linger`] at the end. [`ConnectionRequests`] sees the requests on them:
//!
//! - The framework limits the time of each read, so one byte a minute holds a connection for ever. A request runs
//!   against a clock that stops when the gateway's first phase is reached ([`head_is_read`]); if it does not stop in
//!   time, the future is dropped, and the connection with it. On a persistent connection the wait for the next request
//!   is part of the time. Heads of HTTP/2 are read before a request exists; there the framework's idle timeout holds.
//! - The framework closes a connection after every error of an upstream (pingora-proxy 0.9.1, lib.rs:1362), although the
//!   gateway's answer said that it stays open. Where the request was read completely, the connection is reused
//!   ([`Orders::keep`]).
//! - When the gateway stops, the framework at once closes connections that wait for a request, and loses requests that are
//!   just arriving. Here such a connection may bring one more request within [`LAST_REQUEST`], whose answer says `close`.

mod client;
mod linger;

use std::cell::Cell;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::server::ShutdownWatch;
use pingora::time::fast_timeout::fast_timeout;
use tokio::sync::Semaphore;

pub(super) use self::client::{ClientStream, Follows, Orders};
pub(super) use self::linger::CONNECTIONS as LINGERING;
use self::linger::linger;
use super::generation::Current;
use super::observe::Observer;
use super::open::until_its_session_ends;
use crate::telemetry::ConnectionFailure;

/// How long a connection without a request stays open when the gateway stops: long enough for the request of a busy
/// client, short enough that a silent one does not delay the stop.
pub(super) const LAST_REQUEST: Duration = Duration::from_secs(1);

tokio::task_local! {
    /// Whether the head of this task's request has been read.
    static HEAD_IS_READ: Cell<bool>;
}

/// Stops the clock of the request that this task serves.
pub(super) fn head_is_read() {
    // Without a clock there is nothing to stop: HTTP/2, and unit tests.
    let _ = HEAD_IS_READ.try_with(|read| read.set(true));
}

/// Serves connections.
pub(super) struct Connections<A> {
    pub(super) app: Arc<A>,
    pub(super) observer: Observer,
    /// For the time that an HTTP/2 client has to begin, and the size of a head.
    pub(super) current: Arc<Current>,
    /// The places for connections that linger.
    pub(super) lingering: Arc<Semaphore>,
}

/// Serves the requests of one connection.
pub(super) struct ConnectionRequests<A> {
    pub(super) app: Arc<A>,
    /// For how long a head may take, and how long a persistent connection may be idle before it.
    pub(super) current: Arc<Current>,
    pub(super) observer: Observer,
}

#[async_trait]
impl<A> ServerApp for Connections<A>
where
    A: ServerApp + Send + Sync + 'static,
{
    async fn process_new(
        self: &Arc<Self>,
        session: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let _counted = self.observer.connection();
        let http1 = session.selected_alpn_proto() != Some(pingora::protocols::ALPN::H2);
        let peer = session.get_socket_digest().and_then(|socket| address(socket.peer_addr()));
        let (head_timeout, max_head_bytes) = {
            let listen = &self.current.load().listen;
            (listen.head_timeout, listen.max_head_bytes)
        };
        let mut client = ClientStream::new(session, max_head_bytes);
        let orders = Arc::clone(client.orders());
        if !http1 {
            let begun = tokio::time::timeout(head_timeout, client.preface()).await;
            if let Err(failure) = begun.unwrap_or(Err(ConnectionFailure::Timeout)) {
                self.observer.connection_failed(failure, peer, "");
                return None;
            }
        }
        let again = self.app.process_new(Box::new(client), shutdown).await;
        if !http1 && orders.is_broken() {
            self.observer.connection_failed(ConnectionFailure::Flood, peer, "");
        }
        if let Some(stream) = orders.take_unfinished() {
            linger(stream, &self.lingering).await;
        }
        again
    }

    async fn cleanup(&self) {
        self.app.cleanup().await;
    }
}

#[async_trait]
impl<A> HttpServerApp for ConnectionRequests<A>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    /// This is what `async_trait` would make of an `async fn`, except that the session, which is large, is handed on at once.
    /// An `async fn` would carry it in each of the futures below, and each request would pay for copying that to the heap.
    fn process_new_http<'this, 'shutdown, 'all>(
        self: &'this Arc<Self>,
        session: ServerSession,
        shutdown: &'shutdown ShutdownWatch,
    ) -> Pin<Box<dyn Future<Output = Option<ReusedHttpStream>> + Send + 'all>>
    where
        'this: 'all,
        'shutdown: 'all,
        Self: 'all,
    {
        let served = self.begin(session, shutdown);
        Box::pin(async move { until_its_session_ends(served).await.flatten() })
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.app.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.app.server_options()
    }

    async fn http_cleanup(&self) {
        // This is not passed on: the framework would at once close connections that wait for a request.
    }
}

impl<A> ConnectionRequests<A>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    /// Hands the session to the framework.
    fn begin<'a>(
        &'a self,
        mut session: ServerSession,
        shutdown: &'a ShutdownWatch,
    ) -> impl Future<Output = Option<ReusedHttpStream>> + Send + 'a {
        let is_http2 = session.is_http2();
        let orders = session.stream().and_then(ClientStream::orders_of).map(Arc::clone);
        // Only a connection that is reused here has been answered before.
        let kept = orders.as_ref().is_some_and(|orders| orders.next_head());
        let within = {
            let listen = &self.current.load().listen;
            let kept_for = if kept { listen.keepalive_timeout } else { Duration::ZERO };
            listen.head_timeout.saturating_add(kept_for)
        };
        if !is_http2 {
            // The clock above limits the time; a timer of the framework's own would log an error.
            session.set_keepalive(if *shutdown.borrow() { None } else { Some(0) });
        }
        let peer = address(session.client_addr());
        let served = self.app.process_new_http(session, shutdown);
        async move {
            if is_http2 {
                return served.await;
            }
            let request = Http1Request { orders, kept, within, peer };
            self.serve(served, request, shutdown).await
        }
    }

    /// Serves a request of HTTP/1.
    async fn serve(
        &self,
        mut serving: ServedConnection<'_>,
        Http1Request { orders, kept, within, peer }: Http1Request,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let (served, end) = HEAD_IS_READ
            .scope(Cell::new(false), async {
                // These are the framework's own timers: coarse, and cheaper than one of the runtime's for each request.
                let in_time = fast_timeout(within, async {
                    tokio::select! {
                        biased;
                        served = &mut serving => Some(served),
                        () = head_read() => None,
                        () = stopped(shutdown.clone(), orders.as_deref()) => {
                            tracing::debug!("an idle connection is closed: the gateway stops");
                            Some(None)
                        }
                    }
                });
                match in_time.await {
                    Ok(None) => (serving.as_mut().await, None),
                    Ok(Some(served)) if HEAD_IS_READ.with(Cell::get) => (served, None),
                    Ok(Some(served)) => {
                        let begun = orders.as_ref().is_some_and(|orders| orders.has_begun());
                        let unreadable = ConnectionFailure::Unreadable;
                        (served, Some(if begun { unreadable } else { ConnectionFailure::Empty }))
                    }
                    Err(_) => (None, Some(ConnectionFailure::Timeout)),
                }
            })
            .await;
        // The rest of the connection is available when the framework has dropped it.
        drop(serving);
        if served.is_some() {
            return served;
        }
        if let Some(failure) = end.filter(|end| !kept || *end == ConnectionFailure::Unreadable) {
            self.observer.connection_failed(failure, peer, "");
        }
        let stream = orders?.take_kept()?;
        Some(ReusedHttpStream::new(Box::new(stream), None))
    }
}

/// The framework's future that serves a session.
type ServedConnection<'a> = Pin<Box<dyn Future<Output = Option<ReusedHttpStream>> + Send + 'a>>;

/// The facts about an HTTP/1 request that are known before it is read.
struct Http1Request {
    orders: Option<Arc<Orders>>,
    /// Whether the connection was kept open after another request.
    kept: bool,
    /// How long the head may take.
    within: Duration,
    peer: Option<IpAddr>,
}

fn address(address: Option<&SocketAddr>) -> Option<IpAddr> {
    Some(address?.as_inet()?.ip())
}

/// Becomes ready once [`head_is_read`] was called in this task.
///
/// It needs no waker: the same task is polled when the head arrives, and when its time is over.
async fn head_read() {
    std::future::poll_fn(|_| {
        if HEAD_IS_READ.with(Cell::get) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Becomes ready when the gateway stops and no request has begun within [`LAST_REQUEST`].
async fn stopped(mut shutdown: ShutdownWatch, orders: Option<&Orders>) {
    // An error means that the gateway, which would send the signal, is gone.
    let _ = shutdown.wait_for(|stopping| *stopping).await;
    tokio::time::sleep(LAST_REQUEST).await;
    if orders.is_some_and(Orders::has_begun) {
        std::future::pending::<()>().await;
    }
}
