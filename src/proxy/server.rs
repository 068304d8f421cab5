//! Listens on sockets, and stops.
//!
//! Listeners are bound here, before anything else starts: the framework would go on without a port that it cannot bind, or
//! retry for half a minute. The gateway itself accepts clients' connections (`accept`); the framework accepts the admin
//! listener's, from the file descriptors that it is given. All of it shares one runtime of the gateway's own, so that the
//! gateway controls stopping as well: no new connections, persistent ones close with their last answer, requests in flight
//! finish within the limit, then it returns.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;

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

use super::accept::{Acceptance, ConnectionPlaces, listen as listen_on};
use super::connection::{ConnectionRequests, Connections};
use super::generation::Current;
use super::listening::Accept;
use super::observe::Observer;

/// The most streams that one HTTP/2 client may have open at a time.
const MAX_H2_STREAMS: u32 = 100;

/// The parts that accepting needs.
pub(super) struct Accepted {
    pub(super) current: Arc<Current>,
    pub(super) observer: Observer,
    /// The number of open connections.
    pub(super) open: watch::Sender<usize>,
    /// The places for connections that linger.
    pub(super) lingering: Arc<Semaphore>,
    pub(super) stop: watch::Receiver<bool>,
}

/// Listening sockets that the process inherited from its starter.
#[derive(Default)]
pub struct Inherited(Vec<(SocketAddr, TcpListener)>);

/// A socket to listen on.
pub(super) struct Socket {
    /// The address with the real port.
    pub(super) address: SocketAddr,
    pub(super) socket: TcpListener,
    /// Whether its queue outlives the gateway.
    pub(super) is_inherited: bool,
}

/// Sockets that are bound and not served yet.
pub struct Bound {
    sockets: Vec<(SocketAddr, TcpListener)>,
}

/// The reason why the gateway cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        error: io::Error,
    },
    /// Certificate and key cannot be used.
    #[error("cannot use {path} for TLS: {reason}")]
    Tls {
        /// The path of the file.
        path: String,
        /// The reason.
        reason: String,
    },
}

impl Bound {
    /// Binds all addresses, or returns the one that cannot be bound.
    ///
    /// # Errors
    /// [`ListenError::Bind`].
    pub fn bind(addresses: &[SocketAddr], inherited: &mut Inherited) -> Result<Self, ListenError> {
        let mut sockets = Vec::new();
        for &address in addresses {
            let Socket { address, socket, .. } = inherited.take_or_bind(address)?;
            sockets.push((address, socket));
        }
        Ok(Self { sockets })
    }

    /// Returns the addresses, with the real port where 0 was requested.
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

impl Inherited {
    /// Takes over these sockets.
    ///
    /// # Errors
    /// If one has no address, or cannot be made non-blocking.
    pub fn new(sockets: Vec<TcpListener>) -> io::Result<Self> {
        let with_address = |socket: TcpListener| {
            socket.set_nonblocking(true)?;
            Ok((socket.local_addr()?, socket))
        };
        sockets.into_iter().map(with_address).collect::<io::Result<_>>().map(Self)
    }

    /// Returns the socket with this address, if it was inherited, or else a new one.
    pub(super) fn take_or_bind(&mut self, address: SocketAddr) -> Result<Socket, ListenError> {
        if let Some(index) = self.0.iter().position(|(known, _)| *known == address) {
            let (address, socket) = self.0.swap_remove(index);
            return Ok(Socket { address, socket, is_inherited: true });
        }
        TcpListener::bind(address)
            .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
            .and_then(|socket| {
                Ok(Socket { address: socket.local_addr()?, socket, is_inherited: false })
            })
            .map_err(|error| ListenError::Bind { address, error })
    }

    /// Returns the addresses of the sockets that were not taken.
    pub fn left(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|(address, _)| *address).collect()
    }
}

/// Accepts for `proxy`, from any socket, until `stop` is set. A task ends when all connections in its queue are accepted.
pub(super) fn accept_for<P>(proxy: P, conf: &Arc<ServerConf>, accepted: Accepted) -> Accept
where
    P: ProxyHttp + Send + Sync + 'static,
    P::CTX: Send + Sync + 'static,
{
    let Accepted { current, observer, open, lingering, stop } = accepted;
    let generation = current.load();
    let listen = &generation.listen;
    let mut app = http_proxy(conf, proxy);
    let mut options = HttpServerOptions::default();
    options.h2_idle_timeout = Some(listen.keepalive_timeout);
    app.server_options = Some(options);
    let mut h2 = H2Options::new();
    h2.max_header_list_size(u32::try_from(listen.max_head_bytes).unwrap_or(u32::MAX));
    h2.max_concurrent_streams(MAX_H2_STREAMS);
    h2.initial_window_size(listen.http2_stream_window);
    h2.initial_connection_window_size(listen.http2_connection_window);
    app.h2_options = Some(h2);
    let app = ConnectionRequests {
        app: Arc::new(app),
        current: Arc::clone(&current),
        observer: observer.clone(),
    };
    let app = Connections {
        app: Arc::new(app),
        observer: observer.clone(),
        current: Arc::clone(&current),
        lingering,
    };
    let acceptance = Arc::new(Acceptance {
        app: Arc::new(app),
        observer,
        current,
        places: ConnectionPlaces::default(),
        stop,
        open,
    });
    Box::new(move |socket: Socket, kind, closed| {
        let listener = listen_on(socket.socket)?;
        let accepting = Arc::clone(&acceptance).run(listener, kind, socket.is_inherited, closed);
        Ok(tokio::spawn(accepting))
    })
}

/// Serves an application that gives complete answers (the admin listener).
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
