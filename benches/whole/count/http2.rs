//! Sends the load over TLS and HTTP/2: one connection, one request at a time.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Runtime;

pub(crate) const CERTIFICATE: &str = "certificate.pem";
pub(crate) const KEY: &str = "certificate-key.pem";

/// A self-signed certificate.
pub(super) struct Certificate(CertificateDer<'static>);

impl Certificate {
    /// Creates a certificate and writes it and its key into the folder.
    pub(super) fn make(folder: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(folder.join(CERTIFICATE), made.cert.pem()).unwrap();
        crate::gateway::write_private(
            &folder.join(KEY),
            made.signing_key.serialize_pem().as_bytes(),
        );
        Self(made.cert.der().clone())
    }
}

/// An HTTP/2 connection.
pub(super) struct Client {
    runtime: Runtime,
    send: h2::client::SendRequest<Bytes>,
}

impl Client {
    pub(super) fn connect(address: SocketAddr, certificate: &Certificate) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.0.clone()).unwrap();
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let send = runtime.block_on(async {
            let socket = tokio::net::TcpStream::connect(address).await.unwrap();
            socket.set_nodelay(true).unwrap();
            let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
            let name = ServerName::try_from("localhost").unwrap();
            let tls = connector.connect(name, socket).await.unwrap();
            assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let (send, connection) = h2::client::handshake(tls).await.unwrap();
            tokio::spawn(connection);
            send
        });
        Self { runtime, send }
    }

    /// Sends one request `times` times, each after the whole answer to the previous one.
    pub(super) fn drive(&mut self, path: &str, credential: (&str, &str), times: usize) {
        self.runtime.block_on(async {
            for _ in 0..times {
                let request = Request::get(format!("https://localhost{path}"))
                    .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0")
                    .header("accept", "application/json")
                    .header("accept-language", "en-US,en;q=0.5")
                    .header("sec-fetch-dest", "empty")
                    .header("sec-fetch-mode", "cors")
                    .header("sec-fetch-site", "same-origin")
                    .header(credential.0, credential.1)
                    .body(())
                    .unwrap();
                let mut send = self.send.clone().ready().await.unwrap();
                let (answer, _) = send.send_request(request, true).unwrap();
                let (head, mut body) = answer.await.unwrap().into_parts();
                assert_eq!(head.status.as_u16(), 200);
                while let Some(data) = body.data().await {
                    body.flow_control().release_capacity(data.unwrap().len()).unwrap();
                }
            }
        });
    }
}
