//! Reads the issuers' keys from their files.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::config::{IssuerKey, IssuerKind, IssuerSettings, IssuerSignature};
use crate::jose::{KeyProblem, SigningKey, VerifyingKey};
use crate::private_file::{self, PrivateFileError};
use crate::secret::Digest;

/// The shortest secret that is accepted: a shorter one can be guessed from one token.
const MIN_SECRET: usize = 32;

/// The most bytes that are read of a public key's file; no public key is nearly as long.
const MAX_PUBLIC: u64 = 64 << 10;

/// An issuer that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the issuer {issuer}: {problem}")]
pub struct IssuerKeyError {
    issuer: String,
    problem: IssuerKeyProblem,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum IssuerKeyProblem {
    #[error(transparent)]
    File(#[from] PrivateFileError),
    #[error(transparent)]
    PublicFile(#[from] io::Error),
    #[error("its key cannot be used: {0}")]
    Key(#[from] KeyProblem),
    #[error(
        "its key has {0} bytes, and fewer than {MIN_SECRET} can be guessed; \
         danger_weak_key = true accepts it anyway"
    )]
    Weak(usize),
    #[error("its directory does not exist")]
    NoDirectory,
    #[error("its header is not a valid name")]
    NoHeader,
    #[error("there is no SECRET_KEY in {}", .0.display())]
    NoSecret(PathBuf),
    #[error("{0}")]
    Database(String),
}

impl IssuerKeyError {
    pub(super) fn of(settings: &IssuerSettings, problem: IssuerKeyProblem) -> Self {
        Self { issuer: settings.name.clone(), problem }
    }

    pub(super) fn no_directory(settings: &IssuerSettings) -> Self {
        Self { issuer: settings.name.clone(), problem: IssuerKeyProblem::NoDirectory }
    }

    pub(super) fn no_header(settings: &IssuerSettings) -> Self {
        Self { issuer: settings.name.clone(), problem: IssuerKeyProblem::NoHeader }
    }
}

/// Reads the key that verifies an issuer's JWTs.
pub(super) fn read(
    settings: &IssuerSettings,
    signature: &IssuerSignature,
) -> Result<VerifyingKey, IssuerKeyError> {
    let read = match &signature.key {
        IssuerKey::Public(path) => public(signature, path),
        IssuerKey::Private(path) => private(signature, path).and_then(|key| Ok(key.verifying()?)),
    };
    read.map_err(|problem| IssuerKeyError { issuer: settings.name.clone(), problem })
}

/// Reads the key that can sign tokens of this issuer, if there is one.
pub(super) fn signing(
    settings: &IssuerSettings,
    signature: &IssuerSignature,
) -> Result<Option<SigningKey>, IssuerKeyError> {
    match &signature.key {
        IssuerKey::Public(_) => Ok(None),
        IssuerKey::Private(path) => private(signature, path)
            .map(Some)
            .map_err(|problem| IssuerKeyError { issuer: settings.name.clone(), problem }),
    }
}

fn public(signature: &IssuerSignature, path: &Path) -> Result<VerifyingKey, IssuerKeyProblem> {
    let mut pem = Vec::new();
    File::open(path)?.take(MAX_PUBLIC).read_to_end(&mut pem)?;
    Ok(VerifyingKey::public(signature.algorithm, &pem)?)
}

fn private(signature: &IssuerSignature, path: &Path) -> Result<SigningKey, IssuerKeyProblem> {
    let (bytes, _) = private_file::read(path)?;
    if !signature.algorithm.is_shared() {
        return Ok(SigningKey::read(signature.algorithm, &bytes)?);
    }
    // Editors add a newline at the end, which is not part of the secret.
    let secret = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    if secret.len() < MIN_SECRET && !secret.is_empty() && !signature.danger_weak_key {
        return Err(IssuerKeyProblem::Weak(secret.len()));
    }
    Ok(SigningKey::read(signature.algorithm, secret)?)
}

/// Returns a digest of an issuer's key files, which distinguishes one key from another and reveals none.
pub(super) fn contents(settings: &IssuerSettings) -> Result<Digest, IssuerKeyError> {
    let files: Vec<&Path> = match &settings.kind {
        IssuerKind::SimpleJwt(kind) => vec![kind.signature.key.path()],
        IssuerKind::Jwt { signature, .. } => vec![signature.key.path()],
        IssuerKind::DjangoSession(kind) => std::iter::once(&kind.key_file)
            .chain(&kind.fallback_key_files)
            .map(PathBuf::as_path)
            .collect(),
        IssuerKind::DrfToken { .. } | IssuerKind::Knox { .. } | IssuerKind::Basic { .. } => {
            Vec::new()
        }
    };
    private_file::contents(files).map_err(|error| IssuerKeyError::of(settings, error.into()))
}
