//! Defines an input for each row. The right value is demanded of the gateway; nginx's is printed beside it.

use std::net::TcpStream;

use http::Request;
use serde_json::json;

use super::front::{Front, Fronts};
use super::wire::Wire;
use crate::support::eventually;
use crate::support::tls::{self, Body};

/// One input.
pub(super) struct Row {
    pub(super) number: u8,
    pub(super) input: &'static str,
    /// Returns the result of a front end.
    pub(super) ask: fn(&Fronts, &Front) -> String,
    pub(super) for_nginx: bool,
    pub(super) right: &'static str,
    /// The RFC's section, or another source.
    pub(super) says: &'static str,
}

pub(super) const fn row(
    number: u8,
    input: &'static str,
    right: &'static str,
    says: &'static str,
    ask: fn(&Fronts, &Front) -> String,
) -> Row {
    Row { number, input, ask, for_nginx: true, right, says }
}

/// Returns a row that does not apply to nginx.
pub(super) const fn ours(
    number: u8,
    input: &'static str,
    right: &'static str,
    says: &'static str,
    ask: fn(&Fronts, &Front) -> String,
) -> Row {
    Row { number, input, ask, for_nginx: false, right, says }
}

/// All rows but 7 and 21, which change the front ends.
pub(super) const ROWS: &[Row] = &[
    row(
        1,
        "HTTP/2 upload whose last DATA frame is empty, then GET",
        "200, then 200, 0 stray",
        "RFC 9112 section 7.1",
        empty_last_frame,
    ),
    row(2, "WebSocket, 101 at once", "200 of 200 open", "RFC 9110 section 7.8", websockets),
    row(
        3,
        "CRLF, GET a, POST b, GET c in one write",
        "200 a, 200 b, 200 c",
        "RFC 9112 sections 2.2, 9.3.2",
        pipelined,
    ),
    row(
        4,
        "HTTP/1.0, the service's answer is chunked",
        "plain body, closed",
        "RFC 9112 sections 6.1, 9.3",
        version_1_0,
    ),
    row(5, "upstream closes after 100", "502", "RFC 9110 section 15.2", after_100),
    row(
        6,
        "upstream closes without an answer, then GET",
        "502 keep-alive, then 200",
        "RFC 9112 section 9.3",
        after_502,
    ),
    row(
        8,
        "1 MiB upload that is refused, all sent before reading",
        "the answer arrives",
        "RFC 9112 section 9.6",
        early_answer,
    ),
    row(
        9,
        "kim's Negotiate handshake, then a stranger",
        "kim, stranger is nobody",
        "RFC 4559 section 6",
        negotiate,
    ),
    ours(
        10,
        "sign-in on the way to /app?ids[]=1&f={a|b}^`",
        "/app?ids%5B%5D=1&f=%7Ba%7Cb%7D%5E%60",
        "URL standard, query percent-encode set",
        way_back,
    ),
    row(11, "HTTP/2 with 87 cookies and 14 fields", "200", "RFC 9113 section 8.2.3", crumbs),
    row(
        12,
        "service's 204 with Transfer-Encoding and Keep-Alive, then GET",
        "204 without them, then 200",
        "RFC 9112 section 6.1, RFC 9110 section 7.6.1",
        framed_204,
    ),
    row(
        13,
        "X-Forwarded-Proto: https, https from a trusted proxy",
        "https",
        "docs/security.md",
        forwarded_proto,
    ),
    row(
        14,
        "/files/%C7%D1%B1%DB.txt (EUC-KR)",
        "/files/%C7%D1%B1%DB.txt",
        "RFC 3986 section 2.5",
        korean,
    ),
    row(15, "GET http://app.test/public/x", "/public/x", "RFC 9112 section 3.2.2", absolute),
    row(16, "-X-User-Id: root", "nothing arrives", "docs/security.md, R14", |fronts, front| {
        unbelieved(fronts, front, "-X-User-Id")
    }),
    row(
        17,
        "X-Envoy-External-Address: 1.2.3.4 from a stranger",
        "nothing arrives",
        "docs/security.md, R13",
        |fronts, front| unbelieved(fronts, front, "X-Envoy-External-Address"),
    ),
    row(
        18,
        "chunk with an empty size line",
        "400, closed",
        "RFC 9112 section 7.1",
        empty_size_line,
    ),
    row(19, "first SETTINGS_INITIAL_WINDOW_SIZE", "2097152", "RFC 9113 section 6.9.2", window),
    row(
        20,
        "redirect to /cart of a service below /shop/",
        "/shop/cart",
        "route.rewrite_location",
        redirect,
    ),
    ours(
        22,
        "sign-in page over plain HTTP at shop.example",
        "the page says why",
        "RFC 6265 section 5.4 (Secure)",
        plain_page,
    ),
    row(
        23,
        "traceparent and tracestate",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 a=1,b=2",
        "W3C Trace Context section 4",
        trace,
    ),
    ours(
        24,
        "TCP connection to the TLS port that says nothing",
        "counted",
        "docs/metrics.md",
        silent_connection,
    ),
    row(
        25,
        "56 KiB chunked, buffered up to 64 KiB",
        "content-length: 57344",
        "upstream.buffer_limit",
        buffered,
    ),
    ours(
        27,
        "POST /login as JSON, Origin: https://evil.test",
        "no cookie",
        "docs/security.md, R35",
        foreign_sign_in,
    ),
    ours(
        28,
        "target with two readings, 101 fields, Origin: https://shop.test",
        "400 for https://shop.test, 431 for https://shop.test",
        "Fetch standard, CORS check",
        unreadable_head,
    ),
];

