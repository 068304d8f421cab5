//! Values for the tests of this folder.

use std::sync::LazyLock;
use std::time::Duration;

use http::{Method, Version};

use super::metrics::Names;
use super::record::{Decided, Destination, Record, RecordedCaller, UpstreamCall};
use crate::caller::{Proof, SessionId, UserKey};
use crate::clock::Timestamp;
use crate::wire::host::Host;
use crate::wire::scheme::Scheme;

/// Returns one route `app`, and one upstream `django` with one server.
pub(super) fn names() -> Names {
    Names {
        routes: vec!["app".into()],
        upstreams: vec!["django".into()],
        servers: vec![vec!["127.0.0.1:8000".into()]],
        shadowed: vec![0],
    }
}

static HOST: LazyLock<Host> = LazyLock::new(|| Host::parse("app.example").unwrap());
static USER: LazyLock<UserKey> = LazyLock::new(|| UserKey::new("django", "7"));
static SESSION: LazyLock<SessionId> = LazyLock::new(|| SessionId::new("s-1"));

/// Returns the record of a request that was forwarded and answered.
pub(super) fn record() -> Record<'static> {
    Record {
        at: Timestamp::from_millis(1_795_422_879_042),
        request_id: "r-1",
        client: Some("192.0.2.1".parse().unwrap()),
        protocol: Version::HTTP_11,
        scheme: Scheme::Https,
        method: &Method::GET,
        host: Some(&HOST),
        path: Some("/notes/7"),
        place: Destination::Route(0),
        decision: Decided::Forward,
        status: Some(200),
        refusal: None,
        caller: Some(RecordedCaller {
            user: &USER,
            session: Some(&SESSION),
            proof: Proof::AccessToken,
        }),
        bytes_in: 0,
        bytes_out: 1234,
        duration: Duration::from_micros(12_345),
        own: Duration::from_micros(85),
        upstream: Some(UpstreamCall {
            upstream: 0,
            server: Some("127.0.0.1:8000".into()),
            time: Duration::from_micros(12_000),
            failure: None,
        }),
        spoofed_headers: 2,
        shadow: None,
    }
}
