//! Tests special cases that real clients, services and proxies send, each with its source.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use serde_json::json;

use crate::support::client::{Client, Response};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;

/// Starts a service that answers every request with these bytes, connection after connection.
fn answering(answer: &'static str) -> SocketAddr {
    serving(move |_, _| answer.to_owned())
}

/// Starts a service that answers each head of a connection with what `answer` returns, which gets the earlier heads too.
fn serving(answer: impl Fn(&[String], &str) -> String + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            thread::spawn(move || {
                let (mut stream, mut before) = (stream, Vec::new());
                while let Some(head) = read_head(&mut stream) {
                    if stream.write_all(answer(&before, &head).as_bytes()).is_err() {
                        return;
                    }
                    before.push(head);
                }
            });
        }
    });
    address
}

fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&head).to_ascii_lowercase())
}

/// Sends a request with `Host: app.test` on a kept connection.
fn on(stream: &mut TcpStream, target: &str, fields: &str) -> Response {
    let request = format!("GET {target} HTTP/1.1\r\nHost: app.test\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    Response::read(stream, false)
}

/// RFC 9112 section 3.2.2.
#[test]
fn an_absolute_target_is_taken_for_its_own_host_and_forwarded_in_origin_form() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    for (target, forwarded) in [
        ("http://app.test/public/x?a=b", "/public/x?a=b"),
        ("HTTP://app.test/public/%70", "/public/p"),
        ("https://app.test/public/x", "/public/x"),
    ] {
        assert_eq!(client.get(target).send().status, 200, "{target}");
        assert_eq!(upstream.last().target, forwarded);
    }
    let seen = upstream.seen().len();
    for target in [
        "http://other.test/public/x",
        "http://app.test:81/public/x",
        "http://app.test@other.test/public/x",
        "http://app.test/public/../admin",
        "ftp://app.test/public/x",
    ] {
        assert_eq!(client.get(target).send().status, 400, "{target}");
    }
    assert_eq!(client.get("http://app.test/app").send().status, 401, "as its path is judged");
    assert_eq!(upstream.seen().len(), seen);
}

/// RFC 9110 section 9.3.7.
#[test]
fn a_question_about_the_server_as_a_whole_is_answered_here() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let answer = gateway.client().request("OPTIONS", "*").send();
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("allow"), Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    assert_eq!(gateway.client().request("GET", "*").send().status, 400);
    assert!(upstream.seen().is_empty());
}

#[test]
fn what_a_route_tolerates_arrives_byte_for_byte_where_every_reading_leads_there() {
    let upstream = Upstream::start();
    let tolerate = |name: &str, word: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\npath = \"/{name}/\"\nupstream = \"app\"\naccess = \"public\"\nallow_ambiguous_path = [\"{word}\"]\n"
        )
    };
    let words = [
        ("queues", "encoded-slash"),
        ("double", "double-escape"),
        ("backslash", "encoded-backslash"),
        ("korean", "invalid-utf8"),
        ("raw", "raw-utf8"),
    ];
    let mut routes: String = words.iter().map(|(name, word)| tolerate(name, word)).collect();
    for name in ["queues/private", "double/private", "backslash/private", "korean/private"] {
        routes += &format!(
            "[[route]]\nname = \"{}\"\npath = \"/{name}/\"\nupstream = \"app\"\n",
            name.replace('/', "-")
        );
    }
    let gateway = Setup::new(upstream.address).routes(&routes).start();
    let client = gateway.client();
    for target in [
        "/queues/%2F/q",
        "/queues/%2f/q?x=%2F",
        "/double/a%252Fb",
        "/backslash/a%5Cb",
        "/korean/%C7%D1%B1%DB.txt",
        "/raw/한글?q=한글",
    ] {
        assert_eq!(client.get(target).send().status, 200, "{target}");
        assert_eq!(upstream.last().target, target);
    }
    let seen = upstream.seen().len();
    for target in [
        "/queues/a%2F..%2Fb",
        "/queues/private%2Fx",
        "/queues/%2Fprivate/x",
        "/queues%2F..%2Fx",
        "/double/private%252Fx",
        "/double/%252e%252e/x",
        "/backslash/private%5Cx",
        "/backslash/..%5Cx",
        "/korean/.%FF./x",
        "/korean/%C0%AE%C0%AE/x",
        "/korean/pri%FFvate/x",
        "/raw/a%5Cb",
    ] {
        assert_eq!(client.get(target).send().status, 400, "{target}");
    }
    assert_eq!(upstream.seen().len(), seen, "nothing of it was forwarded");
}

