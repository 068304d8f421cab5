//! Reading a request's body whole: for our own paths, and for upstreams that cannot read a chunked one.
//!
//! The framework has no limit on size, and for HTTP/2 none on time; both are set here.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT};
use pingora::proxy::Session;

use crate::refusal::Refusal;

/// Reads a body of at most `limit` bytes within `within`.
pub(super) async fn read(
    session: &mut Session,
    limit: usize,
    within: Duration,
) -> Result<Bytes, Refusal> {
    if announced(session).is_some_and(|length| length > limit) {
        return Err(Refusal::BodyTooLarge);
    }
    let all = async {
        answer_expectation(session).await?;
        let mut body = BytesMut::new();
        while let Some(part) = next(session).await? {
            if body.len() + part.len() > limit {
                return Err(Refusal::BodyTooLarge);
            }
            body.extend_from_slice(&part);
        }
        Ok(body.freeze())
    };
    tokio::time::timeout(within, all).await.unwrap_or(Err(Refusal::BodyTimeout))
}

/// Reads a body into the framework's buffer for repeated attempts, from where it is forwarded as it came. Gives its parts
/// to `see`; the answer is its length.
///
/// # Errors
/// `too_long` for more than `limit` bytes, or than the framework can keep.
pub(super) async fn buffer(
    session: &mut Session,
    limit: usize,
    within: Duration,
    too_long: Refusal,
    mut see: impl FnMut(&[u8]) + Send,
) -> Result<usize, Refusal> {
    if announced(session).is_some_and(|length| length > limit) {
        return Err(too_long);
    }
    let all = async {
        answer_expectation(session).await?;
        session.enable_retry_buffering();
        let mut length = 0;
        while let Some(part) = next(session).await? {
            length += part.len();
            if length > limit || session.retry_buffer_truncated() {
                return Err(too_long);
            }
            see(&part);
        }
        Ok(length)
    };
    tokio::time::timeout(within, all).await.unwrap_or(Err(Refusal::BodyTimeout))
}

fn announced(session: &Session) -> Option<usize> {
    session.get_header(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The framework leaves `Expect: 100-continue` to whoever reads the body.
async fn answer_expectation(session: &mut Session) -> Result<(), Refusal> {
    if session.get_header(EXPECT).is_some() {
        session.write_continue_response().await.map_err(|_| Refusal::BadFraming)?;
    }
    Ok(())
}

async fn next(session: &mut Session) -> Result<Option<Bytes>, Refusal> {
    session.read_request_body().await.map_err(|error| match error.etype() {
        pingora::ErrorType::ReadTimedout => Refusal::BodyTimeout,
        _ => Refusal::BadFraming,
    })
}
