//! Tests requests that can be read in two ways: they are refused before anything is decided or forwarded.

use crate::support::eventually;
use crate::support::gateway::Setup;
use crate::support::upstream::Upstream;

#[test]
fn a_target_with_two_readings_is_refused() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    for target in [
        "/public/../admin",
        "/public/./x",
        "/public/%2e%2e/admin",
        "/public/%2E./admin",
        "/public/..%2fadmin",
        "/public/%2fadmin",
        "/public%2fx",
        "/public/%5cadmin",
        "/public/\\admin",
        "/public//admin",
        "//public/x",
        "/public/..;/admin",
        "/public/x;v=1",
        "/public/%252e%252e/admin",
        "/public/%252fadmin",
        "/public/%00",
        "/public/%0a",
        "/public/%zz",
        "/public/%e0%80%af",
        "/public/x#fragment",
        "ftp://app.test/public/x",
        "*",
        "public/x",
        "?x",
    ] {
        let response = client.request("GET", target).send();
        assert_eq!(response.status, 400, "{target}: {}", response.text());
        assert!(upstream.seen().is_empty(), "{target} was forwarded");
    }
    let refused = "doorwarden_refusals_total{code=\"bad_target\",reason=\"bad_target\"}";
    eventually(refused, || gateway.metric(refused).filter(|count| *count >= 15.0));
}

#[test]
fn what_has_one_reading_arrives_canonical() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    for (sent, forwarded) in [
        ("/public/x", "/public/x"),
        ("/%70ublic/x", "/public/x"),
        ("/public/%ed%95%9c", "/public/%ED%95%9C"),
        ("/public/a%20b?q=%zz&r=..%2f", "/public/a%20b?q=%zz&r=..%2f"),
        ("/public/x?", "/public/x?"),
    ] {
        assert_eq!(client.get(sent).send().status, 200, "{sent}");
        assert_eq!(upstream.last().target, forwarded);
    }
}

#[test]
fn a_route_may_tolerate_what_is_harmless() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .route("name = \"files\"\npath = \"/public/files/\"\naccess = \"public\"\nallow_ambiguous_path = [\"encoded-slash\", \"semicolon\"]")
        .start();
    let client = gateway.client();
    assert_eq!(client.get("/public/files/a%2Fb;v=1").send().status, 200);
    assert_eq!(upstream.last().target, "/public/files/a%2Fb;v=1");
    for target in ["/public/files/a//b", "/public/files/..%2fx", "/public/other/a%2Fb"] {
        assert_eq!(client.get(target).send().status, 400, "{target}");
    }
}

#[test]
fn ambiguous_framing_is_refused() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    for (what, head) in [
        (
            "both lengths",
            "POST /public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "a repeated length",
            "POST /public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        ),
        ("a listed length", "POST /public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 0\r\n\r\n"),
        ("a signed length", "POST /public/x HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n"),
        (
            "another coding",
            "POST /public/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "a coding that is none",
            "POST /public/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "two codings",
            "POST /public/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("a bare line feed", "GET /public/x HTTP/1.1\nHost: a\r\n\r\n"),
        ("a folded line", "GET /public/x HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n"),
        ("space before the colon", "GET /public/x HTTP/1.1\r\nHost : a\r\n\r\n"),
        ("no host", "GET /public/x HTTP/1.1\r\n\r\n"),
        ("two hosts", "GET /public/x HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        ("a host with userinfo", "GET /public/x HTTP/1.1\r\nHost: u@a\r\n\r\n"),
        (
            "two authorizations",
            "GET /public/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
        ),
        (
            "two origins",
            "GET /public/x HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\nOrigin: http://b\r\n\r\n",
        ),
        (
            "two content types",
            "POST /public/x HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Type: a/c\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "another expectation",
            "GET /public/x HTTP/1.1\r\nHost: a\r\nExpect: y 100-continue\r\n\r\n",
        ),
    ] {
        let response = client.raw(head.as_bytes());
        assert!((400..420).contains(&response.status), "{what}: {}", response.status);
        assert!(upstream.seen().is_empty(), "{what} was forwarded");
    }
}

#[test]
fn only_the_usual_methods_and_those_a_route_lists_pass() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .route("name = \"dav\"\npath = \"/public/dav/\"\naccess = \"public\"\nmethods = [\"GET\", \"PROPFIND\"]")
        .start();
    let client = gateway.client();
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        assert_eq!(client.request(method, "/public/x").send().status, 200, "{method}");
    }
    let before = upstream.seen().len();
    for method in ["TRACE", "CONNECT", "FOO", "get", "PROPFIND"] {
        assert_eq!(client.request(method, "/public/x").send().status, 405, "{method}");
    }
    assert_eq!(upstream.seen().len(), before);
    assert_eq!(client.request("PROPFIND", "/public/dav/x").send().status, 200);
    let refused = client.post("/public/dav/x").send();
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, PROPFIND")));
}

#[test]
fn prefixes_match_whole_segments_and_hosts_come_first() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .routes(
            r#"
[[route]]
name = "shop"
path = "/shop"
upstream = "app"
access = "public"

[[route]]
name = "other-host"
hosts = ["other.test", "*.wild.test"]
path = "/"
upstream = "app"
access = "public"
"#,
        )
        .start();
    let client = gateway.client();
    let status = |host: &str, path: &str| client.get(path).host(host).send().status;
    assert_eq!(status("app.test", "/shop"), 200);
    assert_eq!(status("app.test", "/shop/x"), 200);
    assert_eq!(status("app.test", "/shopping"), 404);
    assert_eq!(status("app.test", "/SHOP"), 404);
    assert_eq!(status("other.test", "/anything"), 200);
    assert_eq!(status("OTHER.test:8080", "/anything"), 200);
    assert_eq!(status("a.wild.test", "/anything"), 200);
    assert_eq!(status("wild.test", "/anything"), 404);
    assert_eq!(status("evilother.test", "/anything"), 404);
}

#[test]
fn limits_hold() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let long = "x".repeat(70 * 1024);
    let refused = client.get("/public/x").header("X-Long", &long).send();
    assert_eq!((refused.status, refused.code().as_str()), (431, "head_too_large"));
    let refused = client.get(&format!("/public/{}", "x".repeat(40 * 1024))).send();
    assert_eq!((refused.status, refused.code().as_str()), (414, "target_too_long"));
    let mut many = client.get("/public/x");
    for number in 0..150 {
        many = many.header(&format!("X-{number}"), "1");
    }
    assert_eq!(many.send().status, 431);
    let crumbs = "a=b; ".repeat(500);
    assert_eq!(client.get("/app").header("Cookie", &crumbs).send().status, 400);
    assert!(upstream.seen().is_empty());
}