#[test]
fn separators_around_a_name_hide_no_identity() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let token =
        client.sign_in("kim", "correct horse battery")["access"].as_str().unwrap().to_owned();
    for name in
        ["-X-User-Id", "X-User-Id-", "X--User_Id", "_X_User_Id_", "-X-User-Groups", "--Remote-User"]
    {
        let answer = client.get("/app").bearer(&token).header(name, "root").send();
        assert_eq!(answer.status, 200, "{name}");
        let seen = upstream.last();
        assert!(seen.headers.iter().all(|(_, value)| value != "root"), "{name}: {seen:?}");
    }
}

/// Fields that proxies, load balancers and platforms set (docs/security.md lists the names and their sources).
#[test]
fn what_belongs_to_proxies_is_theirs_alone() {
    let names = [
        "X-Original-Forwarded-For",
        "X-ProxyUser-Ip",
        "X-Envoy-External-Address",
        "X-Envoy-Original-Path",
        "X-Forwarded-Client-Cert",
        "X-SSL-Client-S-DN",
        "X-Accel-Redirect",
        "X-Goog-Authenticated-User-Email",
        "X-Edge-Country",
    ];
    for trusted in [false, true] {
        let upstream = Upstream::start();
        let networks = if trusted { "127.0.0.0/8" } else { "192.0.2.0/24" };
        let gateway = Setup::new(upstream.address)
            .with(&format!(
                "[trusted_proxies]\nnetworks = [\"{networks}\"]\nreserved_headers = [\"X-Edge-*\"]"
            ))
            .start();
        for name in names {
            assert_eq!(
                gateway.client().get("/public/x").header(name, "1.2.3.4").send().status,
                200
            );
            let arrived = upstream.last().header(name).is_some();
            assert_eq!(arrived, trusted, "{name}, trusted: {trusted}");
        }
        gateway.client().get("/public/x").header("X-Original-URL", "/admin").send();
        assert_eq!(upstream.last().header("x-original-url"), None, "not even a proxy says that");
    }
}

#[test]
fn the_last_element_of_a_trusted_proxys_lists_counts() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).behind_a_proxy().start();
    let client = gateway.client();
    for (fields, proto, host, port) in [
        (&[("X-Forwarded-Proto", "https, https")][..], "https", "app.test", "443"),
        (
            &[("X-Forwarded-Proto", "http"), ("X-Forwarded-Proto", "https")],
            "https",
            "app.test",
            "443",
        ),
        (&[("X-Forwarded-Proto", "https"), ("X-Forwarded-Port", "80")], "https", "app.test", "443"),
        (
            &[("X-Forwarded-Proto", "https"), ("X-Forwarded-Port", "80,8443")],
            "https",
            "app.test:8443",
            "8443",
        ),
        (&[("X-Forwarded-Host", "evil.test, shop.test")], "http", "shop.test", "80"),
    ] {
        let mut request = client.get("/public/x");
        for (name, value) in fields {
            request = request.header(name, value);
        }
        assert_eq!(request.send().status, 200);
        let seen = upstream.last();
        assert_eq!(seen.all("x-forwarded-proto"), [proto], "{fields:?}");
        assert_eq!(seen.all("x-forwarded-host"), [host], "{fields:?}");
        assert_eq!(seen.all("x-forwarded-port"), [port], "{fields:?}");
    }
    // So a form from behind two proxies counts as same-site.
    let form = client
        .post("/login")
        .header("X-Forwarded-Proto", "https, https")
        .header("Origin", "https://app.test")
        .navigation()
        .form(&[("username", "kim"), ("password", "correct horse battery")])
        .send();
    assert_eq!(form.status, 303, "{}", form.text());
}

