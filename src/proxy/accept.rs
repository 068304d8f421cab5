//! Accepts clients' connections: limits their number and sources, and makes their TLS handshakes.
//!
//! The framework's own loop has no limit, waits a minute for a handshake, logs every port scan as an error, and resets the
//! connections that wait in the socket's queue when it stops (pingora-core 0.9.1, services/listening.rs:186-240). Here a
//! connection beyond a limit is closed before anything is read from it, a handshake has the same time as a head, failed
//! connections are counted with their reason, and a gateway that stops first accepts the connections that its clients have
//! already made.
//!
//! On a listener that requires the PROXY protocol, its header comes before all that (`proxied`): from then on the
//! address in it is the client's for every purpose, the limit for each address included. Until the header has come, the
//! connection counts in the total, and for no address.
//!
//! Trusted proxies' addresses are shared by many clients: only the limit on all connections holds for them. An IPv6
//! client can choose from a whole /64, which counts as one address.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use parking_lot::Mutex;
use pingora::apps::ServerApp;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::protocols::{GetSocketDigest as _, SocketDigest, Stream};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use super::generation::Current;
use super::observe::Observer;
use super::proxied;
use crate::telemetry::ConnectionFailure;
use crate::wire::client_ip::{TrustedProxies, network_32_or_64};

/// The connections that may wait to be accepted.
const BACKLOG: u32 = 4096;
/// The connections that may wait when no more will be accepted.
const LAST_BACKLOG: u32 = 0;
/// How long to wait before accepting again when no file descriptor is free.
const OUT_OF_FILES: Duration = Duration::from_millis(200);
/// The first byte of a TLS client's first record.
const TLS_HANDSHAKE: u8 = 0x16;

/// Accepts the connections of all listeners.
pub(super) struct Acceptance<A> {
    pub(super) app: Arc<A>,
    pub(super) observer: Observer,
    /// For the limits, and the time allowed for a handshake.
    pub(super) current: Arc<Current>,
    pub(super) places: ConnectionPlaces,
    pub(super) stop: watch::Receiver<bool>,
    /// The number of open connections, counted from their acceptance on.
    pub(super) open: watch::Sender<usize>,
}

/// The kind of connections that a listener accepts.
#[derive(Clone)]
pub(super) struct ListenerKind {
    /// The address in the configuration.
    pub(super) listener: SocketAddr,
    /// The TLS settings, on a TLS listener.
    pub(super) tls: Option<Arc<Acceptor>>,
}

/// A connection that is not served, with the reason.
struct NotServed {
    failure: ConnectionFailure,
    client: IpAddr,
    cause: &'static str,
}

/// An open connection; it is counted until this is dropped.
struct OpenConnection(watch::Sender<usize>);

/// The limits on the number of connections.
pub(super) struct ConnectionLimits {
    pub(super) most: usize,
    /// The most connections of one address; zero is no limit.
    pub(super) most_of_address: usize,
    /// Addresses that many clients share.
    pub(super) shared: TrustedProxies,
}

/// The counts of the present connections.
#[derive(Default)]
pub(super) struct ConnectionPlaces(Mutex<ConnectionCounts>);

#[derive(Default)]
struct ConnectionCounts {
    all: usize,
    by_address: HashMap<IpNet, usize>,
}

/// A place among the connections; it is free again when this is dropped.
struct ConnectionPlace<'a> {
    places: &'a ConnectionPlaces,
    /// The client's address, once it is known.
    address: Option<IpNet>,
}

impl ConnectionPlaces {
    fn enter(&self, limits: &ConnectionLimits) -> Result<ConnectionPlace<'_>, ConnectionFailure> {
        let mut open = self.0.lock();
        if open.all >= limits.most {
            return Err(ConnectionFailure::Limit);
        }
        open.all += 1;
        Ok(ConnectionPlace { places: self, address: None })
    }
}

