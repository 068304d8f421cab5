//! The certificates of the TLS listeners, read again whenever their files change.
//!
//! A client is served the first certificate for the name that it asks for (SNI, RFC 6066 section 3), and the first of
//! all if there is none: an exact name before a wildcard, which stands for one label (RFC 9525 section 6.3).
//!
//! Renewing certificates should not require notifying the gateway. The files are checked every few seconds, off the
//! request path; open connections are not affected.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use pingora::listeners::tls::{Acceptor, TlsSettings};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::server::ListenError;
use crate::config::TlsFiles;

/// All certificates, each with its key, read and checked to match.
pub struct Tls(ArcSwap<Vec<CertificatePair>>);

/// One certificate with its key.
#[derive(Clone)]
struct CertificatePair {
    files: TlsFiles,
    /// The names that the certificate is for, in lower case.
    names: Vec<String>,
    key: Arc<CertifiedKey>,
    /// The state of the files when they were last checked.
    seen: [CertificateFileState; 2],
}

/// Certificates that are ready to replace those that are served.
pub(super) struct Pairs(Vec<CertificatePair>);

/// The state by which a changed file is recognized: renewal replaces a file or writes into it.
type CertificateFileState = Option<(u64, u64, SystemTime)>;

impl Tls {
    /// Reads all files.
    ///
    /// # Errors
    /// [`ListenError::Tls`], naming the file.
    pub fn load(files: &[TlsFiles]) -> Result<Arc<Self>, ListenError> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(Self::read(files)?.0))))
    }

    /// Reads the files of another configuration.
    pub(super) fn read(files: &[TlsFiles]) -> Result<Pairs, ListenError> {
        files.iter().map(CertificatePair::read).collect::<Result<_, _>>().map(Pairs)
    }

    /// Serves these from now on.
    pub(super) fn serve(&self, pairs: Pairs) {
        self.0.store(Arc::new(pairs.0));
    }

    /// Reads changed files again. A pair that cannot be used, as while only one of the two has been replaced, leaves
    /// the present one in use until the files change again.
    pub(super) fn reread(&self) {
        let mut pairs = Vec::clone(&self.0.load());
        let mut has_changed = false;
        for pair in &mut pairs {
            let now = states(&pair.files);
            if std::mem::replace(&mut pair.seen, now) == now {
                continue;
            }
            has_changed = true;
            match CertificatePair::read(&pair.files) {
                Ok(new) => {
                    let path = pair.files.certificate.display().to_string();
                    tracing::info!(path, "read the certificate again: its files have changed");
                    *pair = new;
                }
                Err(error) => {
                    tracing::warn!(%error, "the certificate cannot be read again; the one in use stays")
                }
            }
        }
        if has_changed {
            self.0.store(Arc::new(pairs));
        }
    }

    pub(super) fn acceptor(self: &Arc<Self>) -> Result<Acceptor, ListenError> {
        // The resolver stands in for the two files, which were read and checked above.
        let mut settings = TlsSettings::intermediate("", "")
            .map_err(|error| tls_error(Path::new("certificate"), &error))?;
        settings.set_cert_resolver(Arc::<Self>::clone(self));
        settings.enable_h2();
        Ok(settings.build())
    }

    /// Returns the certificate for a client that asks for this name.
    fn key_for(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let pairs = self.0.load();
        let of = |wanted: &str| pairs.iter().find(|pair| pair.names.iter().any(|n| n == wanted));
        let wanted = name.map(str::to_ascii_lowercase);
        let exact = wanted.as_deref().and_then(of);
        let wildcard = || {
            let (_, domain) = wanted.as_deref()?.split_once('.')?;
            of(&format!("*.{domain}"))
        };
        exact.or_else(wildcard).or_else(|| pairs.first()).map(|pair| Arc::clone(&pair.key))
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.load().iter().map(|pair| &pair.names)).finish()
    }
}

impl ResolvesServerCert for Tls {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.key_for(hello.server_name())
    }
}

impl CertificatePair {
    fn read(files: &TlsFiles) -> Result<Self, ListenError> {
        // This comes before reading the files, so that a change in between is noticed by the next check.
        let seen = states(files);
        let key = read(files)?;
        let names = key.end_entity_cert().ok().and_then(|end| {
            let end = webpki::EndEntityCert::try_from(end).ok()?;
            Some(end.valid_dns_names().map(str::to_ascii_lowercase).collect())
        });
        Ok(Self { files: files.clone(), names: names.unwrap_or_default(), key, seen })
    }
}

fn states(files: &TlsFiles) -> [CertificateFileState; 2] {
    [&files.certificate, &files.private_key].map(|path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.ino(), metadata.len(), metadata.modified().ok()?))
    })
}

fn read(files: &TlsFiles) -> Result<Arc<CertifiedKey>, ListenError> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| tls_error(&files.certificate, &error))?;
    if chain.is_empty() {
        return Err(tls_error(&files.certificate, &"there is no certificate in it"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.private_key).map_err(|error| match error {
        pem::Error::NoItemsFound => tls_error(&files.private_key, &"there is no private key in it"),
        error => tls_error(&files.private_key, &error),
    })?;
    warn_if_all_can_read(&files.private_key);
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = CertifiedKey::from_der(chain, key, &provider)
        .map_err(|error| tls_error(&files.private_key, &error))?;
    Ok(Arc::new(key))
}

/// Warns if everybody can read the key. It is not refused, unlike the gateway's own keys: renewal tools choose its mode.
fn warn_if_all_can_read(key: &Path) {
    let mode = std::fs::metadata(key).map_or(0, |metadata| metadata.permissions().mode() & 0o7777);
    if mode & 0o007 != 0 {
        tracing::warn!(
            path = %key.display(),
            mode = %format_args!("{mode:04o}"),
            "every user of this machine can reach the private key for TLS; run chmod o-rwx on it"
        );
    }
}

fn tls_error(path: &Path, reason: &dyn std::fmt::Display) -> ListenError {
    ListenError::Tls { path: path.display().to_string(), reason: reason.to_string() }
}
