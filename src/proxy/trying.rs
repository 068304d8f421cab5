//! Chooses the server for a request, and decides whether a failed request is retried.
//!
//! These are retried elsewhere, within the budget (`upstream::budget`):
//!
//! - a request for which no connection was made, whatever its method: nothing of it was sent;
//! - a request that the server says it has not processed (HTTP/2's `REFUSED_STREAM`, and streams above the last one of
//!   a `GOAWAY`), as long as no part of its body was sent;
//! - `GET` and `HEAD` without a body whose answer has a status of `upstream.retry.statuses`.
//!
//! An idempotent request without a body is also retried on another connection to the next server, without a budget,
//! when a kept connection was just being closed as it was sent (RFC 9110 section 9.2.2). A request is never sent again
//! if a part of its body was sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use http::{Method, Version};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result, RetryType};

use super::deadline::ExpiredTimeout;
use super::edit::forget_spellings;
use super::exchange::{is_upgrade, refused};
use super::open;
use super::stage::{Ctx, ForwardPlan, Stage};
use super::upstream::{ConnectionWay, Failure, NoPlace, Pool};
use crate::caller::Caller;
use crate::config::{Balance, HttpVersion};
use crate::gate::Passage;
use crate::refusal::Refusal;
use crate::telemetry::Retried;
use crate::wire::arrival::Arrival;

/// The error for a service's answer that an `[[error_page]]` replaces.
pub(super) const REPLACED: ErrorType = ErrorType::Custom("ReplacedAnswer");

/// Takes a place at a server, and returns how to connect to it.
pub(super) async fn choose_server(session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
    let websocket = ctx.passes_websocket();
    let Stage::Permitted(forwarding) = &mut ctx.stage else {
        return Err(refused(ctx, Refusal::Internal, "forwarding without a permit"));
    };
    if matches!(forwarding.permit.passage(), Passage::Checked) {
        // This comes before the framework copies the head for the upstream.
        forget_spellings(session.req_header_mut());
    }
    forwarding.tries += 1;
    forwarding.asked.get_or_insert_with(Instant::now);
    forwarding.place = None;
    let key = key(forwarding);
    let place = match forwarding.pool.place(key, &forwarding.tried).await {
        Ok(place) => place,
        Err(NoPlace::NoServer) => {
            return Err(refused(ctx, Refusal::UpstreamUnavailable, "no server is available"));
        }
        Err(NoPlace::Busy) => {
            return Err(refused(ctx, Refusal::UpstreamBusy, "every server is busy"));
        }
    };
    let http = forwarding.pool.settings().http;
    let limits = forwarding.limits.filter(|_| !websocket);
    if limits.is_some_and(|limits| limits.is_over()) {
        return Err(refused(ctx, Refusal::UpstreamTimeout, "its route's time limit was reached"));
    }
    let mut peer = forwarding.pool.peer(
        &place,
        ConnectionWay {
            websocket,
            is_timed: limits.is_some_and(|limits| limits.fails_reads(http)),
            client: match forwarding.pool.settings().proxy_protocol {
                Some(_) => ctx.arrival.as_ref().map(|arrival| ends(session, arrival)),
                None => None,
            },
        },
    );
    if let Some(connection) = ctx.connection {
        connection.bind(&mut peer);
    }
    if let Some(limits) = limits {
        limits.set_on(&mut peer, http);
        open::set_clock(limits.needs_a_clock().then(|| limits.clock()));
    }
    // A body that is sent again is counted again.
    let is_checked = matches!(forwarding.permit.passage(), Passage::Checked);
    ctx.body_left = match forwarding.permit.route().handling.max_body_bytes {
        Some(most) if !websocket && is_checked => most,
        Some(_) | None => u64::MAX,
    };
    // See `is_too_old`.
    if session.req_header().version == Version::HTTP_10
        && forwarding.pool.settings().http == HttpVersion::Negotiated
    {
        peer.options.set_http_version(1, 1);
    }
    forwarding.place = Some(place);
    Ok(peer)
}

