//! Everything that proves who somebody is: what others have issued, and behind it our own sessions.

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

/// Credentials that one explanation can meet.
const FEW: usize = 64;

/// Judges what others have issued, adopts it as sessions, and knows the sessions of our own.
pub struct Issuers {
    pub(super) registry: Arc<IssuerRegistry>,
    pub(super) mints: Arc<Mints>,
    pub(super) verified: Arc<IssuedCache>,
    pub(super) sessions: Arc<SessionManager>,
    /// Where its sessions are kept.
    pub(super) store: Arc<dyn Sessions>,
}

/// What is opened of the configuration before sessions are: their ports, and then [`Issuers`].
pub struct IssuerParts {
    registry: Arc<IssuerRegistry>,
    mints: Arc<Mints>,
    verified: Arc<IssuedCache>,
}

impl IssuerParts {
    /// Opens the issuers' keys and what they are asked by.
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

    /// Ends what they have issued.
    pub fn ends(&self) -> Arc<dyn EndIssued> {
        Arc::<IssuerRegistry>::clone(&self.registry)
    }

    /// Makes tokens under their keys.
    pub fn mints(&self) -> Arc<dyn MintTokens> {
        Arc::<Mints>::clone(&self.mints)
    }
}

impl Issuers {
    /// Over these sessions, which are kept in this store.
    pub fn new(
        parts: IssuerParts,
        sessions: Arc<SessionManager>,
        store: Arc<dyn Sessions>,
    ) -> Self {
        let IssuerParts { registry, mints, verified } = parts;
        Self { registry, mints, verified, sessions, store }
    }

    /// Our own sessions.
    pub const fn sessions(&self) -> &Arc<SessionManager> {
        &self.sessions
    }

    /// Is what `Authorization` holds read here, good or not, where these credentials are looked at? Then it is nothing for
    /// upstreams.
    pub fn reads_authorization(&self, headers: &HeaderMap, looks_at: &CredentialSelection) -> bool {
        self.registry.readings.read_authorization(headers, looks_at)
    }

    /// One that judges as this one does and changes nothing: see `session::read_only`.
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
