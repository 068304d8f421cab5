//! Tests HTTPS: HTTP/1.1 and HTTP/2 by ALPN, HTTP/1.1 to the upstream; smuggling over HTTP/2; certificates.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Request};
use serde_json::json;

use crate::support::client::Response;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup, does_not_start};
use crate::support::tls::{Answer, Body, Certificate, H2, Outcome, connect, send_fields};
use crate::support::upstream::Upstream;

const COOKIE: &str = "__Host-doorwarden";

const FILES: &str =
    "https = [\"127.0.0.1:0\"]\ncertificate_file = \"cert.pem\"\nprivate_key_file = \"key.pem\"";

fn setup(upstream: &Upstream, certificate: &Certificate) -> Setup {
    Setup::new(upstream.address)
        .listen(FILES)
        .file("cert.pem", certificate.pem.as_bytes())
        .file("key.pem", certificate.key.as_bytes())
}

/// Starts a gateway with HTTPS in front of an upstream.
fn start() -> (Upstream, Certificate, Gateway) {
    let (upstream, certificate) = (Upstream::start(), Certificate::make());
    let gateway = setup(&upstream, &certificate).start();
    (upstream, certificate, gateway)
}

fn https(gateway: &Gateway) -> SocketAddr {
    gateway.https.expect("an https address")
}

fn h2(gateway: &Gateway, certificate: &Certificate) -> H2 {
    H2::connect(https(gateway), certificate.client(&["h2"]))
}

fn get(path: &str) -> http::request::Builder {
    Request::get(format!("https://app.test{path}"))
}

fn sign_in(h2: &mut H2) -> (String, String) {
    let login = Request::post("https://app.test/login").header("content-type", "application/json");
    let body = br#"{"username": "kim", "password": "correct horse battery"}"#;
    let body = Body { data: Some(body), ..Body::default() };
    let answer = h2.send(login.body(()).unwrap(), &body).unwrap();
    assert_eq!(answer.status, 200, "{:?}", answer.json());
    let ours = |line: &http::HeaderValue| {
        let value = line.to_str().unwrap().strip_prefix(&format!("{COOKIE}="))?;
        value.split(';').next().map(str::to_owned)
    };
    let cookie = answer.headers.get_all("set-cookie").iter().find_map(ours).unwrap();
    (answer.json()["access"].as_str().unwrap().to_owned(), cookie)
}

fn none() -> Body {
    Body::default()
}

#[test]
fn http_1_and_http_2_are_chosen_by_alpn_and_both_go_on_as_http_1() {
    let (upstream, certificate, gateway) = start();
    for (alpn, chosen) in [
        (&["http/1.1"][..], Some(&b"http/1.1"[..])),
        (&["h2", "http/1.1"], Some(b"h2")),
        (&["http/1.1", "h2"], Some(b"h2")),
        (&[], None),
    ] {
        let config = Arc::new(certificate.client(alpn));
        let mut stream = connect(https(&gateway), &config);
        let request = gateway.client().get("/public/x").bytes();
        if chosen == Some(b"h2") {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        } else {
            stream.write_all(&request).unwrap();
            assert_eq!(Response::read(&mut stream, false).status, 200, "{alpn:?}");
        }
        assert_eq!(stream.conn.alpn_protocol(), chosen, "{alpn:?}");
    }
    let answer =
        h2(&gateway, &certificate).send(get("/public/x").body(()).unwrap(), &none()).unwrap();
    assert_eq!((answer.status, upstream.last().target.as_str()), (200, "/public/x"));
    assert_eq!(upstream.seen().len(), 3);
    for seen in upstream.seen() {
        assert_eq!(seen.version, "HTTP/1.1");
        assert_eq!(seen.all("host"), ["app.test"]);
        assert_eq!(seen.all("x-forwarded-proto"), ["https"]);
        assert_eq!(seen.all("x-forwarded-host"), ["app.test"]);
        assert!(seen.header("forwarded").unwrap().contains("proto=https"), "{seen:?}");
    }
    // The plain listener of the same gateway reports its own scheme.
    gateway.client().get("/public/x").send();
    assert_eq!(upstream.last().all("x-forwarded-proto"), ["http"]);
}

