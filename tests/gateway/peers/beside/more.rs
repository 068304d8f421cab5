//! Defines one more input of each row's kind.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use http::Request;
use serde_json::json;

use super::front::{Front, Fronts};
use super::rows::{Row, ours, row};
use super::wire::Wire;
use crate::support::eventually;
use crate::support::tls::{self, Body};

pub(super) const MORE: &[Row] = &[
    row(
        1,
        "HTTP/2 upload with empty DATA frames before, between and after, then GET",
        "5 bytes, then 200, 0 stray",
        "RFC 9112 section 7.1",
        empty_frames,
    ),
    row(
        2,
        "101 and data in one write, then the upstream closes",
        "101 bye, closed",
        "RFC 9110 section 7.8",
        short_tunnel,
    ),
    row(
        3,
        "HEAD and GET in one write",
        "200 without a body, 200 c",
        "RFC 9112 section 6.3",
        head_first,
    ),
    row(
        4,
        "HTTP/1.0 HEAD of a chunked answer",
        "200 without a body or chunked, closed",
        "RFC 9112 section 6.1",
        head_1_0,
    ),
    row(
        5,
        "upstream dies within the body",
        "200, 5 of 10 bytes, closed",
        "RFC 9112 section 8",
        cut_short,
    ),
    row(
        6,
        "HEAD of a service that closes without an answer, then GET",
        "502 keep-alive, then 200",
        "RFC 9110 section 9.3.2",
        head_502,
    ),
    row(
        8,
        "refused upload that waits for 100 Continue",
        "refused without a 100",
        "RFC 9110 section 10.1.1",
        refused_expect,
    ),
    row(
        9,
        "kim's handshake as \"nTLM\", then a stranger",
        "kim, stranger is nobody",
        "RFC 9110 section 11.1 (schemes have no case)",
        ntlm,
    ),
    ours(
        10,
        "sign-in on the way to /app/a'b(c)*!$,=:@?x='&y=(1)",
        "/app/a'b(c)*!$,=:@?x='&y=(1)",
        "RFC 3986 section 2.2",
        way_back,
    ),
    row(
        11,
        "HTTP/2 with 150 crumbs of 25 bytes",
        "200, 150 cookies in one field",
        "RFC 9113 section 8.2.3",
        many_crumbs,
    ),
    row(
        12,
        "service's 304 with Content-Length: 100, then GET",
        "304, then 200",
        "RFC 9110 section 8.6",
        long_304,
    ),
    row(
        13,
        "X-Forwarded-Proto: https from a stranger",
        "http",
        "docs/security.md, R43",
        |_, front| {
            let mut wire = Wire::to(front.plain);
            let told = wire.ask("GET /public/a", "X-Forwarded-Proto: https\r\n", "");
            told.told("x-forwarded-proto")
        },
    ),
    row(
        14,
        "/public/a?q=%C7%D1%B1%DB (EUC-KR in a query)",
        "/public/a?q=%C7%D1%B1%DB",
        "RFC 3986 section 2.5",
        |_, front| {
            let mut wire = Wire::to(front.plain);
            wire.ask("GET /public/a?q=%C7%D1%B1%DB", "", "").target().to_owned()
        },
    ),
    row(
        15,
        "GET http://app.test/public/x?to=http://b.test/",
        "/public/x?to=http://b.test/",
        "RFC 9112 section 3.2.2",
        |_, front| {
            let mut wire = Wire::to(front.plain);
            let line = "GET http://app.test/public/x?to=http://b.test/";
            wire.ask(line, "", "").target().to_owned()
        },
    ),
    row(
        16,
        "X.User.Id, X_User_Id, x~user~id, X-User-Id twice",
        "none arrives",
        "docs/security.md, R14",
        |fronts, front| {
            arriving(
                fronts,
                front,
                &["X.User.Id", "X_User_Id", "x~user~id", "X-User-Id", "x-user-id"],
            )
        },
    ),
    row(
        17,
        "True-Client-IP, Remote-Email, Tailscale-User-Login, X-Authentik-Username, OIDC_CLAIM_sub, WL-Proxy-Client-IP, ...",
        "none arrives",
        "docs/security.md, R13",
        |fronts, front| {
            let names = "True-Client-IP X-Cluster-Client-IP X-Client-IP Fastly-Client-IP X-Rewrite-URL Client-IP \
                Remote-User Remote-Email Remote-Name Tailscale-User-Login X-Authentik-Username X-Vouch-User X-User \
                X-Auth-Username X-WebAuth-Email X-Token-User-Name OIDC-Claim-Sub OIDC_CLAIM_sub Mellon-Name-Id \
                Shib-Identity-Provider SM_USER iv-user OAM_REMOTE_USER X-Consumer-Username L5d-Client-Id \
                X-Endpoint-API-UserInfo Proxy-Client-IP WL-Proxy-Client-IP NS-Client-IP Ali-CDN-Real-IP \
                CloudFront-Viewer-Address X-Sucuri-ClientIP X-True-Client-IP X-Forward-For";
            arriving(fronts, front, &names.split_ascii_whitespace().collect::<Vec<_>>())
        },
    ),
    row(
        18,
        "a trailer without a colon after the last chunk",
        "400",
        "RFC 9112 section 7.1.2",
        |_, front| {
            let mut wire = Wire::to(front.plain);
            let body = "5\r\nhello\r\n0\r\nno trailer\r\n\r\n";
            let fields = "Transfer-Encoding: chunked\r\n";
            wire.ask("POST /public/a", fields, body).status.to_string()
        },
    ),
    row(19, "window of the connection", "4194304", "RFC 9113 section 6.9", connection_window),
    row(
        20,
        "redirect to http://app.test/cart of a service below /shop/",
        "http://app.test/shop/cart",
        "route.rewrite_location",
        |_, front| {
            let answer = Wire::to(front.plain).ask("GET /shop/absolute", "", "");
            answer.field("location").unwrap_or("nowhere").to_owned()
        },
    ),
    ours(
        22,
        "sign-in page over plain HTTP at 192.168.0.10, [::1] and app.localhost",
        "says why, nothing, nothing",
        "Secure Contexts section 3.1",
        pages,
    ),
    row(
        23,
        "baggage and b3",
        "a=1 80f198ee56343ba8-e457b5a2e4d86bd1-1",
        "W3C Baggage section 3",
        |_, front| {
            let fields = "baggage: a=1\r\nb3: 80f198ee56343ba8-e457b5a2e4d86bd1-1\r\n";
            let arrived = Wire::to(front.plain).ask("GET /public/a", fields, "");
            format!("{} {}", arrived.told("baggage"), arrived.told("b3"))
        },
    ),
    ours(24, "PROXY protocol version 2 to the TLS port", "counted", "docs/metrics.md", proxy_bytes),
    row(
        25,
        "4 096 chunks of one byte, buffered",
        "content-length: 4096",
        "upstream.buffer_chunked",
        small_chunks,
    ),
    ours(
        27,
        "POST /login as JSON, Origin: null",
        "no cookie",
        "Fetch standard, serializing an origin",
        null_origin,
    ),
    ours(
        28,
        "PATCH /login, and a sign-in that is too large, Origin: https://shop.test",
        "405 for https://shop.test, 413 for https://shop.test",
        "Fetch standard, CORS check",
        refused_sign_in,
    ),
];

