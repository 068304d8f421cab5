//! Compares the registry with the golden file and the documentation, and tests what each call changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use prometheus::proto::MetricType;

use super::*;
use crate::caller::{AuthMethods, SessionId, UserKey};
use crate::clock::Timestamp;
use crate::gate::shadow::ShadowVerdict;
use crate::refusal::Refusal;
use crate::telemetry::record::{Decided, Destination, Shadowed, UpstreamCall, UpstreamFailure};
use crate::telemetry::testing::{names, record};
use crate::wire::host::Host;

/// Returns the metrics, and the labels of one configuration, which is served.
fn metrics() -> (Metrics, Labels) {
    of(names())
}

fn of(names: Names) -> (Metrics, Labels) {
    let metrics = Metrics::new().unwrap();
    let labels = metrics.labels(names);
    metrics.directory("django");
    metrics.channels(["mail"]);
    metrics.serves(1, &labels);
    (metrics, labels)
}

fn event(what: EventKind) -> Event {
    Event { at: Timestamp::from_secs(1), request_id: None, client: None, agent: None, what }
}

/// Returns the value of one sample line.
fn sample(metrics: &Metrics, name: &str) -> Option<f64> {
    let text = metrics.render().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

#[track_caller]
fn assert_counts(metrics: &Metrics, samples: &[(&str, f64)]) {
    for (name, value) in samples {
        assert_eq!(sample(metrics, name), Some(*value), "{name}");
    }
}

/// Returns `name type label=value|value ...` for each family.
fn families(metrics: &Metrics) -> BTreeMap<String, (&'static str, String)> {
    let describe = |family: prometheus::proto::MetricFamily| {
        let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for label in family.get_metric().iter().flat_map(|metric| metric.get_label()) {
            labels.entry(label.name().into()).or_default().insert(label.value().into());
        }
        let mut text = String::new();
        for (label, values) in labels {
            let values = Vec::from_iter(values).join("|");
            write!(text, " {label}={values}").unwrap();
        }
        let kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::GAUGE => "gauge",
            MetricType::HISTOGRAM => "histogram",
            MetricType::SUMMARY | MetricType::UNTYPED => "other",
        };
        (family.name().to_owned(), (kind, text))
    };
    metrics.registry.gather().into_iter().map(describe).collect()
}

/// Returns metrics after one request, because those children are created when they first happen.
fn used() -> Metrics {
    let (metrics, labels) = metrics();
    metrics.request(&record(), &labels);
    let server = &labels.servers_of(0)[0];
    for state in ["in_service", "ejected", "unwell", "drained"] {
        server.stands(state, 1);
    }
    server.in_flight(1);
    metrics
}

#[test]
fn names_types_and_closed_labels_are_those_of_the_golden_file() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/metrics.txt");
    let mut now = String::new();
    for (name, (kind, labels)) in families(&used()) {
        // The version is the one label value that changes with every release.
        let labels = labels.replace(env!("CARGO_PKG_VERSION"), "VERSION");
        writeln!(now, "{name} {kind}{labels}").unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(now, golden, "operators rely on these names; if the change is meant, change {path}");
}

#[test]
fn the_documentation_has_a_row_for_each_and_no_other() {
    let text = include_str!("../../../docs/metrics.md");
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|');
        let name = cells.next()?.trim_end_matches(['`', ' ']).to_owned();
        let kind = cells.next()?.trim().to_owned();
        let labels = cells.next()?.split([',', ' ', '`']);
        let labels: BTreeSet<_> = labels.filter(|l| !l.is_empty()).map(str::to_owned).collect();
        Some((name, (kind, labels)))
    });
    let documented: BTreeMap<_, _> = rows.collect();
    let label_names = |labels: &str| {
        labels.split(' ').filter_map(|l| Some(l.split_once('=')?.0.to_owned())).collect()
    };
    let registered: BTreeMap<_, (String, BTreeSet<String>)> = families(&used())
        .into_iter()
        .map(|(name, (kind, labels))| (name, (kind.to_owned(), label_names(&labels))))
        .collect();
    assert_eq!(documented, registered);
}

#[test]
fn what_matters_to_security_is_there_at_0_before_anything_happened() {
    let (metrics, _) = metrics();
    for detector in DetectorName::ALL {
        for taken in TakenAction::ALL {
            let (detector, action) = (detector.name(), taken.name());
            let labels = format!("action=\"{action}\",detector=\"{detector}\"");
            assert_counts(
                &metrics,
                &[(&format!("doorwarden_abnormal_access_total{{{labels}}}"), 0.0)],
            );
        }
    }
    for refusal in Refusal::ALL {
        let labels = format!("code=\"{}\",reason=\"{}\"", refusal.code(), refusal.reason());
        let name = format!("doorwarden_refusals_total{{{labels}}}");
        assert_counts(&metrics, &[(&name, 0.0)]);
    }
    for result in
        ["rotated", "replayed_in_grace", "kept", "reuse", "expired", "unknown", "session_ended"]
    {
        let name = format!("doorwarden_refreshes_total{{result=\"{result}\"}}");
        assert_counts(&metrics, &[(&name, 0.0)]);
    }
    for why in EndReason::ALL {
        let name = format!("doorwarden_sessions_ended_total{{reason=\"{}\"}}", why.name());
        assert_counts(&metrics, &[(&name, 0.0)]);
    }
    assert_counts(
        &metrics,
        &[
            ("doorwarden_signins_total{result=\"success\"}", 0.0),
            ("doorwarden_signins_total{result=\"locked_out\"}", 0.0),
            ("doorwarden_spoofed_headers_removed_total", 0.0),
            ("doorwarden_refused_paths_total", 0.0),
            ("doorwarden_events_dropped_total", 0.0),
            ("doorwarden_upstream_errors_total{kind=\"connect\",upstream=\"django\"}", 0.0),
            ("doorwarden_store_errors_total{operation=\"rotate\"}", 0.0),
            ("doorwarden_directory_errors_total{directory=\"django\"}", 0.0),
        ],
    );
}

