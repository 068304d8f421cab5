//! What do we answer ourselves?

pub mod page;
pub mod texts;

use std::time::Duration;

use http::HeaderValue;
use http::header::RETRY_AFTER;

use crate::refusal::Refusal;
use crate::wire::reply::Reply;

/// A refusal's answer; with how long to wait, if that is known.
fn refused(refusal: Refusal, retry_after: Option<Duration>, request_id: &str) -> Reply {
    let mut reply = Reply::refusal(refusal, request_id);
    if let Some(wait) = retry_after {
        // Rounded up: whoever comes back on the second is not refused again.
        let seconds = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1);
        reply.headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    reply
}