fn h2_get(path: &str) -> Request<()> {
    Request::get(format!("https://app.test{path}")).body(()).unwrap()
}

fn empty_last_frame(fronts: &Fronts, front: &Front) -> String {
    let before = fronts.service.strays();
    let mut h2 = fronts.h2(front);
    let upload = Request::post("https://app.test/public/a").body(()).unwrap();
    let body = Body { data: Some(b"hello"), empty_end: true, ..Body::default() };
    let uploaded = h2.send(upload, &body).unwrap().status;
    let next = h2.send(h2_get("/public/a"), &Body::default()).unwrap().status;
    format!("{uploaded}, then {next}, {} stray", fronts.service.strays() - before)
}

fn websockets(_: &Fronts, front: &Front) -> String {
    let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let open = (0..200).filter(|_| {
        let mut wire = Wire::to(front.plain);
        let accepted = wire.ask("GET /public/ws", handshake, "").status == 101;
        accepted && wire.write("hello").bytes(5) == "hello"
    });
    format!("{} of 200 open", open.count())
}

fn pipelined(_: &Fronts, front: &Front) -> String {
    let mut wire = Wire::to(front.plain);
    let get = |path: &str| format!("GET /public/{path} HTTP/1.1\r\nHost: app.test\r\n\r\n");
    let post = "POST /public/b HTTP/1.1\r\nHost: app.test\r\nContent-Length: 2\r\n\r\nhi";
    wire.write(format!("\r\n{}{post}{}", get("a"), get("c")));
    let answers = [0; 3].map(|_| {
        let answer = wire.answer();
        format!("{} {}", answer.status, answer.target().trim_start_matches("/public/"))
    });
    answers.join(", ")
}

fn version_1_0(_: &Fronts, front: &Front) -> String {
    let mut wire = Wire::to(front.plain);
    wire.write("GET /public/chunked HTTP/1.0\r\nHost: app.test\r\n\r\n");
    // This returns only if the connection is closed.
    let all = wire.rest();
    let plain = all.ends_with("\r\n\r\nplain") && !all.to_lowercase().contains("chunked");
    (if plain { "plain body, closed" } else { "chunked" }).into()
}

fn after_100(_: &Fronts, front: &Front) -> String {
    Wire::to(front.plain).ask("GET /public/dies", "", "").status.to_string()
}