/// RFC 9110 section 7.6.1, RFC 9112 section 6.1.
#[test]
fn the_framing_of_the_services_connection_stays_there() {
    let address = answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nX-Upstream: yes\r\n\r\n{}",
    );
    let gateway = Setup::new(address).start();
    let answer = gateway.client().get("/public/x").send();
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"{}"[..]));
    assert_eq!(answer.all("content-length"), ["2"]);
    assert_eq!((answer.header("x-hop"), answer.header("keep-alive")), (None, None));

    let address = answering(
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\nX-Upstream: yes\r\n\r\n",
    );
    let gateway = Setup::new(address).start();
    let mut stream = gateway.client().connect();
    for _ in 0..2 {
        let answer = on(&mut stream, "/public/x", "");
        assert_eq!((answer.status, answer.header("transfer-encoding")), (204, None));
    }
}

/// RFC 4559 section 6: this scheme authenticates a connection.
#[test]
fn a_connection_that_one_client_authenticated_is_nobody_elses() {
    let address = serving(|before, head| {
        let is_known = before
            .iter()
            .map(String::as_str)
            .chain([head])
            .any(|one| one.contains("negotiate yii"));
        let who = if is_known { "kim" } else { "nobody" };
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Upstream: yes\r\n\r\n{who}", who.len())
    });
    let gateway = Setup::new(address).upstream("idle_timeout = \"30s\"").start();
    let client = gateway.client();
    let mut kims = client.connect();
    assert_eq!(on(&mut kims, "/public/x", "").text(), "nobody");
    assert_eq!(on(&mut kims, "/public/x", "Authorization: Negotiate YII\r\n").text(), "kim");
    for _ in 0..10 {
        assert_eq!(client.get("/public/x").send().text(), "nobody", "a stranger is nobody");
    }
    assert_eq!(on(&mut kims, "/public/x", "").text(), "kim", "on her own connection she is known");

    let gateway = Setup::new(address).upstream("idle_timeout = \"30s\"").behind_a_proxy().start();
    let mut proxys = gateway.client().connect();
    assert_eq!(on(&mut proxys, "/public/x", "Authorization: Negotiate YII\r\n").text(), "kim");
    assert_eq!(
        on(&mut proxys, "/public/x", "").text(),
        "nobody",
        "a proxy's connection has many people"
    );
}

fn page_form(client: &Client, next: &str) -> Response {
    client
        .post("/login")
        .navigation()
        .header("Origin", "http://app.test")
        .form(&[("username", "kim"), ("password", "correct horse battery"), ("next", next)])
        .send()
}

/// What browsers do not encode in a query (URL standard, query percent-encode set), and long targets.
#[test]
fn a_browser_comes_back_to_what_it_asked_for() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let long = format!("/app?q={}", "%C7%D1".repeat(1300));
    for (asked, next) in [
        ("/app?ids[]=1&f={a|b}^`", "/app?ids%5B%5D=1&f=%7Ba%7Cb%7D%5E%60"),
        ("/app?b=\\", "/app?b=%5C"),
        (&long, &long),
    ] {
        let to_login = client.get(asked).navigation().send();
        assert_eq!(to_login.status, 303, "{asked}");
        let login = client.get(to_login.header("location").unwrap()).navigation().send();
        assert_eq!(login.status, 200, "the page of {asked}: {}", login.text());
        let there = page_form(&client, next);
        assert_eq!((there.status, there.header("location")), (303, Some(next)));
    }
    for elsewhere in
        ["//evil.test", "/\\evil.test", "/%5Cevil.test", "https://evil.test/", "/a/..//evil.test"]
    {
        assert_eq!(page_form(&client, elsewhere).header("location"), Some("/"), "{elsewhere}");
    }
}

#[test]
fn a_service_below_a_prefix_learns_of_it_or_has_it_restored() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .route("name = \"shop\"\npath = \"/shop/\"\nstrip_prefix = \"/shop/\"\naccess = \"public\"")
        .start();
    let sent = gateway.client().get("/shop/cart").header("X-Forwarded-Prefix", "/evil").send();
    assert_eq!(sent.status, 200);
    assert_eq!(upstream.last().target, "/cart");
    assert_eq!(upstream.last().all("x-forwarded-prefix"), ["/shop"]);

    let address = answering(
        "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /cart\r\nSet-Cookie: basket=1; Path=/\r\nX-Upstream: yes\r\n\r\n",
    );
    for (rewrite, location, path) in [("false", "/cart", "/"), ("true", "/shop/cart", "/shop/")] {
        let gateway = Setup::new(address)
            .route(&format!(
                "name = \"shop\"\npath = \"/shop/\"\nstrip_prefix = \"/shop/\"\naccess = \"public\"\nrewrite_location = {rewrite}"
            ))
            .start();
        let answer = gateway.client().get("/shop/").send();
        assert_eq!(answer.header("location"), Some(location));
        assert_eq!(answer.all("set-cookie"), [format!("basket=1; Path={path}")]);
    }
}

