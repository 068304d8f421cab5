//! Tests the PROXY protocol with real proxies on both sides of the gateway: HAProxy (v1, v2) and nginx (v1), as senders and
//! readers.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::peers::servers::{Server, install, nginx, path};
use crate::support::client::{Client, Response};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::tls::{Body, Certificate, H2};
use crate::support::upstream::Upstream;

const STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// Returns a free port: the configuration names the listener's port, so port 0 cannot be used.
fn free() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts a gateway whose HTTP and HTTPS listeners require a header from these networks, and which also has a plain one.
fn proxied(
    upstream: SocketAddr,
    networks: &str,
    certificate: &Certificate,
) -> (Gateway, SocketAddr) {
    let (http, https) = (free(), free());
    let setup = Setup::new(upstream)
        .listen(&format!(
            "https = [\"127.0.0.1:{https}\"]\ncertificate_file = \"cert.pem\"\nprivate_key_file = \"key.pem\"\n\
             [listen.proxy_protocol]\nlisteners = [\"127.0.0.1:{http}\", \"127.0.0.1:{https}\"]\nnetworks = [{networks}]\ntimeout = \"500ms\""
        ))
        .file("cert.pem", certificate.pem.as_bytes())
        .file("key.pem", certificate.key.as_bytes());
    let folder = setup.prepare();
    let file = folder.path().join("gateway.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let both = format!("http = [\"127.0.0.1:0\", \"127.0.0.1:{http}\"]");
    std::fs::write(&file, text.replace("http = [\"127.0.0.1:0\"]", &both)).unwrap();
    (Gateway::launch(folder), SocketAddr::from((Ipv4Addr::LOCALHOST, http)))
}

/// Returns a client of the plain listener, whose address is the first.
fn plain(gateway: &Gateway) -> Client {
    Client::new(gateway.http)
}

fn haproxy(folder: &Path, to: SocketAddr, send: &str, name: &str) -> Server {
    Server::start("haproxy", |address| {
        let file = folder.join(format!("{name}.conf"));
        let text = format!(
            "defaults\nmode tcp\ntimeout connect 2s\ntimeout client 30s\ntimeout server 30s\n\
             listen front\nbind {address}\nsource 127.0.0.3\nserver gateway {to} {send} check inter 200ms\n"
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("haproxy");
        command.args(["-db", "-q", "-f"]).arg(&file).env("PATH", path());
        command
    })
}

fn nginx_stream(folder: &Path, to: SocketAddr) -> Server {
    Server::start("nginx", |address| {
        let _ = nginx(folder, "stream", "off", "");
        let file = folder.join("stream.conf");
        let text = format!(
            "load_module {STREAM};\ndaemon off;\nmaster_process off;\npid {0}/stream.pid;\nerror_log {0}/stream.log;\n\
             events {{ worker_connections 64; }}\nstream {{ server {{ listen {address}; proxy_pass {to}; proxy_protocol on; }} }}\n",
            folder.display()
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&file).arg("-p").arg(folder).env("PATH", path());
        command.stderr(std::process::Stdio::null());
        command
    })
}

/// Sends a request from this address of the loopback network.
fn ask_from(from: [u8; 4], to: SocketAddr, request: &[u8]) -> Response {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((from, 0))).unwrap();
        socket.connect(to).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream.write_all(request).unwrap();
    Response::read(&mut stream, false)
}

#[test]
fn haproxy_and_nginx_say_where_clients_come_from() {
    install();
    let folder = tempfile::tempdir().unwrap();
    let (upstream, certificate) = (Upstream::start(), Certificate::make());
    let (gateway, to) = proxied(upstream.address, "\"127.0.0.3\", \"127.0.0.1\"", &certificate);
    let get = plain(&gateway).get("/public/x").bytes();
    for (name, proxy) in [
        ("HAProxy, v1", haproxy(folder.path(), to, "send-proxy", "one")),
        ("HAProxy, v2", haproxy(folder.path(), to, "send-proxy-v2", "two")),
        (
            "HAProxy, v2 with TLVs",
            haproxy(folder.path(), to, "send-proxy-v2 proxy-v2-options crc32c,unique-id", "tlv"),
        ),
        ("nginx, v1", nginx_stream(folder.path(), to)),
    ] {
        let answer = ask_from([127, 0, 0, 9], proxy.address, &get);
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let seen = upstream.last();
        assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.9"), "{name}");
        assert_eq!(seen.header("x-real-ip"), Some("127.0.0.9"), "{name}");
        // A header that the client itself writes is ignored.
        let forged = plain(&gateway).get("/public/x").header("X-Forwarded-For", "8.8.8.8").bytes();
        ask_from([127, 0, 0, 8], proxy.address, &forged);
        assert_eq!(upstream.last().header("x-forwarded-for"), Some("127.0.0.8"), "{name}");
        eprintln!("{name}: the client is {}", seen.header("x-real-ip").unwrap());
    }
    gateway.logged("the access line", |line| line["client"] == "127.0.0.9");
    // Over TLS, which begins after the PROXY header.
    let https = gateway.https.unwrap();
    let tls = haproxy(folder.path(), https, "send-proxy-v2", "tls");
    let mut client = H2::connect(tls.address, certificate.client(&["h2"]));
    let request = http::Request::get("https://app.test/public/x").body(()).unwrap();
    assert_eq!(client.send(request, &Body::default()).unwrap().status, 200);
    let seen = upstream.last();
    assert_eq!(
        (seen.header("x-real-ip"), seen.header("x-forwarded-proto")),
        (Some("127.0.0.1"), Some("https"))
    );
    // A listener without this setting works as usual, and accepts no PROXY header.
    assert_eq!(plain(&gateway).get("/public/x").send().status, 200);
    let mut stream = TcpStream::connect(gateway.http).unwrap();
    stream
        .write_all(
            b"PROXY TCP4 8.8.8.8 8.8.4.4 1 2\r\nGET /public/x HTTP/1.1\r\nHost: app.test\r\n\r\n",
        )
        .unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(!answer.contains("200 OK"), "{answer}");
}

#[test]
fn what_says_nothing_or_may_not_is_closed() {
    let (upstream, certificate) = (Upstream::start(), Certificate::make());
    let (gateway, to) = proxied(upstream.address, "\"127.0.0.1\"", &certificate);
    let closed = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(to).unwrap();
        let _ = stream.write_all(bytes);
        let begun = Instant::now();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(answer, b"", "{bytes:?}");
        begun.elapsed()
    };
    for bytes in [
        &b"GET /public/x HTTP/1.1\r\nHost: app.test\r\n\r\n"[..],
        b"PROXY TCP4 1.2.3.4\r\n",
        b"PROXY TCP4 8.8.8.8 8.8.4.4 1 2 and more\r\nGET / HTTP/1.1\r\n\r\n",
        &[b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat(),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        b"\x16\x03\x01\x02\x00",
    ] {
        closed(bytes);
    }
    for bytes in [&b""[..], b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c"] {
        let took = closed(bytes);
        assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(5), "{took:?}");
    }
    let failed = |reason: &str| {
        gateway.metric(&format!("doorwarden_connection_failures_total{{reason=\"{reason}\"}}"))
    };
    eventually("each to be counted", || (failed("proxy_header") == Some(9.0)).then_some(()));
    let stranger = std::panic::catch_unwind(|| {
        ask_from([127, 0, 0, 2], to, b"PROXY UNKNOWN\r\nGET /public/x HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")
    });
    assert!(stranger.is_err(), "of another network");
    eventually("it to be counted", || (failed("not_a_proxy") == Some(1.0)).then_some(()));
    assert!(upstream.seen().is_empty());
    // The header in pieces, an IPv6 client, and a connection of the proxy's own.
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_nodelay(true).unwrap();
    let request = plain(&gateway).get("/public/x").bytes();
    for byte in [b"PROXY TCP6 2001:db8::7 ::1 4000 443\r\n".to_vec(), request.clone()].concat() {
        stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(Response::read(&mut stream, false).status, 200);
    assert_eq!(upstream.last().header("x-real-ip"), Some("2001:db8::7"));
    let mut stream = TcpStream::connect(to).unwrap();
    stream.write_all(&[&b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"[..], &request].concat()).unwrap();
    assert_eq!(Response::read(&mut stream, false).status, 200);
    assert_eq!(upstream.last().header("x-real-ip"), Some("127.0.0.1"));
}

#[test]
fn the_address_of_the_header_is_limited_and_forwarded_like_any() {
    let (upstream, certificate) = (Upstream::start(), Certificate::make());
    let (gateway, to) = proxied(upstream.address, "\"127.0.0.1\"", &certificate);
    let file = gateway.folder().join("gateway.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("threads = 2", "threads = 2\nmax_connections_per_address = 2").replace(
        "access = \"public\"\n",
        "access = \"public\"\n[[route.rate_limit]]\nby = \"address\"\nrequests = 2\nper = \"1h\"\n",
    );
    std::fs::write(&file, text).unwrap();
    assert_eq!(gateway.operator("POST", "/reload").send().status, 200);
    let connect = |from: &str| {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.write_all(format!("PROXY TCP4 {from} 127.0.0.1 1000 80\r\n").as_bytes()).unwrap();
        stream
    };
    let ask = |from: &str| {
        let mut stream = connect(from);
        stream.write_all(&plain(&gateway).get("/public/x").bytes()).unwrap();
        Response::read(&mut stream, false).status
    };
    assert_eq!([0; 3].map(|_| ask("192.0.2.1")), [200, 200, 429]);
    assert_eq!(ask("192.0.2.2"), 200);
    let _held = [connect("192.0.2.3"), connect("192.0.2.3")];
    let limit = "doorwarden_connection_failures_total{reason=\"address_limit\"}";
    eventually("the limit of an address", || {
        let mut third = connect("192.0.2.3");
        let _ = third.read_to_end(&mut Vec::new());
        (gateway.metric(limit).unwrap() >= 1.0).then_some(())
    });
    assert_eq!(ask("192.0.2.4"), 200);
}

/// Starts a server that requires a header itself, and reports in `X-Real-Ip` the client that it sees.
fn reader(folder: &Path, upstream: SocketAddr, kind: &str) -> Server {
    let name = format!("reads-{kind}");
    match kind {
        "nginx" => Server::start("nginx", |address| {
            nginx(
                folder,
                &name,
                "off",
                &format!(
                    "server {{\nlisten {address} proxy_protocol;\nlocation / {{\nproxy_pass http://{upstream};\n\
                     proxy_set_header X-Of-Header $proxy_protocol_addr:$proxy_protocol_port;\n}}\n}}"
                ),
            )
        }),
        _ => Server::start("haproxy", |address| {
            let file = folder.join(format!("{name}.conf"));
            let text = format!(
                "defaults\nmode http\ntimeout connect 2s\ntimeout client 30s\ntimeout server 30s\n\
                 listen front\nbind {address} accept-proxy\nhttp-request set-header X-Of-Header %[src]:%[src_port]\nserver app {upstream}\n"
            );
            std::fs::write(&file, text).unwrap();
            let mut command = Command::new("haproxy");
            command.args(["-db", "-q", "-f"]).arg(&file).env("PATH", path());
            command
        }),
    }
}

#[test]
fn servers_that_want_a_header_are_told_who_the_client_is() {
    install();
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let upstream = Upstream::start();
    for kind in ["nginx", "haproxy"] {
        let server = reader(folder.path(), upstream.address, kind);
        for version in ["v1", "v2"] {
            let health = "[upstream.health]\nkind = \"http\"\npath = \"/up\"\ninterval = \"100ms\"\ntimeout = \"1s\"\n";
            let gateway = Setup::new(server.address)
                .upstream(&format!("proxy_protocol = \"{version}\"\n{health}"))
                .start();
            for from in [[127, 0, 0, 5], [127, 0, 0, 6], [127, 0, 0, 5]] {
                let answer =
                    ask_from(from, gateway.http, &gateway.client().get("/public/x").bytes());
                assert_eq!(answer.status, 200, "{kind} {version}: {}", answer.text());
                let seen = upstream
                    .seen()
                    .into_iter()
                    .rev()
                    .find(|one| one.target == "/public/x")
                    .unwrap();
                let said = seen.header("x-of-header").unwrap().to_owned();
                let (ip, port) = said.rsplit_once(':').unwrap();
                assert_eq!(ip, std::net::Ipv4Addr::from(from).to_string(), "{kind} {version}");
                assert_ne!(port, "0", "{kind} {version}");
            }
            eprintln!("{kind} reads {version}: {}", upstream.last().header("x-of-header").unwrap());
            // Health checks, which have no client, still work.
            eventually("checks", || {
                let checks = upstream.seen().iter().filter(|one| one.target == "/up").count();
                (checks > 2).then_some(())
            });
            let listed = gateway.operator("GET", "/upstreams").send().json();
            assert_eq!(
                listed["upstreams"][0]["servers"][0]["addresses"][0]["state"], "in_service",
                "{kind} {version}"
            );
        }
    }
}
