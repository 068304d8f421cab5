//! Helpers that the tests of this folder share with those of the dispatcher.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http::header::{ALLOW, HeaderMap, HeaderName};
use serde_json::{Value, json};

use super::*;
use crate::caller::{Assurance, AuthMethod, AuthMethods, Identity, SessionId, UserKey};
use crate::clock::Timestamp;
use crate::config::RotationPolicy;
use crate::context::Events;
use crate::secret::Digest;
use crate::store::{NewSession, Session};
use crate::wire::client_ip::{ClientAddress, TrustedProxies};
use crate::wire::host::Host;
use crate::wire::path::{PathPattern, Target, Tolerance};
use crate::wire::scheme::Scheme;

pub(super) const NOW: Timestamp = Timestamp::from_secs(1_795_422_879);

/// Returns a request to `https://app.example`.
pub(super) fn arrival(method: &str, target: &str, fields: &[(&str, &str)]) -> Arrival {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    Arrival {
        at: NOW,
        request_id: Arc::from("r1"),
        method: method.parse().unwrap(),
        target: Target::parse(target, Tolerance::NONE).unwrap(),
        host: Host::parse("app.example").unwrap(),
        scheme: Scheme::Https,
        client: ClientAddress::resolve(
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            &TrustedProxies::default(),
            &headers,
        ),
        headers,
        has_body: method == "POST",
        websocket: false,
        events: Events::default(),
    }
}

/// Returns a session of kim, who has this user id in Django.
pub(super) fn session(id: &str, user: &str) -> Arc<Session> {
    Session::begin(&NewSession {
        id: SessionId::new(id),
        identity: Arc::new(Identity {
            key: UserKey::new("django", user),
            name: "kim".into(),
            groups: vec!["staff".into()],
            staff: false,
            superuser: false,
            attributes: std::collections::BTreeMap::default(),
        }),
        password_mark: Digest::of(b""),
        cookie: None,
        issuer: None,
        at: NOW,
        expires_at: NOW.plus(Duration::from_secs(30 * 86_400)),
        idle_timeout: Duration::from_secs(86_400),
        client: None,
        agent: String::new(),
        assurance: Assurance::now(AuthMethods::only(AuthMethod::Password), NOW),
        grant: None,
        refresh: None,
        kept: None,
    })
}

#[test]
fn each_own_path_takes_its_methods_alone() {
    let table = [
        (OwnPath::Login, "GET, HEAD, POST"),
        (OwnPath::Refresh, "POST"),
        (OwnPath::Verify, "POST"),
        (OwnPath::Logout, "GET, HEAD, POST"),
        (OwnPath::LogoutAll, "GET, HEAD, POST"),
        (OwnPath::Blacklist, "POST"),
        (OwnPath::Session, "GET, HEAD"),
        (OwnPath::Jwks, "GET, HEAD"),
        (OwnPath::Incident, "GET, HEAD, POST"),
        (OwnPath::SecondFactor, "GET, HEAD, POST"),
        (OwnPath::Factors, "GET, HEAD, POST"),
        (OwnPath::FactorsScript, "GET, HEAD"),
        (OwnPath::Account, "GET, HEAD"),
        (OwnPath::AccountSessions, "GET, HEAD, POST"),
        (OwnPath::AccountActivity, "GET, HEAD"),
        (OwnPath::AccountDevices, "GET, HEAD, POST"),
        (OwnPath::AccountPassword, "GET, HEAD, POST"),
        (OwnPath::PersonalTokens, "GET, HEAD, POST"),
        (OwnPath::Passkey, "POST"),
        (OwnPath::PasskeyScript, "GET, HEAD"),
        (OwnPath::MailedLink, "GET, HEAD, POST"),
    ];
    let mut covered = table.map(|(own, _)| own);
    covered.sort_unstable();
    assert_eq!(covered, OwnPath::ALL, "each own path has a row");
    for (own, allow) in table {
        let own = OwnPathEntry {
            path: PathPattern::default(),
            own,
            rotation: RotationPolicy::default(),
            shape: Shape::default(),
            is_alias: false,
            extra: crate::config::Members::default(),
            username_fields: Vec::new(),
        };
        let reply = wrong_method(&Method::DELETE, methods(&own)).reply("r1");
        assert_eq!(reply.headers[ALLOW], allow);
    }
}

#[test]
fn a_wrong_method_is_named_as_rest_framework_names_it() {
    let reply = wrong_method(&Method::GET, &[Method::POST]).reply("r1");
    assert_eq!(reply.status.as_u16(), 405);
    assert_eq!(
        serde_json::from_slice::<Value>(&reply.body).unwrap(),
        json!({"detail": "Method \"GET\" not allowed.", "code": "method_not_allowed", "request_id": "r1"})
    );
}
