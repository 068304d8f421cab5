//! Tests real servers behind Unix sockets, TLS with certificates on both sides, and HTTP/2.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use http::Request;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::peers::servers::{Server, install, nginx, venv};
use crate::support::django::root;
use crate::support::eventually;
use crate::support::gateway::{Setup, signal};
use crate::support::tls::{Body, Certificate, H2};
use crate::support::upstream::Upstream;

/// A process that listens on a Unix socket.
struct AtSocket(Child);

impl AtSocket {
    fn start(socket: &Path, program: &str, arguments: &[&str]) -> Self {
        let peers = root().join("tests/peers");
        let mut command = Command::new(venv().join("bin").join(program));
        command.args(arguments).current_dir(&peers).env("PEERS_FOLDER", socket.parent().unwrap());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        eventually(program, || UnixStream::connect(socket).ok());
        Self(child)
    }
}

impl Drop for AtSocket {
    fn drop(&mut self) {
        signal("TERM", self.0.id());
        let _ = self.0.wait();
    }
}

/// Returns a setup with these `servers`; the upstream's own address is not used.
fn behind(servers: &str, more: &str) -> Setup {
    Setup::new(SocketAddr::from(([127, 0, 0, 1], 1))).servers(servers).upstream(more)
}

#[test]
fn gunicorn_and_uvicorn_are_reached_by_a_socket() {
    install();
    let folder = tempfile::tempdir().unwrap();
    for (program, arguments) in [
        ("gunicorn", vec!["--threads=4", "--log-level=error", "wsgi:app"]),
        ("uvicorn", vec!["--log-level=error", "asgi:app"]),
    ] {
        let socket = folder.path().join(format!("{program}.sock"));
        let bind = if program == "gunicorn" {
            vec!["--bind".to_owned(), format!("unix:{}", socket.display())]
        } else {
            vec!["--uds".to_owned(), socket.display().to_string()]
        };
        let all: Vec<&str> = bind.iter().map(String::as_str).chain(arguments).collect();
        let _server = AtSocket::start(&socket, program, &all);
        let gateway = behind(&format!("\"unix:{}\"", socket.display()), "").start();
        for _ in 0..3 {
            let answer = gateway.client().post("/public/echo").body(b"hello").send();
            assert_eq!(answer.status, 200, "{program}: {}", answer.text());
        }
        let listed = gateway.operator("GET", "/upstreams").send().json();
        let address = &listed["upstreams"][0]["servers"][0]["addresses"][0];
        assert_eq!(address["address"], socket.display().to_string(), "{listed}");
        assert_eq!(address["state"], "in_service");
    }
}

#[test]
fn a_socket_that_is_not_there_is_a_server_that_cannot_be_reached() {
    let gateway = behind("\"unix:/nowhere/app.sock\"", "").start();
    let answer = gateway.client().get("/public/x").send();
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unavailable"));
}

/// A certificate authority, and certificates of a server and a client that it has signed.
struct Authority {
    pem: String,
    server: (String, String),
    client: (String, String),
}

impl Authority {
    fn make(server_name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // With equal names, OpenSSL would take every certificate for a self-signed one.
        params.distinguished_name.push(DnType::CommonName, "an authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let signed = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new([name.to_owned()]).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
        };
        Self { pem: issuer.pem(), server: signed(server_name), client: signed("gateway.test") }
    }
}

/// Starts nginx with TLS, which demands a client certificate, in front of a recording upstream.
fn nginx_with_tls(folder: &Path, authority: &Authority, upstream: &Upstream) -> Server {
    for (name, content) in [
        ("ca.pem", &authority.pem),
        ("server.pem", &authority.server.0),
        ("server.key", &authority.server.1),
    ] {
        std::fs::write(folder.join(name), content).unwrap();
    }
    let (path, upstream) = (folder.display(), upstream.address);
    Server::start("nginx", |address| {
        nginx(
            folder,
            "tls",
            "off",
            &format!(
                "server {{\nlisten {address} ssl http2;\nssl_certificate {path}/server.pem;\n\
                 ssl_certificate_key {path}/server.key;\nssl_client_certificate {path}/ca.pem;\n\
                 ssl_verify_client on;\nlocation / {{\nproxy_pass http://{upstream};\nproxy_http_version 1.1;\n\
                 proxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection $connection_upgrade;\n\
                 proxy_set_header X-Client-Dn $ssl_client_s_dn;\nproxy_set_header X-Version $server_protocol;\n\
                 proxy_set_header X-Sni $ssl_server_name;\n}}\n}}\n\
                 map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}"
            ),
        )
    })
}

