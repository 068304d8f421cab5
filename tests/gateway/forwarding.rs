//! Tests what the upstream receives, and what it never receives.

use crate::support::client::Response;
use crate::support::eventually;
use crate::support::gateway::Setup;
use crate::support::upstream::Upstream;

/// All ways in which some server would read the client's own `X-User-Id`, and the names that other gateways use.
const SPELLINGS: &[&str] = &[
    "X-User-Id",
    "x-user-id",
    "X_User_Id",
    "X_USER_ID",
    "X.User.Id",
    "X~User~Id",
    "X-User_Id",
    "X--User--Id",
    "Http-X-User-Id",
    "HTTP_X_USER_ID",
    "X-User-Name",
    "X-User-Groups",
    "X_User_Groups",
    "X-User-Anything",
    "X-Session-Id",
    "X-Auth-Methods",
    "X_Auth_Methods",
    "Remote-User",
    "Remote_User",
    "X-Remote-User",
    "X-Forwarded-User",
    "X-Auth-Request-User",
    "X-Authenticated-User",
    "SCRIPT_NAME",
    "Script-Name",
    "Proxy",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-HTTP-Method-Override",
];

#[test]
fn the_upstream_learns_who_is_calling() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let tokens = client.sign_in("kim", "correct horse battery");

    let response = client.get("/notes?page=2").bearer(tokens["access"].as_str().unwrap()).send();
    assert_eq!(response.status, 200, "{}", response.text());
    let seen = upstream.last();
    assert_eq!(seen.target, "/notes?page=2");
    assert_eq!(seen.all("x-user-id"), ["kim"]);
    assert_eq!(seen.all("x-user-name"), ["kim"]);
    assert_eq!(seen.all("x-user-groups"), ["editors"]);
    assert_eq!(seen.all("x-session-id").len(), 1);
    assert_eq!(seen.all("x-auth-methods"), ["pwd"]);
    assert_eq!(seen.all("authorization"), [""; 0], "our token stays here");
    assert_eq!(seen.all("host"), ["app.test"]);
}

#[test]
fn a_clients_own_identity_never_arrives_in_any_spelling() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let token = client.sign_in("lee", "staple 한글 암호")["access"].as_str().unwrap().to_owned();

    for (path, bearer) in [
        ("/app", Some(&token)),
        ("/public/x", Some(&token)),
        ("/public/x", None),
        ("/optional/x", None),
    ] {
        for spelling in SPELLINGS {
            let mut request = client.get(path).header(spelling, "root");
            if let Some(token) = bearer {
                request = request.bearer(token);
            }
            assert_eq!(request.send().status, 200, "{spelling} on {path}");
            let seen = upstream.last();
            let theirs: Vec<_> = seen.headers.iter().filter(|(_, value)| value == "root").collect();
            assert!(theirs.is_empty(), "{spelling} on {path} arrived as {theirs:?}");
            let expected: &[(&str, &str)] =
                if bearer.is_some() { &[("X-User-Id", "lee")] } else { &[] };
            let ids: Vec<_> =
                seen.folded("x-user-id").iter().map(|(_, v)| ("X-User-Id", *v)).collect();
            assert_eq!(ids, expected, "{spelling} on {path}");
        }
    }
    let removed = "doorwarden_spoofed_headers_removed_total";
    eventually(removed, || gateway.metric(removed).filter(|count| *count >= 60.0));
}

#[test]
fn connection_cannot_nominate_what_the_gateway_sets() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let token =
        client.sign_in("kim", "correct horse battery")["access"].as_str().unwrap().to_owned();

    for name in [
        "X-User-Id",
        "x_user_id",
        "X-Forwarded-For",
        "Forwarded",
        "Authorization",
        "Cookie",
        "Host",
    ] {
        for request in [client.get("/app").bearer(&token), client.get("/public/x")] {
            let response = request.header("Connection", &format!("close, {name}")).send();
            assert_eq!(
                (response.status, response.code().as_str()),
                (400, "bad_connection_header"),
                "{name}"
            );
        }
    }
    assert!(upstream.seen().is_empty());
}

#[test]
fn names_that_servers_fold_are_dropped_unless_the_route_allows_them() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .route("name = \"old\"\npath = \"/public/old/\"\naccess = \"public\"\nallow_headers = [\"X_Trace\"]")
        .start();
    let client = gateway.client();

    client.get("/public/new").header("X_Trace", "1").header("X-Trace", "2").send();
    assert_eq!(upstream.last().folded("x-trace"), [("x-trace", "2")]);

    client.get("/public/old/x").header("X_Trace", "1").send();
    assert_eq!(upstream.last().folded("x-trace"), [("x_trace", "1")]);
}