#[test]
fn a_forwarded_request_is_counted_once_everywhere() {
    let (metrics, labels) = metrics();
    metrics.request(&record(), &labels);
    assert_counts(
        &metrics,
        &[
            ("doorwarden_requests_total{code=\"200\",method=\"GET\",route=\"app\"}", 1.0),
            ("doorwarden_request_duration_seconds_count{route=\"app\"}", 1.0),
            ("doorwarden_gateway_duration_seconds_count", 1.0),
            ("doorwarden_decisions_total{decision=\"forward\"}", 1.0),
            ("doorwarden_upstream_duration_seconds_count{upstream=\"django\"}", 1.0),
            ("doorwarden_spoofed_headers_removed_total", 2.0),
            ("doorwarden_refused_paths_total", 0.0),
        ],
    );
}

#[test]
fn shadowed_routes_are_compared_from_0_and_no_other_has_a_series() {
    let names = Names { routes: vec!["app".into(), "open".into()], ..names() };
    let (metrics, labels) = of(names);
    for verdict in ShadowVerdict::ALL {
        let name = verdict.name();
        let of = |route| format!("doorwarden_shadow_total{{route=\"{route}\",verdict=\"{name}\"}}");
        assert_eq!(
            (sample(&metrics, &of("app")), sample(&metrics, &of("open"))),
            (Some(0.0), None)
        );
        let shadow = Shadowed { verdict: *verdict, refusal: None, user: None, status: Some(200) };
        metrics.request(
            &Record { decision: Decided::Shadow, shadow: Some(shadow), ..record() },
            &labels,
        );
        assert_counts(&metrics, &[(&of("app"), 1.0)]);
    }
    assert_counts(
        &metrics,
        &[
            ("doorwarden_shadow_routes", 1.0),
            ("doorwarden_decisions_total{decision=\"shadow\"}", 4.0),
            ("doorwarden_decisions_total{decision=\"forward\"}", 0.0),
        ],
    );
}

#[test]
fn a_refused_path_a_failed_upstream_and_a_client_that_went_away() {
    let (metrics, labels) = metrics();
    metrics.request(
        &Record {
            place: Destination::Nowhere,
            decision: Decided::Refuse,
            status: Some(400),
            refusal: Some(Refusal::BadTarget),
            upstream: None,
            ..record()
        },
        &labels,
    );
    let failed = UpstreamCall {
        upstream: 0,
        server: None,
        time: Duration::ZERO,
        failure: Some(UpstreamFailure::Timeout),
    };
    metrics.request(
        &Record {
            status: Some(504),
            refusal: Some(Refusal::UpstreamTimeout),
            upstream: Some(failed),
            ..record()
        },
        &labels,
    );
    metrics.request(&Record { status: None, ..record() }, &labels);
    assert_counts(
        &metrics,
        &[
            ("doorwarden_requests_total{code=\"400\",method=\"GET\",route=\"none\"}", 1.0),
            ("doorwarden_refusals_total{code=\"bad_target\",reason=\"bad_target\"}", 1.0),
            ("doorwarden_refused_paths_total", 1.0),
            ("doorwarden_upstream_errors_total{kind=\"timeout\",upstream=\"django\"}", 1.0),
            ("doorwarden_requests_total{code=\"499\",method=\"GET\",route=\"app\"}", 1.0),
        ],
    );
}

#[test]
fn what_a_client_chooses_makes_no_new_series() {
    let (metrics, labels) = metrics();
    for n in 0..200 {
        let method: http::Method = format!("M{n}").parse().unwrap();
        let host = Host::parse(format!("h{n}.example")).unwrap();
        metrics.request(
            &Record {
                method: &method,
                host: Some(&host),
                path: Some(&format!("/{n}")),
                status: Some(600 + n),
                place: Destination::Route(usize::from(n)),
                ..record()
            },
            &labels,
        );
    }
    let text = metrics.render().unwrap();
    let series: Vec<_> =
        text.lines().filter(|line| line.starts_with("doorwarden_requests_total{")).collect();
    assert_eq!(series.len(), 2, "{series:#?}");
    assert!(series.iter().all(|line| line.contains("method=\"OTHER\"") && line.contains("other")));
}