/// W3C Trace Context section 4.
#[test]
fn a_trace_goes_on_and_a_request_id_is_a_trusted_proxys() {
    let upstream = Upstream::start();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let sent = |gateway: &Gateway| {
        let request = gateway.client().get("/public/x").header("Traceparent", trace);
        let request =
            request.header("Tracestate", "a=1,b=2").header("X-Request-Id", "theirs-12345");
        assert_eq!(request.send().status, 200);
        let seen = upstream.last();
        assert_eq!(seen.all("traceparent"), [trace]);
        assert_eq!(seen.all("tracestate"), ["a=1,b=2"]);
        seen.header("x-request-id").unwrap().to_owned()
    };
    assert_ne!(sent(&Setup::new(upstream.address).start()), "theirs-12345");
    assert_eq!(sent(&Setup::new(upstream.address).behind_a_proxy().start()), "theirs-12345");
}

#[test]
fn a_sign_in_over_plain_http_says_why_it_does_not_last() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let page = |host: &str| client.get("/login").host(host).navigation().send().text();
    assert!(page("app.test").contains("id=\"insecure\""));
    for local in ["localhost", "localhost:8080", "127.0.0.1", "[::1]:8080", "app.localhost"] {
        assert!(!page(local).contains("id=\"insecure\""), "{local}");
    }
    page("app.test");
    let said =
        || gateway.log().iter().filter(|line| line.contains("signs in over plain HTTP")).count();
    eventually("it is said", || (said() > 0).then_some(()));
    assert_eq!(said(), 1, "once");

    let gateway = Setup::new(upstream.address).behind_a_proxy().start();
    let page =
        gateway.client().get("/login").header("X-Forwarded-Proto", "https").navigation().send();
    assert!(!page.text().contains("id=\"insecure\""));
}

#[test]
fn a_json_sign_in_from_another_site_gets_no_cookie() {
    let upstream = Upstream::start();
    let setup = || Setup::new(upstream.address);
    let sign_in = |gateway: &Gateway, origin: Option<&str>| {
        let request = gateway.client().post("/login");
        let request = match origin {
            Some(origin) => request.header("Origin", origin).header("Sec-Fetch-Site", "cross-site"),
            None => request,
        };
        request.json(&json!({"username": "kim", "password": "correct horse battery"})).send()
    };
    let gateway = setup()
        .with("[cors]\nallowed_origins = [\"https://front.test\"]\n[session]\ntrusted_origins = [\"https://sibling.test\"]")
        .start();
    for (origin, cookie) in [
        (None, true),
        (Some("https://sibling.test"), true),
        (Some("https://front.test"), true),
        (Some("https://evil.test"), false),
        (Some("null"), false),
    ] {
        let answer = sign_in(&gateway, origin);
        assert_eq!(answer.status, 200, "{origin:?}");
        assert_eq!(answer.set_cookie("__Host-doorwarden").is_some(), cookie, "{origin:?}");
        assert!(answer.json()["access"].is_string());
    }
    let gateway = setup().with("[login]\nissues = \"cookie\"").start();
    let refused = sign_in(&gateway, Some("https://evil.test"));
    assert_eq!((refused.status, refused.code().as_str()), (403, "cross_site"));
}

#[test]
fn a_front_end_can_read_every_answer_of_ours_whatever_was_wrong() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .with("[cors]\nallowed_origins = [\"https://front.test\"]")
        .start();
    let client = gateway.client();
    for (status, request) in [
        (400, client.get("/public/../x")),
        (400, client.get("/public/x").host("a b")),
        (400, client.get("/public/x").header("Connection", "close, X-User-Id")),
        (405, client.request("PROPFIND", "/public/x")),
        (431, client.get("/public/x").header("X-Long", &"x".repeat(70 * 1024))),
        (401, client.get("/app")),
        (415, client.post("/login").body(b"{}")),
    ] {
        let answer = request.header("Origin", "https://front.test").send();
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some("https://front.test"),
            "{}",
            answer.text()
        );
    }
}