fn after_502(_: &Fronts, front: &Front) -> String {
    let mut wire = Wire::to(front.plain);
    let failed = wire.ask("POST /public/break", "Content-Length: 2\r\n", "hi");
    let says = failed.says().to_owned();
    format!("{} {says}, then {}", failed.status, wire.ask("GET /public/a", "", "").status)
}

fn early_answer(_: &Fronts, front: &Front) -> String {
    let mut wire = Wire::to(front.plain);
    wire.write("POST /private/up HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1048576\r\n\r\n");
    for _ in 0..16 {
        wire.write(vec![b'u'; 65536]);
    }
    // 401, or 413 from nginx.
    match wire.answer().status {
        401 | 413 => "the answer arrives".into(),
        other => format!("{other}"),
    }
}

fn negotiate(_: &Fronts, front: &Front) -> String {
    let mut kims = Wire::to(front.plain);
    kims.ask("GET /public/who", "Authorization: Negotiate YII\r\n", "");
    let known = kims.ask("GET /public/who", "", "").body;
    let stranger = (0..5).map(|_| Wire::to(front.plain).ask("GET /public/who", "", "").body);
    let stranger: std::collections::BTreeSet<String> = stranger.collect();
    format!("{known}, stranger is {}", stranger.into_iter().collect::<Vec<_>>().join(" or "))
}

fn way_back(fronts: &Fronts, _: &Front) -> String {
    way_back_to(fronts, "/app?ids[]=1&f={a|b}^`")
}

/// Returns where a user who had to sign in on the way to this target ends up.
pub(super) fn way_back_to(fronts: &Fronts, target: &str) -> String {
    let client = fronts.gateway.client();
    let sent_away = client.get(target).navigation().send();
    let page = client.get(sent_away.header("location").unwrap()).navigation().send().text();
    let field = page.split("name=\"next\" value=\"").nth(1).expect("the page's way back");
    let next = field.split('"').next().unwrap().replace("&#38;", "&").replace("&#39;", "'");
    let signed_in = client
        .post("/login")
        .navigation()
        .header("Origin", "http://app.test")
        .form(&[("username", "kim"), ("password", "correct horse battery"), ("next", &next)])
        .send();
    signed_in.header("location").unwrap_or("nowhere").to_owned()
}

fn crumbs(fronts: &Fronts, front: &Front) -> String {
    let mut request = h2_get("/public/a");
    for number in 0..87 {
        let cookie = format!("c{number}=1").parse().unwrap();
        request.headers_mut().append("cookie", cookie);
    }
    for number in 0..14 {
        let name = http::HeaderName::try_from(format!("x-{number}")).unwrap();
        request.headers_mut().append(name, http::HeaderValue::from_static("1"));
    }
    fronts.h2(front).send(request, &Body::default()).unwrap().status.to_string()
}

fn framed_204(_: &Fronts, front: &Front) -> String {
    let mut wire = Wire::to(front.plain);
    let none = wire.ask("GET /public/none", "", "");
    let clean = none.field("transfer-encoding").is_none() && none.field("keep-alive").is_none();
    let with = if clean { "without" } else { "with" };
    format!("{} {with} them, then {}", none.status, wire.ask("GET /public/a", "", "").status)
}

fn forwarded_proto(_: &Fronts, front: &Front) -> String {
    let mut wire = Wire::to(front.behind_a_proxy);
    wire.ask("GET /public/a", "X-Forwarded-Proto: https, https\r\n", "").told("x-forwarded-proto")
}

fn korean(_: &Fronts, front: &Front) -> String {
    Wire::to(front.plain).ask("GET /files/%C7%D1%B1%DB.txt", "", "").target().to_owned()
}

fn absolute(_: &Fronts, front: &Front) -> String {
    Wire::to(front.plain).ask("GET http://app.test/public/x", "", "").target().to_owned()
}

fn unbelieved(fronts: &Fronts, front: &Front, name: &str) -> String {
    let mut fields = format!("{name}: 1.2.3.4\r\n");
    if !front.is_nginx {
        let tokens = fronts.gateway.client().sign_in("kim", "correct horse battery");
        fields += &format!("Authorization: Bearer {}\r\n", tokens["access"].as_str().unwrap());
    }
    let arrived = Wire::to(front.plain).ask("GET /app", &fields, "");
    assert_eq!(arrived.status, 200, "{arrived:?}");
    format!("{} arrives", arrived.told(name))
}

