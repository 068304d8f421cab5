//! Upstream connections that belong to one client.
//!
//! NTLM and Negotiate (RFC 4559 section 6) authenticate a connection, not a request: later requests on it without a credential
//! count as the same user's. On a connection that clients share, the next stranger would be that user. So from the first
//! request with such a credential on, a client connection has an upstream connection of its own, which nobody else gets from
//! the pool. Where one client connection can carry several users' requests (HTTP/2, and connections of trusted proxies), each
//! request has its own upstream connection, which is never reused; there only the schemes' single-request forms work.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use pingora::upstreams::peer::HttpPeer;

use super::connection::Orders;

/// An upstream connection that only one client connection, or one request, may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BoundConnection {
    key: u64,
    reusable: bool,
}

/// The next key, far from the keys of shared connections (0) and of WebSockets, which are counted from 1.
static NEXT: AtomicU64 = AtomicU64::new(1 << 63);

impl BoundConnection {
    /// Returns the connection of the client at the other end of `orders`, and creates it if needed.
    pub(super) fn of_client(orders: &Orders) -> Self {
        let key = orders.upstream().unwrap_or_else(|| {
            let key = NEXT.fetch_add(1, Ordering::Relaxed);
            orders.bind_upstream(key);
            key
        });
        Self { key, reusable: true }
    }

    /// Returns the connection that a client has from an earlier request.
    pub(super) fn had_by(orders: &Orders) -> Option<Self> {
        orders.upstream().map(|key| Self { key, reusable: true })
    }

    /// Returns a connection for one request.
    pub(super) fn never_reused() -> Self {
        Self { key: NEXT.fetch_add(1, Ordering::Relaxed), reusable: false }
    }

    /// Makes the pool file the peer's connection under this key alone.
    pub(super) fn bind(self, peer: &mut HttpPeer) {
        peer.group_key = self.key;
        if !self.reusable {
            peer.options.idle_timeout = Some(Duration::ZERO);
        }
    }
}

/// Whether the request carries a credential of a scheme that authenticates connections.
pub(super) fn authenticates_connections(headers: &HeaderMap) -> bool {
    headers.get_all(AUTHORIZATION).iter().any(|value| {
        let scheme = value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
        [&b"ntlm"[..], b"negotiate", b"kerberos", b"nego2"]
            .iter()
            .any(|one| scheme.eq_ignore_ascii_case(one))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use pingora::upstreams::peer::Peer;

    use super::*;

    fn reuse_hash(connection: Option<BoundConnection>) -> u64 {
        let mut peer = HttpPeer::new("127.0.0.1:80", false, String::new());
        if let Some(connection) = connection {
            connection.bind(&mut peer);
        }
        peer.reuse_hash()
    }

    #[test]
    fn a_bound_connection_is_nobody_elses() {
        let (orders, others) = (Orders::default(), Orders::default());
        assert_eq!(BoundConnection::had_by(&orders), None);
        let (one, other) =
            (BoundConnection::of_client(&orders), BoundConnection::of_client(&others));
        assert_eq!(BoundConnection::had_by(&orders), Some(one));
        assert_eq!(BoundConnection::of_client(&orders), one);
        assert_eq!(reuse_hash(Some(one)), reuse_hash(Some(one)));
        assert_ne!(reuse_hash(Some(one)), reuse_hash(Some(other)));
        assert_ne!(reuse_hash(Some(one)), reuse_hash(None));
    }

    #[test]
    fn the_schemes_that_authenticate_connections_are_known() {
        for (value, expected) in [
            ("NTLM TlRMTVNTUAAB", true),
            ("negotiate YII", true),
            ("Kerberos x", true),
            ("Bearer negotiate", false),
            ("Basic x", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
            assert_eq!(authenticates_connections(&headers), expected, "{value}");
        }
    }
}
