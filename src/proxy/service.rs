//! Handles one request in the framework's phases.
//!
//! | phase | what happens |
//! |---|---|
//! | `request_filter` | the head is read, the gate decides; own paths and refusals are answered |
//! | `upstream_peer` | a server of the permit's upstream is chosen; without a permit, an error |
//! | `upstream_request_filter` | the upstream's request is made: removed headers, forwarding headers, identity, path |
//! | `upstream_response_filter` | the client's answer is made: removed headers, CORS |
//! | `fail_to_proxy` | an error becomes a refusal with the gateway's body |
//! | `logging` | the outcome is reported once, to metrics, log, audit trail and detectors |

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{EXPECT, LOCATION, SET_COOKIE, STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, Result};
use tokio::sync::{Semaphore, watch};

use super::connection::head_is_read;
use super::convert::{self, Edited};
use super::exchange::{
    final_head, follows, held_back, is_interim, is_upgrade, keep, orders, refusal_of, refused,
    whose,
};
use super::generation::Current;
use super::observe::Observer;
use super::open::OpenExchanges;
use super::sign_ins::{begin_reading, saw};
use super::stage::{Ctx, Stage};
use super::{edit, guard, open, request_id::RequestIds, trying, unread};
use crate::clock::Clock;
use crate::gate::{Denial, Passage};
use crate::identity::forms::FormOutcome;
use crate::issuer::{AnswerOutcome, FollowedAnswer};
use crate::refusal::Refusal;
use crate::wire::cookie;
use crate::wire::forward::{self, EditHeaders};

/// The proxy service. The rules for a request are in the generation that it began with.
pub(super) struct ProxyService {
    pub(super) current: Arc<Current>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: RequestIds,
    pub(super) observer: Observer,
    pub(super) exchanges: Arc<OpenExchanges>,
    /// The places for clients that still send after their answer.
    pub(super) lingering: Arc<Semaphore>,
    pub(super) in_flight: Arc<super::in_flight::InFlight>,
    pub(super) stopping: watch::Receiver<bool>,
}

#[async_trait]
impl ProxyHttp for ProxyService {
    type CTX = Box<Ctx>; // the framework moves it from one of its futures into the next

