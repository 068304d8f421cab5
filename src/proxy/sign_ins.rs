//! Observes sign-ins that the service itself answers (`[[sign_in.observe]]`).

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use super::body::{self, BodyTimeout};
use super::service::ProxyService;
use super::stage::{BodyReading, Ctx, RequestLabel, Stage, WatchedSignIn};
use crate::config::{ObservedKind, Route};
use crate::context::Events;
use crate::gate::{Denial, Passage, Permit};
use crate::issuer::{AnswerOutcome, AnswerRecipient, Issuers};
use crate::refusal::Refusal;
use crate::session::SignInRefused;
use crate::session::observe::ObservedOutcome;
use crate::wire::arrival::Arrival;

/// The longest answer whose tokens are read.
const LONGEST_ANSWER: usize = 64 * 1024;

impl ProxyService {
    /// Prepares a request that is to be observed. The body of a sign-in is read completely, into the buffer from which
    /// it is forwarded unchanged, and the attempt is counted before it is forwarded.
    pub(super) async fn watch(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        permit: &Permit,
        buffered: &mut Option<usize>,
    ) -> std::result::Result<Option<WatchedSignIn>, SignInRefused> {
        let Some(arrival) = &ctx.arrival else { return Ok(None) };
        let path = arrival.target.path();
        let observed = ctx.generation.observed.iter().find(|one| one.is_of(&arrival.method, path));
        let Some(observed) = observed.filter(|_| matches!(permit.passage(), Passage::Checked))
        else {
            return Ok(None);
        };
        let observed = Arc::clone(observed);
        let watched = |observed, trying, presented| WatchedSignIn {
            observed,
            trying,
            presented,
            reading: None,
        };
        if !matches!(observed.kind, ObservedKind::SignIn | ObservedKind::Refresh) {
            return Ok(Some(watched(observed, None, None)));
        }
        let mut body = BytesMut::new();
        if arrival.has_body {
            let listen = &ctx.generation.listen;
            let limit = listen.max_body_bytes;
            let within = BodyTimeout::All(listen.own_body_timeout);
            let see = |part: &[u8]| body.extend_from_slice(part);
            let (too_long, waited) = (Refusal::BodyTooLarge, &mut ctx.waited);
            match body::buffer(session, limit, within, too_long, waited, see).await {
                Ok(length) => *buffered = Some(length),
                Err(refusal) => return Err(refusal.into()),
            }
        }
        let content_type = arrival.headers.get(CONTENT_TYPE);
        if let (ObservedKind::Refresh, Some(issuer)) = (observed.kind, observed.tokens) {
            let issuers = &ctx.generation.issuers;
            let begun =
                issuers.refresh_begins(issuer, content_type, &body, &arrival.context()).await;
            return match begun {
                Ok(presented) => Ok(Some(watched(observed, None, presented))),
                Err(refusal) => Err(refusal.into()),
            };
        }
        let sessions = ctx.generation.sessions();
        let trying = sessions
            .observed_sign_ins()
            .begin(&observed, content_type, &body, &arrival.context())
            .await?;
        Ok(Some(watched(observed, Some(trying), None)))
    }

    /// Reads a part of an answer.
    pub(super) fn read_on(&self, ctx: &mut Ctx, part: Option<&Bytes>, is_last: bool) {
        let Stage::Permitted(forwarding) = &mut ctx.stage else { return };
        let Some(watched) = &mut forwarding.watched else { return };
        let Some(reading) = &mut watched.reading else { return };
        let part = part.map_or(&[][..], |part| part);
        if reading.body.len().saturating_add(part.len()) > LONGEST_ANSWER {
            watched.reading = None;
            tracing::warn!("an answer is too long for its tokens to be read");
            return;
        }
        reading.body.extend_from_slice(part);
        if !is_last {
            return;
        }
        let (Some(reading), Some(issuer), Some(arrival)) =
            (watched.reading.take(), watched.observed.tokens, &ctx.arrival)
        else {
            return;
        };
        let to = AnswerRecipient {
            issuer,
            upstream: forwarding.permit.route().upstream,
            client: arrival.client_ip(),
            agent: arrival.header("user-agent").unwrap_or_default(),
            request_id: &arrival.request_id,
            // The tokens are younger than the request.
            at: self.clock.now(),
        };
        let at = to.at;
        let content_type = Some(&reading.content_type);
        let issuers = Arc::clone(&ctx.generation.issuers);
        let given = issuers.tokens_given(to, watched.presented, content_type, &reading.body);
        let Some(adopting) = given else { return };
        let observer = self.observer.clone();
        tokio::spawn(async move {
            let events = Events::default();
            issuers.adopt_given(adopting, &events).await;
            observer.tell_background(at, events.take());
        });
    }

    /// Answers a sign-in that is not forwarded.
    pub(super) async fn refuse_sign_in(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        route: Arc<Route>,
        refused: SignInRefused,
    ) -> Result<bool> {
        let denial = Denial::new(refused.refusal, Some(Arc::clone(&route)));
        ctx.label = RequestLabel::Route(route);
        ctx.refusal = Some(denial.refusal);
        let mut reply =
            ctx.generation.endpoints.refuse(ctx.arrival.as_ref(), &ctx.request_id, &denial);
        if let Some(wait) = refused.retry_after {
            // Rounded up, so that a client that comes back on the second is not refused again.
            let seconds = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
            reply.headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        self.answer(session, ctx, reply).await
    }
}

/// Handles the answer to an observed request, and returns whether it signed the caller out.
pub(super) fn saw(
    issuers: &Issuers,
    watched: &mut WatchedSignIn,
    followed: &AnswerOutcome,
    response: &ResponseHeader,
    arrival: &Arrival,
) -> bool {
    let WatchedSignIn { observed, trying, .. } = watched;
    let has_signed_in = followed.signed_in.is_some();
    let (status, headers) = (response.status, &response.headers);
    let outcome =
        ObservedOutcome::of(&observed.success, status, headers, has_signed_in, arrival.at);
    if let Some(trying) = trying.take() {
        let signed_in = followed.signed_in.clone();
        issuers.sessions().observed_sign_ins().end(trying, outcome, signed_in, &arrival.events);
    }
    match observed.kind {
        ObservedKind::SignOut if observed.success.is_empty() => {
            !status.is_client_error() && !status.is_server_error()
        }
        ObservedKind::SignOut => outcome == ObservedOutcome::Success,
        ObservedKind::SignIn | ObservedKind::SignUp | ObservedKind::Refresh => false,
    }
}

/// Begins to read an answer that contains tokens, while it goes on to the client.
pub(super) fn begin_reading(watched: &mut WatchedSignIn, response: &ResponseHeader) {
    let headers = &response.headers;
    let is_plain = headers
        .get(CONTENT_ENCODING)
        .is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let fits = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok())
        .is_none_or(|length: usize| length <= LONGEST_ANSWER);
    if let Some(content_type) = headers.get(CONTENT_TYPE)
        && watched.observed.tokens.is_some()
        && response.status.is_success()
        && is_plain
        && fits
    {
        let content_type = content_type.clone();
        watched.reading = Some(BodyReading { content_type, body: BytesMut::new() });
    }
}
