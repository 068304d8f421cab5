//! TLS to servers: which certificates are trusted, and the gateway's own.
//!
//! Files are read when a configuration is prepared, so that a wrong one is a problem of the configuration and not of
//! the first request. The framework takes the parts and makes its own settings of them for each connection; WebSocket
//! handshakes use connections of the gateway's own (`dial`), with [`TlsToServers::config`]. Both check alike, and a
//! server without a name to check against cannot be configured.
//!
//! The framework distinguishes kept connections by address, name and the client certificate's serial number, but not by
//! the issuer of the server's certificate. Each [`TlsToServers`] has a group of its own, so that no upstream gets a
//! connection that another one's rules allowed.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pingora::protocols::tls::CaType;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::config::{ServerTls, Upstream};

/// The TLS parts of connections to the servers of one upstream.
pub(super) struct TlsToServers {
    /// The content of the files.
    read: TlsFileContents,
    pub(super) ca: Option<Arc<CaType>>,
    pub(super) client: Option<Arc<CertKey>>,
    pub(super) verifies: bool,
    /// The group of connections; kept connections of other groups are not used.
    pub(super) group: u64,
    /// For the gateway's own connections, over which HTTP/1.1 is spoken.
    pub(super) config: Arc<ClientConfig>,
}

/// The content of the files that the settings name.
#[derive(PartialEq, Eq)]
struct TlsFileContents {
    settings: ServerTls,
    ca: Option<Vec<u8>>,
    client: Option<(Vec<u8>, Vec<u8>)>,
}

/// The reason why an upstream's files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {path} for TLS to servers: {reason}")]
pub struct ServerTlsError {
    path: String,
    reason: String,
}

/// The next group, between those of WebSocket handshakes, counted from 1, and those of clients' own connections.
static NEXT_GROUP: AtomicU64 = AtomicU64::new(1 << 62);

impl TlsToServers {
    /// Reads the files. The previous instance is reused if nothing in them has changed.
    pub(super) fn load(
        settings: &ServerTls,
        before: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, ServerTlsError> {
        let file = |path: &PathBuf| std::fs::read(path).map_err(|error| wrong(path, &error));
        let read = TlsFileContents {
            settings: settings.clone(),
            ca: settings.ca_file.as_ref().map(file).transpose()?,
            client: match &settings.client {
                Some((certificate, key)) => Some((file(certificate)?, file(key)?)),
                None => None,
            },
        };
        if let Some(before) = before.filter(|before| before.read == read) {
            return Ok(Arc::clone(before));
        }
        let authorities = match (&settings.ca_file, &read.ca) {
            (Some(path), Some(bytes)) => Some(certificates(path, bytes)?),
            _ => None,
        };
        let client = match (&settings.client, &read.client) {
            (Some((path, key_path)), Some((bytes, key))) => {
                let key = PrivateKeyDer::from_pem_slice(key);
                Some((certificates(path, bytes)?, key.map_err(|error| wrong(key_path, &error))?))
            }
            _ => None,
        };
        let config = own_config(settings, authorities.as_deref(), client.as_ref())?;
        let ca = match (&settings.ca_file, authorities) {
            (Some(path), Some(found)) => {
                let wrapped = wrap(path, &found)?;
                Some(Arc::from(wrapped))
            }
            _ => None,
        };
        let client = match (&settings.client, client) {
            (Some((path, _)), Some((chain, key))) => {
                wrap(path, &chain)?;
                let chain = chain.iter().map(|one| one.to_vec()).collect();
                Some(Arc::new(CertKey::new(chain, key.secret_der().to_vec())))
            }
            _ => None,
        };
        Ok(Arc::new(Self {
            read,
            ca,
            client,
            verifies: !settings.danger_skip_verify,
            group: NEXT_GROUP.fetch_add(1, Ordering::Relaxed),
            config: Arc::new(config),
        }))
    }
}

/// Returns why the TLS files that these upstreams name cannot be used.
pub fn server_tls_problems(upstreams: &[Upstream]) -> Vec<String> {
    let over_tls = upstreams.iter().filter(|one| one.servers.iter().any(|server| server.tls));
    let problem = |one: &Upstream| Some(TlsToServers::load(&one.tls, None).err()?.to_string());
    over_tls.filter_map(problem).collect()
}

fn certificates(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, ServerTlsError> {
    let found = CertificateDer::pem_slice_iter(bytes).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| wrong(path, &error))?;
    if found.is_empty() {
        return Err(wrong(path, &"there is no certificate in it"));
    }
    Ok(found)
}

/// Converts certificates into the framework's form, whose constructor panics at invalid ones.
fn wrap(path: &Path, found: &[CertificateDer<'_>]) -> Result<Vec<WrappedX509>, ServerTlsError> {
    let made = catch_unwind(|| {
        found.iter().map(|one| WrappedX509::new(one.to_vec(), parse_x509)).collect()
    });
    made.map_err(|_| wrong(path, &"it holds something that is no certificate"))
}

fn own_config(
    settings: &ServerTls,
    authorities: Option<&[CertificateDer<'static>]>,
    client: Option<&(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<ClientConfig, ServerTlsError> {
    let mut roots = RootCertStore::empty();
    match (authorities, &settings.ca_file) {
        (Some(found), Some(path)) => {
            for one in found {
                roots.add(one.clone()).map_err(|error| wrong(path, &error))?;
            }
        }
        _ => {
            // Some of a system's certificates may not be usable; without any, no server is trusted.
            roots.add_parsable_certificates(pingora::tls::load_native_certs().unwrap_or_default());
        }
    }
    let builder = ClientConfig::builder();
    let builder = if settings.danger_skip_verify {
        let provider = Arc::clone(builder.crypto_provider());
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    } else {
        builder.with_root_certificates(roots)
    };
    let mut config = match (client, &settings.client) {
        (Some((chain, key)), Some((path, _))) => builder
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(|error| wrong(path, &error))?,
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn wrong(path: &Path, reason: &dyn std::fmt::Display) -> ServerTlsError {
    ServerTlsError { path: path.display().to_string(), reason: reason.to_string() }
}

/// Trusts every server (`upstream.tls.danger_skip_verify`); the handshake itself is still checked.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