    fn new_ctx(&self) -> Self::CTX {
        let (ends, in_flight) = (self.exchanges.ends(), self.in_flight.begin());
        let generation = self.current.load();
        Box::new(Ctx::new(generation, self.clock.now(), self.ids.next(), ends, in_flight))
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<bool> {
        head_is_read();
        let begun = Instant::now();
        // The version and `Connection` decide whether the connection stays open (RFC 9112 section 9.3); only its time is
        // limited.
        if session.get_keepalive().is_some() {
            session.set_keepalive(Some(ctx.generation.listen.keepalive_timeout.as_secs().max(1)));
        }
        session.set_read_timeout(Some(ctx.generation.listen.read_timeout));
        session.set_write_timeout(Some(ctx.generation.listen.write_timeout));
        if session.req_header().version == Version::HTTP_10 {
            // HTTP/1.0 clients get no interim answer (RFC 9110 section 15.2), and cannot ask for one (section 10.1.1).
            session.set_ignore_info_resp(true);
            session.req_header_mut().remove_header(&EXPECT);
        }
        if let Some(orders) = orders(session) {
            orders.follows(follows(session));
        }
        // A panic becomes a refusal, and nothing is forwarded after it.
        let answered = AssertUnwindSafe(self.arrive(session, ctx)).catch_unwind().await;
        let answered = match answered {
            Ok(answered) => answered,
            Err(_) => {
                tracing::error!(request_id = %ctx.request_id, "a panic occurred while a request was decided");
                self.refuse(session, ctx, Denial::new(Refusal::Internal, None)).await
            }
        };
        ctx.own_share += begun.elapsed().saturating_sub(ctx.waited);
        answered
    }

    async fn upstream_peer(&self, s: &mut Session, ctx: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        trying::choose_server(s, ctx).await
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        ctx: &mut Self::CTX,
        error: Box<Error>,
    ) -> Box<Error> {
        trying::not_connected(ctx, error)
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Self::CTX,
        is_kept_connection: bool,
    ) -> Box<Error> {
        trying::broke(session, ctx, error, is_kept_connection)
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        let begun = Instant::now();
        let (Stage::Permitted(forwarding), Some(arrival)) = (&ctx.stage, &ctx.arrival) else {
            return Err(refused(ctx, Refusal::Internal, "forwarding without a permit"));
        };
        let edited = ctx.generation.edit.request(request, arrival, forwarding);
        ctx.own_share += begun.elapsed();
        match edited {
            Ok(spoofed) => {
                ctx.spoofed = spoofed;
                Ok(())
            }
            Err(refusal) => Err(refused(ctx, refusal, "the upstream's request cannot be made")),
        }
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        let begun = Instant::now();
        trying::head_came(session, ctx, response)?;
        trying::replace_error(ctx, response)?;
        let (mut ended, mut followed) = (false, AnswerOutcome::default());
        // The `Connection` field of an upgrade nominates `Upgrade`, and both are for the client.
        if !is_upgrade(response.status) {
            let status = response.status;
            forward::strip_hop_by_hop(&mut Edited(response), status).map_err(|_| {
                refused(ctx, Refusal::UpstreamUnavailable, "the answer has no single length")
            })?;
        }
        if let (Stage::Permitted(forwarding), Some(arrival)) = (&mut ctx.stage, &ctx.arrival) {
            if !response.status.is_informational() {
                forwarding.upstream_time =
                    forwarding.asked.map(|asked| begun.duration_since(asked));
            }
            if let Passage::Unchecked(_) = forwarding.permit.passage() {
                if !response.status.is_informational() || is_upgrade(response.status) {
                    let location = response.headers.get(LOCATION).map(HeaderValue::as_bytes);
                    forwarding.answer =
                        Some(ctx.generation.gate.read_answer(response.status, location));
                }
                ctx.generation.edit.unchanged_response(response, arrival, forwarding);
                ctx.own_share += begun.elapsed();
                return Ok(());
            }
            let is_interim = is_interim(response);
            let held = |answer| held_back(&ctx.generation, arrival, &forwarding.permit, answer);
            if !is_interim && let Some((refusal, why)) = held(response) {
                return Err(refused(ctx, refusal, why));
            }
            let caller = forwarding.permit.caller();
            let given = &forwarding.given;
            // This comes before the client gets the answer, because its next request may follow at once.
            let (status, headers) = (response.status, &response.headers);
            let counts = !is_interim;
            if counts && headers.contains_key(SET_COOKIE) {
                let names: Vec<&str> = given.cookies.iter().map(|cookie| &*cookie.name).collect();
                let answer = FollowedAnswer {
                    arrival,
                    caller,
                    upstream: forwarding.permit.route().upstream,
                    given: &names,
                    headers,
                    at: ctx.at,
                };
                followed = Box::pin(ctx.generation.issuers.follow(answer)).await;
            }
            if !followed.replaced {
                match ctx
                    .generation
                    .edit
                    .forms
                    .answered(caller, given, status, headers, ctx.at)
                    .await
                {
                    FormOutcome::GoesOn => {}
                    FormOutcome::Proved(mark) => {
                        if let Some(session) = caller.known().and_then(|k| k.session.as_ref()) {
                            ctx.generation.sessions().password_proved(session, mark, ctx.at).await;
                        }
                    }
                    FormOutcome::Ended => ended = true,
                }
            }
            if counts {
                forwarding.under_way = None;
            }
            if let Some(watched) = forwarding.watched.as_mut().filter(|_| counts) {
                let issuers = &ctx.generation.issuers;
                ended |= saw(issuers, watched, &followed, response, arrival);
                begin_reading(watched, response);
            }
            ctx.generation.edit.response(response, arrival, forwarding, &followed);
            if !forwarding.permit.route().forward_preflight {
                ctx.generation.endpoints.cors().decorate(&arrival.headers, &mut Edited(response));
            }
            if let Some(hsts) = ctx.generation.hsts.as_ref().filter(|_| convert::is_tls(session))
                && !response.status.is_informational()
                && !response.headers.contains_key(STRICT_TRANSPORT_SECURITY)
            {
                response.insert_header(STRICT_TRANSPORT_SECURITY, hsts.clone())?;
            }
            if counts {
                guard::tell(&ctx.quotas, &mut Edited(response));
                let edits = &forwarding.permit.route().handling.response_headers;
                let known = forwarding.permit.caller().known();
                edit::apply(edits, known, &mut Edited(response));
            }
        }
        if ended && let Some(forwarding) = ctx.forwarding() {
            // The service signed the caller out, and so does the gateway.
            if self.end(forwarding.permit.caller(), ctx).await
                && let Some(arrival) = &ctx.arrival
            {
                for removal in ctx.generation.endpoints.cookie_removals(arrival) {
                    Edited(response).append(SET_COOKIE, removal);
                }
            }
        }
        if followed.replaced
            && let Some(arrival) = &ctx.arrival
        {
            for removal in ctx.generation.endpoints.cookie_removals(arrival) {
                // Under one of the gateway's names the service's own cookie is set now.
                if !followed.passes.iter().any(|name| cookie::sets_cookie(&removal, name)) {
                    Edited(response).append(SET_COOKIE, removal);
                }
            }
        }
        ctx.own_share += begun.elapsed();
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        let length = body.as_ref().map_or(0, |part| part.len() as u64);
        match ctx.body_left.checked_sub(length) {
            Some(left) => ctx.body_left = left,
            None => return Err(refused(ctx, Refusal::BodyTooLarge, "the body is too large")),
        }
        // The framework would write an empty last part as a chunk of size zero, and then the last chunk: the upstream
        // takes the second one for the start of a request, which is another client's (RFC 9112 section 7.1).
        if end_of_stream && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        Ok(())
    }

    fn upstream_response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        self.read_on(ctx, body.as_ref(), end_of_stream);
        if let Some(limits) = ctx.forwarding().and_then(|forwarding| forwarding.limits.as_ref()) {
            open::a_part_came(limits);
        }
        Ok(None)
    }