/// RFC 9113 section 8.2.3.
#[test]
fn a_cookie_in_many_fields_is_one_field() {
    let (upstream, certificate, gateway) = start();
    let mut h2 = h2(&gateway, &certificate);
    let mut request = get("/public/x");
    for number in 0..87 {
        request = request.header("cookie", format!("c{number}=1"));
    }
    for number in 0..14 {
        request = request.header(format!("x-{number}"), "1");
    }
    assert_eq!(h2.send(request.body(()).unwrap(), &none()).unwrap().status, 200);
    let cookies = upstream.last();
    assert_eq!(cookies.all("cookie").len(), 1);
    assert_eq!(cookies.header("cookie").unwrap().split("; ").count(), 87);
}

#[test]
fn a_renewed_certificate_is_served_without_being_told() {
    let upstream = Upstream::start();
    let (old, new) = (Certificate::make(), Certificate::make());
    let gateway = setup(&upstream, &old).start();
    let serves = |certificate: &Certificate| {
        let mut stream = connect(https(&gateway), &Arc::new(certificate.client(&["http/1.1"])));
        stream.conn.complete_io(&mut stream.sock).is_ok()
    };
    assert!(serves(&old) && !serves(&new));
    // Replacing only one of the two files is not enough.
    std::fs::write(gateway.folder().join("cert.pem"), &new.pem).unwrap();
    eventually("the half-renewed pair is refused", || {
        let mut log = gateway.log().into_iter();
        log.find(|line| line.contains("the certificate cannot be read again; the one in use stays"))
    });
    assert!(serves(&old));
    std::fs::write(gateway.folder().join("key.pem"), &new.key).unwrap();
    eventually("the new certificate is served", || serves(&new).then_some(()));
}

#[test]
fn a_request_over_http_2_is_authenticated_and_tells_who_is_calling() {
    let (upstream, certificate, gateway) = start();
    let mut h2 = h2(&gateway, &certificate);
    let (access, cookie) = sign_in(&mut h2);
    let refused = h2.send(get("/app").body(()).unwrap(), &none()).unwrap();
    assert_eq!((refused.status, refused.json()["code"].as_str()), (401, Some("not_authenticated")));
    for (name, value) in
        [("authorization", format!("Bearer {access}")), ("cookie", format!("{COOKIE}={cookie}"))]
    {
        let mut request = get("/app?q=1").header(name, value);
        for spoofed in ["x-user-id", "x_user_id", "x.user.id", "http-x-user-id", "x-user-groups"] {
            request = request.header(spoofed, "root");
        }
        let answer = h2.send(request.body(()).unwrap(), &none()).unwrap();
        assert_eq!(answer.status, 200, "{name}");
        let seen = upstream.last();
        assert_eq!(seen.folded("x-user-id"), [("x-user-id", "kim")], "{name}: {seen:?}");
        assert_eq!(seen.folded("x-user-groups"), [("x-user-groups", "editors")], "{name}");
        assert!(seen.folded("http-x-user-id").is_empty(), "{seen:?}");
        assert_eq!((seen.all("authorization"), seen.all("cookie")), (vec![], vec![]), "{name}");
        assert!(!seen.headers.iter().any(|(name, _)| name.starts_with(':')), "{seen:?}");
    }
}

#[test]
fn cookie_crumbs_arrive_as_one_field_without_ours() {
    let (upstream, certificate, gateway) = start();
    let mut h2 = h2(&gateway, &certificate);
    let (_, cookie) = sign_in(&mut h2);
    let request = get("/app")
        .header("cookie", "theme=dark; a=1")
        .header("cookie", format!("{COOKIE}={cookie}"))
        .header("cookie", "b=2");
    assert_eq!(h2.send(request.body(()).unwrap(), &none()).unwrap().status, 200);
    assert_eq!(upstream.last().all("cookie"), ["theme=dark; a=1; b=2"]);
    assert_eq!(upstream.last().all("x-user-id"), ["kim"]);
    // Split into two fields, the cookie still occurs twice.
    let request = get("/app")
        .header("cookie", format!("{COOKIE}={cookie}"))
        .header("cookie", format!("{COOKIE}={}", "A".repeat(43)));
    let refused = h2.send(request.body(()).unwrap(), &none()).unwrap();
    assert_eq!((refused.status, refused.json()["code"].as_str()), (400, Some("bad_cookie")));
}

