//! Reads the rest of an upload when its answer is known.
//!
//! An HTTP/1 answer says `close` where the request was not read completely, because the next request cannot be found
//! after it (RFC 9112 section 9.3). A short body is under way already, so it is read first ([`read_rest`]), and the
//! connection stays open: a front end whose token has expired does not pay for a new TLS handshake with each 401.
//!
//! An HTTP/2 stream is reset when it is dropped before its body has ended. RFC 9113 section 8.1 allows that after the
//! complete answer, but a client that is just writing may report the reset in place of the answer (curl does, one time
//! in three). So the body is read on for a short time ([`read_on`]), as the rest of an HTTP/1 connection is
//! ([`linger`](super::connection)).

use std::future::pending;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, EXPECT};
use pingora::proxy::Session;
use tokio::sync::Semaphore;

/// The longest body that is read to keep a connection open.
const REST_BYTES: usize = 64 * 1024;
/// How long an answer waits for the rest of the body.
const REST_TIME: Duration = Duration::from_millis(500);
/// How long a stream is read on after its answer.
const ON_TIME: Duration = Duration::from_secs(2);

/// Reads the rest of a short body before its answer, if that keeps the connection open.
pub(super) async fn read_rest(session: &mut Session) {
    let waits_for_us = session.get_header(EXPECT).is_some() && session.response_written().is_none();
    if session.as_http1().is_none()
        || session.get_keepalive().is_none()
        || session.is_body_done()
        || waits_for_us
        || announced(session).is_some_and(|length| length > REST_BYTES)
    {
        return;
    }
    let rest = async {
        let mut read = 0;
        // An error ends the connection with its answer.
        while let Ok(Some(part)) = session.read_request_body().await {
            read += part.len();
            if read > REST_BYTES {
                return;
            }
        }
    };
    // The session itself knows whether that was everything.
    let _ = tokio::time::timeout(REST_TIME, rest).await;
}

/// Reads an HTTP/2 request's body on after its complete answer, at most `limit` bytes of it. After that the stream
/// stays open without reading, so that its window holds the client back until it has read the answer.
pub(super) async fn read_on(session: &mut Session, places: &Semaphore, limit: usize) {
    if session.as_http2().is_none() || session.is_body_done() {
        return;
    }
    let Ok(_place) = places.try_acquire() else { return };
    let rest = async {
        let mut read = 0;
        // An error is the client's own reset: it has its answer.
        while let Ok(Some(part)) = session.read_request_body().await {
            read += part.len();
            if read > limit {
                pending::<()>().await;
            }
        }
    };
    // Afterwards the stream is reset, if it has not ended.
    let _ = tokio::time::timeout(ON_TIME, rest).await;
}

/// Returns the length that the head announces.
pub(super) fn announced(session: &Session) -> Option<usize> {
    session.get_header(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
