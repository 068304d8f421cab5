//! Decides about a request from its head: asks the gate, answers what the gateway answers itself, and prepares the rest
//! for its upstream.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::STRICT_TRANSPORT_SECURITY;
use http::{HeaderMap, HeaderName, Method, Version};
use pingora::Result;
use pingora::protocols::http::HttpTask;
use pingora::proxy::Session;

use super::body::{self, BodyTimeout};
use super::convert::{self, ConnectionInfo};
use super::deadline::ServiceTimes;
use super::exchange::{bound_connection, chunked, is_refused_tunnel, orders};
use super::service::ProxyService;
use super::stage::{Ctx, ForwardPlan, RequestLabel, Stage};
use super::{guard, trying, unread};
use crate::caller::{Caller, Proof};
use crate::event::EndReason;
use crate::gate::{Decision, Denial, Passage, Permit};
use crate::refusal::Refusal;
use crate::store::SessionSelection;
use crate::wire::reply::Reply;

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl ProxyService {
    /// Reads the head, decides, and answers if the gateway is to answer. Returns whether it was answered.
    pub(super) async fn arrive(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let came = ConnectionInfo::of(session);
        let arrival = match convert::arrival(
            session,
            came,
            &ctx.generation.head,
            ctx.at,
            &ctx.request_id,
        ) {
            Ok(arrival) => arrival,
            Err(unread) => {
                tracing::debug!(request_id = %ctx.request_id, why = unread.why, "a request's head is refused");
                if unread.ends_connection {
                    session.set_keepalive(None);
                    if let Some(orders) = orders(session) {
                        orders.broken();
                    }
                }
                let denial = Denial::new(unread.refusal, None);
                return self.refuse(session, ctx, denial).await;
            }
        };
        ctx.request_id = Arc::clone(&arrival.request_id);
        if convert::asks_about_the_server(session.req_header()) {
            return self.answer(session, ctx, ctx.generation.endpoints.about_the_server()).await;
        }
        // It is stored from here on: whatever the decision, the events are reported at the end.
        let arrival = ctx.arrival.insert(arrival);
        let decision = ctx.generation.gate.decide(arrival).await;
        let guard = &ctx.generation.guard;
        if let Some(denial) = guard::keeps(guard, &mut ctx.quotas, arrival, &decision) {
            return self.refuse(session, ctx, denial).await;
        }
        match decision {
            Decision::Forward(permit) | Decision::Shadow(permit) => {
                let endpoints = &ctx.generation.endpoints;
                match endpoints.sends_held(arrival, permit.caller()).await {
                    Some(Ok(target)) => arrival.target = target,
                    Some(Err(served)) => {
                        ctx.label = RequestLabel::Route(Arc::clone(permit.route()));
                        ctx.refusal = served.refusal;
                        return self.answer(session, ctx, served.reply).await;
                    }
                    None => {}
                }
                self.permit(session, ctx, permit).await
            }
            Decision::Serve(own) => {
                ctx.label = RequestLabel::Own(own.own);
                let posted = arrival.method == Method::POST && arrival.has_body;
                let body = if posted {
                    let listen = &ctx.generation.listen;
                    let limit = body::own_limit(listen, own.own, &arrival.headers);
                    let within = listen.own_body_timeout;
                    match body::read(session, limit, within, &mut ctx.waited).await {
                        Ok(body) => body,
                        Err(refusal) => {
                            return self.refuse(session, ctx, Denial::new(refusal, None)).await;
                        }
                    }
                } else {
                    Bytes::new()
                };
                let served = ctx.generation.endpoints.serve(&own, arrival, body).await;
                ctx.refusal = served.refusal;
                self.answer(session, ctx, served.reply).await
            }
            Decision::Preflight(methods) => {
                let reply = ctx.generation.endpoints.cors().preflight(arrival, &methods);
                self.answer(session, ctx, reply).await
            }
            Decision::Refuse(denial) => self.hold_or_refuse(session, ctx, denial).await,
        }
    }

    /// Prepares the request for its upstream.
    pub(super) async fn permit(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        permit: Permit,
    ) -> Result<bool> {
        let route = Arc::clone(permit.route());
        ctx.label = RequestLabel::Route(Arc::clone(&route));
        let Some(pool) = ctx.generation.pools.get(route.upstream).map(Arc::clone) else {
            return self.refuse(session, ctx, Denial::new(Refusal::Internal, Some(route))).await;
        };
        if trying::is_too_old(session, &pool) {
            let denial = Denial::new(Refusal::HttpVersion, Some(route));
            return self.refuse(session, ctx, denial).await;
        }
        let unchanged = matches!(permit.passage(), Passage::Unchecked(_));
        let most = route.handling.max_body_bytes.filter(|_| !unchanged);
        let announced = most.and_then(|_| unread::announced(session));
        if most.zip(announced).is_some_and(|(most, length)| length as u64 > most) {
            let denial = Denial::new(Refusal::BodyTooLarge, Some(route));
            return self.refuse(session, ctx, denial).await;
        }
        let none = HeaderMap::new();
        let headers = ctx.arrival.as_ref().map_or(&none, |arrival| &arrival.headers);
        let given =
            match ctx.generation.edit.forms.give(permit.caller(), &route, headers, ctx.at).await {
                Ok(given) => given,
                Err(refusal) => {
                    let mut denial = Denial::new(refusal, Some(route));
                    if refusal == Refusal::SessionEnded {
                        // The service has ended its session, or the user is gone, so the gateway's session ends too.
                        let had_cookie = self.end(permit.caller(), ctx).await;
                        denial.dead_cookie = had_cookie.then_some(Proof::SessionCookie);
                    }
                    return self.refuse(session, ctx, denial).await;
                }
            };
        ctx.connection = bound_connection(session, ctx.arrival.as_ref());
        let settings = pool.settings();
        let mut buffered = None;
        let watched = match self.watch(session, ctx, &permit, &mut buffered).await {
            Ok(watched) => watched,
            Err(refused) => return self.refuse_sign_in(session, ctx, route, refused).await,
        };
        if settings.buffer_chunked
            && !unchanged
            && buffered.is_none()
            && chunked(session, ctx.arrival.as_ref())
        {
            let within = BodyTimeout::EachPart(ctx.generation.listen.read_timeout);
            let most = most.and_then(|most| usize::try_from(most).ok());
            let (limit, too_long) = match most.filter(|most| *most <= settings.buffer_limit) {
                Some(most) => (most, Refusal::BodyTooLarge),
                None => (settings.buffer_limit, Refusal::LengthRequired),
            };
            let waited = &mut ctx.waited;
            match body::buffer(session, limit, within, too_long, waited, |_| {}).await {
                Ok(length) => buffered = Some(length),
                Err(refusal) => {
                    return self.refuse(session, ctx, Denial::new(refusal, Some(route))).await;
                }
            }
        }
        let (websocket_timeout, times) = (settings.websocket_timeout, &route.handling.timeouts);
        let limits = ServiceTimes::of(times, settings, ctx.started);
        let session_id = permit.caller().known().and_then(|known| known.session.as_ref());
        ctx.enter(&permit, &self.exchanges).await;
        let under_way = session_id
            .zip(ctx.arrival.as_ref())
            .filter(|_| !unchanged)
            .and_then(|(id, arrival)| ctx.generation.sessions().goes(id, &arrival.method, ctx.at));
        ctx.stage = Stage::Permitted(Box::new(ForwardPlan {
            permit,
            given,
            pool,
            buffered,
            tries: 0,
            tried: Vec::new(),
            place: None,
            is_asked_again: false,
            asked: None,
            answer: None,
            upstream_time: None,
            watched,
            under_way,
            limits,
        }));
        if ctx.passes_websocket() {
            // A WebSocket may be silent for long; without this it would be cut like a stalled request.
            session.set_read_timeout(Some(websocket_timeout));
        }
        Ok(false)
    }

    /// Ends the session of a caller, and returns whether the caller sent its cookie.
    pub(super) async fn end(&self, caller: &Caller, ctx: &Ctx) -> bool {
        let (Some(known), Some(arrival)) = (caller.known(), &ctx.arrival) else { return false };
        let Some(session) = &known.session else { return false };
        if known.proof == Proof::PersonalToken {
            // A program that signs out at the service keeps its token.
            return false;
        }
        let which = SessionSelection::Session(session.clone());
        // A store failure is reported by the store itself; the next request ends the session.
        let sessions = ctx.generation.sessions();
        let _ = sessions.end(&which, EndReason::SignedOut, ctx.at, &arrival.events).await;
        known.proof == Proof::SessionCookie
    }

    /// Prepares the head of a final answer, which says whether it is the connection's last (RFC 9112 section 9.6): it is if
    /// the gateway stops, and after a refused upgrade, because bytes that the client may have sent already are not a request.
    pub(super) fn final_answer(&self, session: &mut Session) {
        if *self.stopping.borrow() || is_refused_tunnel(session) {
            session.set_keepalive(None);
        }
        if let Some(orders) = orders(session) {
            orders.answered();
        }
    }

    /// Writes a reply of the gateway.
    pub(super) async fn answer(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        mut reply: Reply,
    ) -> Result<bool> {
        ctx.answered();
        // This also applies to a head that could not be parsed: a front end that may read answers can then show the problem.
        ctx.generation.endpoints.cors().decorate(&session.req_header().headers, &mut reply.headers);
        if let Ok(id) = http::HeaderValue::from_str(&ctx.request_id) {
            reply.headers.insert(&X_REQUEST_ID, id);
        }
        guard::tell(&ctx.quotas, &mut reply.headers);
        if let Some(hsts) = ctx.generation.hsts.as_ref().filter(|_| convert::is_tls(session)) {
            reply.headers.insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        let head = convert::response_head(&mut reply);
        self.final_answer(session);
        let begun = Instant::now();
        if ctx.refusal != Some(Refusal::BodyTimeout) {
            unread::read_rest(session).await;
        }
        let bodiless = reply.body.is_empty() || session.req_header().method == Method::HEAD;
        if bodiless && session.req_header().version == Version::HTTP_2 {
            // The stream ends with the head: gRPC clients take an empty frame after it for an error.
            session.write_response_tasks(vec![HttpTask::Header(Box::new(head), true)]).await?;
        } else {
            session.write_response_header(Box::new(head), bodiless).await?;
            if !bodiless {
                session.write_response_body(Some(reply.body), true).await?;
            }
        }
        ctx.waited += begun.elapsed();
        Ok(true)
    }
}
