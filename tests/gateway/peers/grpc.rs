//! Tests a real gRPC server and a real gRPC client with the gateway in between: both speak HTTP/2 to it, and gRPC's
//! trailers arrive. The gateway's own refusals have the form of gRPC.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::servers::{Server, install, venv};
use crate::support::django::root;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::tls::Certificate;

fn call(address: &str, certificate: Option<&Path>, token: Option<&str>) -> Value {
    let output = Command::new(venv().join("bin/python"))
        .current_dir(root().join("tests/peers/clients"))
        .args(["grpc_client.py", address])
        .args(certificate)
        .args(token)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"))
}

fn server(tls: Option<(&Path, &Path)>) -> Server {
    install();
    Server::start("gRPC server", |address| {
        let mut command = Command::new(venv().join("bin/python"));
        command.arg(root().join("tests/peers/grpc_server.py")).arg(address.port().to_string());
        if let Some((certificate, key)) = tls {
            command.arg(certificate).arg(key);
        }
        command
    })
}

fn gateway(server: &str, upstream: &str, own: &Certificate, more: &[(&str, &str)]) -> Gateway {
    let mut setup = Setup::new("127.0.0.1:1".parse().unwrap())
        .servers(&format!("\"{server}\""))
        .upstream(upstream)
        .route("name = \"echo\"\npath = \"/peers.Echo/\"\naccess = \"public\"")
        .route("name = \"group\"\npath = \"/peers.Group/\"\ngroups = [\"admins\"]")
        .listen(
            "https = [\"127.0.0.1:0\"]\ncertificate_file = \"cert.pem\"\nprivate_key_file = \"key.pem\"",
        )
        .file("cert.pem", own.pem.as_bytes())
        .file("key.pem", own.key.as_bytes());
    for (name, content) in more {
        setup = setup.file(name, content.as_bytes());
    }
    setup.start()
}

/// Makes the calls through the gateway as a signed-in user.
fn calls(gateway: &Gateway) -> Value {
    let token = gateway.client().sign_in("lee", "staple 한글 암호");
    let (address, token) = (gateway.https.unwrap().to_string(), token["access"].as_str().unwrap());
    call(&address, Some(&gateway.folder().join("cert.pem")), Some(token))
}

#[test]
fn grpc_goes_through_from_end_to_end() {
    let plain = server(None);
    let direct = call(&plain.address.to_string(), None, None);
    let certificate = Certificate::make();
    let (own, theirs) = (Certificate::make(), Certificate::of("grpc.internal"));
    let folder = tempfile::tempdir().unwrap();
    let pair = ["server.pem", "server.key"].map(|name| folder.path().join(name));
    std::fs::write(&pair[0], &theirs.pem).unwrap();
    std::fs::write(&pair[1], &theirs.key).unwrap();
    let over_tls = server(Some((&pair[0], &pair[1])));
    for (what, gateway) in [
        ("h2c", gateway(&plain.address.to_string(), "http = \"2\"", &certificate, &[])),
        (
            "TLS",
            gateway(
                &format!("https://{}", over_tls.address),
                "http = \"2\"\n[upstream.tls]\nca_file = \"ca.pem\"\nserver_name = \"grpc.internal\"",
                &own,
                &[("ca.pem", &theirs.pem)],
            ),
        ),
    ] {
        let seen = calls(&gateway);
        for name in ["once", "large", "thrice", "last", "each", "fail"] {
            assert_eq!(seen[name], direct[name], "{what}: {name}");
        }
        assert_eq!(seen["fail"], json!(["FAILED_PRECONDITION", "not like that: 한글 100%"]));
        let told = seen["tell"][1].as_str().unwrap();
        assert!(told.contains("trailers: x-checksum=abc"), "{what}: {told}");
        assert!(told.contains("x-mine: yes") && !told.contains("x-user-id"), "{what}: {told}");
        assert_eq!(seen["sleep"][0], "DEADLINE_EXCEEDED", "{what}");
        assert_eq!(seen["private"], json!(["OK", "hello"]), "{what}");
        assert_eq!(seen["group"][0], "PERMISSION_DENIED", "{what}: {seen}");
        // The server itself refuses the unknown method; a stranger's call does not reach the server.
        assert_eq!(seen["nowhere"][0], "UNAUTHENTICATED", "{what}: {seen}");
        let stranger = call(
            &gateway.https.unwrap().to_string(),
            Some(&gateway.folder().join("cert.pem")),
            None,
        );
        assert_eq!(stranger["private"][0], "UNAUTHENTICATED", "{what}");
        assert_eq!(stranger["once"], json!(["OK", "hello"]), "{what}");
        eprintln!("gRPC over {what}, through the gateway: {seen:#}");
    }
}

/// Tests the mapping to `grpc-status`: 14 if the service cannot be reached.
#[test]
fn a_grpc_server_that_is_not_there_is_unavailable() {
    let certificate = Certificate::make();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    install();
    let gateway = gateway(&nobody.to_string(), "http = \"2\"", &certificate, &[]);
    let seen = calls(&gateway);
    for name in ["once", "thrice", "each", "private"] {
        assert_eq!(seen[name][0], "UNAVAILABLE", "{name}: {seen}");
    }
    let details = seen["once"][1].as_str().unwrap_or_default();
    assert!(details.contains("cannot be reached"), "{seen}");
}

#[test]
fn a_grpc_server_is_asked_whether_it_is_well() {
    let server = server(None);
    let certificate = Certificate::make();
    let health =
        "http = \"2\"\n[upstream.health]\nkind = \"grpc\"\ninterval = \"100ms\"\nfall = 1\n";
    let gateway = gateway(&server.address.to_string(), health, &certificate, &[]);
    let state = |gateway: &Gateway| {
        let listed = gateway.operator("GET", "/upstreams").send().json();
        listed["upstreams"][0]["servers"][0]["addresses"][0]["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(calls(&gateway)["once"], json!(["OK", "hello"]));
    assert_eq!(state(&gateway), "in_service");
    drop(server);
    eventually("it to be found unwell", || (state(&gateway) == "unwell").then_some(()));
    assert_eq!(calls(&gateway)["once"][0], "UNAVAILABLE");
}
