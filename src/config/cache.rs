//! The cache of a Django service (`CACHES`), where it is Redis.

use std::path::PathBuf;

/// `cache` and the keys beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DjangoCache {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The number of its database.
    pub database: u16,
    /// Who signs in there; none: the one that Redis calls `default`.
    pub user: Option<String>,
    /// `rediss://`: encrypted, with a certificate for this host.
    pub tls: bool,
    /// File with the password; none: it asks for none.
    pub password_file: Option<PathBuf>,
    /// `KEY_PREFIX`
    pub prefix: String,
    /// `VERSION`
    pub version: u32,
}