impl ConnectionPlace<'_> {
    /// Counts the connection for this client address.
    fn is_of(
        &mut self,
        limits: &ConnectionLimits,
        address: IpAddr,
    ) -> Result<(), ConnectionFailure> {
        let is_shared = limits.shared.trusts(address);
        let address = network_32_or_64(address);
        let mut open = self.places.0.lock();
        let count = open.by_address.entry(address).or_default();
        if limits.most_of_address > 0 && *count >= limits.most_of_address && !is_shared {
            return Err(ConnectionFailure::AddressLimit);
        }
        *count += 1;
        self.address = Some(address);
        Ok(())
    }
}

impl OpenConnection {
    fn begin(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|open| *open += 1);
        Self(count.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open = open.saturating_sub(1));
    }
}

impl Drop for ConnectionPlace<'_> {
    fn drop(&mut self) {
        let mut open = self.places.0.lock();
        open.all = open.all.saturating_sub(1);
        let Some(address) = self.address else { return };
        match open.by_address.get_mut(&address) {
            Some(count @ 2..) => *count -= 1,
            _ => {
                open.by_address.remove(&address);
            }
        }
    }
}

/// Makes a bound socket ready to accept.
pub(super) fn listen(socket: std::net::TcpListener) -> io::Result<TcpListener> {
    // Listening again changes the length of the queue, which the standard library sets to 128.
    listen_with(socket, BACKLOG)
}

fn listen_with(socket: std::net::TcpListener, backlog: u32) -> io::Result<TcpListener> {
    TcpSocket::from_std_stream(OwnedFd::from(socket).into()).listen(backlog)
}

impl<A> Acceptance<A>
where
    A: ServerApp + Send + Sync + 'static,
{
    /// Accepts until the gateway or this listener stops. Connections in the queue of an inherited socket are left to
    /// the process that listens on it next.
    pub(super) async fn run(
        self: Arc<Self>,
        listener: TcpListener,
        kind: ListenerKind,
        is_inherited: bool,
        mut closed: watch::Receiver<bool>,
    ) {
        let mut stop = self.stop.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                // An error means that the gateway is gone.
                _ = stop.wait_for(|stopping| *stopping) => break,
                _ = closed.wait_for(|closed| *closed) => break,
            };
            match accepted {
                Ok((socket, peer)) => self.begin(socket, peer, &kind),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections");
                    tokio::time::sleep(OUT_OF_FILES).await;
                }
            }
        }
        if is_inherited {
            return;
        }
        // Connections that clients see as established are served before the socket is closed, because closing resets them. A
        // queue without places lets nobody in between the last check and the close; a client tries again, and reaches the next
        // listener.
        let shortened = listener.into_std().and_then(|socket| listen_with(socket, LAST_BACKLOG));
        let Ok(listener) = shortened.and_then(TcpListener::into_std) else { return };
        while let Ok((socket, peer)) = listener.accept() {
            let socket = socket.set_nonblocking(true).and_then(|()| TcpStream::from_std(socket));
            if let Ok(socket) = socket {
                self.begin(socket, peer, &kind);
            }
        }
    }

    fn begin(self: &Arc<Self>, socket: TcpStream, peer: SocketAddr, kind: &ListenerKind) {
        let (this, kind) = (Arc::clone(self), kind.clone());
        let open = OpenConnection::begin(&self.open);
        tokio::spawn(async move {
            let _open = open;
            if let Err(NotServed { failure, client, cause }) = this.admit(socket, peer, &kind).await
            {
                this.observer.connection_failed(failure, Some(client), cause);
            }
        });
    }

    /// Serves a connection, if the limits allow it.
    async fn admit(
        &self,
        mut socket: TcpStream,
        peer: SocketAddr,
        kind: &ListenerKind,
    ) -> Result<(), NotServed> {
        let not_of = |client: SocketAddr| {
            move |failure| NotServed { failure, client: client.ip(), cause: "" }
        };
        let generation = self.current.load();
        let mut place = self.places.enter(&generation.limits).map_err(not_of(peer))?;
        let rules = &generation.listen.proxy_protocol;
        let client = match rules.is_required(kind.listener) {
            false => peer,
            true => proxied::client(&mut socket, peer, rules)
                .await
                .map_err(|(failure, cause)| NotServed { failure, client: peer.ip(), cause })?,
        };
        place.is_of(&generation.limits, client.ip()).map_err(not_of(client))?;
        drop(generation);
        self.serve(socket, client, kind.tls.as_deref()).await;
        Ok(())
    }

    async fn serve(&self, socket: TcpStream, peer: SocketAddr, tls: Option<&Acceptor>) {
        // Without this option, small answers wait for the client's acknowledgement; the connection works even if setting it
        // fails.
        let _ = socket.set_nodelay(true);
        let stream: Stream = match tls {
            None => Box::new(with_digest(socket, peer)),
            Some(tls) => {
                let within = self.current.load().listen.head_timeout;
                let handshake = tokio::time::timeout(within, handshake(tls, socket, peer));
                match handshake.await.unwrap_or(Err((ConnectionFailure::Timeout, String::new()))) {
                    Ok(stream) => stream,
                    Err((failure, cause)) => {
                        self.observer.connection_failed(failure, Some(peer.ip()), &cause);
                        return;
                    }
                }
            }
        };
        self.app.process_new(stream, &self.stop).await;
    }
}

