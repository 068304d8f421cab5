//! Reads a request's whole body: for own paths, and for upstreams that cannot read a chunked one.
//!
//! The framework has no limit on size, and for HTTP/2 none on time; both are set here.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_TYPE, EXPECT};
use pingora::proxy::Session;

use super::convert::HeadRules;
use super::unread::announced;
use crate::config::{Listen, OwnPath};
use crate::refusal::Refusal;

/// How long a client may take for a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BodyTimeout {
    /// For the whole body.
    All(Duration),
    /// For each part of the body, as when it is forwarded without being read.
    EachPart(Duration),
}

/// Returns the most bytes of a body for an own path. The form of a sign-in contains the target that its user wanted to
/// go to.
pub(super) fn own_limit(listen: &Listen, own: OwnPath, headers: &HeaderMap) -> usize {
    let form: &[u8] = b"application/x-www-form-urlencoded";
    let is_form = headers.get(CONTENT_TYPE).is_some_and(|value| {
        value.as_bytes().get(..form.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(form))
    });
    let target = listen.max_target_bytes.saturating_mul(HeadRules::NEXT_INFLATION);
    if is_form && matches!(own, OwnPath::Login) {
        listen.max_body_bytes.saturating_add(target)
    } else {
        listen.max_body_bytes
    }
}

/// Reads a body of at most `limit` bytes within `within`; the time that the client took is added to `waited`.
pub(super) async fn read(
    session: &mut Session,
    limit: usize,
    within: Duration,
    waited: &mut Duration,
) -> Result<Bytes, Refusal> {
    let begun = Instant::now();
    let read = read_all(session, limit, within).await;
    *waited += begun.elapsed();
    read
}

async fn read_all(session: &mut Session, limit: usize, within: Duration) -> Result<Bytes, Refusal> {
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
    limited(within, all).await
}

/// Reads a body into the framework's buffer for retries, from which it is forwarded unchanged. Passes its parts to
/// `see`, and returns its length. The time that the client took is added to `waited`.
///
/// # Errors
/// `too_long` for more than `limit` bytes, or than the framework can store.
pub(super) async fn buffer(
    session: &mut Session,
    limit: usize,
    within: BodyTimeout,
    too_long: Refusal,
    waited: &mut Duration,
    see: impl FnMut(&[u8]) + Send,
) -> Result<usize, Refusal> {
    let begun = Instant::now();
    let read = buffer_all(session, limit, within, too_long, see).await;
    *waited += begun.elapsed();
    read
}

async fn buffer_all(
    session: &mut Session,
    limit: usize,
    within: BodyTimeout,
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
        while let Some(part) = within.part(next(session)).await? {
            length += part.len();
            if length > limit || session.retry_buffer_truncated() {
                return Err(too_long);
            }
            see(&part);
        }
        Ok(length)
    };
    within.all(all).await
}

impl BodyTimeout {
    async fn part<T>(self, read: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        match self {
            Self::All(_) => read.await,
            Self::EachPart(within) => limited(within, read).await,
        }
    }

    async fn all<T>(self, read: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        match self {
            Self::All(within) => limited(within, read).await,
            Self::EachPart(_) => read.await,
        }
    }
}

async fn limited<T>(
    within: Duration,
    read: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    tokio::time::timeout(within, read).await.unwrap_or(Err(Refusal::BodyTimeout))
}

/// Answers `Expect: 100-continue`, which the framework leaves to the reader of the body.
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
