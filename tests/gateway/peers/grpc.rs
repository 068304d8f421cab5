//! A real gRPC server and a real gRPC client. The gateway speaks HTTP/1.1 to upstreams, and gRPC needs HTTP/2 and trailers to
//! the end: until upstreams can be reached by HTTP/2, a call is refused in the words of gRPC, at once, and nothing of it is
//! taken for something else.

use std::process::Command;

use serde_json::{Value, json};

use super::servers::{Server, install, venv};
use crate::support::django::root;
use crate::support::gateway::Setup;
use crate::support::tls::Certificate;

fn call(address: &str, certificate: Option<&std::path::Path>) -> Value {
    let output = Command::new(venv().join("bin/python"))
        .current_dir(root().join("tests/peers/clients"))
        .args(["grpc_client.py", address])
        .args(certificate)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"))
}

/// What the mapping of HTTP to gRPC statuses says (grpc/doc/http-grpc-status-mapping.md).
#[test]
fn a_grpc_call_is_refused_in_its_own_words() {
    install();
    let server = Server::start("gRPC server", |address| {
        let mut command = Command::new(venv().join("bin/python"));
        command.arg(root().join("tests/peers/grpc_server.py")).arg(address.port().to_string());
        command
    });
    let direct = call(&server.address.to_string(), None);
    assert_eq!(direct["once"], json!(["OK", "hello"]), "the server and the client are good");
    assert_eq!(direct["thrice"], json!(["OK", "hello hello hello"]));
    let certificate = Certificate::make();
    let gateway = Setup::new(server.address)
        .route("name = \"echo\"\npath = \"/peers.Echo/\"\naccess = \"public\"")
        .listen(
            "https = [\"127.0.0.1:0\"]\ncertificate_file = \"cert.pem\"\nprivate_key_file = \"key.pem\"",
        )
        .file("cert.pem", certificate.pem.as_bytes())
        .file("key.pem", certificate.key.as_bytes())
        .start();
    let address = gateway.https.unwrap().to_string();
    let seen = call(&address, Some(&gateway.folder().join("cert.pem")));
    let code = |name: &str| seen[name][0].as_str().unwrap_or_default();
    let details = |name: &str| seen[name][1].as_str().unwrap_or_default();
    assert_eq!(code("once"), "UNAVAILABLE", "{seen}");
    assert!(details("once").contains("502"), "{seen}");
    // Of a stream the client may notice its end, which has no trailers, before it reads the status.
    let is_refused = (code("thrice"), details("thrice").contains("502")) == ("UNAVAILABLE", true)
        || (code("thrice"), details("thrice").contains("Stream removed")) == ("UNKNOWN", true);
    assert!(is_refused, "{seen}");
    assert_eq!(code("private"), "UNAUTHENTICATED", "the gate decides first: {seen}");
    let lines = ["once", "thrice", "private"].map(|name| format!("{name}: {}", seen[name]));
    eprintln!("gRPC through the gateway\n{}", lines.join("\n"));
}