#[test]
fn nginx_sees_the_gateways_certificate_and_is_seen_by_its_own() {
    install();
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let (authority, upstream) = (Authority::make("app.internal"), Upstream::start());
    let server = nginx_with_tls(folder.path(), &authority, &upstream);
    let port = server.address.port();
    let start = |http: &str, tls: &str| {
        behind(
            &format!("\"https://127.0.0.1:{port}\""),
            &format!("http = \"{http}\"\n[upstream.tls]\n{tls}"),
        )
        .file("ca.pem", authority.pem.as_bytes())
        .file("client.pem", authority.client.0.as_bytes())
        .file("client.key", authority.client.1.as_bytes())
        .file("other-ca.pem", Certificate::make().pem.as_bytes())
        .start()
    };
    let client = "certificate_file = \"client.pem\"\nprivate_key_file = \"client.key\"";
    let named = "server_name = \"app.internal\"";
    for (http, version) in [("1.1", "HTTP/1.1"), ("2", "HTTP/2.0"), ("negotiated", "HTTP/2.0")] {
        let gateway = start(http, &format!("ca_file = \"ca.pem\"\n{named}\n{client}"));
        for _ in 0..3 {
            let answer = gateway.client().get("/public/x").send();
            assert_eq!(answer.status, 200, "{http}: {}", answer.text());
        }
        let seen = upstream.last();
        assert_eq!(seen.header("x-version"), Some(version));
        assert_eq!(seen.header("x-sni"), Some("app.internal"));
        assert_eq!(seen.header("host").map(str::to_owned), Some(upstream.address.to_string()));
        // A client cannot influence the name.
        let host = gateway.client().get("/public/x").host("evil.test").send();
        assert_eq!(host.status, 200);
        assert_eq!(upstream.last().header("x-sni"), Some("app.internal"));
        let upgraded = gateway
            .client()
            .get("/ws")
            .bearer(
                gateway.client().sign_in("kim", "correct horse battery")["access"]
                    .as_str()
                    .unwrap(),
            )
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .send();
        assert_eq!(upgraded.status, 101, "{http}: a WebSocket over TLS");
    }
    for (what, tls) in [
        ("another authority", format!("ca_file = \"other-ca.pem\"\n{named}\n{client}")),
        ("the system's authorities", format!("{named}\n{client}")),
        ("the wrong name", format!("ca_file = \"ca.pem\"\n{client}")),
        ("another name", format!("ca_file = \"ca.pem\"\nserver_name = \"b.internal\"\n{client}")),
    ] {
        let gateway = start("1.1", &tls);
        let before = upstream.seen().len();
        let answer = gateway.client().get("/public/x").send();
        assert_eq!((answer.status, upstream.seen().len()), (502, before), "{what}");
        let upgraded = gateway
            .client()
            .get("/ws")
            .bearer(
                gateway.client().sign_in("kim", "correct horse battery")["access"]
                    .as_str()
                    .unwrap(),
            )
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .send();
        assert_eq!((upgraded.status, upstream.seen().len()), (502, before), "{what}: a WebSocket");
    }
    let gateway = start("1.1", &format!("ca_file = \"ca.pem\"\n{named}"));
    assert_eq!(gateway.client().get("/public/x").send().status, 400, "nginx wants a certificate");
    let gateway = start("1.1", &format!("danger_skip_verify = true\n{client}"));
    assert_eq!(gateway.client().get("/public/x").send().status, 200, "whoever it is");
}

