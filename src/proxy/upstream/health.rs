//! Checks the health of servers (`[upstream.health]`), independently of requests.
//!
//! A check uses a connection of its own, made like those of requests: with the same TLS, the same version of HTTP, to the same
//! socket. An address whose checks fail `fall` times in a row gets no requests until `rise` of them succeed in a row.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::header::{CONTENT_TYPE, HOST, TE, USER_AGENT};
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::{Error, ErrorType, Result};

use super::Pool;
use super::endpoint::{Endpoint, millis, now};
use crate::config::{HealthCheck, HealthKind};

/// How often to see whether a check is due.
pub(in crate::proxy) const TICK: Duration = Duration::from_millis(100);

/// Makes the connections of checks.
pub(in crate::proxy) struct Checker(Connector);

impl Checker {
    pub(in crate::proxy) fn new() -> Arc<Self> {
        Arc::new(Self(Connector::new(None)))
    }

    async fn check(&self, endpoint: &Endpoint, check: &HealthCheck) -> Result<()> {
        let mut peer = endpoint.peer.clone();
        peer.options.connection_timeout = Some(check.timeout);
        peer.options.total_connection_timeout = Some(check.timeout);
        peer.options.read_timeout = Some(check.timeout);
        let host = match (&check.kind, peer.sni.as_str()) {
            (HealthKind::Http { host: Some(host), .. }, _) => host.clone(),
            (_, "") => match peer._address.as_inet() {
                Some(address) => address.to_string(),
                None => "localhost".to_owned(),
            },
            (_, name) => name.to_owned(),
        };
        // The connection is not kept: a kept connection would only show that the server was well when it was made.
        let (mut session, _) = self.0.get_http_session(&peer).await?;
        match &check.kind {
            HealthKind::Tcp => Ok(()),
            HealthKind::Http { path, .. } => {
                let mut request = RequestHeader::build("GET", path.as_bytes(), None)?;
                request.insert_header(HOST, host)?;
                request.insert_header(USER_AGENT, "doorwarden-health")?;
                send(&mut session, request, None).await?;
                match session.response_header().map(|head| head.status) {
                    Some(status) if status.is_success() => Ok(()),
                    status => no(format!("the answer is {status:?}")),
                }
            }
            HealthKind::Grpc { service } => {
                let path = b"/grpc.health.v1.Health/Check";
                let mut request = RequestHeader::build("POST", path, None)?;
                request.insert_header(HOST, host)?;
                request.insert_header(USER_AGENT, "doorwarden-health")?;
                request.insert_header(CONTENT_TYPE, "application/grpc")?;
                request.insert_header(TE, "trailers")?;
                send(&mut session, request, Some(question(service))).await?;
                let answer = session.read_response_body().await?.unwrap_or_default();
                // A message after the five bytes of prefix: `status` = SERVING (field 1, varint 1).
                match answer.get(5..) {
                    Some([0x08, 0x01, ..]) => Ok(()),
                    _ => no(format!("the answer is not SERVING: {answer:?}")),
                }
            }
        }
    }
}

/// Returns `HealthCheckRequest { service }` with its prefix. The name is short, so that its length takes one byte.
fn question(service: &str) -> Bytes {
    let name = service.as_bytes();
    let length = u8::try_from(name.len().min(100)).unwrap_or(0);
    let name = name.get(..usize::from(length)).unwrap_or_default();
    if name.is_empty() {
        return Bytes::from_static(&[0; 5]);
    }
    let mut message = vec![0, 0, 0, 0, length + 2, 0x0A, length];
    message.extend_from_slice(name);
    message.into()
}

async fn send(
    session: &mut HttpSession,
    mut request: RequestHeader,
    body: Option<Bytes>,
) -> Result<()> {
    if matches!(session, HttpSession::H2(_)) {
        // HTTP/2 has `:authority` in place of `Host`.
        let host = request.remove_header(&HOST);
        let host = host.as_ref().map_or("localhost", |host| host.to_str().unwrap_or("localhost"));
        let path = String::from_utf8_lossy(request.raw_path()).into_owned();
        let uri = http::Uri::builder().scheme("http").authority(host).path_and_query(path).build();
        match uri {
            Ok(uri) => request.set_uri(uri),
            Err(error) => {
                return Error::e_because(ErrorType::InternalError, "a check's URI", error);
            }
        }
        request.set_version(http::Version::HTTP_2);
    }
    session.write_request_header(Box::new(request)).await?;
    if let Some(body) = body {
        session.write_request_body(body, true).await?;
    } else {
        session.finish_request_body().await?;
    }
    session.read_response_header().await
}

fn no(why: String) -> Result<()> {
    Error::e_explain(ErrorType::Custom("UnwellServer"), why)
}

impl Pool {
    /// Checks all addresses, if a check is due.
    pub(in crate::proxy) async fn check_health(&self, checker: &Checker) {
        let Some(check) = &self.settings.health else { return };
        let now = now();
        if now < self.check_due.load(Ordering::Relaxed)
            || self.is_checking.swap(true, Ordering::Relaxed)
        {
            return;
        }
        self.check_due.store(now.saturating_add(millis(check.interval)), Ordering::Relaxed);
        let table = self.table.load_full();
        let checks = table.endpoints.iter().map(|endpoint| async move {
            let checked = tokio::time::timeout(check.timeout, checker.check(endpoint, check)).await;
            let problem = match checked {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("no answer in time".to_owned()),
            };
            let is_well = problem.is_none();
            let changes = endpoint.condition.checked(is_well, check.rise, check.fall);
            let (upstream, server) = (&self.settings.name, &endpoint.name);
            match (changes, problem) {
                (Some(false), Some(why)) => tracing::warn!(
                    %upstream, %server, state = "unwell", why,
                    "a server's health checks fail; it gets no requests"
                ),
                (Some(true), _) => tracing::info!(
                    %upstream, %server, state = "in_service", "a server's health checks pass again; it gets requests"
                ),
                _ => {}
            }
        });
        join_all(checks).await;
        self.is_checking.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_message_with_its_length() {
        assert_eq!(question(""), &b"\0\0\0\0\0"[..]);
        assert_eq!(question("a.B"), &b"\0\0\0\0\x05\x0A\x03a.B"[..]);
    }
}