/// Reads HTTP/2 frames; returns kind, flags, stream and payload of each.
fn frames(stream: &mut tls::Stream) -> impl Iterator<Item = (u8, u8, u8, Vec<u8>)> {
    std::iter::from_fn(|| {
        let mut head = [0; 9];
        stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).ok()?;
        Some((head[3], head[4], head[8], payload))
    })
}

fn open_h2(fronts: &Fronts, front: &Front, more: &[u8]) -> tls::Stream {
    let config = Arc::new(fronts.certificate.client(&["h2"]));
    let mut stream = tls::connect(front.tls, &config);
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    stream.write_all(&tls::frame(4, 0, 0, &[])).unwrap();
    stream.write_all(more).unwrap();
    stream
}

fn empty_frames(fronts: &Fronts, front: &Front) -> String {
    let before = fronts.service.strays();
    let fields = tls::header_block(&[
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "app.test"),
        (":path", "/public/a"),
    ]);
    let mut bytes = tls::frame(1, 4, 1, &fields);
    for data in [&b""[..], b"he", b"", b"llo", b""] {
        bytes.extend(tls::frame(0, 0, 1, data));
    }
    bytes.extend(tls::frame(0, 1, 1, b""));
    let mut stream = open_h2(fronts, front, &bytes);
    let mut body = Vec::new();
    for (kind, flags, number, payload) in frames(&mut stream) {
        if kind == 0 && number == 1 {
            body.extend(payload);
            if flags & 1 == 1 {
                break;
            }
        }
    }
    let told = String::from_utf8_lossy(&body).into_owned();
    let length = told.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned();
    let next = Wire::to(front.plain).ask("GET /public/a", "", "").status;
    format!("{length} bytes, then {next}, {} stray", fronts.service.strays() - before)
}