/// Starts Node's server for HTTP/2 without TLS.
fn node_h2c() -> Server {
    install();
    Server::start("node", |address| {
        let mut command = Command::new("node");
        command.arg(root().join("tests/peers/h2c.mjs")).arg(address.port().to_string());
        command
    })
}

#[test]
fn what_holds_for_a_request_holds_over_h2c() {
    let server = node_h2c();
    let gateway = behind(&format!("\"{}\"", server.address), "http = \"2\"").start();
    let token = gateway.client().sign_in("kim", "correct horse battery");
    let token = token["access"].as_str().unwrap();
    let answer = gateway
        .client()
        .post("/x?a=1")
        .bearer(token)
        .header("X-User-Id", "1")
        .header("X_User_Id", "1")
        .header("Connection", "close, X-Extra")
        .header("X-Extra", "1")
        .header("TE", "trailers, deflate")
        .header("Cookie", "__Host-doorwarden=x; theme=dark")
        .body(b"hello")
        .send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-user-id"), None, "an answer says nothing of users");
    let seen = answer.json();
    let headers = &seen["headers"];
    assert_eq!((&seen["body"], &headers[":path"]), (&"hello".into(), &"/x?a=1".into()));
    assert_eq!((&headers[":authority"], &headers[":scheme"]), (&"app.test".into(), &"http".into()));
    assert!(headers["x-user-id"].as_str().is_some_and(|id| id != "1"), "{headers}");
    for gone in [
        "x_user_id",
        "connection",
        "x-extra",
        "host",
        "authorization",
        "transfer-encoding",
        "keep-alive",
    ] {
        assert!(headers[gone].is_null(), "{gone}: {headers}");
    }
    assert_eq!(headers["te"], "trailers");
    assert_eq!(headers["cookie"], "theme=dark");
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    // A chunked body without a length, and one that ends with an empty part.
    let chunked = b"POST /public/x HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                    5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    assert_eq!(gateway.client().raw(chunked).json()["body"], "hello world");
    let old = b"GET /public/x HTTP/1.0\r\nHost: app.test\r\n\r\n";
    assert_eq!(gateway.client().raw(old).code(), "http_version");
    assert_eq!(
        gateway.client().get("/public/length").send().json()["headers"][":path"],
        "/public/length"
    );
}

#[test]
fn http_2_goes_through_from_end_to_end() {
    let server = node_h2c();
    let certificate = Certificate::make();
    let gateway = behind(&format!("\"{}\"", server.address), "http = \"2\"")
        .listen(
            "https = [\"127.0.0.1:0\"]\ncertificate_file = \"cert.pem\"\nprivate_key_file = \"key.pem\"",
        )
        .file("cert.pem", certificate.pem.as_bytes())
        .file("key.pem", certificate.key.as_bytes())
        .start();
    let mut client = H2::connect(gateway.https.unwrap(), certificate.client(&["h2"]));
    let request = |path: &str| {
        Request::post(format!("https://app.test{path}")).header("x-user-id", "1").body(()).unwrap()
    };
    for body in [
        Body { data: Some(b"hello"), ..Body::default() },
        Body { data: Some(b"hello"), empty_end: true, ..Body::default() },
        Body::default(),
    ] {
        let answer = client.send(request("/public/x"), &body).unwrap();
        assert_eq!(answer.status, 200);
        let seen = answer.json();
        assert_eq!(seen["body"], if body.data.is_some() { "hello" } else { "" });
        assert!(seen["headers"]["x-user-id"].is_null(), "{seen}");
        assert_eq!(seen["headers"]["x-forwarded-proto"], "https");
    }
}

#[test]
fn a_port_where_nobody_speaks_http_2_is_a_server_that_fails() {
    let upstream = Upstream::start();
    let gateway = behind(&format!("\"{}\"", upstream.address), "http = \"2\"").start();
    assert_eq!(gateway.client().get("/public/x").send().status, 502);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = behind(&format!("\"{nobody}\""), "http = \"2\"").start();
    assert_eq!(gateway.client().get("/public/x").send().code(), "upstream_unavailable");
}
