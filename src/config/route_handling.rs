//! Reads how a route's requests are handled: how long its service may take, how much a client may send, which `Host` the
//! service gets, and the changes to header sections (`header_edits`).

use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderValue;

use super::guard::{self, MaintenanceSettings, RateLimit};
use super::header_edits::{self, HeaderEdits};
use super::raw::{RawItem, RawTable, Wrong, duration_text};
use super::units::{DAY, TIMEOUT};
use super::{HttpVersion, Upstream};
use crate::wire::forward::ProtectedNames;
use crate::wire::host::Host;

/// The part of `[[route]]` about how its requests are handled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteHandling {
    /// `[route.timeouts]`
    pub timeouts: RouteTimeouts,
    /// The most bytes of a request's body (413); none: no limit.
    pub max_body_bytes: Option<u64>,
    /// The `Host` that the service gets.
    pub host: ServiceHost,
    /// `[route.request_headers]`
    pub request_headers: HeaderEdits,
    /// `[route.response_headers]`
    pub response_headers: HeaderEdits,
    /// `[[route.rate_limit]]`
    pub rate_limits: Vec<RateLimit>,
    /// `[route.maintenance]`
    pub maintenance: MaintenanceSettings,
}

/// `[route.timeouts]`: how long a route's service may take, where that differs from the upstream's settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteTimeouts {
    /// The longest time until a connection is made.
    pub connect: Option<Duration>,
    /// The longest time until the head of the answer arrives.
    pub first_byte: Option<Duration>,
    /// The longest time between two parts of the answer.
    pub between_bytes: Option<Duration>,
    /// The longest time from the request's arrival to the last byte of its answer.
    pub total: Option<Duration>,
}

/// `route.host`: the `Host` that the service gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ServiceHost {
    /// The host that the client asked for.
    #[default]
    Preserve,
    /// The server's own host, as in the upstream.
    Server,
    /// This host.
    Fixed(HeaderValue),
}

/// The range of body sizes: what can be uploaded in a minute may be large, and in an hour larger.
const BODY: RangeInclusive<u64> = 1 << 10..=1 << 40;
const TOTAL: RangeInclusive<Duration> = *TIMEOUT.start()..=DAY;

/// Reads the handling for a route to this upstream.
pub(super) fn read(
    table: &RawTable<'_>,
    upstream: Option<&RawItem<Upstream>>,
    protected: &ProtectedNames,
) -> RouteHandling {
    let upstream = upstream.map(|upstream| &upstream.value);
    let max_body_bytes = table.size("max_body_bytes", BODY);
    RouteHandling {
        timeouts: table.table("timeouts", |table| timeouts(table, upstream)),
        max_body_bytes: max_body_bytes.and_then(|bytes| u64::try_from(bytes).ok()),
        host: table.text("host", host).unwrap_or_default(),
        request_headers: table
            .table("request_headers", |table| header_edits::of_requests(table, protected)),
        response_headers: table
            .table("response_headers", |table| header_edits::of_responses(table, protected)),
        rate_limits: guard::rate_limits(table),
        maintenance: table.table("maintenance", guard::maintenance),
    }
}

/// Reads `[route.timeouts]`.
fn timeouts(table: &RawTable<'_>, upstream: Option<&Upstream>) -> RouteTimeouts {
    let timeouts = RouteTimeouts {
        connect: table.duration("connect", TIMEOUT),
        first_byte: table.duration("first_byte", TIMEOUT),
        between_bytes: table.duration("between_bytes", TOTAL),
        total: table.duration("total", TOTAL),
    };
    let Some(upstream) = upstream else { return timeouts };
    let (first_byte, between_bytes) = timeouts.reads(upstream);
    if upstream.http != HttpVersion::One && first_byte < between_bytes {
        let (first, between) = (duration_text(first_byte), duration_text(between_bytes));
        let key = if table.has("first_byte") { "first_byte" } else { "between_bytes" };
        table.error(
            key,
            Wrong::new(format!(
                "over HTTP/2 the first byte ({first}) has no less time than those after it ({between})"
            ))
            .help("give both the longer time; gRPC's clients say in each call how long it may take"),
        );
    }
    if let Some(total) = timeouts.total.filter(|total| *total < first_byte)
        && table.has("first_byte")
    {
        let total = duration_text(total);
        table.warn(
            "first_byte",
            Wrong::new(format!("is longer than route.timeouts.total ({total})")),
        );
    }
    timeouts
}

impl RouteTimeouts {
    /// Returns how long the first byte of an answer may take, and each part after it.
    pub fn reads(&self, upstream: &Upstream) -> (Duration, Duration) {
        let of = |own: Option<Duration>| own.unwrap_or(upstream.read_timeout);
        (of(self.first_byte), of(self.between_bytes))
    }
}

fn host(text: &str) -> Result<ServiceHost, Wrong> {
    const ALLOWED: &str = "allowed: \"preserve\", \"upstream\", or a host like \"app.internal\"";
    match text {
        "preserve" => return Ok(ServiceHost::Preserve),
        "upstream" => return Ok(ServiceHost::Server),
        _ => {}
    }
    let host = Host::parse(text.as_bytes()).ok().map(|host| host.to_string());
    let value = host.and_then(|host| HeaderValue::try_from(host).ok());
    let wrong = || Wrong::new(format!("{text:?} is no host")).help(ALLOWED);
    value.map(ServiceHost::Fixed).ok_or_else(wrong)
}
