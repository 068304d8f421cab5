//! Connections that begin with the client's address from a proxy (the PROXY protocol).
//!
//! The header is read from the socket before anything else, TLS included, and not a byte beyond it. It is accepted only
//! from the listed networks; other peers' connections are closed unread, since their client's address is unknown. A
//! proxy that says `LOCAL` or that it knows no address is served under its own.

use std::net::SocketAddr;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::config::ProxyProtocol;
use crate::telemetry::ConnectionFailure;
use crate::wire::proxy_protocol::{HeaderReading, NoHeader, ProxiedAddress, read};

/// Returns the address that the client's connection came from.
///
/// # Errors
/// The reason why the connection is not served.
pub(super) async fn client(
    socket: &mut TcpStream,
    peer: SocketAddr,
    rules: &ProxyProtocol,
) -> Result<SocketAddr, (ConnectionFailure, &'static str)> {
    if !rules.takes_from(peer.ip()) {
        return Err((ConnectionFailure::NotAProxy, "its network is not listed"));
    }
    let announced = tokio::time::timeout(rules.timeout, announced(socket)).await;
    match announced.unwrap_or(Err((ConnectionFailure::ProxyHeader, "it did not come in time")))? {
        ProxiedAddress::From(client) => Ok(client),
        ProxiedAddress::Itself => Ok(peer),
    }
}

async fn announced(
    socket: &mut TcpStream,
) -> Result<ProxiedAddress, (ConnectionFailure, &'static str)> {
    let wrong = |no: NoHeader| (ConnectionFailure::ProxyHeader, no.name());
    let mut bytes = Vec::new();
    loop {
        // Bytes that are not a header are refused at once, before enough of them have come.
        let needs = match read(&bytes).map_err(wrong)? {
            HeaderReading::Whole(announced) => return Ok(announced),
            HeaderReading::Needs(needs) => needs,
        };
        let begun = bytes.len();
        bytes.resize(needs, 0);
        let more = bytes.get_mut(begun..).unwrap_or_default();
        let length = socket.read(more).await.unwrap_or(0);
        bytes.truncate(begun + length);
        if length == 0 {
            return Err(match begun {
                0 => (ConnectionFailure::Empty, ""),
                _ => (ConnectionFailure::ProxyHeader, "it is not whole"),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;
    use crate::wire::proxy_protocol::{ProxyVersion, write};

    async fn pair() -> (TcpStream, TcpStream, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, peer) = listener.accept().await.unwrap();
        (proxy, socket, peer)
    }

    fn rules(network: &str) -> ProxyProtocol {
        ProxyProtocol {
            networks: vec![network.parse().unwrap()],
            timeout: Duration::from_millis(200),
            ..ProxyProtocol::default()
        }
    }

    #[tokio::test]
    async fn a_header_in_pieces_is_read_and_nothing_behind_it() {
        let from: SocketAddr = "[2001:db8::1]:7".parse().unwrap();
        for version in [ProxyVersion::One, ProxyVersion::Two] {
            let (mut proxy, mut socket, peer) = pair().await;
            let bytes = [&write(version, Some((from, peer)))[..], b"GET"].concat();
            let writing = tokio::spawn(async move {
                for byte in bytes {
                    proxy.write_all(&[byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
                proxy
            });
            assert_eq!(client(&mut socket, peer, &rules("127.0.0.0/8")).await, Ok(from));
            let mut rest = [0; 3];
            socket.read_exact(&mut rest).await.unwrap();
            assert_eq!(&rest, b"GET");
            writing.await.unwrap();
        }
    }

    #[tokio::test]
    async fn whoever_says_nothing_of_a_client_is_served_as_themselves() {
        for version in [ProxyVersion::One, ProxyVersion::Two] {
            let (mut proxy, mut socket, peer) = pair().await;
            proxy.write_all(&write(version, None)).await.unwrap();
            assert_eq!(client(&mut socket, peer, &rules("127.0.0.1/32")).await, Ok(peer));
        }
    }

    #[tokio::test]
    async fn what_is_no_header_of_a_listed_proxy_is_not_served() {
        let proxies = "127.0.0.0/8";
        for (bytes, network, failure) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], proxies, ConnectionFailure::ProxyHeader),
            (b"G", proxies, ConnectionFailure::ProxyHeader),
            (b"PROXY TCP4 1", proxies, ConnectionFailure::ProxyHeader),
            (b"\x16\x03\x01", proxies, ConnectionFailure::ProxyHeader),
            (b"PROXY UNKNOWN\r\n", "192.0.2.0/24", ConnectionFailure::NotAProxy),
        ] {
            let (mut proxy, mut socket, peer) = pair().await;
            proxy.write_all(bytes).await.unwrap();
            let read = client(&mut socket, peer, &rules(network)).await;
            assert_eq!(read.map_err(|(failure, _)| failure), Err(failure), "{bytes:?}");
        }
        let (proxy, mut socket, peer) = pair().await;
        drop(proxy);
        let read = client(&mut socket, peer, &rules(proxies)).await;
        assert_eq!(read.map_err(|(failure, _)| failure), Err(ConnectionFailure::Empty));
    }
}
