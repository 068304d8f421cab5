//! The admin listener: `/live`, `/ready`, `/metrics`, the operator's page and API. It must never be on a public port.
//!
//! `/live` says that the process answers; `/ready` that the store can be read and the gateway is not stopping. Neither
//! reveals anything else, so neither requires the operator's token.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use http::{HeaderMap, Method, Response, StatusCode};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use tokio::sync::watch;

use super::explain::Explainer;
use super::generation::Current;
use super::observe::Observer;
use super::{admin_maintenance, admin_upstreams};
use crate::admin::reload::{Reload, Reloaded};
use crate::admin::{Operator, OperatorRequest};
use crate::clock::{Clock, Timestamp};
use crate::context::Events;
use crate::refusal::Refusal;
use crate::store::{SessionBy, Sessions};
use crate::wire::reply::Reply;

/// The most bytes of an operator's request body.
const MAX_BODY: usize = 16 * 1024;

/// The most bytes of a request to `/explain`: a head of the largest size, with its escapes.
const MAX_QUESTION: usize = 256 * 1024;

/// How long an operator's request body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves the admin listener.
pub(super) struct Admin {
    pub(super) operator: Operator,
    pub(super) current: Arc<Current>,
    pub(super) reload: Arc<dyn Reload>,
    pub(super) observer: Observer,
    pub(super) sessions: Arc<dyn Sessions>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) stop: watch::Receiver<bool>,
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let reply = self.answer(session).await;
        let mut response = Response::new(reply.body.to_vec());
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        let length = http::HeaderValue::from(response.body().len());
        response.headers_mut().insert(http::header::CONTENT_LENGTH, length);
        response
    }
}

impl Admin {
    async fn answer(&self, session: &mut ServerSession) -> Reply {
        let request = session.req_header().as_owned_parts();
        let reading = request.method == Method::GET || request.method == Method::HEAD;
        match request.uri.path() {
            "/live" if reading => text("live\n"),
            "/ready" if reading => self.ready().await,
            "/metrics" if reading => match self.observer.scrape() {
                Ok(text) => Reply::empty(StatusCode::OK)
                    .with_body("text/plain; version=0.0.4; charset=utf-8", text),
                Err(error) => {
                    tracing::error!(%error, "the metrics cannot be written");
                    Reply::refusal(Refusal::Internal, "")
                }
            },
            path => {
                let limit = if path == "/explain" { MAX_QUESTION } else { MAX_BODY };
                let body = match tokio::time::timeout(BODY_TIMEOUT, read_body(session, limit)).await
                {
                    Ok(Ok(body)) => body,
                    Ok(Err(refusal)) => return Reply::refusal(refusal, ""),
                    Err(_) => return Reply::refusal(Refusal::BodyTimeout, ""),
                };
                let at = self.clock.now();
                if path == "/explain" {
                    return self.explain(&request.method, &request.headers, &body, at).await;
                }
                if path == "/reload" {
                    return self.reload(&request.method, &request.headers).await;
                }
                if path == "/maintenance" {
                    if let Err(refusal) = self.operator.admit(&request.method, &request.headers, at)
                    {
                        return Reply::refusal(refusal, "");
                    }
                    let generation = self.current.load();
                    return admin_maintenance::serve(&generation, &request.method, &body);
                }
                if path == "/upstreams" || path.starts_with("/upstreams/") {
                    if let Err(refusal) = self.operator.admit(&request.method, &request.headers, at)
                    {
                        return Reply::refusal(refusal, "");
                    }
                    let generation = self.current.load();
                    let served = admin_upstreams::serve(&generation, &request.method, path, &body);
                    return served.unwrap_or_else(|| Reply::refusal(Refusal::NoRoute, ""));
                }
                let events = Events::default();
                let asked = OperatorRequest {
                    method: &request.method,
                    path,
                    query: request.uri.query().unwrap_or_default(),
                    headers: &request.headers,
                    body: &body,
                    at,
                    events: &events,
                };
                let issuers = Arc::clone(&self.current.load().issuers);
                if let Some(reply) = self.operator.serve_page(&asked, &issuers).await {
                    return reply;
                }
                let reply = self.operator.serve(&asked, &issuers).await;
                self.observer.tell_background(at, events.take());
                reply
            }
        }
    }

    /// Explains what would happen to a request. The request is not a real one, so nothing is reported about it.
    async fn explain(
        &self,
        method: &Method,
        headers: &HeaderMap,
        body: &[u8],
        at: Timestamp,
    ) -> Reply {
        if let Err(refusal) = self.operator.admit(method, headers, self.clock.now()) {
            return Reply::refusal(refusal, "");
        }
        if method != Method::POST {
            return Reply::refusal(Refusal::MethodNotAllowed, "");
        }
        match Explainer(self.current.load()).answer(body, at).await {
            Ok(explained) => Reply::json(StatusCode::OK, &explained),
            Err(refusal) => Reply::refusal(refusal, ""),
        }
    }

    /// Reads the configuration again.
    async fn reload(&self, method: &Method, headers: &HeaderMap) -> Reply {
        if let Err(refusal) = self.operator.admit(method, headers, self.clock.now()) {
            return Reply::refusal(refusal, "");
        }
        if method != Method::POST {
            return Reply::refusal(Refusal::MethodNotAllowed, "");
        }
        let reloaded = self.reload.reload().await;
        let status = match &reloaded {
            Reloaded { problems, .. } if problems.is_empty() => StatusCode::OK,
            Reloaded { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Reply::json(status, &reloaded.to_json())
    }

    /// Whether the store answers, and the gateway is not stopping.
    async fn ready(&self) -> Reply {
        let nobody = crate::caller::SessionId::new("");
        let asked = self.sessions.find(SessionBy::Id(&nobody), self.clock.now()).await;
        match asked {
            Ok(_) if !*self.stop.borrow() => text("ready\n"),
            Ok(_) => Reply::empty(StatusCode::SERVICE_UNAVAILABLE)
                .with_body("text/plain; charset=utf-8", "stopping\n"),
            Err(error) => {
                tracing::warn!(%error, "not ready");
                Reply::empty(StatusCode::SERVICE_UNAVAILABLE)
                    .with_body("text/plain; charset=utf-8", "the store does not answer\n")
            }
        }
    }
}

fn text(body: &'static str) -> Reply {
    Reply::empty(StatusCode::OK).with_body("text/plain; charset=utf-8", body)
}

async fn read_body(session: &mut ServerSession, limit: usize) -> Result<BytesMut, Refusal> {
    let mut body = BytesMut::new();
    while let Some(part) = session.read_request_body().await.map_err(|_| Refusal::BadFraming)? {
        if body.len() + part.len() > limit {
            return Err(Refusal::BodyTooLarge);
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}
