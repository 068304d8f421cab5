//! The clients' listeners: bound before anything else starts, and changed while the gateway runs.
//!
//! A reload binds new addresses before anything changes, so that an address that cannot be bound leaves everything as
//! it was. A removed listener is closed when it has accepted the connections in its queue; its connections live on.
//! Addresses are compared as they are in the configuration: port 0 stays the port that the system gave.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::accept::ListenerKind;
use super::certificate::{Pairs, Tls};
use super::server::{Inherited, ListenError, Socket};
use crate::config::Listen;

/// All listeners of clients.
pub struct Listening {
    tls: Arc<Tls>,
    state: Mutex<ListenerState>,
    /// The inherited sockets, for a later configuration.
    inherited: Mutex<Inherited>,
}

struct ListenerState {
    open: Vec<Listener>,
    /// Accepts from a socket; `None` before serving has begun.
    accept: Option<Accept>,
}

/// Accepts from a socket until the last argument says that it is closed.
pub(super) type Accept =
    Box<dyn Fn(Socket, ListenerKind, watch::Receiver<bool>) -> Accepting + Send + Sync>;

/// The task that accepts, or why there is none.
pub(super) type Accepting = Result<JoinHandle<()>, std::io::Error>;

struct Listener {
    wanted: WantedListener,
    /// The address with the real port.
    address: SocketAddr,
    /// The socket, until it is accepted from.
    socket: Option<Socket>,
    close: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

/// An address of the configuration, and whether it uses TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
struct WantedListener {
    address: SocketAddr,
    is_tls: bool,
}

/// Listeners and certificates that are ready to replace those that are served.
pub struct Prepared {
    wanted: Vec<WantedListener>,
    new: Vec<Listener>,
    pairs: Pairs,
}

impl Listening {
    /// Reads all certificates and binds all addresses that were not inherited.
    ///
    /// # Errors
    /// [`ListenError`]
    pub fn open(listen: &Listen, mut inherited: Inherited) -> Result<Arc<Self>, ListenError> {
        let tls = Tls::load(&listen.tls)?;
        let open = WantedListener::of(listen).map(|wanted| Listener::open(wanted, &mut inherited));
        let state = ListenerState { open: open.collect::<Result<_, _>>()?, accept: None };
        Ok(Arc::new(Self { tls, state: Mutex::new(state), inherited: Mutex::new(inherited) }))
    }

    /// Returns the addresses with TLS or without.
    pub fn addresses(&self, is_tls: bool) -> Vec<SocketAddr> {
        let state = self.state.lock();
        let of_kind = state.open.iter().filter(|one| one.wanted.is_tls == is_tls);
        of_kind.map(|one| one.address).collect()
    }

    /// Binds the additional addresses of another configuration, and reads its certificates.
    ///
    /// # Errors
    /// [`ListenError`]; nothing has changed.
    pub fn prepare(&self, listen: &Listen) -> Result<Prepared, ListenError> {
        let pairs = Tls::read(&listen.tls)?;
        let wanted: Vec<WantedListener> = WantedListener::of(listen).collect();
        let known: Vec<WantedListener> =
            self.state.lock().open.iter().map(|one| one.wanted).collect();
        let mut inherited = self.inherited.lock();
        let new = wanted.iter().filter(|one| !known.contains(one)).copied();
        let new = new.map(|wanted| Listener::open(wanted, &mut inherited));
        let new = new.collect::<Result<_, _>>()?;
        Ok(Prepared { wanted, new, pairs })
    }

    /// Listens on these addresses from now on, and on no others.
    pub fn serve(&self, prepared: Prepared) {
        let Prepared { wanted, new, pairs } = prepared;
        self.tls.serve(pairs);
        let mut state = self.state.lock();
        state.open.retain(|listener| {
            let stays = wanted.contains(&listener.wanted);
            if !stays {
                tracing::info!(address = %listener.address, "stopped listening");
                listener.close.send_replace(true);
            }
            stays
        });
        for listener in &new {
            tracing::info!(address = %listener.address, tls = listener.wanted.is_tls, "listening too");
        }
        state.open.extend(new);
        self.accept_from_all(&mut state);
    }

    /// Begins to accept.
    pub(super) fn start(&self, accept: Accept) {
        let mut state = self.state.lock();
        state.accept = Some(accept);
        self.accept_from_all(&mut state);
    }

    fn accept_from_all(&self, state: &mut ListenerState) {
        let ListenerState { open, accept: Some(accept) } = state else { return };
        for listener in open {
            let Some(socket) = listener.socket.take() else { continue };
            let acceptor = listener.wanted.is_tls.then(|| self.tls.acceptor()).transpose();
            let kind = acceptor.map(|acceptor| ListenerKind {
                listener: listener.wanted.address,
                tls: acceptor.map(Arc::new),
            });
            let task = kind.map_err(|error| error.to_string()).and_then(|kind| {
                accept(socket, kind, listener.close.subscribe()).map_err(|e| e.to_string())
            });
            match task {
                Ok(task) => listener.task = Some(task),
                Err(error) => {
                    tracing::error!(address = %listener.address, %error, "cannot listen");
                }
            }
        }
    }

    /// Returns the tasks that accept, to wait for them at the end.
    pub(super) fn take_tasks(&self) -> Vec<JoinHandle<()>> {
        self.state.lock().open.iter_mut().filter_map(|one| one.task.take()).collect()
    }

    /// Reads certificates again whose files have changed.
    pub(super) fn reread_certificates(&self) {
        self.tls.reread();
    }
}

impl WantedListener {
    fn of(listen: &Listen) -> impl Iterator<Item = Self> {
        let plain = listen.http.iter().map(|address| Self { address: *address, is_tls: false });
        let tls = listen.https.iter().map(|address| Self { address: *address, is_tls: true });
        plain.chain(tls)
    }
}

impl Listener {
    fn open(wanted: WantedListener, inherited: &mut Inherited) -> Result<Self, ListenError> {
        let socket = inherited.take_or_bind(wanted.address)?;
        let (close, _) = watch::channel(false);
        Ok(Self { wanted, address: socket.address, socket: Some(socket), close, task: None })
    }
}