#[test]
fn events_move_their_own_counters() {
    let (metrics, _) = metrics();
    let (session, user) = (SessionId::new("s"), UserKey::new("django", "1"));
    let refreshed =
        |how| EventKind::Refreshed { session: session.clone(), user: user.clone(), how };
    let ended = |why| EventKind::SessionEnded { session: session.clone(), user: user.clone(), why };
    let signed_in = |tokens, cookie| EventKind::SignedIn {
        session: session.clone(),
        user: user.clone(),
        account: "ada".into(),
        tokens,
        cookie,
        known_device: false,
        methods: AuthMethods::only(AuthMethod::Password).and(AuthMethod::HardwareKey),
    };
    for what in [
        signed_in(true, true),
        signed_in(false, true),
        EventKind::SignInFailed {
            account: "ada".into(),
            user: None,
            why: SignInFailure::WrongPassword,
        },
        refreshed(Refresh::Rotated),
        refreshed(Refresh::ReplayedInGrace),
        refreshed(Refresh::Kept),
        EventKind::RefreshReused { session: session.clone(), user: user.clone() },
        EventKind::RefreshRefused { why: RefreshRefusal::SessionEnded },
        ended(EndReason::SignedOut),
        ended(EndReason::Expired),
        EventKind::Refused { refusal: Refusal::NoRoute, user: None },
    ] {
        metrics.event(&event(what));
    }
    assert_counts(
        &metrics,
        &[
            ("doorwarden_signins_total{result=\"success\"}", 2.0),
            ("doorwarden_signins_total{result=\"wrong_password\"}", 1.0),
            ("doorwarden_signin_methods_total{method=\"pwd\"}", 2.0),
            ("doorwarden_signin_methods_total{method=\"hwk\"}", 2.0),
            ("doorwarden_signin_methods_total{method=\"swk\"}", 0.0),
            ("doorwarden_refreshes_total{result=\"rotated\"}", 1.0),
            ("doorwarden_refreshes_total{result=\"replayed_in_grace\"}", 1.0),
            ("doorwarden_refreshes_total{result=\"kept\"}", 1.0),
            ("doorwarden_refreshes_total{result=\"reuse\"}", 1.0),
            ("doorwarden_refreshes_total{result=\"session_ended\"}", 1.0),
            ("doorwarden_tokens_issued_total{kind=\"access\"}", 3.0),
            ("doorwarden_tokens_issued_total{kind=\"refresh\"}", 2.0),
            ("doorwarden_tokens_issued_total{kind=\"cookie\"}", 2.0),
            ("doorwarden_sessions_ended_total{reason=\"signed_out\"}", 1.0),
            ("doorwarden_sessions_ended_total{reason=\"expired\"}", 1.0),
            ("doorwarden_sessions_active", 1.0),
            ("doorwarden_refusals_total{code=\"no_route\",reason=\"no_route\"}", 0.0),
        ],
    );
    metrics.sessions_active(7);
    assert_counts(&metrics, &[("doorwarden_sessions_active", 7.0)]);
}

#[test]
fn what_others_count_is_taken_over_and_never_falls() {
    let (metrics, _) = metrics();
    metrics.hash_pool(3, 5);
    metrics.hash_pool(0, 5);
    metrics.dropped(2, 1, 0);
    metrics.dropped(1, 1, 4);
    let connections = [metrics.connection(), metrics.connection()];
    assert_counts(
        &metrics,
        &[
            ("doorwarden_hash_queue_length", 0.0),
            ("doorwarden_hash_rejected_total", 5.0),
            ("doorwarden_events_dropped_total", 2.0),
            ("doorwarden_audit_lines_dropped_total", 1.0),
            ("doorwarden_log_lines_dropped_total", 4.0),
            ("doorwarden_connections_active", 2.0),
        ],
    );
    drop(connections);
    assert_counts(&metrics, &[("doorwarden_connections_active", 0.0)]);
}

#[test]
fn another_configuration_counts_on_under_the_names_that_it_keeps() {
    let (metrics, labels) = of(Names { routes: vec!["old".into(), "app".into()], ..names() });
    metrics.request(&Record { place: Destination::Route(1), ..record() }, &labels);
    let next = metrics.labels(Names { routes: vec!["app".into()], shadowed: vec![], ..names() });
    metrics.serves(2, &next);
    metrics.reloaded(true, Timestamp::from_secs(77));
    metrics.request(&record(), &next);
    // A request that was decided by the previous configuration.
    metrics.request(&Record { place: Destination::Route(1), ..record() }, &labels);
    metrics.reloaded(false, Timestamp::from_secs(99));
    assert_counts(
        &metrics,
        &[
            ("doorwarden_requests_total{code=\"200\",method=\"GET\",route=\"app\"}", 3.0),
            ("doorwarden_request_duration_seconds_count{route=\"old\"}", 0.0),
            ("doorwarden_shadow_routes", 0.0),
            ("doorwarden_config_generation", 2.0),
            ("doorwarden_config_last_reload_successful", 0.0),
            ("doorwarden_config_last_reload_success_timestamp_seconds", 77.0),
        ],
    );
}
