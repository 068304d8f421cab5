//! Tests protections that no other module covers: what never chooses the policy, what never leaks, who may operate, what
//! prevents a start. `docs/security.md` says which test covers which requirement.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use serde_json::{Value, json};

use crate::support::client::{Client, Response};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup, write_private};
use crate::support::upstream::Upstream;

const COOKIE: &str = "__Host-doorwarden";
const PASSWORD: &str = "correct horse battery";

fn enter(client: &Client) -> (Value, String) {
    let body = json!({"username": "kim", "password": PASSWORD});
    let response = client.post("/login").json(&body).send();
    assert_eq!(response.status, 200, "{}", response.text());
    (response.json(), response.set_cookie(COOKIE).unwrap())
}

fn access(tokens: &Value) -> &str {
    tokens["access"].as_str().unwrap()
}

// --- requests

#[test]
fn no_header_chooses_the_policy() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    for (name, value) in [
        ("X-Original-URL", "/public/x"),
        ("X-Rewrite-URL", "/public/x"),
        ("X-Forwarded-Uri", "/public/x"),
        ("X-Forwarded-Prefix", "/public"),
        ("X-Forwarded-Host", "other.test"),
        ("X-Forwarded-Method", "OPTIONS"),
        ("X-HTTP-Method-Override", "OPTIONS"),
        ("User-Agent", "kube-probe/1.33"),
        ("User-Agent", "GoogleHC/1.0"),
    ] {
        for method in ["GET", "HEAD", "POST", "OPTIONS"] {
            let response = client.request(method, "/app").header(name, value).send();
            assert_eq!(response.status, 401, "{method} with {name}: {value}");
        }
    }
    assert!(upstream.seen().is_empty());
}

#[test]
fn a_token_in_a_query_or_a_body_is_no_credential() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let (tokens, cookie) = enter(&client);
    let token = access(&tokens);
    for request in [
        client.get(&format!("/app?access_token={token}")),
        client.get(&format!("/app?{COOKIE}={cookie}")),
        client.post("/app").form(&[("access_token", token)]),
        client.post("/app").json(&json!({"access_token": token})),
    ] {
        assert_eq!(request.send().status, 401);
    }
    assert!(upstream.seen().is_empty());
}

#[test]
fn trailers_never_reach_the_upstream() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let chunked = b"POST /public/x HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-User-Id\r\n\
        Connection: close\r\n\r\n5\r\nhello\r\n0\r\nX-User-Id: root\r\n\r\n";
    assert_eq!(client.raw(chunked).status, 200);
    // Bytes after the last chunk would be the head of the upstream's next request on the kept connection.
    assert_eq!(client.get("/public/next").send().status, 200);
    let seen = upstream.seen();
    let heads: Vec<_> = seen.iter().map(|seen| (&*seen.method, &*seen.target)).collect();
    assert_eq!(heads, [("POST", "/public/x"), ("GET", "/public/next")]);
    assert_eq!(seen[0].body, b"hello");
    assert!(seen.iter().all(|seen| seen.folded("x-user-id").is_empty()));
}

#[test]
fn a_body_that_never_ends_is_given_up() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).listen("own_body_timeout = \"200ms\"").start();
    let head = "POST /login HTTP/1.1\r\nHost: app.test\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{";
    let mut stream = gateway.client().connect();
    stream.write_all(head.as_bytes()).unwrap();
    let response = Response::read(&mut stream, false);
    assert_eq!((response.status, response.code().as_str()), (408, "body_timeout"));
}

#[test]
fn answers_made_for_one_person_are_private() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let (tokens, cookie) = enter(&client);
    for request in [
        client.get("/app").bearer(access(&tokens)),
        client.get("/app").cookie(COOKIE, &cookie),
        client.get("/public/x").cookie(COOKIE, &cookie),
    ] {
        assert_eq!(request.send().header("cache-control"), Some("private"));
    }
    assert_eq!(client.get("/public/x").send().header("cache-control"), None);
    for own in ["/session", "/login", "/.well-known/jwks.json", "/nowhere"] {
        let response = client.get(own).send();
        assert_eq!(response.header("cache-control"), Some("no-store"), "{own}");
    }
}

