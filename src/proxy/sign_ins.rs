//! Sign-ins that the service itself answers (`[[sign_in.observe]]`), as they pass.

use std::sync::Arc;

use bytes::BytesMut;
use http::HeaderValue;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use super::body::{self, Within};
use super::service::Service;
use super::stage::{Ctx, Label, Watched};
use crate::auth::issuer::Followed;
use crate::auth::observe::Outcome;
use crate::auth::{Auth, SignInRefused};
use crate::clock::Timestamp;
use crate::config::{ObservedKind, Route};
use crate::event::What;
use crate::gate::{Denial, Passage, Permit};
use crate::refusal::Refusal;

impl Service {
    /// Looks at a request that is to be watched. A sign-in's body is read whole, into the buffer from which it goes on as it
    /// came, and counted before it is forwarded.
    pub(super) async fn watch(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        permit: &Permit,
        buffered: &mut Option<usize>,
    ) -> std::result::Result<Option<Watched>, SignInRefused> {
        let Some(arrival) = &ctx.arrival else { return Ok(None) };
        let path = arrival.target.path();
        let observed = ctx.generation.observed.iter().find(|one| one.is_of(&arrival.method, path));
        let Some(observed) = observed.filter(|_| matches!(permit.passage(), Passage::Checked))
        else {
            return Ok(None);
        };
        let observed = Arc::clone(observed);
        if observed.kind != ObservedKind::SignIn {
            return Ok(Some(Watched { observed, trying: None }));
        }
        let mut body = BytesMut::new();
        if arrival.has_body {
            let listen = &ctx.generation.listen;
            let limit = listen.max_own_body_bytes;
            let within = Within::All(listen.own_body_timeout);
            let see = |part: &[u8]| body.extend_from_slice(part);
            let (too_long, waited) = (Refusal::BodyTooLarge, &mut ctx.waited);
            match body::buffer(session, limit, within, too_long, waited, see).await {
                Ok(length) => *buffered = Some(length),
                Err(refusal) => return Err(SignInRefused { refusal, retry_after: None }),
            }
        }
        let content_type = arrival.headers.get(CONTENT_TYPE);
        let (client, at) = (arrival.client_ip(), ctx.at);
        let trying = ctx.generation.auth.sign_in_begins(
            &observed,
            content_type,
            &body,
            client,
            at,
            &mut ctx.happened,
        )?;
        Ok(Some(Watched { observed, trying: Some(trying) }))
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
        ctx.label = Label::Route(route);
        ctx.refusal = Some(denial.refusal);
        let mut reply =
            ctx.generation.endpoints.refuse(ctx.arrival.as_ref(), &ctx.request_id, &denial);
        if let Some(wait) = refused.retry_after {
            // Rounded up: whoever comes back on the second is not refused again.
            let seconds = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
            reply.headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        self.answer(session, ctx, reply).await
    }
}

/// A request that is watched has its answer. Did it sign the caller out?
pub(super) fn saw(
    auth: &Auth,
    watched: &mut Watched,
    followed: &Followed,
    response: &ResponseHeader,
    at: Timestamp,
    happened: &mut Vec<What>,
) -> bool {
    let Watched { observed, trying } = watched;
    let has_signed_in = followed.signed_in.is_some();
    let (status, headers) = (response.status, &response.headers);
    let outcome = Outcome::of(&observed.success, status, headers, has_signed_in, at);
    if let Some(trying) = trying.take() {
        auth.sign_in_ends(trying, outcome, followed.signed_in.clone(), happened);
    }
    match observed.kind {
        ObservedKind::SignOut if observed.success.is_empty() => {
            !status.is_client_error() && !status.is_server_error()
        }
        ObservedKind::SignOut => outcome == Outcome::Success,
        ObservedKind::SignIn | ObservedKind::SignUp => false,
    }
}
