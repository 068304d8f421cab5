//! What is known of a request while it passes through the framework's phases.

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

/// Where a request stands. Forwarding asks for [`Stage::Permitted`]; in any other stage it is an error, never a default.
pub(super) enum Stage {
    /// Nothing is decided.
    Arrived,
    /// The gate let it pass.
    Permitted(Box<ForwardPlan>),
    /// It was answered here: by an own path, by a refusal, or after its upstream failed.
    Answered(Option<Box<ForwardPlan>>),
}

/// All that forwarding needs.
pub(super) struct ForwardPlan {
    /// The proof.
    pub(super) permit: Permit,
    /// What its identity forms give.
    pub(super) given: FormIdentity,
    /// The servers of the route's upstream.
    pub(super) pool: Arc<Pool>,
    /// A chunked body that was read whole: its length.
    pub(super) buffered: Option<usize>,
    /// Tries so far.
    pub(super) tries: usize,
    /// The servers of those that failed.
    pub(super) tried: Vec<Arc<str>>,
    /// Where it was tried last.
    pub(super) place: Option<Place>,
    /// Its answer is asked for again elsewhere.
    pub(super) is_asked_again: bool,
    /// When the connection to the upstream was asked for.
    pub(super) asked: Option<Instant>,
    /// A request that is watched (`[[sign_in.observe]]`): what it does, and a sign-in that is not settled.
    pub(super) watched: Option<WatchedSignIn>,
    /// Until the head of its answer was seen: it may be changing its caller's password.
    pub(super) under_way: Option<UnderWay>,
    /// What the service answered, on a shadowed route.
    pub(super) answer: Option<ServiceAnswer>,
    /// When the head of the answer arrived, counted from `asked`.
    pub(super) upstream_time: Option<Duration>,
    /// The times of its route, if that says any.
    pub(super) limits: Option<ServiceTimes>,
}

/// A request by which the service signs somebody in, up or out.
pub(super) struct WatchedSignIn {
    pub(super) observed: Arc<Observed>,
    pub(super) trying: Option<Trying>,
    /// The refresh token that it brought.
    pub(super) presented: Option<PresentedRefresh>,
    /// The answer's body so far, where tokens are in it.
    pub(super) reading: Option<BodyReading>,
}

/// A body that is read while it goes on.
pub(super) struct BodyReading {
    pub(super) content_type: HeaderValue,
    pub(super) body: BytesMut,
}

impl ForwardPlan {
    /// Does the route let WebSockets through?
    pub(super) fn lets_websockets_through(&self) -> bool {
        match self.permit.passage() {
            Passage::Checked => self.permit.route().websocket,
            Passage::Unchecked(_) => true,
        }
    }
}

/// One request's context.
pub(super) struct Ctx {
    /// The configuration by which it is decided from its arrival to its end, whatever is read meanwhile.
    pub(super) generation: Arc<Generation>,
    pub(super) stage: Stage,
    /// The request as read; none if its head was refused.
    pub(super) arrival: Option<Arrival>,
    pub(super) started: Instant,
    pub(super) at: Timestamp,
    pub(super) request_id: Arc<str>,
    pub(super) refusal: Option<Refusal>,
    /// Who was refused, if their credential was good.
    pub(super) refused: Option<Known>,
    /// The name of the route, or the own path.
    pub(super) label: RequestLabel,
    /// Time that was spent in our own code.
    pub(super) own_share: Duration,
    /// Time that a client took for its body or for an answer of our own, while our code waited.
    pub(super) waited: Duration,
    /// Identity headers that the client sent.
    pub(super) spoofed: u32,
    /// What is left to its caller under the limits of its route.
    pub(super) quotas: Vec<Quota>,
    /// Its route's time was over.
    pub(super) is_late: bool,
    /// What is answered in place of the service's error.
    pub(super) replaced: Option<Box<Reply>>,
    /// How many more bytes of its body may be forwarded.
    pub(super) body_left: u64,
    /// The connection to the upstream that is this client's alone, if there is one.
    pub(super) connection: Option<BoundConnection>,
    /// How many sessions had ended when it arrived.
    pub(super) ends: u64,
    /// Its place among what is open, if it has a session.
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

    /// The forwarding that took place, whatever came of it.
    pub(super) fn forwarding(&self) -> Option<&ForwardPlan> {
        match &self.stage {
            Stage::Permitted(forwarding) | Stage::Answered(Some(forwarding)) => Some(forwarding),
            Stage::Arrived | Stage::Answered(None) => None,
        }
    }

    /// All of its answer was read from there.
    pub(super) fn leaves_its_server(&mut self) {
        if let Stage::Permitted(forwarding) | Stage::Answered(Some(forwarding)) = &mut self.stage {
            forwarding.place = None;
        }
    }

    /// An answer of our own was given.
    pub(super) fn answered(&mut self) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Arrived) {
            Stage::Permitted(forwarding) => Stage::Answered(Some(forwarding)),
            Stage::Answered(forwarding) => Stage::Answered(forwarding),
            Stage::Arrived => Stage::Answered(None),
        };
    }
}

/// What a request is counted under.
#[derive(Clone, Debug)]
pub(super) enum RequestLabel {
    /// Nothing was found, or the head was refused.
    None,
    /// A route.
    Route(Arc<crate::config::Route>),
    /// An own path.
    Own(crate::config::OwnPath),
}