// --- secrets

#[test]
fn secrets_stay_out_of_logs_and_store() {
    let upstream = Upstream::start();
    let mut gateway = Setup::new(upstream.address).with("[tokens]\nrefresh_grace = \"0s\"").start();
    gateway.kill();
    let path = gateway.folder().join("gateway.toml");
    let loud = fs::read_to_string(&path)
        .unwrap()
        .replace("level = \"info\"", "level = \"debug\"\naudit_file = \"state/audit.log\"");
    assert!(loud.contains("debug"));
    write_private(&path, &loud);
    gateway.spawn();
    let client = gateway.client();

    let wrong = "an-unlucky-guess-of-a-password";
    let mut secrets = vec![PASSWORD.to_owned(), wrong.to_owned()];
    let guess = json!({"username": "kim", "password": wrong});
    assert_eq!(client.post("/login").json(&guess).send().status, 401);
    let broken = format!("{{\"username\": \"kim\", \"password\": \"{wrong}\" ");
    let sent = client.post("/login").header("Content-Type", "application/json");
    assert_eq!(sent.body(broken.as_bytes()).send().status, 400);

    let (tokens, cookie) = enter(&client);
    let refresh = tokens["refresh"].as_str().unwrap();
    client.get("/app").bearer(access(&tokens)).send();
    client.get(&format!("/app?access_token={}", access(&tokens))).cookie(COOKIE, &cookie).send();
    client.post("/verify").json(&json!({"token": access(&tokens)})).send();
    // A token that does not verify is a secret all the same: it may be another system's.
    let foreign = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzb21lYm9keSJ9.c2VjcmV0LXNpZ25hdHVyZQ";
    client.get("/app").bearer(foreign).send();
    client.get("/app").header("Authorization", "Basic a2ltOnNlY3JldA==").send();
    let rotated = client.post("/refresh").json(&json!({"refresh": refresh})).send().json();
    assert!(rotated["refresh"].is_string(), "{rotated}");
    assert_eq!(client.post("/refresh").json(&json!({"refresh": refresh})).send().status, 401);
    for tokens in [&tokens, &rotated] {
        for name in ["access", "refresh"] {
            let token = tokens[name].as_str().unwrap();
            secrets.push(token.to_owned());
            // The signature alone would show that a token was written somewhere in parts.
            secrets.push(token.rsplit('.').next().unwrap().to_owned());
        }
    }
    let operator = fs::read_to_string(gateway.folder().join("state/operator-token")).unwrap();
    assert_eq!(ask(&gateway, "GET", "/sessions", &operator).status, 200);
    secrets.extend([cookie, foreign.to_owned(), "a2ltOnNlY3JldA==".to_owned(), operator]);
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));

    let mut written = vec![("the log".to_owned(), gateway.log().join("\n").into_bytes())];
    for file in fs::read_dir(gateway.folder().join("state")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // The remaining files are the store's and the audit trail.
        if !["operator-token", "refresh-key", "signing-key.pem"].contains(&name.as_str()) {
            written.push((name, fs::read(path).unwrap()));
        }
    }
    assert!(written.iter().any(|(name, _)| name == "store.db"), "the store was looked at");
    let audit = written.iter().find(|(name, _)| name == "audit.log").expect("the audit trail");
    assert!(String::from_utf8_lossy(&audit.1).contains("refresh_reused"), "something happened");
    for (name, bytes) in &written {
        for secret in &secrets {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{name} holds {secret}");
        }
    }
}

// --- operating

fn ask(gateway: &Gateway, method: &str, path: &str, token: &str) -> Response {
    Client::new(gateway.admin).request(method, path).host("localhost").bearer(token).send()
}