#[test]
fn a_body_passes_and_its_trailers_do_not() {
    let (upstream, certificate, gateway) = start();
    let mut h2 = h2(&gateway, &certificate);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-user-id", HeaderValue::from_static("root"));
    trailers.insert("x-checksum", HeaderValue::from_static("1"));
    for trailers in [trailers, HeaderMap::new()] {
        let request = Request::post("https://app.test/public/upload").body(()).unwrap();
        let body = Body { data: Some(b"some data"), trailers, ..Body::default() };
        assert_eq!(h2.send(request, &body).unwrap().status, 200);
    }
    // This upstream would read a trailer after the last chunk as the beginning of another request.
    let seen = upstream.seen();
    assert_eq!(seen.iter().map(|seen| seen.method.as_str()).collect::<Vec<_>>(), ["POST", "POST"]);
    for seen in seen {
        assert_eq!(seen.body, b"some data");
        assert!(seen.folded("x-user-id").is_empty() && seen.folded("x-checksum").is_empty());
    }
}

#[test]
fn a_wsgi_server_gets_a_body_without_a_length_with_one() {
    let (upstream, certificate) = (Upstream::start(), Certificate::make());
    let gateway = setup(&upstream, &certificate).upstream("buffer_chunked = true").start();
    let mut h2 = h2(&gateway, &certificate);
    for (data, length) in
        [(Some(&b"some data"[..]), Some("9")), (Some(b""), Some("0")), (None, None)]
    {
        let request = Request::post("https://app.test/public/upload").body(()).unwrap();
        let body = Body { data, ..Body::default() };
        assert_eq!(h2.send(request, &body).unwrap().status, 200);
        let seen = upstream.last();
        assert_eq!(
            (seen.header("content-length"), seen.header("transfer-encoding")),
            (length, None)
        );
        assert_eq!(seen.body, data.unwrap_or_default());
    }
}

#[test]
fn signing_out_needs_no_body_in_either_form_of_none() {
    let (_upstream, certificate, gateway) = start();
    let mut h2 = h2(&gateway, &certificate);
    for data in [None, Some(&b""[..])] {
        let (access, _) = sign_in(&mut h2);
        let authorization = format!("Bearer {access}");
        let out = Request::post("https://app.test/logout").header("authorization", &authorization);
        let body = Body { data, ..Body::default() };
        assert_eq!(h2.send(out.body(()).unwrap(), &body).unwrap().status, 204, "{data:?}");
        let after = get("/app").header("authorization", &authorization).body(()).unwrap();
        assert_eq!(h2.send(after, &none()).unwrap().status, 401, "{data:?}");
    }
}

