//! The certificate of the TLS listeners, read again whenever its files change.
//!
//! Who renews certificates should not have to tell the gateway. The files are looked at every few seconds, off the request
//! path; connections that are open keep what they were made with.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use pingora::listeners::tls::{Acceptor, TlsSettings};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::server::ListenError;
use crate::config::TlsFiles;

/// Certificate and key, read and found to belong together.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    key: ArcSwap<CertifiedKey>,
    /// What the files were when they were last looked at.
    seen: Mutex<[FileState; 2]>,
}

/// What tells a file from the one that was there before: who renews certificates replaces them or writes into them.
type FileState = Option<(u64, u64, SystemTime)>;

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    /// [`ListenError::Tls`], naming the file.
    pub fn load(files: &TlsFiles) -> Result<Arc<Self>, ListenError> {
        let seen = states(files);
        let key = ArcSwap::from(read(files)?);
        Ok(Arc::new(Self { files: files.clone(), key, seen: Mutex::new(seen) }))
    }

    /// Reads the files again if they have changed. A pair that cannot be used, as while one of the two is still the old one,
    /// leaves the present one in use until the files change again.
    pub(super) fn reread(&self) {
        let now = states(&self.files);
        if std::mem::replace(&mut *self.seen.lock(), now) == now {
            return;
        }
        match read(&self.files) {
            Ok(key) => {
                self.key.store(key);
                tracing::info!(
                    path = %self.files.certificate.display(),
                    "read the certificate again: its files have changed"
                );
            }
            Err(error) => tracing::warn!(%error, "the certificate that was in use stays in use"),
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
}

impl ResolvesServerCert for Tls {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.load_full())
    }
}

fn states(files: &TlsFiles) -> [FileState; 2] {
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

/// Unlike our own keys it is not refused: tools that renew certificates choose its mode.
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