#[test]
fn the_operators_api_takes_the_operators_token_alone() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let (tokens, cookie) = enter(&client);
    let token = fs::read_to_string(gateway.folder().join("state/operator-token")).unwrap();
    let admin = Client::new(gateway.admin);
    let sessions = || admin.get("/sessions");

    assert_eq!(sessions().host("localhost").send().status, 401);
    assert_eq!(sessions().host("localhost").cookie(COOKIE, &cookie).send().status, 401);
    assert_eq!(ask(&gateway, "GET", "/sessions", access(&tokens)).status, 401);
    assert_eq!(ask(&gateway, "GET", "/sessions", &token[..token.len() - 1]).status, 401);
    // Requests from pages: a page of another origin, and one whose name was rebound to this address.
    let page = sessions().host("localhost").bearer(&token).header("Origin", "http://localhost");
    assert_eq!(page.send().status, 403);
    assert_eq!(sessions().host("evil.test").bearer(&token).send().status, 400);
    for path in ["/sessions/", "/sessions/x", "/SESSIONS", "/metrics/../sessions"] {
        let status = ask(&gateway, "GET", path, &token).status;
        assert!(status == 404 || status == 400, "{path}: {status}");
    }
    assert_eq!(ask(&gateway, "GET", "/sessions", &token).status, 200);
    assert_eq!(client.get("/app").bearer(access(&tokens)).send().status, 200, "nothing happened");

    // The public listener does not accept the token, and does not serve what the admin listener does.
    assert_eq!(client.get("/sessions").bearer(&token).send().status, 401);
    assert_eq!(client.get("/metrics").send().status, 401);
}

