//! Turns the knowledge of the framework and of the stages about a request into the one [`Record`] that telemetry reads.

use std::net::IpAddr;
use std::sync::Arc;

use http::StatusCode;
use http::header::USER_AGENT;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType};

use super::convert;
use super::exchange::final_head;
use super::stage::{Ctx, RequestLabel};
use crate::caller::Known;
use crate::clock::Timestamp;
use crate::event::{Event, EventKind};
use crate::gate::Passage;
use crate::gate::shadow::{ServiceAnswer, compare};
use crate::refusal::Refusal;
use crate::secret::Digest;
use crate::telemetry::{
    ConnectionFailure, CountedConnection, Decided, Destination, Record, RecordedCaller, Shadowed,
    Telemetry, UpstreamCall, UpstreamFailure,
};
use crate::wire::scheme::Scheme;

/// The longest `User-Agent`; a longer one is cut.
const LONGEST_AGENT: usize = 256;

/// Reports requests and events to telemetry. Cheap to clone.
#[derive(Clone)]
pub struct Observer(Arc<Telemetry>);

impl Observer {
    /// Creates an observer that reports to this telemetry.
    pub const fn new(telemetry: Arc<Telemetry>) -> Self {
        Self(telemetry)
    }

    /// Reports that a request is over.
    pub(super) fn tell(&self, session: &Session, error: Option<&Error>, ctx: &Ctx) {
        let client = ctx.arrival.as_ref().map_or_else(|| convert::peer(session), |a| a.client_ip());
        let noted = ctx.arrival.as_ref().map(|arrival| arrival.events.take());
        let mut happened = noted.unwrap_or_default();
        if let Some(refusal) = ctx.refusal {
            let user = known(ctx).map(|known| known.identity.key.clone());
            happened.push(EventKind::Refused { refusal, user });
        }
        if let Some(path) = not_found(session, ctx) {
            happened.push(EventKind::NotFound { path });
        }
        let agent = (!happened.is_empty()).then(|| agent(ctx)).flatten();
        for what in happened {
            self.0.event(Event {
                at: ctx.at,
                request_id: Some(Arc::clone(&ctx.request_id)),
                client: Some(client),
                agent: agent.clone(),
                what,
            });
        }
        let request = session.req_header();
        let arrival = ctx.arrival.as_ref();
        let decision = match (ctx.forwarding(), &ctx.label, ctx.refusal) {
            (Some(forwarding), _, _) => match forwarding.permit.passage() {
                Passage::Checked => Decided::Forward,
                Passage::Unchecked(_) => Decided::Shadow,
            },
            (None, RequestLabel::None | RequestLabel::Route(_), Some(_)) => Decided::Refuse,
            // A preflight that was answered belongs to a route, or to nothing.
            (None, RequestLabel::Own(_) | RequestLabel::None | RequestLabel::Route(_), _) => {
                Decided::Serve
            }
        };
        let record = Record {
            at: ctx.at,
            request_id: &ctx.request_id,
            client: Some(client),
            protocol: request.version,
            scheme: arrival.map_or(Scheme::Http, |arrival| arrival.scheme),
            method: arrival.map_or(&request.method, |arrival| &arrival.method),
            host: arrival.map(|arrival| &arrival.host),
            path: arrival.map(|arrival| arrival.target.path().as_str()),
            place: match &ctx.label {
                RequestLabel::None => Destination::Nowhere,
                RequestLabel::Route(route) => Destination::Route(route.index),
                RequestLabel::Own(own) => Destination::Own(*own),
            },
            decision,
            status: final_head(session).map(|head| head.status.as_u16()),
            refusal: ctx.refusal,
            caller: caller(ctx),
            bytes_in: u64::try_from(session.body_bytes_read()).unwrap_or(u64::MAX),
            bytes_out: u64::try_from(session.body_bytes_sent()).unwrap_or(u64::MAX),
            duration: ctx.started.elapsed(),
            own: ctx.own_share,
            upstream: upstream_call(ctx, error),
            spoofed_headers: ctx.spoofed,
            shadow: shadowed(ctx),
        };
        self.0.request(&record, &ctx.generation.labels);
    }