/// Returns where a client's connection came from and where it was accepted. Behind trusted proxies the client's port is
/// unknown.
fn ends(session: &Session, arrival: &Arrival) -> (SocketAddr, SocketAddr) {
    let ip = arrival.client_ip();
    let end = |address: Option<&pingora::protocols::l4::socket::SocketAddr>| {
        address.and_then(|address| address.as_inet()).copied()
    };
    let peer = end(session.client_addr()).filter(|_| !arrival.client.has_proxies());
    let nowhere = match ip {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let to = end(session.server_addr()).unwrap_or_else(|| SocketAddr::new(nowhere, 0));
    (SocketAddr::new(ip, peer.map_or(0, |peer| peer.port())), to)
}

/// Whether the pool speaks only HTTP/2 to a client that could not be answered. The framework would answer in chunks
/// (proxy_h2.rs), which HTTP/1.0 does not know.
pub(super) fn is_too_old(session: &Session, pool: &Pool) -> bool {
    session.req_header().version == Version::HTTP_10 && pool.settings().http == HttpVersion::Two
}

/// Returns the key by which requests go to the same server.
fn key(forwarding: &ForwardPlan) -> Option<u64> {
    let known = match forwarding.permit.caller() {
        Caller::Known(known) => known,
        Caller::Anonymous(_) => return None,
    };
    match forwarding.pool.settings().balance {
        Balance::RoundRobin | Balance::LeastRequests => None,
        Balance::HashUser => {
            let user = &known.identity.key;
            Some(super::upstream::hash_of(&[user.directory.as_bytes(), user.id.as_bytes()]))
        }
        Balance::HashSession => {
            let session = known.session.as_ref()?;
            Some(super::upstream::hash_of(&[session.as_str().as_bytes()]))
        }
    }
}

/// Handles a connection that could not be made.
pub(super) fn not_connected(ctx: &mut Ctx, mut error: Box<Error>) -> Box<Error> {
    let Stage::Permitted(forwarding) = &mut ctx.stage else { return error };
    let Some(place) = &forwarding.place else { return error };
    tracing::warn!(request_id = %ctx.request_id, server = %place.name(), %error, "cannot connect to a server");
    forwarding.pool.failed(place, Failure::Connect);
    let again = forwarding.pool.may_try_again(place, forwarding.tries, Retried::Connect);
    if again {
        forwarding.tried.push(Arc::clone(place.name()));
    }
    error.set_retry(again);
    error
}

/// Handles a broken connection, a missing answer, or an invalid one.
pub(super) fn broke(
    session: &Session,
    ctx: &mut Ctx,
    mut error: Box<Error>,
    is_kept_connection: bool,
) -> Box<Error> {
    let retry = std::mem::replace(&mut error.retry, RetryType::Decided(false));
    let Stage::Permitted(forwarding) = &mut ctx.stage else { return error };
    let Some(place) = &forwarding.place else { return error };
    if std::mem::take(&mut forwarding.is_asked_again) {
        forwarding.tried.push(Arc::clone(place.name()));
        error.set_retry(true);
        return error;
    }
    if ctx.refusal.is_some() || ctx.replaced.is_some() || *error.esource() != ErrorSource::Upstream
    {
        return error;
    }
    match open::late() {
        Some(ExpiredTimeout::Silent) => {
            forwarding.pool.failed(place, Failure::Timeout);
            return error;
        }
        // It need not have been the server that took so long.
        Some(ExpiredTimeout::Whole) => return error,
        None => {}
    }
    let name = Arc::clone(place.name());
    let is_body_sent = session.body_bytes_read() > 0;
    let is_answered = forwarding.upstream_time.is_some();
    let method = &session.req_header().method;
    let was_closing = is_kept_connection && matches!(retry, RetryType::ReusedOnly);
    if !is_answered && !is_body_sent && (was_closing || is_unprocessed(&error)) {
        if was_closing && method.is_idempotent() {
            error.set_retry(true);
            return error.more_context(name.to_string());
        }
        if !was_closing && forwarding.pool.may_repeat(place, forwarding.tries, Retried::Refused) {
            error.set_retry(true);
            return error.more_context(name.to_string());
        }
    }
    let failure = match error.etype() {
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Failure::Timeout,
        _ => Failure::Broken,
    };
    forwarding.pool.failed(place, failure);
    error.more_context(name.to_string())
}

/// Whether the server says that it has not processed the request (RFC 9113 section 8.7).
fn is_unprocessed(error: &Error) -> bool {
    error.root_cause().downcast_ref::<h2::Error>().is_some_and(|error| {
        error.is_remote()
            && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

/// Records the head of an answer as the server's result; returns an error if the answer is requested again elsewhere.
pub(super) fn head_came(session: &Session, ctx: &mut Ctx, response: &ResponseHeader) -> Result<()> {
    let status = response.status;
    if status.is_informational() && !is_upgrade(status) {
        return Ok(());
    }
    let is_reading = matches!(session.req_header().method, Method::GET | Method::HEAD);
    let has_body = ctx.arrival.as_ref().is_some_and(|arrival| arrival.has_body);
    let Stage::Permitted(forwarding) = &mut ctx.stage else { return Ok(()) };
    let Some(place) = &forwarding.place else { return Ok(()) };
    if let Some(limits) = &forwarding.limits {
        open::a_part_came(limits);
    }
    let pool = &forwarding.pool;
    pool.answered(place, status);
    let is_asked_for = || pool.settings().retry.statuses.contains(&status.as_u16());
    if is_reading
        && !has_body
        && Failure::of(status).is_some()
        && is_asked_for()
        && pool.may_try_again(place, forwarding.tries, Retried::Status)
    {
        forwarding.is_asked_again = true;
        let mut error = Error::explain(ErrorType::HTTPStatus(status.as_u16()), "asked again");
        error.as_up();
        return Err(error);
    }
    Ok(())
}

/// Returns an error if the operator's own page replaces the service's error.
pub(super) fn replace_error(ctx: &mut Ctx, response: &ResponseHeader) -> Result<()> {
    if !response.status.is_server_error() {
        return Ok(());
    }
    let (Stage::Permitted(forwarding), Some(arrival)) = (&ctx.stage, &ctx.arrival) else {
        return Ok(());
    };
    if !matches!(forwarding.permit.passage(), Passage::Checked) {
        return Ok(());
    }
    let (pages, route) = (&ctx.generation.error_pages, forwarding.permit.route().index);
    match pages.in_place_of(response.status, route, arrival, &ctx.request_id) {
        None => Ok(()),
        Some(reply) => {
            ctx.replaced = Some(Box::new(reply));
            Err(Error::explain(REPLACED, "an error page stands in its place"))
        }
    }
}