/// Runs the gateway where it must not start, and returns its exit code and its messages.
fn does_not_start(folder: &Path) -> (i32, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_doorwarden"))
        .args(["run", "--config", "gateway.toml"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually("the gateway to refuse", || child.try_wait().unwrap())
    }));
    let Ok(status) = ended else {
        child.kill().unwrap();
        panic!("it started");
    };
    let said = child.wait_with_output().unwrap().stderr;
    (status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[test]
fn files_that_others_could_use_keep_it_from_starting() {
    let upstream = Upstream::start();
    let mut gateway = Setup::new(upstream.address).start();
    gateway.kill();
    for (file, mode, code) in [
        ("gateway.toml", 0o602, 64),
        ("users.toml", 0o604, 1),
        ("state/store.db", 0o644, 1),
        ("state/signing-key.pem", 0o640, 1),
        ("state/refresh-key", 0o604, 1),
        ("state/operator-token", 0o644, 1),
    ] {
        let path = gateway.folder().join(file);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let (ended, said) = does_not_start(gateway.folder());
        assert_eq!(ended, code, "{file}: {said}");
        let name = Path::new(file).file_name().unwrap().to_str().unwrap();
        assert!(said.contains(name), "{file} is named: {said}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    gateway.spawn();
}

#[test]
fn what_is_missing_or_unknown_keeps_it_from_starting() {
    let upstream = Upstream::start();
    let mut gateway = Setup::new(upstream.address).start();
    gateway.kill();
    let path = gateway.folder().join("gateway.toml");
    let good = fs::read_to_string(&path).unwrap();
    let tls =
        "https = [\"127.0.0.1:0\"]\ncertificate_file = \"c.pem\"\nprivate_key_file = \"k.pem\"\n";
    let same = "[[route]]\nname = \"twin\"\npath = \"/public/\"\nupstream = \"app\"\n";
    for (what, text, code, named) in [
        ("an unknown key", good.replace("[listen]", "[listen]\nhtp = []"), 64, "listen.htp"),
        ("two routes for one path", format!("{good}\n{same}"), 64, "route"),
        (
            "a missing certificate",
            good.replace("[listen]", &format!("[listen]\n{tls}")),
            1,
            "c.pem",
        ),
        (
            "a public admin address",
            good.replace("admin = \"127.0.0.1:0\"", "admin = \"0.0.0.0:0\""),
            64,
            "danger_public_admin",
        ),
        (
            "trust in everybody",
            format!("{good}\n[trusted_proxies]\nnetworks = [\"0.0.0.0/0\"]\n"),
            64,
            "danger_trust_all_proxies",
        ),
        (
            "a cookie without its prefix",
            format!("{good}\n[session]\ncookie = \"plain\"\n"),
            64,
            "__Host-",
        ),
        (
            "a missing country database",
            format!("{good}\n[geo]\ncountry_database = \"none.mmdb\"\n"),
            1,
            "none.mmdb",
        ),
    ] {
        write_private(&path, &text);
        let (ended, said) = does_not_start(gateway.folder());
        assert_eq!(ended, code, "{what}: {said}");
        assert!(said.contains(named), "{what}: {said}");
    }
}

#[test]
fn dependencies_have_no_known_hole() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap();
    let versions = |name: &str| -> Vec<Vec<u64>> {
        let head = format!("name = \"{name}\"\nversion = \"");
        let parts = lock.split(&head).skip(1).map(|rest| rest.split('"').next().unwrap());
        parts.map(|version| version.split('.').map(|n| n.parse().unwrap()).collect()).collect()
    };
    for (name, floor) in [
        ("pingora", [0, 9, 1]),
        ("h2", [0, 4, 16]),
        ("jsonwebtoken", [11, 1, 0]),
        ("maxminddb", [0, 27, 0]),
    ] {
        let found = versions(name);
        assert!(!found.is_empty(), "{name} is not there");
        assert!(found.iter().all(|version| version[..] >= floor[..]), "{name}: {found:?}");
    }
    // RUSTSEC-2023-0071 has no fix: the time of `rsa`'s private-key operations reveals the key. The passkey crates verify
    // signatures with public keys only, and no other crate may use `rsa`.
    let users = lock.split("[[package]]").filter(|package| package.contains("\n \"rsa\""));
    let users: Vec<_> = users.filter_map(|package| package.split('"').nth(1)).collect();
    assert_eq!(users, ["crypto-glue"]);
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(!manifest.contains("patched_http1"), "it parses heads more loosely");
}

// --- TLS

/// Starts a gateway with a certificate of its own, and returns the roots that a client needs to trust it.
fn over_tls(upstream: &Upstream, listen: &str) -> (Gateway, rustls::RootCertStore) {
    let made = rcgen::generate_simple_self_signed(vec!["app.test".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let certificate = folder.path().join("certificate.pem");
    let key = folder.path().join("key.pem");
    write_private(&certificate, made.cert.pem());
    write_private(&key, made.signing_key.serialize_pem());
    let listen = format!(
        "https = [\"127.0.0.1:0\"]\ncertificate_file = {certificate:?}\nprivate_key_file = {key:?}\n{listen}"
    );
    let gateway = Setup::new(upstream.address).listen(&listen).start();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    (gateway, roots)
}

fn get_over_tls(gateway: &Gateway, roots: &rustls::RootCertStore, target: &str) -> Response {
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(roots.clone())
    .with_no_client_auth();
    let name = ServerName::try_from("app.test").unwrap();
    let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let client = Client::new(gateway.https.unwrap());
    let mut stream = rustls::StreamOwned::new(connection, client.connect());
    stream.write_all(&client.get(target).bytes()).unwrap();
    Response::read(&mut stream, false)
}

#[test]
fn over_tls_browsers_are_told_to_stay_there() {
    let upstream = Upstream::start();
    let (gateway, roots) = over_tls(&upstream, "");
    for (target, status) in [("/public/x", 200), ("/login", 200), ("/app", 401), ("/a/../b", 400)] {
        let response = get_over_tls(&gateway, &roots, target);
        assert_eq!(response.status, status, "{target}");
        let told = response.all("strict-transport-security");
        assert_eq!(told, ["max-age=31536000"], "{target}");
        let plain = gateway.client().get(target).send();
        assert_eq!(plain.header("strict-transport-security"), None, "{target}");
    }
    let (quiet, roots) = over_tls(&upstream, "hsts_max_age = \"0s\"");
    let response = get_over_tls(&quiet, &roots, "/public/x");
    assert_eq!((response.status, response.header("strict-transport-security")), (200, None));
}

/// An HTTP/2 client's request: pseudo-headers and fields, and trailers for its body.
struct OverH2<'a> {
    authority: &'a str,
    headers: &'a [(&'static str, &'a str)],
    trailers: bool,
}

/// Sends one request over HTTP/2, and returns the status of the answer.
fn send_h2(gateway: &Gateway, roots: &rustls::RootCertStore, path: &str, sent: &OverH2<'_>) -> u16 {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut request = http::Request::post(format!("https://{}{path}", sent.authority));
    for (name, value) in sent.headers {
        request = request.header(*name, *value);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(gateway.https.unwrap()).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("app.test").unwrap();
        let stream = connector.connect(name, stream).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let (answer, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data("hello".into(), !sent.trailers).unwrap();
        if sent.trailers {
            let trailers = [("x-user-id", "root")].map(|(name, value)| {
                (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
            });
            body.send_trailers(trailers.into_iter().collect()).unwrap();
        }
        answer.await.unwrap().status().as_u16()
    })
}

#[test]
fn http2_is_held_to_the_same_rules() {
    let upstream = Upstream::start();
    let (gateway, roots) = over_tls(&upstream, "");
    let (tokens, cookie) = enter(&gateway.client());
    let bearer = format!("Bearer {}", access(&tokens));
    let send = |path: &str, authority: &str, headers: &[(&'static str, &str)], trailers: bool| {
        send_h2(&gateway, &roots, path, &OverH2 { authority, headers, trailers })
    };

    let forged = [
        ("authorization", &*bearer),
        ("x-user-id", "root"),
        ("x_user_id", "root"),
        ("remote-user", "root"),
    ];
    assert_eq!(send("/app", "app.test", &forged, true), 200);
    let seen = upstream.last();
    assert_eq!(
        seen.folded("x-user-id").iter().map(|(_, value)| *value).collect::<Vec<_>>(),
        ["kim"]
    );
    assert!(seen.headers.iter().all(|(_, value)| value != "root"), "{:?}", seen.headers);
    assert_eq!((seen.all("host"), &*seen.body), (vec!["app.test"], &b"hello"[..]));
    // Browsers send each cookie in a field of its own; servers would join the fields with a comma.
    let crumb = format!("{COOKIE}={cookie}");
    let crumbs =
        [("cookie", "a=1"), ("cookie", &*crumb), ("cookie", "b=2"), ("origin", "https://app.test")];
    assert_eq!(send("/app", "app.test", &crumbs, false), 200);
    assert_eq!(upstream.last().all("cookie"), ["a=1; b=2"]);

    let before = upstream.seen().len();
    for (what, path, authority, headers, status) in [
        ("nobody", "/app", "app.test", &[][..], 401),
        ("two hosts", "/public/x", "app.test", &[("host", "evil.test")], 400),
        ("two readings", "/public/%2e%2e/app", "app.test", &[], 400),
        (
            "two tokens",
            "/app",
            "app.test",
            &[("authorization", &*bearer), ("authorization", "Bearer x")],
            400,
        ),
        (
            "another site",
            "/app",
            "app.test",
            &[("cookie", &*crumb), ("origin", "https://evil.test")],
            403,
        ),
    ] {
        assert_eq!(send(path, authority, headers, false), status, "{what}");
    }
    assert_eq!(upstream.seen().len(), before);
}