    /// Reports events outside any client's request.
    pub(super) fn tell_background(&self, at: Timestamp, happened: Vec<EventKind>) {
        for what in happened {
            self.0.event(Event { at, request_id: None, client: None, agent: None, what });
        }
    }

    /// Counts a connection as open until the returned value is dropped.
    pub(super) fn connection(&self) -> CountedConnection {
        self.0.metrics().connection()
    }

    /// Reports that a connection failed. It is one line, at a level at which a port scan does not fill the disk.
    pub(super) fn connection_failed(
        &self,
        failure: ConnectionFailure,
        client: Option<IpAddr>,
        cause: &str,
    ) {
        self.0.metrics().connection_failed(failure);
        tracing::debug!(client = ?client, reason = failure.name(), cause, "a connection failed");
    }

    /// Reports the number of live sessions.
    pub(super) fn sessions_active(&self, active: u64) {
        self.0.metrics().sessions_active(active);
    }

    /// Returns the text of `/metrics`.
    pub(super) fn scrape(&self) -> Result<String, String> {
        self.0.scrape()
    }
}

/// Returns the user agent, for people who are notified of an event.
fn agent(ctx: &Ctx) -> Option<Arc<str>> {
    let agent = ctx.arrival.as_ref()?.header(USER_AGENT.as_str())?;
    Some(agent.get(..agent.floor_char_boundary(LONGEST_AGENT))?.into())
}

/// Returns a digest of the target, if it does not exist: no route or method takes it, or the service answers 404.
fn not_found(session: &Session, ctx: &Ctx) -> Option<Digest> {
    let is_missing = match (ctx.refusal, ctx.forwarding()) {
        (Some(refusal), _) => matches!(refusal, Refusal::NoRoute | Refusal::MethodNotAllowed),
        (None, Some(_)) => {
            final_head(session).is_some_and(|head| head.status == StatusCode::NOT_FOUND)
        }
        (None, None) => false,
    };
    let arrival = ctx.arrival.as_ref().filter(|_| is_missing)?;
    Some(Digest::of(arrival.target.path().to_string().as_bytes()))
}

/// Returns the caller whose credential was valid, whatever the outcome of the request.
fn known(ctx: &Ctx) -> Option<&Known> {
    let forwarded = ctx.forwarding().and_then(|forwarding| forwarding.permit.caller().known());
    forwarded.or(ctx.refused.as_ref())
}

fn caller(ctx: &Ctx) -> Option<RecordedCaller<'_>> {
    known(ctx).map(|known| RecordedCaller {
        user: &known.identity.key,
        session: known.session.as_ref(),
        proof: known.proof,
    })
}

fn shadowed(ctx: &Ctx) -> Option<Shadowed<'_>> {
    let forwarding = ctx.forwarding()?;
    match forwarding.permit.passage() {
        Passage::Checked => None,
        Passage::Unchecked(opinion) => Some(Shadowed {
            verdict: compare(opinion, forwarding.answer),
            refusal: opinion.refusal(),
            user: opinion.user(),
            status: forwarding.answer.map(|answer| ServiceAnswer::status(answer).as_u16()),
        }),
    }
}

fn upstream_call(ctx: &Ctx, error: Option<&Error>) -> Option<UpstreamCall> {
    let forwarding = ctx.forwarding()?;
    let asked = forwarding.asked?;
    let failure = error.filter(|error| *error.esource() == ErrorSource::Upstream).map(|error| {
        match error.etype() {
            ErrorType::ConnectTimedout
            | ErrorType::ConnectRefused
            | ErrorType::ConnectNoRoute
            | ErrorType::ConnectError => UpstreamFailure::Connect,
            ErrorType::ReadTimedout | ErrorType::WriteTimedout => UpstreamFailure::Timeout,
            _ if ctx.is_late => UpstreamFailure::Timeout,
            _ => UpstreamFailure::Broken,
        }
    });
    Some(UpstreamCall {
        upstream: forwarding.permit.route().upstream,
        server: forwarding.place.as_ref().map(|place| Arc::clone(place.name())),
        time: forwarding.upstream_time.unwrap_or_else(|| asked.elapsed()),
        failure,
    })
}