fn short_tunnel(_: &Fronts, front: &Front) -> String {
    let mut wire = Wire::to(front.plain);
    let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let status = wire.ask("GET /public/bye", handshake, "").status;
    // This returns only if the tunnel is closed.
    format!("{status} {}, closed", wire.rest())
}

fn head_first(_: &Fronts, front: &Front) -> String {
    let mut wire = Wire::to(front.plain);
    wire.write(
        "HEAD /public/b HTTP/1.1\r\nHost: app.test\r\n\r\nGET /public/c HTTP/1.1\r\nHost: app.test\r\n\r\n",
    );
    let head = wire.head();
    let next = wire.answer();
    let target = next.target().trim_start_matches("/public/").to_owned();
    format!("{} without a body, {} {target}", head.status, next.status)
}

fn head_1_0(_: &Fronts, front: &Front) -> String {
    let mut wire = Wire::to(front.plain);
    wire.write("HEAD /public/chunked HTTP/1.0\r\nHost: app.test\r\n\r\n");
    let all = wire.rest().to_lowercase();
    let plain = all.ends_with("\r\n\r\n") && !all.contains("chunked");
    let status = all.split(' ').nth(1).unwrap_or_default();
    let what = if plain { "without a body or chunked" } else { "with more" };
    format!("{status} {what}, closed")
}

fn cut_short(_: &Fronts, front: &Front) -> String {
    let mut wire = Wire::to(front.plain);
    let answer = wire.ask("GET /public/short", "", "");
    let length = answer.field("content-length").unwrap_or_default();
    format!("{}, {} of {length} bytes, closed", answer.status, answer.body.len())
}

fn head_502(_: &Fronts, front: &Front) -> String {
    let mut wire = Wire::to(front.plain);
    wire.write("HEAD /public/break HTTP/1.1\r\nHost: app.test\r\n\r\n");
    let failed = wire.head();
    let says = failed.says().to_owned();
    format!("{} {says}, then {}", failed.status, wire.ask("GET /public/a", "", "").status)
}

fn refused_expect(_: &Fronts, front: &Front) -> String {
    let mut wire = Wire::to(front.plain);
    let fields = "Content-Length: 1048576\r\nExpect: 100-continue\r\n";
    let answer = wire.ask("POST /private/up", fields, "");
    match (answer.status, answer.interim.is_empty()) {
        (401 | 413, true) => "refused without a 100".into(),
        other => format!("{other:?}"),
    }
}

fn ntlm(_: &Fronts, front: &Front) -> String {
    let mut kims = Wire::to(front.plain);
    kims.ask("GET /public/who", "Authorization: nTLM TlRM\r\n", "");
    let known = kims.ask("GET /public/who", "", "").body;
    let stranger = (0..5).map(|_| Wire::to(front.plain).ask("GET /public/who", "", "").body);
    let stranger: std::collections::BTreeSet<String> = stranger.collect();
    format!("{known}, stranger is {}", stranger.into_iter().collect::<Vec<_>>().join(" or "))
}

fn way_back(fronts: &Fronts, _: &Front) -> String {
    super::rows::way_back_to(fronts, "/app/a'b(c)*!$,=:@?x='&y=(1)")
}

fn many_crumbs(fronts: &Fronts, front: &Front) -> String {
    let mut request = Request::get("https://app.test/public/a").body(()).unwrap();
    for number in 0..150 {
        let cookie = format!("crumb{number:03}={}", "c".repeat(16)).parse().unwrap();
        request.headers_mut().append("cookie", cookie);
    }
    let answer = fronts.h2(front).send(request, &Body::default()).unwrap();
    let told = String::from_utf8_lossy(&answer.body).to_lowercase();
    let fields: Vec<&str> = told.lines().filter(|line| line.starts_with("cookie: ")).collect();
    let cookies = fields.iter().map(|line| line.split("; ").count()).sum::<usize>();
    let field = if fields.len() == 1 { "one field".into() } else { fields.len().to_string() };
    format!("{}, {cookies} cookies in {field}", answer.status)
}