    fn upstream_response_trailer_filter(
        &self,
        _: &mut Session,
        trailers: &mut HeaderMap,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        edit::strip_trailers(trailers, &ctx.generation.edit.protected);
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        let status = response.status;
        if is_upgrade(status) {
            if let Some(orders) = orders(session) {
                orders.tunnel();
            }
            return Ok(());
        }
        if status.is_informational() {
            return Ok(());
        }
        ctx.answers(status, &response.headers, &self.exchanges);
        self.final_answer(session);
        // HTTP/1.0 has no chunks (RFC 9112 section 6.1): the end of the connection ends the body.
        if session.req_header().version == Version::HTTP_10
            && response.remove_header(&TRANSFER_ENCODING).is_some()
        {
            session.set_keepalive(None);
        }
        Ok(())
    }

    fn request_summary(&self, session: &Session, ctx: &Self::CTX) -> String {
        // The framework's own summary contains the query, where people put tokens.
        format!("{} {}", session.req_header().method, ctx.request_id)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Self::CTX,
    ) -> FailToProxy {
        if let Some(reply) = ctx.replaced.take() {
            let status = reply.status.as_u16();
            match self.answer(session, ctx, *reply).await {
                Ok(_) => keep(session),
                Err(error) => {
                    tracing::debug!(request_id = %ctx.request_id, %error, "the client is gone");
                }
            }
            return FailToProxy { error_code: status, can_reuse_downstream: false };
        }
        let late = open::late();
        open::set_clock(None);
        ctx.is_late = late.is_some();
        let late = late.map(|_| Refusal::UpstreamTimeout);
        let refusal = ctx.refusal.or(late).or_else(|| refusal_of(session, error));
        if let Stage::Permitted(forwarding) = &mut ctx.stage
            && let Some(trying) = forwarding.watched.as_mut().and_then(|w| w.trying.take())
            && refusal.is_some()
        {
            // No password was judged. A client who leaves before the answer has used up the attempt.
            trying.take_back();
        }
        if let Some(refusal) = refusal {
            ctx.refusal = Some(refusal);
            if final_head(session).is_none() {
                let denial = Denial { caller: whose(refusal, ctx), ..Denial::new(refusal, None) };
                match self.refuse(session, ctx, denial).await {
                    Ok(_) => keep(session),
                    Err(error) => {
                        tracing::debug!(request_id = %ctx.request_id, %error, "the client is gone");
                    }
                }
            }
        }
        let code = refusal.map_or(0, |refusal| refusal.status().as_u16());
        FailToProxy { error_code: code, can_reuse_downstream: false }
    }

    fn suppress_error_log(&self, _: &Session, ctx: &Self::CTX, error: &Error) -> bool {
        // The access log records it, with the refusal's code. A client that goes away is not an error of the gateway.
        ctx.refusal.is_some()
            || *error.esource() == ErrorSource::Downstream
            || error.etype() == &trying::REPLACED
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Self::CTX) {
        self.observer.tell(session, error, ctx);
        if ctx.forwarding().is_some_and(|forwarding| forwarding.limits.is_some()) {
            open::set_clock(None);
        }
        ctx.leaves_its_server();
        // The framework drops the session after this, even if the client still sends.
        let is_whole = error.is_none() || matches!(ctx.stage, Stage::Answered(_));
        if is_whole && final_head(session).is_some() {
            let window =
                usize::try_from(ctx.generation.listen.http2_stream_window).unwrap_or(usize::MAX);
            unread::read_on(session, &self.lingering, window).await;
        }
    }
}