#[test]
fn other_cookies_pass_untouched_and_ours_stays() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let cookie = sign_in_with_cookie(&client);

    let line = format!("csrftoken=a%20b; __Host-doorwarden={cookie}; sessionid=\"q;uoted");
    assert_eq!(client.get("/app").header("Cookie", &line).send().status, 200);
    assert_eq!(upstream.last().all("cookie"), ["csrftoken=a%20b; sessionid=\"q;uoted"]);

    // The other cookies that the gateway sets are not forwarded either.
    let all =
        format!("__Host-doorwarden={cookie}; __Host-doorwarden-device=d; __Host-doorwarden-link=l");
    assert_eq!(client.get("/app").header("Cookie", &all).send().status, 200);
    assert_eq!(upstream.last().all("cookie"), [""; 0]);
}

#[test]
fn an_upstream_sets_neither_our_cookie_nor_an_identity() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .route("name = \"cookies\"\npath = \"/cookies\"\naccess = \"public\"")
        .start();
    let response = gateway.client().get("/cookies").send();
    assert_eq!(
        response.all("set-cookie"),
        ["theme=dark; Path=/", "sessionid=abc; HttpOnly; Path=/"]
    );
    assert_eq!(response.header("x-user-id"), None);
}

#[test]
fn forwarding_headers_are_ours_alone() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    gateway
        .client()
        .get("/public/x")
        .header("X-Forwarded-For", "6.6.6.6")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "evil.test")
        .header("X_Forwarded_For", "6.6.6.6")
        .header("X-Real-IP", "6.6.6.6")
        .header("Forwarded", "for=6.6.6.6")
        .header("X-Request-Id", "chosen-by-the-client")
        .send();
    let seen = upstream.last();
    assert_eq!(
        seen.folded("x-forwarded-for"),
        [("X-Forwarded-For", "127.0.0.1")].map(|(_, v)| (seen.folded("x-forwarded-for")[0].0, v))
    );
    assert_eq!(seen.all("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.all("x-forwarded-host"), ["app.test"]);
    assert_eq!(seen.all("x-real-ip"), ["127.0.0.1"]);
    assert_eq!(seen.all("forwarded"), ["for=127.0.0.1;host=app.test;proto=http"]);
    assert_ne!(seen.all("x-request-id"), ["chosen-by-the-client"]);
}

#[test]
fn a_trusted_proxy_says_where_the_client_is() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).behind_a_proxy().start();
    gateway
        .client()
        .get("/public/x")
        .header("X-Forwarded-For", "6.6.6.6, 203.0.113.9, 127.0.0.7")
        .header("X-Forwarded-Proto", "https")
        .header("X-Request-Id", "from-the-proxy-1")
        .send();
    let seen = upstream.last();
    assert_eq!(seen.all("x-forwarded-for"), ["203.0.113.9, 127.0.0.7, 127.0.0.1"]);
    assert_eq!(seen.all("x-real-ip"), ["203.0.113.9"]);
    assert_eq!(seen.all("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.all("x-request-id"), ["from-the-proxy-1"]);
}

#[test]
fn a_route_can_strip_its_prefix() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .route("name = \"api\"\npath = \"/api/\"\naccess = \"public\"\nstrip_prefix = \"/api/\"")
        .start();
    let client = gateway.client();
    for (asked, forwarded) in
        [("/api/users?x=1", "/users?x=1"), ("/api/", "/"), ("/api/%C3%A9", "/%C3%A9")]
    {
        assert_eq!(client.get(asked).send().status, 200, "{asked}");
        assert_eq!(upstream.last().target, forwarded);
    }
}

#[test]
fn groups_decide_who_passes() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .route("name = \"admin\"\npath = \"/admin/\"\ngroups = [\"admins\"]")
        .start();
    let client = gateway.client();
    let enter = |name: &str, password: &str| -> Response {
        let tokens = client.sign_in(name, password);
        client.get("/admin/x").bearer(tokens["access"].as_str().unwrap()).send()
    };
    assert_eq!(enter("root", "toor toor toor").status, 200);
    let refused = enter("kim", "correct horse battery");
    assert_eq!((refused.status, refused.code().as_str()), (403, "group_required"));
    assert_eq!(client.get("/admin/x").send().status, 401);
}

fn sign_in_with_cookie(client: &crate::support::client::Client) -> String {
    let response = client
        .post("/login")
        .json(&serde_json::json!({"username": "kim", "password": "correct horse battery"}))
        .send();
    response.set_cookie("__Host-doorwarden").expect("a session cookie")
}