fn long_304(_: &Fronts, front: &Front) -> String {
    let mut wire = Wire::to(front.plain);
    let unchanged = wire.ask("GET /public/unchanged", "", "").status;
    format!("{unchanged}, then {}", wire.ask("GET /public/a", "", "").status)
}

fn arriving(fronts: &Fronts, front: &Front, names: &[&str]) -> String {
    let mut fields: String = names.iter().map(|name| format!("{name}: 1.2.3.4\r\n")).collect();
    if !front.is_nginx {
        let tokens = fronts.gateway.client().sign_in("kim", "correct horse battery");
        fields += &format!("Authorization: Bearer {}\r\n", tokens["access"].as_str().unwrap());
    }
    let arrived = Wire::to(front.plain).ask("GET /app", &fields, "");
    assert_eq!(arrived.status, 200, "{arrived:?}");
    let lines = arrived.body.lines().filter(|line| line.ends_with(": 1.2.3.4"));
    let names: Vec<&str> = lines.filter_map(|line| line.split(':').next()).collect();
    if names.is_empty() { "none arrives".into() } else { names.join(" ") }
}

fn connection_window(fronts: &Fronts, front: &Front) -> String {
    let mut stream = open_h2(fronts, front, &[]);
    // SETTINGS do not contain this window; its default is 65 535.
    let increment = frames(&mut stream)
        .take(3)
        .find(|(kind, _, number, _)| (*kind, *number) == (8, 0))
        .map_or(0, |(_, _, _, payload)| u32::from_be_bytes(payload.try_into().unwrap()));
    (65_535 + increment).to_string()
}

fn pages(fronts: &Fronts, _: &Front) -> String {
    let client = fronts.gateway.client();
    let says = |host: &str| {
        let page = client.get("/login").host(host).navigation().send();
        if page.text().contains("id=\"insecure\"") { "says why" } else { "nothing" }
    };
    ["192.168.0.10", "[::1]", "app.localhost"].map(says).join(", ")
}

fn proxy_bytes(fronts: &Fronts, front: &Front) -> String {
    let count = || {
        let name = "doorwarden_connection_failures_total{reason=\"not_tls\"}";
        fronts.gateway.metric(name).unwrap_or(0.0)
    };
    let before = count();
    let mut stream = TcpStream::connect(front.tls).unwrap();
    let head = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\x30\x39\x01\xbb";
    stream.write_all(head).unwrap();
    eventually("the connection to be counted", || (count() > before).then_some(()));
    "counted".into()
}

fn small_chunks(_: &Fronts, front: &Front) -> String {
    let mut wire = Wire::to(front.plain);
    let head = "POST /buffered/a HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    wire.write(format!("{head}{}0\r\n\r\n", "1\r\nb\r\n".repeat(4096)));
    format!("content-length: {}", wire.answer().told("content-length"))
}

fn null_origin(fronts: &Fronts, _: &Front) -> String {
    let client = fronts.gateway.client();
    let body = json!({"username": "kim", "password": "correct horse battery"});
    let answer = client.post("/login").header("Origin", "null").json(&body).send();
    answer.header("set-cookie").unwrap_or("no cookie").to_owned()
}

fn refused_sign_in(_: &Fronts, front: &Front) -> String {
    let inputs = [
        ("PATCH /login", "Content-Length: 2\r\n", "{}".to_owned()),
        (
            "POST /login",
            "Content-Type: application/json\r\nContent-Length: 100000\r\n",
            "x".repeat(100_000),
        ),
    ];
    let answers = inputs.map(|(line, fields, body)| {
        let fields = format!("Origin: https://shop.test\r\n{fields}");
        let answer = Wire::to(front.plain).ask(line, &fields, &body);
        let origin = answer.field("access-control-allow-origin").unwrap_or("nobody");
        format!("{} for {origin}", answer.status)
    });
    answers.join(", ")
}