async fn handshake(
    tls: &Acceptor,
    socket: TcpStream,
    peer: SocketAddr,
) -> Result<Stream, (ConnectionFailure, String)> {
    let mut first = [0];
    match socket.peek(&mut first).await {
        Ok(0) => return Err((ConnectionFailure::Empty, String::new())),
        Ok(_) if first != [TLS_HANDSHAKE] => {
            return Err((
                ConnectionFailure::NotTls,
                format!("its first byte is {:#04x}", first[0]),
            ));
        }
        Ok(_) => {}
        Err(error) => return Err((ConnectionFailure::Empty, error.to_string())),
    }
    match tls.tls_handshake(with_digest(socket, peer)).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err((ConnectionFailure::Tls, error.to_string())),
    }
}

fn with_digest(socket: TcpStream, peer: SocketAddr) -> L4Stream {
    let digest = SocketDigest::from_raw_fd(socket.as_raw_fd());
    // The digest is new, so its address is unset.
    let _ = digest.peer_addr.set(Some(peer.into()));
    let mut stream = L4Stream::from(socket);
    stream.set_socket_digest(digest);
    stream
}

/// Whether the error concerns only one connection, whose client went away while it waited, and not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn there_are_only_so_many_connections() {
        let shared = TrustedProxies::new([]);
        let (places, limits) =
            (ConnectionPlaces::default(), ConnectionLimits { most: 3, most_of_address: 0, shared });
        let enter = |address| {
            let mut place = places.enter(&limits)?;
            place.is_of(&limits, ip(address)).map(|()| place)
        };
        let taken: Vec<_> = (0..3).map(|_| enter("192.0.2.1").unwrap()).collect();
        assert_eq!(enter("192.0.2.2").err(), Some(ConnectionFailure::Limit));
        drop(taken);
        assert!(enter("192.0.2.2").is_ok());
        assert!(places.0.lock().by_address.is_empty());
    }

    #[test]
    fn one_address_cannot_take_them_all() {
        let proxies = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]);
        let limits = ConnectionLimits { most: 100, most_of_address: 2, shared: proxies };
        let places = ConnectionPlaces::default();
        let enter = |address| {
            let mut place = places.enter(&limits)?;
            place.is_of(&limits, ip(address)).map(|()| place)
        };
        let _places = [enter("2001:db8::1").unwrap(), enter("2001:db8::2").unwrap()];
        let _mapped = [enter("192.0.2.1").unwrap(), enter("::ffff:192.0.2.1").unwrap()];
        for address in ["2001:db8::3", "192.0.2.1"] {
            assert_eq!(enter(address).err(), Some(ConnectionFailure::AddressLimit), "{address}");
        }
        let _others: Vec<_> = ["2001:db8:0:1::1", "192.0.2.2", "10.0.0.1", "10.0.0.1", "10.0.0.1"]
            .map(|address| enter(address).unwrap())
            .into();
    }
}