#[test]
fn authority_and_host_name_one_host() {
    let (upstream, certificate, gateway) = start();
    let mut h2 = h2(&gateway, &certificate);
    let mut status = |host: &str| {
        let request = get("/public/x").header("host", host).body(()).unwrap();
        h2.send(request, &none()).map(|answer: Answer| answer.status)
    };
    assert_eq!(status("app.test").unwrap(), 200);
    for host in ["evil.test", "APP.test", "app.test:8443", "", "app.test, evil.test", "app.test/x"]
    {
        // The gateway answers 400, or the framework resets the stream; nothing is forwarded.
        match status(host) {
            Ok(status) => assert_eq!(status, 400, "{host:?}"),
            Err(error) => assert!(error.is_reset() || error.is_go_away(), "{host:?}: {error}"),
        }
    }
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn what_http_2_forbids_is_an_error_of_the_stream() {
    let (upstream, certificate, gateway) = start();
    let config = Arc::new(certificate.client(&["h2"]));
    let outcome = |fields: &[(&str, &str)]| send_fields(connect(https(&gateway), &config), fields);
    let (method, scheme) = ((":method", "GET"), (":scheme", "https"));
    let (authority, path) = ((":authority", "app.test"), (":path", "/public/x"));
    let good = [method, scheme, authority, path];
    assert_eq!(outcome(&good), Outcome::Answered, "the control");
    for field in [
        ("X-User-Id", "1"),
        ("Cookie", "a=1"),
        ("connection", "x-user-id"),
        ("connection", "close"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("x user", "1"),
        ("x:user", "1"),
        ("", "1"),
        ("x-line", "a\r\nx-user-id: 1"),
        ("x-nul", "a\0b"),
        (":path", "/other"),
        (":authority", "evil.test"),
        (":status", "200"),
        (":user", "1"),
    ] {
        let outcome = outcome(&[&good[..], &[field]].concat());
        assert_ne!(outcome, Outcome::Answered, "{field:?}");
    }
    for (what, fields) in [
        ("no method", vec![scheme, authority, path]),
        ("no scheme", vec![method, authority, path]),
        ("no path", vec![method, scheme, authority]),
        ("an empty path", vec![method, scheme, authority, (":path", "")]),
        ("a pseudo-header after a header", vec![method, scheme, authority, ("a", "b"), path]),
    ] {
        assert_ne!(outcome(&fields), Outcome::Answered, "{what}");
    }
    assert_eq!(upstream.seen().len(), 1, "only the control has arrived");
}

#[test]
fn odd_targets_and_methods_are_refused_over_http_2_as_well() {
    let (upstream, certificate, gateway) = start();
    let config = Arc::new(certificate.client(&["h2"]));
    let mut h2 = h2(&gateway, &certificate);
    for (path, status) in [
        ("/public/../app", 400),
        ("/public/%2e%2e/app", 400),
        ("/public//x", 400),
        ("/public%2fx", 400),
        ("/public/x;a", 400),
        ("/app", 401),
    ] {
        let answer = h2.send(get(path).body(()).unwrap(), &none()).unwrap();
        assert_eq!(answer.status, status, "{path}");
    }
    for (method, status) in [("TRACE", 405), ("DEBUG", 405)] {
        let request = Request::builder().method(method).uri("https://app.test/public/x");
        let answer = h2.send(request.body(()).unwrap(), &none()).unwrap();
        assert_eq!(answer.status, status, "{method}");
    }
    // These targets are not allowed in forwarded requests.
    for fields in [
        [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "app.test"),
            (":path", "public/x"),
        ],
        [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a@app.test"),
            (":path", "/public/x"),
        ],
        [(":method", "OPTIONS"), (":scheme", "https"), (":authority", "app.test"), (":path", "*")],
    ] {
        send_fields(connect(https(&gateway), &config), &fields);
    }
    send_fields(
        connect(https(&gateway), &config),
        &[(":method", "CONNECT"), (":authority", "app.test:443")],
    );
    assert!(upstream.seen().is_empty());
}

#[test]
fn a_body_that_stalls_over_http_2_is_given_up_too() {
    let (upstream, certificate) = (Upstream::start(), Certificate::make());
    let gateway = setup(&upstream, &certificate).listen("own_body_timeout = \"1s\"").start();
    let mut h2 = h2(&gateway, &certificate);
    let login = Request::post("https://app.test/login").header("content-type", "application/json");
    let body = Body { data: Some(b"{\"username\""), stalls: true, ..Body::default() };
    let answer = h2.send(login.body(()).unwrap(), &body).unwrap();
    assert_eq!((answer.status, answer.json()["code"].as_str()), (408, Some("body_timeout")));
    // Other streams of the connection are unaffected.
    assert_eq!(h2.send(get("/public/x").body(()).unwrap(), &none()).unwrap().status, 200);
}

#[test]
fn our_own_site_is_https_here() {
    let (_upstream, certificate, gateway) = start();
    let mut h2 = h2(&gateway, &certificate);
    let (_, cookie) = sign_in(&mut h2);
    for (origin, status) in
        [("https://app.test", 200), ("http://app.test", 403), ("https://app.test:8443", 403)]
    {
        let request = Request::post("https://app.test/app")
            .header("cookie", format!("{COOKIE}={cookie}"))
            .header("origin", origin);
        assert_eq!(h2.send(request.body(()).unwrap(), &none()).unwrap().status, status, "{origin}");
    }
}

#[test]
fn tls_1_2_and_1_3_work_and_nothing_is_taken_before_the_handshake_is_done() {
    let (_upstream, certificate, gateway) = start();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut config = certificate.client_of(&["http/1.1"], &[version]);
        config.enable_early_data = true;
        let config = Arc::new(config);
        for again in [false, true] {
            let mut stream = connect(https(&gateway), &config);
            // A ticket from the first connection that permitted early data would show here.
            assert!(stream.conn.early_data().is_none(), "0-RTT is offered ({version:?})");
            stream.write_all(&gateway.client().get("/public/x").bytes()).unwrap();
            assert_eq!(Response::read(&mut stream, false).status, 200);
            assert_eq!(stream.conn.protocol_version(), Some(version.version));
            assert!(!stream.conn.is_early_data_accepted());
            let kind = stream.conn.handshake_kind();
            let resumed = kind == Some(rustls::HandshakeKind::Resumed);
            assert_eq!(resumed, again, "{kind:?}: the second one is where early data could be");
        }
    }
}

