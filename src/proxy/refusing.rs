//! Answers refusals, and holds forms whose caller has to authenticate again first: the body is read and stored
//! (`endpoint::held`).

use std::sync::Arc;

use http::header::CONTENT_LENGTH;
use pingora::Result;
use pingora::proxy::Session;

use super::body;
use super::service::ProxyService;
use super::stage::{Ctx, RequestLabel};
use crate::endpoint::LONGEST_HELD;
use crate::gate::Denial;

impl ProxyService {
    /// Answers a refusal.
    pub(super) async fn refuse(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        denial: Denial,
    ) -> Result<bool> {
        if let Some(route) = &denial.route {
            ctx.label = RequestLabel::Route(Arc::clone(route));
        }
        ctx.refusal = Some(denial.refusal);
        ctx.refused.clone_from(&denial.caller);
        let reply = ctx.generation.endpoints.refuse(ctx.arrival.as_ref(), &ctx.request_id, &denial);
        let route = match &ctx.label {
            RequestLabel::Route(route) => Some(route.index),
            RequestLabel::None | RequestLabel::Own(_) => None,
        };
        let facts = (denial.refusal.code(), &*ctx.request_id);
        let pages = &ctx.generation.error_pages;
        let reply = pages.dress(reply, route, ctx.arrival.as_ref(), facts);
        self.answer(session, ctx, reply).await
    }

    /// Refuses, or stores the posted form and asks for authentication.
    pub(super) async fn hold_or_refuse(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        denial: Denial,
    ) -> Result<bool> {
        let endpoints = &ctx.generation.endpoints;
        let can_hold = ctx.arrival.as_ref().is_some_and(|arrival| {
            let length = arrival.header(CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
            length.is_some_and(|length: usize| length <= LONGEST_HELD)
                && endpoints.can_hold(arrival, &denial)
        });
        if !can_hold {
            return self.refuse(session, ctx, denial).await;
        }
        let within = ctx.generation.listen.own_body_timeout;
        let body = match body::read(session, LONGEST_HELD, within, &mut ctx.waited).await {
            Ok(body) => body,
            Err(refusal) => {
                return self.refuse(session, ctx, Denial::new(refusal, denial.route)).await;
            }
        };
        let held = match &ctx.arrival {
            Some(arrival) => ctx.generation.endpoints.hold(arrival, &denial, &body).await,
            None => None,
        };
        let Some(served) = held else { return self.refuse(session, ctx, denial).await };
        if let Some(route) = denial.route {
            ctx.label = RequestLabel::Route(route);
        }
        ctx.refusal = Some(denial.refusal);
        self.answer(session, ctx, served.reply).await
    }
}
