//! Checks everything that proves an identity: credentials of issuers, and the gateway's own sessions.

use std::sync::Arc;

use http::HeaderMap;

use super::cache::IssuedCache;
use super::{IssuerKeyError, IssuerRegistry, IssuerState, Mints};
use crate::config::{CredentialSelection, IssuerSettings};
use crate::secret::NoRandomness;
use crate::service::database::Databases;
use crate::session::{EndIssued, MintTokens, SessionManager, WatchedDirectory};
use crate::store::read_only::{ReadOnlyStamps, ReadOnlyStore};
use crate::store::{Sessions, Stamps};

/// The most credentials that one explanation needs.
const FEW: usize = 64;

/// Checks what issuers have issued, adopts it as sessions, and knows the gateway's own sessions.
pub struct Issuers {
    pub(super) registry: Arc<IssuerRegistry>,
    pub(super) mints: Arc<Mints>,
    pub(super) verified: Arc<IssuedCache>,
    pub(super) sessions: Arc<SessionManager>,
    /// The store of the sessions.
    pub(super) store: Arc<dyn Sessions>,
}

/// The parts that are opened before sessions are: first the ports for these, and then [`Issuers`].
pub struct IssuerParts {
    registry: Arc<IssuerRegistry>,
    mints: Arc<Mints>,
    verified: Arc<IssuedCache>,
}

impl IssuerParts {
    /// Opens the issuers' keys and their services' databases.
    ///
    /// # Errors
    /// [`IssuerKeyError`]
    pub fn open(
        settings: &[IssuerSettings],
        directories: &[WatchedDirectory],
        databases: &Databases,
        stamps: Arc<dyn Stamps>,
        state: &IssuerState,
    ) -> Result<Self, IssuerKeyError> {
        let registry = IssuerRegistry::open(settings, directories, databases, stamps, state)?;
        let mints = Arc::new(Mints::open(settings)?);
        Ok(Self { registry: Arc::new(registry), mints, verified: Arc::clone(&state.verified) })
    }

    /// Returns the port that ends what issuers have issued.
    pub fn ends(&self) -> Arc<dyn EndIssued> {
        Arc::<IssuerRegistry>::clone(&self.registry)
    }

    /// Returns the port that mints tokens with the issuers' keys.
    pub fn mints(&self) -> Arc<dyn MintTokens> {
        Arc::<Mints>::clone(&self.mints)
    }
}

impl Issuers {
    /// Combines the parts with these sessions, which are in this store.
    pub fn new(
        parts: IssuerParts,
        sessions: Arc<SessionManager>,
        store: Arc<dyn Sessions>,
    ) -> Self {
        let IssuerParts { registry, mints, verified } = parts;
        Self { registry, mints, verified, sessions, store }
    }

    /// Returns the gateway's own sessions.
    pub const fn sessions(&self) -> &Arc<SessionManager> {
        &self.sessions
    }

    /// Whether the value of `Authorization` is read here, valid or not, if these credentials are accepted. It is then not for
    /// upstreams.
    pub fn reads_authorization(&self, headers: &HeaderMap, looks_at: &CredentialSelection) -> bool {
        self.registry.readings.read_authorization(headers, looks_at)
    }

    /// Returns a copy that gives the same results and changes nothing: see `session::read_only`.
    ///
    /// # Errors
    /// [`NoRandomness`]
    pub fn read_only(&self) -> Result<Self, NoRandomness> {
        let stamps = Arc::new(ReadOnlyStamps::new(self.registry.stamps()));
        let registry = Arc::new(self.registry.read_only(stamps as Arc<dyn Stamps>));
        let ends = Arc::<IssuerRegistry>::clone(&registry) as Arc<dyn EndIssued>;
        Ok(Self {
            registry,
            mints: Arc::clone(&self.mints),
            verified: Arc::new(IssuedCache::new(FEW)?),
            sessions: Arc::new(self.sessions.read_only(ends)?),
            store: Arc::new(ReadOnlyStore::new(Arc::clone(&self.store))),
        })
    }
}
