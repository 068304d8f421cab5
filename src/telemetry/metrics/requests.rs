//! Metrics of each request: the only ones that every request updates.
//!
//! `doorwarden_requests_total` has three labels, all closed: the destinations of requests, the usual seven methods and `OTHER`,
//! and the registered status codes and `other` (an upstream can send any number). Most combinations never happen, so they are
//! not created at the start; each is created when it first happens, and found by index from then on.

use std::sync::OnceLock;

use http::Method;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Result};

use super::Labels;
use super::family::{Families, OWN_SHARE, REQUEST};
use super::labels::{Label, MetricsByLabel};
use crate::config::OwnPath;
use crate::refusal::Refusal;
use crate::telemetry::record::{Decided, Destination, Record, UpstreamFailure};

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "OTHER"];

/// The status of a request whose client disconnected before an answer, as in nginx.
const CLIENT_GONE: u16 = 499;

/// IANA's registered status codes, and 499; sorted.
const CODES: [u16; 64] = [
    100,
    101,
    102,
    103,
    200,
    201,
    202,
    203,
    204,
    205,
    206,
    207,
    208,
    226,
    300,
    301,
    302,
    303,
    304,
    305,
    306,
    307,
    308,
    400,
    401,
    402,
    403,
    404,
    405,
    406,
    407,
    408,
    409,
    410,
    411,
    412,
    413,
    414,
    415,
    416,
    417,
    418,
    421,
    422,
    423,
    424,
    425,
    426,
    428,
    429,
    431,
    451,
    CLIENT_GONE,
    500,
    501,
    502,
    503,
    504,
    505,
    506,
    507,
    508,
    510,
    511,
];

#[derive(Debug)]
pub(super) struct RequestMetrics {
    total: IntCounterVec,
    duration: HistogramVec,
    upstream_duration: HistogramVec,
    upstream_errors: IntCounterVec,
    own: MetricsByLabel<OwnPath, PlaceMetrics>,
    nowhere: PlaceMetrics,
    own_share: Histogram,
    decisions: MetricsByLabel<Decided, IntCounter>,
    refusals: MetricsByLabel<Refusal, IntCounter>,
    spoofed_headers: IntCounter,
    refused_paths: IntCounter,
    maintenance: IntGaugeVec,
}

/// The metrics of one route, or of one own path.
#[derive(Debug)]
pub(super) struct PlaceMetrics {
    name: String,
    duration: Histogram,
    /// The counters by method and code.
    total: Vec<OnceLock<IntCounter>>,
}

/// The metrics of one upstream.
#[derive(Debug)]
pub(super) struct UpstreamMetrics {
    duration: Histogram,
    errors: MetricsByLabel<UpstreamFailure, IntCounter>,
}

impl RequestMetrics {
    pub(super) fn new(families: &Families<'_>) -> Result<Self> {
        let duration = families.histograms(
            "doorwarden_request_duration_seconds",
            "From a request's arrival to the last byte of its answer.",
            "route",
            REQUEST,
        )?;
        let upstream_duration = families.histograms(
            "doorwarden_upstream_duration_seconds",
            "From the choice of an upstream's server to the head of its answer.",
            "upstream",
            REQUEST,
        )?;
        let refusals = families.counters(
            "doorwarden_refusals_total",
            "Requests that were refused or failed, by the code in the answer and the reason behind it.",
            &["code", "reason"],
        )?;
        let upstream_errors = families.counters(
            "doorwarden_upstream_errors_total",
            "Calls to an upstream that failed.",
            &["upstream", "kind"],
        )?;
        Ok(Self {
            total: families.counters(
                "doorwarden_requests_total",
                "Completed requests.",
                &["route", "method", "code"],
            )?,
            own: MetricsByLabel::new(|own: OwnPath| PlaceMetrics::new(&duration, own.label())),
            nowhere: PlaceMetrics::new(&duration, "none"),
            duration,
            upstream_duration,
            upstream_errors,
            own_share: families.histogram(
                "doorwarden_gateway_duration_seconds",
                "The gateway's own share of a request's time, without waiting for client or upstream.",
                OWN_SHARE,
            )?,
            decisions: families.each_counter(
                "doorwarden_decisions_total",
                "Requests, by the gateway's decision.",
                "decision",
            )?,
            refusals: MetricsByLabel::new(|refusal: Refusal| {
                refusals.with_label_values(&[refusal.code(), refusal.reason()])
            }),
            spoofed_headers: families.counter(
                "doorwarden_spoofed_headers_removed_total",
                "Header fields removed because a client forged one of the gateway's.",
            )?,
            maintenance: families.gauges(
                "doorwarden_route_maintenance",
                "1 for a route that is down for maintenance.",
                &["route"],
            )?,
            refused_paths: families.counter(
                "doorwarden_refused_paths_total",
                "Requests refused because their target is ambiguous.",
            )?,
        })
    }

