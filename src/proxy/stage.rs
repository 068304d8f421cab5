//! The state of a request while it passes through the framework's phases.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::HeaderValue;

use super::bound::BoundConnection;
use super::deadline::ServiceTimes;
use super::generation::Generation;
use super::in_flight::Counted;
use super::open::Registered;
use super::upstream::{Place, Pool};
use crate::caller::Known;
use crate::clock::Timestamp;
use crate::config::Observed;
use crate::gate::rate_limit::Quota;
use crate::gate::shadow::ServiceAnswer;
use crate::gate::{Passage, Permit};
use crate::identity::forms::FormIdentity;
use crate::issuer::PresentedRefresh;
use crate::refusal::Refusal;
use crate::session::UnderWay;
use crate::session::observe::Trying;
use crate::wire::arrival::Arrival;
use crate::wire::reply::Reply;

/// The stage of a request. Forwarding requires [`Stage::Permitted`]; any other stage is an error, never a default.
pub(super) enum Stage {
    /// Nothing is decided yet.
    Arrived,
    /// The gate let the request pass.
    Permitted(Box<ForwardPlan>),
    /// The request was answered here: by an own path, by a refusal, or after its upstream failed.
    Answered(Option<Box<ForwardPlan>>),
}

/// The data that forwarding needs.
pub(super) struct ForwardPlan {
    /// The proof that the request may pass.
    pub(super) permit: Permit,
    /// The fields that its identity forms set.
    pub(super) given: FormIdentity,
    /// The servers of the route's upstream.
    pub(super) pool: Arc<Pool>,
    /// The length of a chunked body that was read completely.
    pub(super) buffered: Option<usize>,
    /// The number of tries so far.
    pub(super) tries: usize,
    /// The servers of the tries that failed.
    pub(super) tried: Vec<Arc<str>>,
    /// The server of the last try.
    pub(super) place: Option<Place>,
    /// Whether its answer is requested again from another server.
    pub(super) is_asked_again: bool,
    /// When the connection to the upstream was requested.
    pub(super) asked: Option<Instant>,
    /// The observation of a request (`[[sign_in.observe]]`): its kind, and the attempt that is not settled yet.
    pub(super) watched: Option<WatchedSignIn>,
    /// Marks a request that may be changing its caller's password, until the head of its answer has come.
    pub(super) under_way: Option<UnderWay>,
    /// The service's answer, on a shadowed route.
    pub(super) answer: Option<ServiceAnswer>,
    /// How long the head of the answer took, counted from `asked`.
    pub(super) upstream_time: Option<Duration>,
    /// The timeouts of its route, if it sets any.
    pub(super) limits: Option<ServiceTimes>,
}

/// A request by which the service signs somebody in, up or out.
pub(super) struct WatchedSignIn {
    pub(super) observed: Arc<Observed>,
    pub(super) trying: Option<Trying>,
    /// The refresh token in the request.
    pub(super) presented: Option<PresentedRefresh>,
    /// The answer's body so far, if it contains tokens.
    pub(super) reading: Option<BodyReading>,
}

/// A body that is read while it is forwarded.
pub(super) struct BodyReading {
    pub(super) content_type: HeaderValue,
    pub(super) body: BytesMut,
}

impl ForwardPlan {
    /// Whether the route lets WebSockets through.
    pub(super) fn lets_websockets_through(&self) -> bool {
        match self.permit.passage() {
            Passage::Checked => self.permit.route().websocket,
            Passage::Unchecked(_) => true,
        }
    }
}

/// The context of one request.
pub(super) struct Ctx {
    /// The configuration that decides about it from its arrival to its end, whatever is loaded meanwhile.
    pub(super) generation: Arc<Generation>,
    pub(super) stage: Stage,
    /// The parsed request; `None` if its head was refused.
    pub(super) arrival: Option<Arrival>,
    pub(super) started: Instant,
    pub(super) at: Timestamp,
    pub(super) request_id: Arc<str>,
    pub(super) refusal: Option<Refusal>,
    /// The refused caller, if their credential was valid.
    pub(super) refused: Option<Known>,
    /// The route or own path that the request is counted under.
    pub(super) label: RequestLabel,
    /// The time that was spent in the gateway's own code.
    pub(super) own_share: Duration,
    /// The time that a client took for its body or for an answer of the gateway, while that code waited.
    pub(super) waited: Duration,
    /// The number of identity headers that the client sent.
    pub(super) spoofed: u32,
    /// The caller's quotas under the limits of its route.
    pub(super) quotas: Vec<Quota>,
    /// Whether a timeout of its route expired.
    pub(super) is_late: bool,
    /// The reply that replaces the service's error.
    pub(super) replaced: Option<Box<Reply>>,
    /// How many more bytes of its body may be forwarded.
    pub(super) body_left: u64,
    /// The upstream connection that belongs to this client alone, if there is one.
    pub(super) connection: Option<BoundConnection>,
    /// The number of sessions that had ended when it arrived.
    pub(super) ends: u64,
    /// Its entry in the register of open exchanges, if it has one.
    pub(super) open: Option<Registered>,
    /// Counts this request among those in flight until it is dropped.
    pub(super) _in_flight: Counted,
}

impl Ctx {
    pub(super) fn new(
        generation: Arc<Generation>,
        at: Timestamp,
        request_id: Arc<str>,
        ends: u64,
        in_flight: Counted,
    ) -> Self {
        Self {
            generation,
            stage: Stage::Arrived,
            arrival: None,
            started: Instant::now(),
            at,
            request_id,
            refusal: None,
            refused: None,
            label: RequestLabel::None,
            own_share: Duration::ZERO,
            waited: Duration::ZERO,
            spoofed: 0,
            quotas: Vec::new(),
            is_late: false,
            replaced: None,
            body_left: u64::MAX,
            connection: None,
            ends,
            open: None,
            _in_flight: in_flight,
        }
    }

    /// Whether this is a WebSocket handshake on a route that lets them through.
    pub(super) fn passes_websocket(&self) -> bool {
        match &self.stage {
            Stage::Permitted(forwarding) => {
                forwarding.lets_websockets_through()
                    && self.arrival.as_ref().is_some_and(|arrival| arrival.websocket)
            }
            Stage::Arrived | Stage::Answered(_) => false,
        }
    }

    /// Returns the forwarding that took place, whatever its result.
    pub(super) fn forwarding(&self) -> Option<&ForwardPlan> {
        match &self.stage {
            Stage::Permitted(forwarding) | Stage::Answered(Some(forwarding)) => Some(forwarding),
            Stage::Arrived | Stage::Answered(None) => None,
        }
    }

    /// Gives its place at the server back: the whole answer was read from there.
    pub(super) fn leaves_its_server(&mut self) {
        if let Stage::Permitted(forwarding) | Stage::Answered(Some(forwarding)) = &mut self.stage {
            forwarding.place = None;
        }
    }

    /// Records that the gateway itself gave the answer.
    pub(super) fn answered(&mut self) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Arrived) {
            Stage::Permitted(forwarding) => Stage::Answered(Some(forwarding)),
            Stage::Answered(forwarding) => Stage::Answered(forwarding),
            Stage::Arrived => Stage::Answered(None),
        };
    }
}

/// The label that a request is counted under.
#[derive(Clone, Debug)]
pub(super) enum RequestLabel {
    /// No route was found, or the head was refused.
    None,
    /// A route.
    Route(Arc<crate::config::Route>),
    /// An own path.
    Own(crate::config::OwnPath),
}