#[test]
fn plain_http_on_the_tls_port_is_nothing() {
    let (upstream, certificate, gateway) = start();
    let mut stream = std::net::TcpStream::connect(https(&gateway)).unwrap();
    stream.set_read_timeout(Some(crate::support::DEADLINE)).unwrap();
    stream.write_all(&gateway.client().get("/public/x").bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/"), "{:?}", String::from_utf8_lossy(&answer));
    assert!(upstream.seen().is_empty());
    let answer = h2(&gateway, &certificate).send(get("/public/x").body(()).unwrap(), &none());
    assert_eq!(answer.unwrap().status, 200, "others are served as before");
}

#[test]
fn certificate_and_key_that_cannot_be_used_keep_the_gateway_from_starting() {
    let (upstream, certificate, other) =
        (Upstream::start(), Certificate::make(), Certificate::make());
    for (what, cert, key, names) in [
        ("another key", certificate.pem.as_str(), other.key.as_str(), "key.pem"),
        ("no certificate", "nothing", &certificate.key, "cert.pem"),
        ("no key", &certificate.pem, "nothing", "key.pem"),
        ("both exchanged", &certificate.key, &certificate.pem, "cert.pem"),
    ] {
        let folder = Setup::new(upstream.address)
            .listen(FILES)
            .file("cert.pem", cert.as_bytes())
            .file("key.pem", key.as_bytes())
            .prepare();
        let line = does_not_start(folder.path());
        assert!(line.contains("for TLS") && line.contains(names), "{what}: {line}");
    }
    let folder = Setup::new(upstream.address).listen(FILES).prepare();
    assert!(does_not_start(folder.path()).contains("cert.pem"));
}

#[test]
fn a_key_that_every_user_can_read_is_told() {
    let (_upstream, _certificate, mut gateway) = start();
    let told = |gateway: &Gateway| gateway.log().iter().any(|line| line.contains("chmod o-rwx"));
    assert!(!told(&gateway));
    gateway.terminate();
    gateway.wait();
    for (mode, is_told) in [(0o640, false), (0o644, true)] {
        let key = gateway.folder().join("key.pem");
        std::fs::set_permissions(key, PermissionsExt::from_mode(mode)).unwrap();
        gateway.spawn();
        assert_eq!(told(&gateway), is_told, "{mode:o}");
        gateway.kill();
    }
}

#[test]
fn refusals_over_http_2_look_as_over_http_1() {
    let (_upstream, certificate, gateway) = start();
    let mut h2 = h2(&gateway, &certificate);
    let answer = h2.send(get("/app").body(()).unwrap(), &none()).unwrap();
    let plain = gateway.client().get("/app").send();
    assert_eq!(answer.status, plain.status);
    assert_eq!(answer.json()["code"], json!(plain.code()));
    for name in ["cache-control", "www-authenticate", "content-type"] {
        assert_eq!(answer.headers[name].to_str().ok(), plain.header(name), "{name}");
    }
    assert!(!answer.headers.contains_key("connection"));
}