    /// Returns the metrics of the route with this name.
    pub(super) fn place(&self, name: &str) -> PlaceMetrics {
        PlaceMetrics::new(&self.duration, name)
    }

    /// Returns the gauges of routes in maintenance.
    pub(super) const fn maintenance(&self) -> &IntGaugeVec {
        &self.maintenance
    }

    /// Returns the metrics of the upstream with this name.
    pub(super) fn upstream(&self, name: &str) -> UpstreamMetrics {
        UpstreamMetrics {
            duration: self.upstream_duration.with_label_values(&[name]),
            errors: MetricsByLabel::new(|kind: UpstreamFailure| {
                self.upstream_errors.with_label_values(&[name, kind.label()])
            }),
        }
    }

    pub(super) fn observe(&self, record: &Record<'_>, labels: &Labels) {
        let place = match record.place {
            Destination::Route(route) => labels.routes.get(route).unwrap_or(&self.nowhere),
            Destination::Own(own) => self.own.of(own).unwrap_or(&self.nowhere),
            Destination::Nowhere => &self.nowhere,
        };
        place.duration.observe(record.duration.as_secs_f64());
        self.count(place, record.method, record.status);
        self.own_share.observe(record.own.as_secs_f64());
        self.decisions.inc(record.decision);
        if let Some(refusal) = record.refusal {
            self.refusals.inc(refusal);
            if refusal == Refusal::BadTarget {
                self.refused_paths.inc();
            }
        }
        if record.spoofed_headers > 0 {
            self.spoofed_headers.inc_by(u64::from(record.spoofed_headers));
        }
        if let Some(call) = &record.upstream
            && let Some(upstream) = labels.upstreams.get(call.upstream)
        {
            match call.failure {
                None => upstream.duration.observe(call.time.as_secs_f64()),
                Some(failure) => upstream.errors.inc(failure),
            }
        }
    }

    fn count(&self, place: &PlaceMetrics, method: &Method, status: Option<u16>) {
        let code = status.unwrap_or(CLIENT_GONE);
        let (method, code) = (method_index(method), code_index(code));
        let Some(slot) = place.total.get(method * (CODES.len() + 1) + code) else { return };
        let counter = slot.get_or_init(|| {
            let method = METHODS.get(method).copied().unwrap_or("OTHER");
            let code = CODES.get(code).map_or_else(|| "other".into(), u16::to_string);
            self.total.with_label_values(&[place.name.as_str(), method, &code])
        });
        counter.inc();
    }
}

impl PlaceMetrics {
    fn new(duration: &HistogramVec, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            duration: duration.with_label_values(&[name]),
            total: (0..METHODS.len() * (CODES.len() + 1)).map(|_| OnceLock::new()).collect(),
        }
    }
}

fn method_index(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::PATCH => 4,
        Method::DELETE => 5,
        Method::OPTIONS => 6,
        _ => 7,
    }
}

fn code_index(code: u16) -> usize {
    CODES.binary_search(&code).unwrap_or(CODES.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_has_the_place_of_its_name() {
        for (n, name) in METHODS.iter().enumerate() {
            assert_eq!(method_index(&name.parse().unwrap()), n);
        }
        assert_eq!(method_index(&"get".parse().unwrap()), 7);
        assert_eq!(method_index(&"PURGE".parse().unwrap()), 7);
    }

    #[test]
    fn codes_are_sorted_and_strange_ones_are_other() {
        assert!(CODES.is_sorted());
        assert_eq!(code_index(299), CODES.len());
        assert_eq!(CODES[code_index(404)], 404);
    }
}