fn empty_size_line(_: &Fronts, front: &Front) -> String {
    let mut wire = Wire::to(front.plain);
    let body = "\r\nA\r\n0123456789\r\n0\r\n\r\n";
    let refused = wire.ask("POST /public/a", "Transfer-Encoding: chunked\r\n", body);
    format!("{}, {}", refused.status, if wire.is_closed() { "closed" } else { "open" })
}

fn window(fronts: &Fronts, front: &Front) -> String {
    use std::io::{Read, Write};
    let config = std::sync::Arc::new(fronts.certificate.client(&["h2"]));
    let mut stream = tls::connect(front.tls, &config);
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    stream.write_all(&tls::frame(4, 0, 0, &[])).unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[3], 4, "SETTINGS come first");
    let mut settings = vec![0; usize::from(head[2])];
    stream.read_exact(&mut settings).unwrap();
    let found = settings
        .chunks(6)
        .find(|setting| setting[..2] == [0, 4])
        .map(|setting| u32::from_be_bytes(setting[2..].try_into().unwrap()));
    found.unwrap_or(65_535).to_string()
}

fn redirect(_: &Fronts, front: &Front) -> String {
    let answer = Wire::to(front.plain).ask("GET /shop/redirect", "", "");
    let location = answer.field("location").unwrap_or("nowhere");
    location.trim_start_matches("http://app.test").to_owned()
}

fn plain_page(fronts: &Fronts, _: &Front) -> String {
    let client = fronts.gateway.client();
    let insecure = "id=\"insecure\"";
    let says = |host: &str| {
        let page = client.get("/login").host(host).navigation().send();
        page.text().contains(insecure)
    };
    let (elsewhere, here) = (says("shop.example"), says("localhost"));
    (if elsewhere && !here { "the page says why" } else { "not a word" }).into()
}

fn trace(_: &Fronts, front: &Front) -> String {
    let fields = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
                  tracestate: a=1,b=2\r\n";
    let arrived = Wire::to(front.plain).ask("GET /public/a", fields, "");
    format!("{} {}", arrived.told("traceparent"), arrived.told("tracestate"))
}

fn silent_connection(fronts: &Fronts, front: &Front) -> String {
    let count = || {
        fronts
            .gateway
            .metric("doorwarden_connection_failures_total{reason=\"empty\"}")
            .unwrap_or(0.0)
    };
    let before = count();
    drop(TcpStream::connect(front.tls).unwrap());
    eventually("the connection to be counted", || (count() > before).then_some(()));
    "counted".into()
}

fn buffered(_: &Fronts, front: &Front) -> String {
    let mut wire = Wire::to(front.plain);
    wire.write("POST /buffered/a HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..7 {
        wire.write(format!("2000\r\n{}\r\n", "b".repeat(0x2000)));
    }
    wire.write("0\r\n\r\n");
    format!("content-length: {}", wire.answer().told("content-length"))
}

fn foreign_sign_in(fronts: &Fronts, _: &Front) -> String {
    let answer = fronts
        .gateway
        .client()
        .post("/login")
        .header("Origin", "https://evil.test")
        .json(&json!({"username": "kim", "password": "correct horse battery"}))
        .send();
    answer.header("set-cookie").unwrap_or("no cookie").to_owned()
}

fn unreadable_head(_: &Fronts, front: &Front) -> String {
    let many: String = (0..101).map(|number| format!("X-{number}: 1\r\n")).collect();
    let inputs = [("GET /public/..%2fx", String::new()), ("GET /public/a", many)];
    let answers = inputs.map(|(line, fields)| {
        let fields = format!("Origin: https://shop.test\r\n{fields}");
        let answer = Wire::to(front.plain).ask(line, &fields, "");
        let origin = answer.field("access-control-allow-origin").unwrap_or("nobody");
        format!("{} for {origin}", answer.status)
    });
    answers.join(", ")
}
