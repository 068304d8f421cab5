//! Writes one line for each request, from its [`Record`], with the target `access`.
//!
//! Texts are passed to the log as strings and not by their `Display`, so that both formats escape what a client wrote. Absent
//! fields are omitted. If access lines are off (`log.access = false`), this costs one comparison.

use http::Version;

use super::metrics::Names;
use super::record::{Destination, Record};
use crate::caller::{IssuerName, SessionId};
use crate::wire::client_ip::ip_text;

/// Writes the line of one request.
pub(super) fn write(record: &Record<'_>, names: &Names) {
    let caller = record.caller.as_ref();
    let call = record.upstream.as_ref();
    tracing::info!(
        target: "access",
        at = record.at.to_string().as_str(),
        request_id = record.request_id,
        client = record.client.map(ip_text).as_deref(),
        protocol = protocol(record.protocol),
        scheme = record.scheme.as_str(),
        method = record.method.as_str(),
        host = record.host.map(ToString::to_string).as_deref(),
        path = record.path,
        route = place(record.place, names),
        decision = record.decision.name(),
        status = record.status,
        shadow = record.shadow.as_ref().map(|shadow| shadow.verdict.name()),
        refusal = record.refusal.map(|refusal| refusal.code()),
        reason = record.refusal.map(|refusal| refusal.reason()),
        user = caller.map(|caller| caller.user.to_string()).as_deref(),
        session = caller.and_then(|caller| caller.session).map(SessionId::as_str),
        proof = caller.map(|caller| caller.proof.name()),
        issuer = caller.and_then(|caller| caller.proof.issuer()).map(IssuerName::as_str),
        bytes_in = record.bytes_in,
        bytes_out = record.bytes_out,
        duration_us = micros(record.duration),
        own_us = micros(record.own),
        upstream = call.and_then(|call| names.upstreams.get(call.upstream)).map(String::as_str),
        upstream_server = call.and_then(|call| call.server.as_deref()),
        upstream_us = call.map(|call| micros(call.time)),
        upstream_failure = call.and_then(|call| call.failure).map(|failure| failure.name()),
        spoofed_headers = (record.spoofed_headers > 0).then_some(record.spoofed_headers),
    );
}

fn place(place: Destination, names: &Names) -> Option<&str> {
    match place {
        Destination::Route(route) => names.routes.get(route).map(String::as_str),
        Destination::Own(own) => Some(own.label()),
        Destination::Nowhere => None,
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "other",
    }
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
