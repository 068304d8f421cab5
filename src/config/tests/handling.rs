//! Tests how a route's requests are handled, what keeps them from its service, and who may say where clients come from.

use std::time::Duration;

use http::HeaderName;

use super::super::*;
use super::config;
use crate::wire::proxy_protocol::ProxyVersion;

const EVERYTHING: &str = r#"
[listen]
http = ["127.0.0.1:1"]
[listen.proxy_protocol]
listeners = ["127.0.0.1:1"]
networks = ["10.0.0.0/8", "::1"]
timeout = "7s"
[[upstream]]
name = "app"
servers = ["127.0.0.1:8000"]
proxy_protocol = "v2"
[upstream.limits]
requests = 50
connections = 7
[[route]]
name = "a"
path = "/a"
upstream = "app"
host = "App.internal:81"
max_body_bytes = "3KiB"
[route.timeouts]
connect = "1s"
first_byte = "2s"
between_bytes = "3s"
total = "4s"
[route.request_headers]
remove = ["X-A"]
set = { X-B = "b {user.id}" }
add = { X-C = "c" }
[route.response_headers]
remove = ["Server"]
[route.maintenance]
on = true
retry_after = "9s"
allow = ["192.0.2.1"]
[[route.rate_limit]]
by = "session"
requests = 5
[[route.rate_limit]]
by = "user"
requests = 6
per = "2h"
burst = 8
[[route]]
name = "b"
path = "/b"
upstream = "app"
host = "upstream"
[[error_page]]
statuses = [503, 404]
html = "a.html"
json = "/pages/a.json"
service_errors = true
routes = ["b"]
"#;

#[test]
fn every_value_reaches_its_field() {
    let config = config(EVERYTHING);
    let secs = Duration::from_secs;
    assert_eq!(
        config.listen.proxy_protocol,
        ProxyProtocol {
            listeners: vec!["127.0.0.1:1".parse().unwrap()],
            networks: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
            timeout: secs(7),
        }
    );
    assert_eq!(config.upstreams[0].proxy_protocol, Some(ProxyVersion::Two));
    assert_eq!(config.upstreams[0].circuit.connections, 7);
    let name = HeaderName::from_static;
    let limit = |by, requests, per, burst| RateLimit { by, requests, per, burst };
    assert_eq!(
        config.routes[0].handling,
        RouteHandling {
            timeouts: RouteTimeouts {
                connect: Some(secs(1)),
                first_byte: Some(secs(2)),
                between_bytes: Some(secs(3)),
                total: Some(secs(4)),
            },
            max_body_bytes: Some(3072),
            host: ServiceHost::Fixed(http::HeaderValue::from_static("app.internal:81")),
            request_headers: HeaderEdits {
                remove: vec![name("x-a")],
                set: vec![(name("x-b"), Template::for_test("b {user.id}"))],
                add: vec![(name("x-c"), Template::for_test("c"))],
            },
            response_headers: HeaderEdits {
                remove: vec![name("server")],
                ..HeaderEdits::default()
            },
            rate_limits: vec![
                limit(LimitedBy::Session, 5, secs(60), 5),
                limit(LimitedBy::User, 6, secs(7200), 8),
            ],
            maintenance: MaintenanceSettings {
                on: true,
                retry_after: secs(9),
                allow: vec!["192.0.2.1/32".parse().unwrap()],
            },
        }
    );
    assert_eq!(config.routes[1].handling.host, ServiceHost::Server);
    assert_eq!(
        config.error_pages,
        [ErrorPage {
            statuses: vec![503, 404],
            routes: vec![1],
            html: Some("/etc/doorwarden/a.html".into()),
            json: Some("/pages/a.json".into()),
            service_errors: true,
        }]
    );
}

#[test]
fn the_stricter_of_two_limits_holds() {
    let circuit = |requests, connections| Circuit { requests, connections, ..Circuit::default() };
    for (circuit, on_a_connection, most) in [
        (circuit(0, 0), 1, 0),
        (circuit(5, 0), 1, 5),
        (circuit(0, 5), 1, 5),
        (circuit(0, 5), 100, 500),
        (circuit(9, 5), 1, 5),
        (circuit(9, 5), 100, 9),
    ] {
        assert_eq!(circuit.most(on_a_connection), most, "{circuit:?}");
    }
}
