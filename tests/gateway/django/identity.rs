//! Tests what a view finds in `request.META`: the caller that the gateway knows, and nothing that the client made up.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{COOKIE, enter, kim, report};
use crate::support::client::Client;
use crate::support::django::Django;
use crate::support::gateway::Setup;

/// Returns all that Django received about the identity: every variable whose name contains a part of such a name.
fn identity(report: &Value) -> BTreeMap<&str, &str> {
    let meta = report["meta"].as_object().unwrap();
    meta.iter()
        .filter(|(name, _)| {
            ["USER", "SESSION", "AUTH", "COOKIE", "SCRIPT_NAME"]
                .iter()
                .any(|part| name.contains(part))
                && *name != "HTTP_USER_AGENT"
        })
        .filter(|(_, value)| *value != "")
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .collect()
}

#[test]
fn a_view_sees_who_is_calling_and_no_credential() {
    let django = Django::shared();
    let gateway = django.setup().with("[identity.attributes]\nX-User-Email = \"email\"").start();
    let client = gateway.client();
    let (access, cookie) = kim(&client);
    for request in [
        client.get("/api/v1/whoami").bearer(&access),
        client.get("/api/v1/whoami").cookie(COOKIE, &cookie),
        client.get("/public/whoami").bearer(&access),
        client.get("/api/v1/whoami").bearer(&access).cookie(COOKIE, &cookie),
    ] {
        let report = report(&request);
        let text = report.to_string();
        assert!(!text.contains(&access) && !text.contains(&cookie), "{text}");
        let mut identity = identity(&report);
        assert!(identity.remove("HTTP_X_SESSION_ID").is_some(), "{text}");
        assert_eq!(
            identity,
            BTreeMap::from([
                ("HTTP_X_USER_ID", "2"),
                ("HTTP_X_USER_NAME", "kim"),
                ("HTTP_X_USER_GROUPS", "editors"),
                ("HTTP_X_USER_EMAIL", "kim@example.com"),
                ("HTTP_X_AUTH_METHODS", "pwd"),
            ])
        );
        // By Django's own means the caller is anonymous: there is no credential to find.
        assert_eq!(report["rest_framework"]["user"], Value::Null);
    }
    let (access, _) = enter(&client, "lee", "lee-pass-1234");
    let lee = report(&client.get("/api/v1/whoami").bearer(&access));
    assert_eq!(identity(&lee)["HTTP_X_USER_GROUPS"], "editors,reviewers");
}

#[test]
fn a_name_beyond_ascii_arrives_percent_encoded() {
    let django = Django::shared();
    let gateway = django.setup().start();
    let client = gateway.client();
    let (access, _) = enter(&client, "김민정", "비밀번호-1234");
    let report = report(&client.get("/api/v1/whoami").bearer(&access));
    let identity = identity(&report);
    assert_eq!(identity["HTTP_X_USER_ID"], "13");
    assert_eq!(identity["HTTP_X_USER_NAME"], "%EA%B9%80%EB%AF%BC%EC%A0%95");
    let session = client.get("/session").bearer(&access).send().json();
    assert_eq!((&session["username"], &session["user_id"]), (&"김민정".into(), &"13".into()));
}

/// The names that a WSGI server or a view may read as `HTTP_X_USER_ID`, and two that servers read as the user.
const SPELLINGS: &[&str] = &[
    "X-User-Id",
    "x-uSER-iD",
    "X_User_Id",
    "X.User.Id",
    "Http-X-User-Id",
    "HTTP_X_USER_ID",
    "X-User-Name",
    "X_User_Groups",
    "X-Auth-Methods",
    "X_Auth_Methods",
    "Remote-User",
    "Remote_User",
    "Script-Name",
];

#[test]
fn a_made_up_identity_never_reaches_a_view() {
    let django = Django::shared();
    // The control: without the gateway the header reaches the view, so the views would show it.
    let direct =
        report(&Client::new(django.address).get("/api/v1/whoami").header("X-User-Id", "1"));
    assert_eq!(direct["meta"]["HTTP_X_USER_ID"], "1");

    let gateway = django.setup().start();
    let client = gateway.client();
    let (access, cookie) = enter(&client, "park", "park-pass-1234");
    for spelling in SPELLINGS {
        for request in [
            client.get("/api/v1/whoami").bearer(&access),
            client.get("/public/whoami").bearer(&access),
            client.get("/api/v1/whoami").cookie(COOKIE, &cookie),
        ] {
            let report = report(&request.header(spelling, "1"));
            let identity = identity(&report);
            assert_eq!(identity["HTTP_X_USER_ID"], "4", "{spelling}");
            assert_eq!(identity["HTTP_X_USER_NAME"], "park", "{spelling}");
            assert_eq!(identity["HTTP_X_AUTH_METHODS"], "pwd", "{spelling}");
            assert_eq!(identity.len(), 4, "{spelling}: {identity:?}");
        }
        // The same without signing in, on a public route.
        let report = report(&client.get("/public/whoami").header(spelling, "1"));
        assert_eq!(identity(&report), BTreeMap::new(), "{spelling}");
    }
}

#[test]
fn connection_takes_no_identity_away() {
    let django = Django::shared();
    let gateway = django.setup().start();
    let client = gateway.client();
    let (access, _) = enter(&client, "park", "park-pass-1234");
    for request in [client.get("/api/v1/whoami").bearer(&access), client.get("/public/whoami")] {
        for header in [None, Some("X-User-Id"), Some("X_User_Id")] {
            let mut request = request.clone().header("Connection", "close, X-User-Id");
            if let Some(name) = header {
                request = request.header(name, "1");
            }
            let response = request.send();
            assert_eq!((response.status, response.code().as_str()), (400, "bad_connection_header"));
        }
    }
}

#[test]
fn what_the_service_answers_sets_no_identity_and_no_session() {
    let django = Django::shared();
    let gateway = django.setup().start();
    let client = gateway.client();
    let (access, cookie) = kim(&client);
    let response = client.get("/set-cookies").bearer(&access).send();
    assert_eq!(response.status, 200);
    assert_eq!(response.set_cookie("theme").as_deref(), Some("dark"));
    assert_eq!(response.set_cookie("cart").as_deref(), Some("7"));
    assert_eq!(response.all("set-cookie").len(), 2, "{:?}", response.all("set-cookie"));
    assert_eq!(response.header("x-application"), Some("legacy"), "what is no identity passes");
    assert!(response.headers.iter().all(|(_, value)| value != "forged"), "{:?}", response.headers);

    // The service's own cookies are forwarded unchanged; the gateway's is removed.
    let line = format!("theme=dark; {COOKIE}={cookie}; cart=7");
    let report = report(&client.get("/api/v1/whoami").header("Cookie", &line));
    assert_eq!(report["meta"]["HTTP_COOKIE"], "theme=dark; cart=7");
}

#[test]
fn groups_of_the_service_open_routes() {
    let django = Django::shared();
    let gateway = Setup::route(
        django.setup(),
        "name = \"review\"\npath = \"/api/v1/whoami/review/\"\ngroups = [\"reviewers\"]",
    )
    .start();
    let client = gateway.client();
    for (name, password, status) in [("lee", "lee-pass-1234", 200), ("kim", "kim-pass-1234", 403)] {
        let (access, _) = enter(&client, name, password);
        let response = client.get("/api/v1/whoami/review/1").bearer(&access).send();
        assert_eq!(response.status, status, "{name}");
    }
}
