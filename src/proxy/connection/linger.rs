//! Closes a connection whose client still sends (RFC 9112 section 9.6).
//!
//! A socket that is closed with unread bytes in it is reset, and the reset destroys the answer: a client that uploads
//! gets an error instead of its 401 or 413. So after such an answer the sending side is closed, and incoming bytes are
//! read and discarded for a short time. Beyond the byte limit the connection stays open without reading: the client's
//! bytes wait in the sockets' buffers, and the client can read the answer.
//!
//! Both limits are small, and only a limited number of connections linger at a time: an attacker gains less than by an idle
//! connection.

use std::time::Duration;

use pingora::protocols::Stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter};
use tokio::sync::Semaphore;

/// The longest time that a connection lingers.
const TIME: Duration = Duration::from_secs(2);
/// The most bytes that are discarded.
const BYTES: u64 = 256 * 1024;
/// The most connections that linger at a time.
pub(in crate::proxy) const CONNECTIONS: usize = 512;

/// Lets the client read its answer.
pub(super) async fn linger(mut stream: BufWriter<Stream>, places: &Semaphore) {
    let Ok(_place) = places.try_acquire() else { return };
    // The time is over, or the client is gone: the connection ends in both cases.
    let _ = tokio::time::timeout(TIME, async {
        stream.shutdown().await?;
        let thrown =
            tokio::io::copy(&mut (&mut stream).take(BYTES), &mut tokio::io::sink()).await?;
        if thrown == BYTES {
            std::future::pending::<()>().await;
        }
        Ok::<(), std::io::Error>(())
    })
    .await;
}
