//! Measures parsing and editing of a request's head.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{BatchSize, Criterion};
use doorwarden::wire::client_ip::{ClientAddress, TrustedProxies};
use doorwarden::wire::cookie;
use doorwarden::wire::forward::{
    Forwarding, ProtectedNames, connection_nominates, forwarding_headers, strip_request,
};
use doorwarden::wire::framing::{HeadLimits, Methods, check_head};
use doorwarden::wire::host::Host;
use doorwarden::wire::path::{Target, Tolerance};
use doorwarden::wire::scheme::Scheme;
use http::{HeaderName, HeaderValue};

use crate::request;

/// The identity headers of the default configuration.
const IDENTITY: [&str; 4] = ["x-user-id", "x-user-name", "x-user-groups", "x-session-id"];

/// Measures the check of the bytes of a head.
pub(crate) fn framing(criterion: &mut Criterion) {
    let head = request::head();
    let limits = HeadLimits { head_bytes: 32 * 1024, headers: 100, target_bytes: 8 * 1024 };
    let methods = Methods::default();
    check_head(&head, &limits, &methods).expect("the request is sound");
    criterion.bench_function("framing check", |bencher| {
        bencher.iter(|| check_head(black_box(&head), &limits, &methods));
    });
}

/// Measures the canonical form of the path.
pub(crate) fn target(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("target");
    for (name, target) in [("plain", "/api/v1/articles/42/"), ("escapes, query", request::TARGET)] {
        Target::parse(target, Tolerance::NONE).expect("the target has one reading");
        group.bench_function(name, |bencher| {
            bencher.iter(|| Target::parse(black_box(target), Tolerance::NONE));
        });
    }
    group.bench_function("refused", |bencher| {
        bencher.iter(|| Target::parse(black_box("/api/v1/..%2fadmin/"), Tolerance::NONE));
    });
}

/// Measures reading the session cookie from among others.
pub(crate) fn cookie(criterion: &mut Criterion) {
    let headers = request::headers();
    criterion.bench_function("cookie read", |bencher| {
        bencher.iter(|| cookie::read(black_box(&headers), request::COOKIE));
    });
    criterion.bench_function("cookie strip", |bencher| {
        bencher.iter(|| cookie::strip(black_box(&headers), &[request::COOKIE]));
    });
}

/// Measures removing and adding header fields on the way to the upstream.
pub(crate) fn headers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("headers");
    let clean = request::headers();
    let mut spoofed = clean.clone();
    for name in ["x-user-id", "x_user_id", "x-forwarded-for"] {
        spoofed.append(HeaderName::from_static(name), HeaderValue::from_static("1"));
    }
    let protected = ProtectedNames::new(IDENTITY);
    group.bench_function("nominated", |bencher| {
        bencher.iter(|| connection_nominates(black_box(&clean), &protected));
    });
    for (name, headers) in [("strip", &clean), ("strip, spoofed", &spoofed)] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || headers.clone(),
                |headers| strip_request(headers, &protected, &[], false),
                BatchSize::SmallInput,
            );
        });
    }
    let peer = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
    let client = ClientAddress::resolve(peer, &TrustedProxies::default(), &clean);
    let host = Host::parse("app.example.com").unwrap();
    let forwarding = Forwarding {
        client: &client,
        scheme: Scheme::Https,
        host: &host,
        request_id: "7f3a9c0d51e2b684-00000042",
    };
    group.bench_function("forwarding", |bencher| {
        bencher.iter_batched_ref(
            || clean.clone(),
            |headers| forwarding_headers(headers, &protected, &forwarding),
            BatchSize::SmallInput,
        );
    });
}
