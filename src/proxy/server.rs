//! Listening, and stopping.
//!
//! Listeners are bound here, before anything else starts: the framework would go on without a port that it cannot have, or
//! retry for half a minute. Clients' connections are accepted by ourselves (`accept`); the admin listener's by the framework,
//! which is handed the file descriptors. All of it shares one runtime of our own, so that stopping is ours as well: no new
//! connections, kept ones close with their last answer, requests in flight finish within the limit, then we return.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pingora::apps::http_app::{HttpServer, ServeHttp};
use pingora::apps::{HttpServerOptions, ServerApp};
use pingora::protocols::http::v2::server::H2Options;
use pingora::proxy::{ProxyHttp, http_proxy};
use pingora::server::configuration::ServerConf;
use pingora::server::{Fds, ListenFds};
use pingora::services::Service as _;
use pingora::services::listening::Service;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::accept::{Acceptance, Limits, listen};
use super::certificate::Tls;
use super::connection::{Connections, Requests};
use super::observe::Observer;

/// Streams that one HTTP/2 client may have open at a time.
const MAX_H2_STREAMS: u32 = 100;

/// What the proxy listens on.
pub(super) struct Listeners {
    /// Plain sockets.
    pub(super) http: Bound,
    /// TLS sockets.
    pub(super) https: Bound,
    /// For the TLS sockets.
    pub(super) tls: Option<Arc<Tls>>,
    /// See `listen.head_timeout`.
    pub(super) head_timeout: Duration,
    /// See `listen.keepalive_timeout`.
    pub(super) keepalive_timeout: Duration,
    /// See `listen.max_head_bytes`.
    pub(super) max_head_bytes: u32,
    /// See `listen.http2_stream_window`.
    pub(super) stream_window: u32,
    /// See `listen.http2_connection_window`.
    pub(super) connection_window: u32,
    /// How many connections there may be.
    pub(super) limits: Limits,
    /// How many connections are open.
    pub(super) open: watch::Sender<usize>,
    /// Places for those whose client still sends after its answer.
    pub(super) lingering: Arc<Semaphore>,
}

/// Sockets that are bound and not yet served.
pub struct Bound {
    sockets: Vec<(SocketAddr, TcpListener)>,
}

/// Why the gateway cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// Certificate and key cannot be used.
    #[error("cannot use {path} for TLS: {reason}")]
    Tls {
        /// Which file.
        path: String,
        /// Why.
        reason: String,
    },
}

impl Bound {
    /// Binds all addresses, or says which one cannot be had.
    ///
    /// # Errors
    /// [`ListenError::Bind`].
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, ListenError> {
        let mut sockets = Vec::new();
        for &address in addresses {
            let bound = TcpListener::bind(address)
                .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
                .and_then(|socket| Ok((socket.local_addr()?, socket)));
            match bound {
                Ok(bound) => sockets.push(bound),
                Err(error) => return Err(ListenError::Bind { address, error }),
            }
        }
        Ok(Self { sockets })
    }

    /// The addresses, with the real port where 0 was asked for.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|(address, _)| *address).collect()
    }

    fn into_fds(self) -> ListenFds {
        let mut fds = Fds::new();
        for (address, socket) in self.sockets {
            fds.add(address.to_string(), socket.into_raw_fd());
        }
        Arc::new(Mutex::new(fds))
    }
}

/// Serves `proxy` on plain and TLS sockets until `stop` says so. The tasks end when all is accepted that was connected to.
///
/// # Errors
/// [`ListenError::Tls`].
pub(super) fn serve_proxy<P>(
    proxy: P,
    conf: &Arc<ServerConf>,
    observer: &Observer,
    listeners: Listeners,
    stop: watch::Receiver<bool>,
) -> Result<Vec<JoinHandle<()>>, ListenError>
where
    P: ProxyHttp + Send + Sync + 'static,
    P::CTX: Send + Sync + 'static,
{
    let mut app = http_proxy(conf, proxy);
    let mut options = HttpServerOptions::default();
    options.h2_idle_timeout = Some(listeners.keepalive_timeout);
    app.server_options = Some(options);
    let mut h2 = H2Options::new();
    h2.max_header_list_size(listeners.max_head_bytes);
    h2.max_concurrent_streams(MAX_H2_STREAMS);
    h2.initial_window_size(listeners.stream_window);
    h2.initial_connection_window_size(listeners.connection_window);
    app.h2_options = Some(h2);
    let app = Requests {
        app: Arc::new(app),
        head_timeout: listeners.head_timeout,
        keepalive_timeout: listeners.keepalive_timeout,
        observer: observer.clone(),
    };
    let head_bytes = usize::try_from(listeners.max_head_bytes).unwrap_or(usize::MAX);
    let app = Connections {
        app: Arc::new(app),
        observer: observer.clone(),
        head_timeout: listeners.head_timeout,
        max_head_bytes: head_bytes,
        lingering: listeners.lingering,
    };
    let acceptance = Arc::new(Acceptance {
        app: Arc::new(app),
        observer: observer.clone(),
        limits: listeners.limits,
        timeout: listeners.head_timeout,
        stop,
        open: listeners.open,
    });
    let mut tasks = Vec::new();
    for (address, socket) in listeners.http.sockets {
        let listener = listen(socket).map_err(|error| ListenError::Bind { address, error })?;
        tasks.push(tokio::spawn(Arc::clone(&acceptance).run(listener, None)));
    }
    if let Some(tls) = &listeners.tls {
        let acceptor = Arc::new(tls.acceptor()?);
        for (address, socket) in listeners.https.sockets {
            let listener = listen(socket).map_err(|error| ListenError::Bind { address, error })?;
            let accepting = Arc::clone(&acceptance).run(listener, Some(Arc::clone(&acceptor)));
            tasks.push(tokio::spawn(accepting));
        }
    }
    Ok(tasks)
}

/// Serves an application of whole answers (the admin listener).
pub(super) fn serve_app<A>(app: A, bound: Bound, stop: watch::Receiver<bool>) -> JoinHandle<()>
where
    A: ServeHttp + Send + Sync + 'static,
{
    let mut service = Service::new("admin".to_owned(), HttpServer::new_app(app));
    for address in bound.addresses() {
        service.add_tcp(&address.to_string());
    }
    start(service, bound, stop)
}

fn start<A>(mut service: Service<A>, bound: Bound, stop: watch::Receiver<bool>) -> JoinHandle<()>
where
    A: ServerApp + Send + Sync + 'static,
{
    let fds = bound.into_fds();
    tokio::spawn(async move { service.start_service(Some(fds), stop, 1).await })
}
