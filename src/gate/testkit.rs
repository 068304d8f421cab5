//! Configurations and requests for the gate's tests.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::clock::Timestamp;
use crate::config::Config;
use crate::context::Events;
use crate::wire::arrival::Arrival;
use crate::wire::client_ip::{ClientAddress, TrustedProxies};
use crate::wire::host::Host;
use crate::wire::path::{Target, Tolerance};
use crate::wire::scheme::Scheme;

/// Header fields.
pub(super) type Fields<'a> = &'a [(&'a str, &'a str)];

/// Parses a configuration with the upstreams `app` and `other` and the directory `django`; the rest is in `more`.
pub(super) fn config(more: &str) -> Config {
    let text = format!(
        "listen.http = [\"127.0.0.1:8080\"]\n\
         [[upstream]]\nname = \"app\"\nservers = [\"127.0.0.1:1\"]\n\
         [[upstream]]\nname = \"other\"\nservers = [\"127.0.0.1:2\"]\n\
         [[directory]]\nname = \"django\"\nkind = \"file\"\npath = \"users.toml\"\n{more}"
    );
    let parsed = Config::parse(&text, Path::new("/"), "gateway.toml");
    parsed.unwrap_or_else(|report| panic!("{}", report.render(false))).0
}

/// Returns the table of a route to `app`; its name is its path with dashes between the segments.
pub(super) fn route(path: &str, more: &str) -> String {
    let name = path.trim_matches('/').replace('/', "-");
    format!("[[route]]\nname = \"{name}\"\npath = \"{path}\"\nupstream = \"app\"\n{more}\n")
}

/// Returns a request for `https://app.example`.
pub(super) fn arrival(method: &str, path: &str, fields: Fields<'_>, at: Timestamp) -> Arrival {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Arrival {
        at,
        request_id: Arc::from("r1"),
        method: method.parse().unwrap(),
        target: Target::parse(path, Tolerance::ALL).unwrap(),
        host: Host::parse("app.example").unwrap(),
        scheme: Scheme::Https,
        client: ClientAddress::resolve(peer, &TrustedProxies::default(), &headers),
        headers,
        has_body: false,
        websocket: false,
        events: Events::default(),
    }
}
