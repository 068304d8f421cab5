//! Tests HTTP as clients and servers speak it: framing on both sides, versions, interim answers, connections.

mod clients;
mod distance;
mod early;
mod edges;
mod floods;
mod interim;
mod limits;
mod pipelining;
mod stopping;
mod upgrades;
mod uploads;
mod versions;
mod waits;

use std::sync::Arc;

use crate::support::gateway::{Gateway, Setup};
use crate::support::tls::{Certificate, H2};

/// Starts a gateway whose `/public/` is open to everybody, on plain HTTP and over TLS.
fn start(setup: Setup) -> (Gateway, Certificate) {
    let certificate = Certificate::make();
    let gateway = setup
        .listen(
            "https = [\"127.0.0.1:0\"]\ncertificate_file = \"cert.pem\"\nprivate_key_file = \"key.pem\"",
        )
        .file("cert.pem", certificate.pem.as_bytes())
        .file("key.pem", certificate.key.as_bytes())
        .start();
    (gateway, certificate)
}

fn h2(gateway: &Gateway, certificate: &Certificate) -> H2 {
    H2::connect(gateway.https.unwrap(), certificate.client(&["h2"]))
}

/// Connects with HTTP/1.1 over TLS.
fn tls(gateway: &Gateway, certificate: &Certificate) -> crate::support::tls::Stream {
    crate::support::tls::connect(
        gateway.https.unwrap(),
        &Arc::new(certificate.client(&["http/1.1"])),
    )
}
