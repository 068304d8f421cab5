//! Reads the framework's session of one exchange, and translates its errors.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, LOCATION, SET_COOKIE, TRANSFER_ENCODING, UPGRADE};
use http::{StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType};

use super::bound::{self, BoundConnection};
use super::connection::{ClientStream, Follows, Orders};
use super::generation::Generation;
use super::stage::Ctx;
use crate::caller::Known;
use crate::gate::{Permit, ReturnedAnswers};
use crate::refusal::Refusal;
use crate::wire::arrival::Arrival;

/// Returns the orders of the connection below; `None` over HTTP/2, where it belongs to no single request.
pub(super) fn orders(session: &Session) -> Option<&Arc<Orders>> {
    session.as_http1().and_then(|http1| ClientStream::orders_of(http1.stream()))
}

/// Returns the upstream connection that a client must not share, if it has one or is about to authenticate one.
pub(super) fn bound_connection(
    session: &Session,
    arrival: Option<&Arrival>,
) -> Option<BoundConnection> {
    let arrival = arrival?;
    let own = orders(session).filter(|_| !arrival.client.through_trusted_proxy());
    match (bound::authenticates_connections(&arrival.headers), own) {
        (true, Some(orders)) => Some(BoundConnection::of_client(orders)),
        (true, None) => Some(BoundConnection::never_reused()),
        (false, orders) => orders.and_then(|orders| BoundConnection::had_by(orders)),
    }
}

/// Returns the kind of body that follows the head of an HTTP/1 request (RFC 9112 section 6.3), as the framework reads it too.
pub(super) fn follows(session: &Session) -> Follows {
    let headers = &session.req_header().headers;
    if headers.contains_key(TRANSFER_ENCODING) {
        return Follows::Chunks;
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    match length {
        Some(length) => Follows::Length(length),
        None if session.is_upgrade_req() => Follows::Upgrade,
        None => Follows::Length(0),
    }
}

/// Whether the service refused an upgrade that may have been used already. Some clients ask for `h2c` with every first
/// request, without sending anything before its 101 (RFC 7540 section 3.2); others may have sent bytes.
pub(super) fn is_refused_tunnel(session: &Session) -> bool {
    session.is_upgrade_req()
        && session.req_header().headers.get_all(UPGRADE).iter().any(|upgrade| upgrade != "h2c")
}

/// Keeps the connection open as the head said, if the request was read completely: the gateway's answer was written in
/// place of the upstream's.
pub(super) fn keep(session: &mut Session) {
    if session.get_keepalive().is_some()
        && session.is_body_done()
        && let Some(orders) = orders(session)
    {
        orders.keep();
    }
}

/// Returns the head that ends the exchange; the framework stores interim ones (100, 103) in the same place.
pub(super) fn final_head(session: &Session) -> Option<&ResponseHeader> {
    session
        .response_written()
        .filter(|head| !head.status.is_informational() || is_upgrade(head.status))
}

/// Whether the status is the one interim status after which no other comes.
pub(super) fn is_upgrade(status: StatusCode) -> bool {
    status == StatusCode::SWITCHING_PROTOCOLS
}

/// Whether the body has no length: chunked in HTTP/1, and without `content-length` in HTTP/2.
pub(super) fn chunked(session: &Session, arrival: Option<&Arrival>) -> bool {
    let headers = &session.req_header().headers;
    headers.contains_key(TRANSFER_ENCODING)
        || (session.req_header().version == Version::HTTP_2
            && arrival.is_some_and(|arrival| arrival.has_body)
            && !headers.contains_key(CONTENT_LENGTH))
}

/// Returns an error that carries a refusal through the framework to `fail_to_proxy`.
pub(super) fn refused(ctx: &mut Ctx, refusal: Refusal, why: &'static str) -> Box<Error> {
    ctx.refusal = Some(refusal);
    Error::explain(ErrorType::HTTPStatus(refusal.status().as_u16()), why)
}

/// Whether the answer is an interim one. The gateway does not track cookies of interim answers, and some clients would
/// store them (RFC 6265 section 3), so they are removed.
pub(super) fn is_interim(response: &mut ResponseHeader) -> bool {
    let is_interim = response.status.is_informational() && !is_upgrade(response.status);
    if is_interim {
        response.remove_header(&SET_COOKIE);
    }
    is_interim
}

/// Returns why this final answer does not go to the client, if it does not.
pub(super) fn held_back(
    generation: &Generation,
    arrival: &Arrival,
    permit: &Permit,
    response: &ResponseHeader,
) -> Option<(Refusal, &'static str)> {
    let (status, headers) = (response.status, &response.headers);
    match permit.answers() {
        ReturnedAnswers::Redirect if status.is_redirection() && headers.contains_key(LOCATION) => {
            None
        }
        ReturnedAnswers::Redirect => {
            Some((Refusal::NotAuthenticated, "the service does not redirect to a sign-in"))
        }
        ReturnedAnswers::All => {
            let observed = &generation.observed;
            let loops = &generation.redirect_loops;
            loops
                .closes(arrival, permit.caller(), observed, (status, headers))
                .then_some((Refusal::AccountNotAllowed, "the service redirects a caller in a loop"))
        }
    }
}

/// Returns the caller, if the refusal concerns the account that they are signed in with.
pub(super) fn whose(refusal: Refusal, ctx: &Ctx) -> Option<Known> {
    let forwarding = ctx.forwarding().filter(|_| refusal == Refusal::AccountNotAllowed)?;
    forwarding.permit.caller().known().cloned()
}

/// Returns the refusal for an error of the framework; `None` if the client is gone.
pub(super) fn refusal_of(session: &Session, error: &Error) -> Option<Refusal> {
    if orders(session).is_some_and(|orders| orders.is_broken()) {
        return Some(Refusal::BadFraming);
    }
    match (error.esource(), error.etype()) {
        (
            ErrorSource::Upstream,
            ErrorType::ConnectTimedout | ErrorType::ReadTimedout | ErrorType::WriteTimedout,
        ) => Some(Refusal::UpstreamTimeout),
        (ErrorSource::Upstream, _) => Some(Refusal::UpstreamUnavailable),
        (
            ErrorSource::Downstream,
            ErrorType::WriteError
            | ErrorType::ReadError
            | ErrorType::ConnectionClosed
            | ErrorType::WriteTimedout,
        ) => None,
        (ErrorSource::Downstream, ErrorType::ReadTimedout) => Some(Refusal::BodyTimeout),
        (ErrorSource::Downstream, _) => Some(Refusal::BadFraming),
        (ErrorSource::Internal | ErrorSource::Unset, _) => Some(Refusal::Internal),
    }
}
